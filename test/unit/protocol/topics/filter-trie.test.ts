import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FilterTrie } from "@topicast/protocol";
import fc from "../../../property.js";
import { filters, modelMatches, topics } from "./model.js";

describe("FilterTrie", () => {
  it("tells the first and the last value of a filter from the others", () => {
    const trie = new FilterTrie<string>();
    assert.deepEqual(trie.add("a/+", "x"), { added: true, first: true });
    assert.deepEqual(trie.add("a/+", "x"), { added: false, first: false });
    assert.deepEqual(trie.add("a/+", "y"), { added: true, first: false });
    assert.deepEqual(trie.remove("a/+", "z"), { removed: false, last: false });
    assert.deepEqual(trie.remove("a/#", "x"), { removed: false, last: false });
    assert.deepEqual(trie.remove("a", "x"), { removed: false, last: false });
    assert.deepEqual(trie.remove("a/+", "x"), { removed: true, last: false });
    assert.deepEqual(trie.remove("a/+", "y"), { removed: true, last: true });
    assert.equal(trie.size, 0);
    assert.equal(trie.values, 0);
    assert.deepEqual([...trie.entries()], []);
  });

  it("gives a value once however many of its filters match", () => {
    const trie = new FilterTrie<string>();
    for (const filter of ["a/b", "a/+", "a/#", "#", "+/b"]) trie.add(filter, "x");
    assert.deepEqual(trie.match("a/b"), ["x"]);
  });

  it("sees a change at once although it remembers results", () => {
    const trie = new FilterTrie<string>();
    trie.add("a/+", "x");
    assert.deepEqual(trie.match("a/b"), ["x"]);
    trie.add("#", "y");
    assert.deepEqual([...trie.match("a/b")].sort(), ["x", "y"]);
    trie.remove("a/+", "x");
    assert.deepEqual(trie.match("a/b"), ["y"]);
  });

  it("keeps what it remembers within its weight", () => {
    const trie = new FilterTrie<number>({ cacheWeight: 100 });
    for (let i = 0; i < 9; i++) trie.add("#", i);
    for (let i = 0; i < 1_000; i++) {
      assert.equal(trie.match(`t/${i}`).length, 9);
      // One topic and nine values each: ten results fill the weight.
      assert.ok((trie as unknown as { cache: Map<string, unknown> }).cache.size <= 10);
    }
  });

  it("keeps few long topics, whatever clients publish on", () => {
    const trie = new FilterTrie<number>({ cacheWeight: 10_000 });
    trie.add("#", 1);
    const { cache } = trie as unknown as { cache: Map<string, unknown> };
    for (let i = 0; i < 100; i++) {
      trie.match(`${"t".repeat(65_000)}${i}`);
      assert.ok(cache.size <= 10);
    }
  });

  it("takes a name of the greatest depth without exhausting the stack", () => {
    const trie = new FilterTrie<string>();
    const deep = "/".repeat(65_535);
    trie.add(deep, "x");
    trie.add(`${deep.slice(2)}/#`, "y");
    assert.deepEqual([...trie.match(deep)].sort(), ["x", "y"]);
    assert.equal([...trie.entries()].length, 2);
    assert.deepEqual(trie.remove(deep, "x"), { removed: true, last: true });
    assert.deepEqual(trie.match(deep), ["y"]);
  });

  it("agrees with the model under any sequence of add, remove and match", () => {
    const operation = fc.oneof(
      fc.record({ op: fc.constant("add" as const), name: filters, value: fc.integer({ min: 0, max: 3 }) }),
      fc.record({ op: fc.constant("remove" as const), name: filters, value: fc.integer({ min: 0, max: 3 }) }),
      fc.record({ op: fc.constant("match" as const), name: topics, value: fc.constant(0) }),
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), fc.boolean(), (operations, cache) => {
        const trie = new FilterTrie<number>(cache ? {} : { cacheWeight: 0 });
        const model = new Map<string, Set<number>>();
        for (const { op, name, value } of operations) {
          const values = model.get(name) ?? new Set<number>();
          if (op === "add") {
            assert.deepEqual(trie.add(name, value), { added: !values.has(value), first: values.size === 0 });
            model.set(name, values.add(value));
          } else if (op === "remove") {
            const removed = values.delete(value);
            assert.deepEqual(trie.remove(name, value), { removed, last: removed && values.size === 0 });
            if (values.size === 0) model.delete(name);
          } else {
            const expected = new Set<number>();
            for (const [f, vs] of model) if (modelMatches(f, name)) for (const v of vs) expected.add(v);
            assert.deepEqual([...trie.match(name)].sort(), [...expected].sort());
          }
          assert.equal(trie.size, model.size);
          assert.deepEqual(trie.get(name).sort(), [...(model.get(name) ?? [])].sort());
          assert.equal(trie.has(name), model.has(name));
        }
        const entries = [...trie.entries()].map(([f, vs]) => [f, vs.sort()] as const).sort();
        assert.deepEqual(entries, [...model].map(([f, vs]) => [f, [...vs].sort()] as const).sort());
        for (const [f, vs] of model) for (const v of vs) trie.remove(f, v);
        const { root } = trie as unknown as { root: { empty: boolean } };
        assert.ok(root.empty, "an empty trie keeps no nodes");
      }),
      { numRuns: 600 },
    );
  });
});
