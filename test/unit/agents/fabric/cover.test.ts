import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FilterCover } from "@topicast/agent/fabric/cover.js";
import { filterContains } from "@topicast/protocol";
import fc from "../../../property.js";
import { filters } from "../../protocol/topics/model.js";

describe("a filter's cover", () => {
  it("hides what a told filter contains, and tells the widest of them when that one goes", () => {
    const cover = new FilterCover();
    assert.equal(cover.add("a/b/c"), undefined, "told before anything contained it");
    assert.equal(cover.add("a/#"), undefined);
    for (const filter of ["a/b/+", "a/b/d", "a/+/d", "a/x"]) assert.equal(cover.add(filter), "a/#");
    assert.deepEqual([...cover.contentsOf("a/#")].sort(), ["a/+/d", "a/b/+", "a/b/d", "a/x"]);
    assert.deepEqual(cover.remove("a/x"), { told: false, uncovered: [] });
    const { told, uncovered } = cover.remove("a/#");
    assert.deepEqual([told, [...uncovered].sort()], [true, ["a/+/d", "a/b/+"]]);
    assert.equal(cover.hidden, 1, "a/b/d, by one of the two");
    assert.deepEqual(cover.remove("nothing"), { told: false, uncovered: [] });
  });

  it("keeps one of two that contain each other", () => {
    const cover = new FilterCover();
    assert.equal(cover.add("+/#"), undefined);
    assert.equal(cover.add("#"), "+/#");
    assert.deepEqual(cover.remove("+/#"), { told: true, uncovered: ["#"] });
    assert.deepEqual(cover.restart(["+/#", "#"]), ["#"]);
  });

  it("agrees with a forwarder that is told by it, whatever comes and goes", () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ op: fc.constant("add" as const), filter: filters }) },
      { weight: 4, arbitrary: fc.record({ op: fc.constant("remove" as const), at: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant("restart" as const) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const cover = new FilterCover();
        const wanted = new Set<string>();
        let told = new Set<string>();
        const tell = (filter: string, except?: string) => {
          const container = [...told].find((t) => t !== except && filterContains(t, filter));
          assert.equal(container, undefined, `${filter} is contained in ${container}`);
          told.add(filter);
        };
        for (const step of steps) {
          if (step.op === "add") {
            const isNew = !wanted.has(step.filter);
            wanted.add(step.filter);
            const container = cover.add(step.filter);
            if (container !== undefined)
              assert.ok(told.has(container) && filterContains(container, step.filter));
            else if (isNew) tell(step.filter);
          } else if (step.op === "remove") {
            const filter = [...wanted][step.at % (wanted.size || 1)];
            if (filter === undefined) continue;
            wanted.delete(filter);
            const { told: was, uncovered } = cover.remove(filter);
            assert.equal(was, told.has(filter));
            for (const other of uncovered) tell(other, filter);
            told.delete(filter);
          } else {
            told = new Set();
            for (const filter of cover.restart(wanted)) tell(filter);
            for (const one of told)
              for (const other of told)
                assert.ok(one === other || !filterContains(one, other), `${one} contains ${other}`);
          }
          for (const filter of wanted) {
            assert.ok(
              [...told].some((t) => filterContains(t, filter)),
              `${filter} is not told`,
            );
            assert.equal(cover.isTold(filter), told.has(filter));
          }
          for (const filter of told) assert.ok(wanted.has(filter), `${filter} is told and not wanted`);
          assert.equal(cover.hidden, wanted.size - told.size);
          const contents = [...told].flatMap((t) => [...cover.contentsOf(t)]);
          assert.deepEqual(contents.sort(), [...wanted].filter((f) => !told.has(f)).sort());
        }
      }),
      { numRuns: 500 },
    );
  });
});
