import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { FormatError, type LiteralValue, parseJson, pythonLiteral } from "node-ryu-rest-client";
import fc from "../../property.js";

const python = spawnSync("python3", ["--version"]).status === 0;

describe("pythonLiteral", () => {
  it("writes Python's words, full integers, and leaves undefined members out", () => {
    const value = {
      a: true,
      b: false,
      c: null,
      d: undefined,
      e: 18446744073709551615n,
      f: [1, -2.5],
      "g'\"": "ä\n",
    };
    assert.equal(
      pythonLiteral(value),
      '{"a": True, "b": False, "c": None, "e": 18446744073709551615, "f": [1, -2.5], "g\'\\"": "ä\\n"}',
    );
  });

  it("refuses numbers that would arrive as others", () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      assert.throws(() => pythonLiteral({ value }), FormatError);
    }
  });

  it("is JSON as well where none of the three words occurs", () => {
    const leaf = fc.oneof(fc.string({ unit: "binary" }), fc.bigInt(0n, (1n << 64n) - 1n), fc.integer());
    const values = fc.dictionary(fc.string(), fc.oneof(leaf, fc.array(leaf)));
    fc.assert(
      fc.property(values, (value) => {
        const read = parseJson(pythonLiteral(value));
        assert.deepEqual(read, narrow(value));
      }),
    );
  });

  it("is what Python's ast.literal_eval reads, the parser of ofctl_rest", {
    skip: !python && "no python3",
  }, () => {
    const leaf = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.bigInt(-(1n << 64n), 1n << 64n),
      fc.boolean(),
      fc.constant(null),
      fc.double({ noNaN: true, noDefaultInfinity: true, maxExcluded: true, max: 1e6, min: -1e6 }),
    );
    const values = fc.sample(
      fc.array(fc.dictionary(fc.string({ unit: "binary" }), fc.oneof(leaf, fc.array(leaf)))),
      100,
    );
    const program = `
import ast, json, sys
for line in sys.stdin.buffer.read().split(b"\\n"):
    print(json.dumps(ast.literal_eval(line.decode("utf-8"))))`;
    const printed = execFileSync("python3", ["-c", program], {
      input: values.map((value) => pythonLiteral(value as LiteralValue)).join("\n"),
      encoding: "utf8",
    });
    const read = printed.trimEnd().split("\n").map(parseJson);
    assert.deepEqual(read, values.map(narrow));
  });
});

/** Integers as parseJson gives them; -0 is 0 in Python, too. */
function narrow(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Object.is(value, -0)) return 0;
  if (Array.isArray(value)) return value.map(narrow);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, narrow(member)]));
  }
  return value;
}
