import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FormatError, type JsonValue, parseJson } from "node-ryu-rest-client";
import fc from "../../property.js";

/** Makes the reader take its own path instead of JSON.parse. */
const LONG = 9007199254740993n;

describe("parseJson", () => {
  it("keeps integers beyond 2^53 exact, whatever surrounds them", () => {
    const text =
      '{"18364758544493064720": [{"cookie": 18446744073709551615, "n": -9007199254740993, "safe": 9007199254740991}]}';
    assert.deepEqual(parseJson(text), {
      "18364758544493064720": [{ cookie: (1n << 64n) - 1n, n: -LONG, safe: Number.MAX_SAFE_INTEGER }],
    });
  });

  it("leaves fractions and exponents as number, long digits in texts as text", () => {
    assert.deepEqual(parseJson('[1234567890123456.5, 1e30, "12345678901234567890"]'), [
      1234567890123456.5,
      1e30,
      "12345678901234567890",
    ]);
  });

  it("agrees with JSON.parse but for what that rounds", () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom("", "  ", "\n\t\r "), (text, space) => {
        const wrapped = `${space}[${space}${text}${space},${space}"${LONG}"${space}]${space}`;
        assert.deepEqual(rounded(parseJson(wrapped)), JSON.parse(wrapped));
        assert.deepEqual(rounded(parseJson(text)), JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  it("reads back every 64-bit integer", () => {
    fc.assert(
      fc.property(fc.bigInt(-(1n << 64n), 1n << 64n), (value) => {
        const read = parseJson(`{"a": ${value}}`) as { a: number | bigint };
        assert.equal(BigInt(read.a), value);
        assert.equal(typeof read.a, Number.isSafeInteger(Number(value)) ? "number" : "bigint");
      }),
    );
  });

  it("rejects what JSON.parse rejects", () => {
    const alphabet = fc.constantFrom(...'{}[],:"\\u0019eE+-. tfnulrase\n\u0001'.split(""));
    fc.assert(
      fc.property(fc.array(alphabet, { maxLength: 12 }), (characters) => {
        const text = `[${LONG},${characters.join("")}]`;
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        if (valid) parseJson(text);
        else assert.throws(() => parseJson(text), FormatError);
      }),
      { numRuns: 3000 },
    );
  });

  it("says where it stopped, and what it found there", () => {
    assert.throws(() => parseJson(`[${LONG}, }]`), /a value expected at offset 19, found "}]"/);
    assert.throws(() => parseJson(`[${LONG}`), /"," or "]" expected at offset 17, found the end/);
    assert.throws(() => parseJson(`[${LONG}] x`), /the end expected at offset 19/);
    assert.throws(() => parseJson("<html>"), /not JSON/);
  });

  it("bounds the depth and survives long texts", () => {
    assert.throws(() => parseJson(`${"[".repeat(100_000)}${LONG}`), /nested deeper than 100/);
    const long = "a\\n".repeat(1_000_000);
    assert.deepEqual(parseJson(`["${long}", ${LONG}]`), ["a\n".repeat(1_000_000), LONG]);
  });

  it("does not let a member change the object's prototype", () => {
    const read = parseJson(`{"__proto__": {"polluted": 1}, "n": ${LONG}}`) as object;
    assert.equal(Object.getPrototypeOf(read), Object.prototype);
    assert.deepEqual(Object.keys(read), ["__proto__", "n"]);
  });
});

function rounded(value: JsonValue): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(rounded);
  if (typeof value !== "object" || value === null) return value;
  // fromEntries defines members, so that one called __proto__ stays one.
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, rounded(member)]));
}
