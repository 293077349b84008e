import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TopicTree } from "@topicast/protocol";
import fc from "../../../property.js";
import { filters, modelMatches, topics } from "./model.js";

function matching<V extends NonNullable<unknown>>(tree: TopicTree<V>, filter: string): string[] {
  const found: string[] = [];
  tree.matching(filter, (topic) => {
    found.push(topic);
  });
  return found.sort();
}

describe("TopicTree", () => {
  it("gives back the value before on set and delete", () => {
    const tree = new TopicTree<number>();
    assert.equal(tree.set("a/b", 1), undefined);
    assert.equal(tree.set("a/b", 2), 1);
    assert.equal(tree.get("a/b"), 2);
    assert.equal(tree.get("a"), undefined);
    assert.equal(tree.delete("a"), undefined);
    assert.equal(tree.delete("a/b"), 2);
    assert.equal(tree.delete("a/b"), undefined);
    assert.equal(tree.size, 0);
  });

  it("stops when visit returns false, and lets visit delete what it visits", () => {
    const tree = new TopicTree<number>();
    for (let i = 0; i < 20; i++) tree.set(`a/${i}`, i);
    let visits = 0;
    tree.matching("a/+", () => {
      visits += 1;
      return visits < 3;
    });
    assert.equal(visits, 3);
    for (let i = 0; i < 20; i++) tree.set(`a/${i}/deep/er`, i);
    tree.matching("#", (topic) => tree.delete(topic));
    assert.equal(tree.size, 0);
    assert.deepEqual([...tree.entries()], []);
  });

  it("walks only the branches the filter leads to", () => {
    const tree = new TopicTree<number>();
    for (let i = 0; i < 100_000; i++) tree.set(`other/${i}/x`, i);
    tree.set("plant/7/temp", 7);
    const start = performance.now();
    for (let i = 0; i < 1_000; i++) assert.deepEqual(matching(tree, "plant/+/temp"), ["plant/7/temp"]);
    const each = (performance.now() - start) / 1_000;
    // Scanning a hundred thousand topics takes ten milliseconds or more; the branch takes microseconds.
    assert.ok(each < 2, `${each} ms a match`);
  });

  it("takes a name of the greatest depth without exhausting the stack", () => {
    const tree = new TopicTree<number>();
    const deep = "/".repeat(65_535);
    tree.set(deep, 1);
    assert.deepEqual(matching(tree, "#"), [deep]);
    assert.equal(tree.delete(deep), 1);
    assert.deepEqual(matching(tree, "#"), []);
  });

  it("agrees with the model under any sequence of set, delete and matching", () => {
    const operation = fc.oneof(
      fc.record({ op: fc.constant("set" as const), name: topics, value: fc.nat() }),
      fc.record({ op: fc.constant("delete" as const), name: topics, value: fc.constant(0) }),
      fc.record({ op: fc.constant("matching" as const), name: filters, value: fc.constant(0) }),
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const tree = new TopicTree<number>();
        const model = new Map<string, number>();
        for (const { op, name, value } of operations) {
          if (op === "set") {
            assert.equal(tree.set(name, value), model.get(name));
            model.set(name, value);
          } else if (op === "delete") {
            assert.equal(tree.delete(name), model.get(name));
            model.delete(name);
          } else {
            const expected = [...model.keys()].filter((topic) => modelMatches(name, topic)).sort();
            assert.deepEqual(matching(tree, name), expected);
          }
          assert.equal(tree.size, model.size);
          if (op !== "matching") assert.equal(tree.get(name), model.get(name));
        }
        assert.deepEqual([...tree.entries()].sort(), [...model].sort());
        for (const topic of model.keys()) tree.delete(topic);
        const { root } = tree as unknown as { root: { hasChildren: boolean } };
        assert.equal(root.hasChildren, false, "an empty tree keeps no nodes");
      }),
      { numRuns: 600 },
    );
  });
});
