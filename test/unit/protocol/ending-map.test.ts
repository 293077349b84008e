import assert from "node:assert/strict";
import { test } from "node:test";
import { EndingMap } from "@topicast/protocol";
import fc from "../../property.js";

const key = fc.constantFrom(..."abcdefghij");
const step = fc.oneof(
  fc.record({ do: fc.constant("set" as const), key, until: fc.integer({ min: 0, max: 20 }) }),
  fc.record({ do: fc.constant("delete" as const), key, until: fc.constant(0) }),
);

test("the first to end is the first to end of all that are there, whatever was set and deleted before", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const map = new EndingMap<{ until: number }>();
      const model = new Map<string, { until: number }>();
      for (const { do: what, key, until } of steps) {
        if (what === "delete") assert.equal(map.delete(key), model.delete(key));
        else {
          const value = { until };
          map.set(key, value);
          model.delete(key);
          model.set(key, value);
        }
        assert.equal(map.size, model.size);
        const first = map.first();
        assert.equal(
          first?.[1].until,
          model.size === 0 ? undefined : Math.min(...[...model.values()].map((v) => v.until)),
        );
        if (first !== undefined) assert.equal(model.get(first[0]), first[1]);
      }
      assert.deepEqual([...map.entries()], [...model]);
    }),
  );
});

test("a full table that forgets the first for each new one does so in no time, and holds no more for that", () => {
  const map = new EndingMap<{ until: number }>();
  for (let n = 0; n < 4_096; n++) map.set(String(n), { until: n });
  const start = process.cpuUsage();
  for (let n = 4_096; n < 204_096; n++) {
    map.delete(map.first()![0]);
    map.set(String(n), { until: n });
    map.set(String(n), { until: n + 1 });
  }
  const { user } = process.cpuUsage(start);
  assert.equal(map.size, 4_096);
  assert.equal(map.first()![0], "200000");
  // A look through all entries at each would take half a minute.
  assert.ok(user < 3_000_000, `${user} µs`);
});
