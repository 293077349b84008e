import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { filterContains, filterError, filterIntersection, filterMatches } from "@topicast/protocol";
import fc from "../../../property.js";
import { allTopics, filters, modelMatches, topics } from "./model.js";

describe("filterMatches", () => {
  // The examples of the standard (section 4.7), and the corners it leaves to the reader.
  const table: [filter: string, topic: string, matches: boolean][] = [
    ["sport/tennis/player1/#", "sport/tennis/player1", true],
    ["sport/tennis/player1/#", "sport/tennis/player1/ranking", true],
    ["sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true],
    ["sport/#", "sport", true],
    ["sport/tennis/+", "sport/tennis/player1", true],
    ["sport/tennis/+", "sport/tennis/player1/ranking", false],
    ["sport/+", "sport", false],
    ["sport/+", "sport/", true],
    ["+/+", "/finance", true],
    ["/+", "/finance", true],
    ["+", "/finance", false],
    ["#", "$SYS/x", false],
    ["+/monitor/Clients", "$SYS/monitor/Clients", false],
    ["$SYS/#", "$SYS/", true],
    ["$SYS/monitor/+", "$SYS/monitor/Clients", true],
    ["a/+", "a/$b", true],
    ["a/#", "a/$b", true],
    ["ACCOUNTS", "Accounts", false],
    ["a", "a/", false],
    ["a/", "a", false],
  ];
  for (const [filter, topic, expected] of table) {
    it(`${filter} ${expected ? "matches" : "does not match"} ${topic}`, () => {
      assert.equal(filterMatches(filter, topic), expected);
      assert.equal(modelMatches(filter, topic), expected);
    });
  }

  it("agrees with the model", () => {
    fc.assert(
      fc.property(filters, topics, (f, t) => assert.equal(filterMatches(f, t), modelMatches(f, t))),
      { numRuns: 3_000 },
    );
  });
});

describe("filterContains", () => {
  const universe = allTopics(5);

  it("is true exactly when no topic tells the two apart", () => {
    const short = fc
      .tuple(fc.array(fc.constantFrom("a", "b", "", "$s", "+", "+"), { maxLength: 3 }), fc.boolean())
      .map(([parts, multi]) => [...parts, ...(multi ? ["#"] : [])].join("/"))
      .filter((filter) => filter !== "");
    fc.assert(
      fc.property(short, short, (a, b) => {
        const counterexample = universe.find((t) => modelMatches(b, t) && !modelMatches(a, t));
        assert.equal(filterContains(a, b), counterexample === undefined, `${counterexample}`);
      }),
      { numRuns: 1_500 },
    );
  });

  it("knows that +/# and # say the same, and /+/# and /#, where the parent level would be an empty topic", () => {
    assert.equal(filterContains("+/#", "#"), true);
    assert.equal(filterContains("#", "+/#"), true);
    assert.equal(filterContains("/+/#", "/#"), true);
    assert.equal(filterContains("+/+/#", "/#"), true);
    assert.equal(filterContains("a/+/#", "a/#"), false);
  });

  it("lets no leading wildcard contain a $ filter", () => {
    assert.equal(filterContains("#", "$SYS/#"), false);
    assert.equal(filterContains("+/a", "$SYS/a"), false);
    assert.equal(filterContains("$SYS/#", "$SYS/+/a"), true);
  });
});

describe("filterIntersection", () => {
  const table: [a: string, b: string, both: string | undefined][] = [
    ["a/#", "+/b", "a/b"],
    ["a/#", "a/+/#", "a/+/#"],
    ["a/#", "+", "a"],
    ["#", "x/+", "x/+"],
    ["#", "$SYS/#", undefined],
    ["$SYS/#", "$SYS/+/a", "$SYS/+/a"],
    ["a/+", "+/b/c", undefined],
    ["/#", "+", undefined],
  ];
  for (const [a, b, both] of table) {
    it(`${a} and ${b}: ${both ?? "nothing"}`, () => {
      assert.equal(filterIntersection(a, b), both);
      assert.equal(filterIntersection(b, a), both);
    });
  }

  it("matches exactly what both match", () => {
    const universe = allTopics(4);
    fc.assert(
      fc.property(filters, filters, (a, b) => {
        const both = filterIntersection(a, b);
        if (both !== undefined) assert.equal(filterError(both), undefined);
        for (const t of universe) {
          const expected = modelMatches(a, t) && modelMatches(b, t);
          assert.equal(both !== undefined && modelMatches(both, t), expected, `${a} and ${b}: ${both}, ${t}`);
        }
      }),
      { numRuns: 500 },
    );
  });
});
