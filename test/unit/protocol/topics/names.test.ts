import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { filterError, levelCount, MAX_NAME_BYTES, topicError } from "@topicast/protocol";

describe("topicError", () => {
  for (const topic of [
    "a",
    "/",
    "a/b",
    "a//b",
    "/a",
    "$SYS/x",
    " ",
    "a b",
    "ü/ß",
    "🌱/temp",
    "a".repeat(65_535),
  ]) {
    it(`accepts ${label(topic)}`, () => assert.equal(topicError(topic), undefined));
  }
  const wrong: [string, RegExp][] = [
    ["", /empty/],
    ["a/+", /\+/],
    ["a+b", /\+/],
    ["#", /#/],
    ["a/#", /#/],
    ["a\0b", /U\+0000/],
    ["a\ud800b", /surrogate/],
    ["a\udc00b", /surrogate/],
    ["a\ud83c", /surrogate/],
    ["a".repeat(65_536), /65535 bytes/],
    ["ü".repeat(32_768), /65535 bytes/],
  ];
  for (const [topic, reason] of wrong) {
    it(`refuses ${label(topic)}`, () => assert.match(topicError(topic) ?? "accepted", reason));
  }
});

describe("filterError", () => {
  for (const filter of [
    "a",
    "/",
    "+",
    "#",
    "+/+",
    "+/a/#",
    "/+",
    "+/",
    "a//#",
    "$share/g/+/x",
    "$SYS/#",
    "🌱/+",
  ]) {
    it(`accepts ${label(filter)}`, () => assert.equal(filterError(filter), undefined));
  }
  const wrong: [string, RegExp][] = [
    ["", /empty/],
    ["a#", /#/],
    ["#/a", /#/],
    ["a/#/b", /#/],
    ["a/b#", /#/],
    ["##", /#/],
    ["a+", /\+/],
    ["+a/b", /\+/],
    ["a/+b", /\+/],
    ["++", /\+/],
    ["+/#/", /#/],
    ["a/\0", /U\+0000/],
    ["+/\udfff", /surrogate/],
    [`${"a".repeat(65_534)}/#`, /65535 bytes/],
  ];
  for (const [filter, reason] of wrong) {
    it(`refuses ${label(filter)}`, () => assert.match(filterError(filter) ?? "accepted", reason));
  }
});

describe("levelCount", () => {
  it("counts separators plus one", () => {
    assert.deepEqual(["a", "/", "a/b", "//", "a/+/#"].map(levelCount), [1, 2, 2, 3, 3]);
    assert.equal(levelCount("/".repeat(MAX_NAME_BYTES)), MAX_NAME_BYTES + 1);
  });
});

function label(name: string): string {
  return JSON.stringify(name.length > 30 ? `${name.slice(0, 10)}… (${name.length})` : name);
}
