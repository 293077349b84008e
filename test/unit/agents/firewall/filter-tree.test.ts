import assert from "node:assert/strict";
import test from "node:test";
import { FilterTree } from "@topicast/agent/firewall/filter-tree.js";
import { TopicList } from "@topicast/agent/firewall/topics.js";
import { filterContains, filterError, filterIntersection } from "@topicast/protocol";
import fc from "../../../property.js";

const level = fc.constantFrom("", "a", "b", "$x", "+", "#");
const filter = fc
  .array(level, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join("/"))
  .filter((text) => filterError(text) === undefined);

test("one compared with all of them is as it is compared with each", () => {
  fc.assert(
    fc.property(fc.array(filter, { maxLength: 6 }), filter, (filters, asked) => {
      const tree = new FilterTree();
      for (const one of filters) tree.add(one);
      const contained = filters.some((one) => filterContains(one, asked));
      const met = filters.some((one) => filterIntersection(one, asked) !== undefined);
      assert.deepEqual([tree.contains(asked), tree.meets(asked)], [contained, met], `${asked} in ${filters}`);
    }),
    { numRuns: 5_000 },
  );
});

test("a SUBSCRIBE of a thousand filters beside a thousand is no trouble", () => {
  const list = new TopicList(Array.from({ length: 1_000 }, (_, i) => `plant/+/room/${i}/#`));
  const times = Array.from({ length: 3 }, () => {
    const start = performance.now();
    for (let i = 0; i < 1_000; i++) {
      assert.ok(!list.contains(`plant/+/room/x${i}/#`, []));
      assert.ok(!list.overlaps(`plant/+/room/x${i}/#`, []));
    }
    return performance.now() - start;
  });
  assert.ok(Math.min(...times) < 500, `${times} ms`);
});
