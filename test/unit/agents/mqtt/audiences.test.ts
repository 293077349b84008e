import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Audiences } from "@topicast/agent/mqtt/audiences.js";
import type { Audience } from "@topicast/agent/mqtt/subscriptions.js";
import { filterMatches } from "@topicast/protocol";
import fc from "../../../property.js";

const audience = (): Audience => ({ recipients: [], shares: [] });
const LEVELS = ["a", "b", "", "$x"];

const topic = fc
  .array(fc.constantFrom(...LEVELS), { minLength: 1, maxLength: 3 })
  .map((levels) => levels.join("/") || "/");
const filter = fc
  .tuple(fc.array(fc.constantFrom(...LEVELS, "+"), { minLength: 1, maxLength: 3 }), fc.constantFrom("", "/#"))
  .map(([levels, end]) => (levels.join("/") || "/") + end);

describe("what is remembered of who gets which topic", () => {
  it("is forgotten by a change that matches it, and by no other", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("set" as const), name: topic }),
      fc.record({ kind: fc.constant("forget" as const), name: filter }),
      fc.record({ kind: fc.constant("forget" as const), name: topic }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const audiences = new Audiences();
        const known = new Map<string, Audience>();
        for (const { kind, name } of steps) {
          if (kind === "set" && !known.has(name)) {
            known.set(name, audience());
            audiences.set(name, known.get(name)!);
          } else if (kind === "forget") {
            audiences.forget(name);
            // Those that begin with a wildcard are looked for nowhere: all is forgotten.
            const isBroad = /^[+#]/.test(name);
            for (const other of [...known.keys()])
              if (isBroad || filterMatches(name, other)) known.delete(other);
          }
          assert.equal(audiences.size, known.size);
          for (const [other, value] of known) assert.equal(audiences.get(other), value);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("is bounded by topics and recipients together", () => {
    const audiences = new Audiences({ weight: 100, touched: 10 });
    for (let i = 0; i < 1_000; i++) {
      audiences.set(`t/${i}`, { recipients: new Array(9).fill({}), shares: [] });
      assert.ok(audiences.size <= 10);
    }
  });

  it("is all forgotten where a change would look at too much", () => {
    const audiences = new Audiences({ weight: 1_000, touched: 10 });
    const fill = (count: number) => {
      for (let i = 0; i < count; i++) audiences.set(`${count}/${i}`, audience());
    };
    fill(11);
    audiences.forget("other/#");
    assert.equal(audiences.size, 0, "so many that nobody has looked for");
    fill(9);
    audiences.forget("other/#");
    fill(8);
    audiences.forget("other/#");
    assert.equal(audiences.size, 17);
    audiences.forget("9/+");
    assert.equal(audiences.size, 8);
    for (let i = 0; i < 10; i++) {
      audiences.set(`more/${i}`, audience());
      if (i % 5 === 0) audiences.forget("other/#");
    }
    audiences.set("more/last", audience());
    audiences.forget("more/#");
    assert.equal(audiences.size, 0, "so many that match");
  });
});
