import assert from "node:assert/strict";
import test from "node:test";
import { Payloads } from "@topicast/agent/firewall/payloads.js";
import type { PayloadRule } from "@topicast/agent/firewall/rules.js";
import { compileSchema } from "@topicast/agent/firewall/schemas.js";
import fc from "../../../property.js";

function milliseconds(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

test("patterns mean what they mean in JavaScript, in any of their uses", () => {
  const name = compileSchema({ type: "string", pattern: "^[\\w.-]{1,8}/\\p{Lu}\\u00e9\\d+$" });
  assert.ok(name("plant-7/Äé12"));
  assert.ok(!name("plant-7/äé12"));
  assert.ok(compileSchema({ type: "string", pattern: "b+" })("abbc"), "a pattern is found anywhere");
  const named = compileSchema({
    ...{ type: "object", additionalProperties: false },
    patternProperties: { "^t\\d$": { type: "number" } },
  });
  assert.ok(named({ t1: 1 }));
  assert.ok(!named({ t1: "x" }) && !named({ u1: 1 }));
});

test("patterns take any text", () => {
  const schema = compileSchema({ type: "string", pattern: "^(?:\\p{L}|[^a]\\s)*.$" });
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }), (a, b) => {
      for (const text of [a, b, `${a}\ud800${b}`]) assert.equal(typeof schema(text), "boolean");
    }),
  );
});

test("a pattern that cannot be held to linear time is a mistake", () => {
  for (const pattern of ["(?=a)b", "(a)\\1", "^(?:a{1,200}){1,200}$", "(", "[z-a]"])
    assert.throws(
      () => compileSchema({ type: "string", pattern }),
      /the pattern ".*" cannot be used: /,
      pattern,
    );
});

test("no message makes a pattern slow", () => {
  const text = `${"a".repeat(50_000)}!`;
  for (const pattern of ["^(a+)+$", "^(a|a)*$", "^.*.*.*=$", "a+b", "^(\\w+\\s?)*$"]) {
    const schema = compileSchema({ type: "string", pattern });
    assert.ok(milliseconds(() => assert.ok(!schema(text))) < 2_000, pattern);
  }
});

test("uniqueItems: equal is what JSON takes for equal, and many items are no trouble", () => {
  const unique = compileSchema({ type: "array", uniqueItems: true });
  for (const items of [
    [],
    [1, "1", true, null, [1], { a: 1 }],
    [{ a: 1 }, { a: 2 }],
    [
      [1, 2],
      [2, 1],
    ],
  ])
    assert.ok(unique(items), JSON.stringify(items));
  const twice = [
    [1, 1],
    [{ a: 1, b: [] }, 0, { b: [], a: 1 }],
    [[[]], [[]]],
    [0, -0],
    ["a", "a"],
  ];
  for (const items of twice) assert.ok(!unique(items), JSON.stringify(items));
  assert.ok(compileSchema({ type: "array", uniqueItems: false })([1, 1]));
  const many = Array.from({ length: 50_000 }, (_, i) => [i]);
  assert.ok(milliseconds(() => assert.ok(unique(many))) < 2_000);
});

test("an object that names a member twice fits no schema", () => {
  const rule: PayloadRule = {
    id: "t",
    answer: "drop",
    topics: ["#"],
    maxBytes: undefined,
    type: "json",
    allowsEmpty: true,
    schema: compileSchema({ type: "object", properties: { a: { type: "number" } } }),
  };
  const fault = (text: string) => [...new Payloads([rule]).faults("t", Buffer.from(text))][0]?.detail;
  assert.equal(fault('{"a":"\' or 1=1","a":1}'), "has a name twice in one object");
  assert.equal(fault('{"b":{"x":1,"\\u0078":2}}'), "has a name twice in one object");
  for (const text of [
    '{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}',
    '{"b":"\\":\\\\","c":":"}',
    '{"__proto__":1}',
  ])
    assert.equal(fault(text), undefined, text);
  fc.assert(
    fc.property(fc.object(), (value) => {
      assert.notEqual(fault(JSON.stringify({ b: value })), "has a name twice in one object");
    }),
  );
});
