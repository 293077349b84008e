import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { normalForm } from "@topicast/agent/firewall/content/normal-form.js";
import fc from "../../../../property.js";
import { attacks } from "./attacks.js";
import { full, Oracle, refused, request } from "./oracle.js";
import { ordinary } from "./ordinary.js";

const form = (text: string) => normalForm(Buffer.from(text), true).toString("latin1");

test("JSON counts without its numbers, times and white space", () => {
  assert.equal(
    form('{ "t": -21.5e3, "at": "2026-11-21T13:53:17Z",\n"id": "a 1" }'),
    '{"t":0,"at":"0","id":"a 1"}',
  );
  assert.equal(form('[1, true, null, "21.5", "", {"1": []}]'), '[0,true,null,"0","",{"1":[]}]');
  assert.equal(form("21.50"), "0");
  assert.equal(form("[1770000000123, 2147483647, 1e309, -4294967295]"), "[0,2147483647,1e309,-4294967295]");
});

test("what is not strictly JSON counts as it is", () => {
  for (const text of [
    '{"t":1',
    "[1,2]x",
    "[01]",
    "{1:2}",
    "[1,]",
    '["a\nb"]',
    "[NaN]",
    `${"[".repeat(40)}1${"]".repeat(40)}`,
  ]) {
    assert.equal(form(text), text);
  }
  const invalid = Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]);
  assert.equal(normalForm(invalid, true), invalid);
});

test("without permission only a binary payload's texts are picked out", () => {
  assert.equal(normalForm(Buffer.from("[1]"), false).toString(), "[1]");
  assert.equal(
    normalForm(Buffer.from("\x01\xfftemperature\x02\xfe", "latin1"), false).toString(),
    "\0temperature",
  );
});

/** Numbers that CRS itself names: if any number matters, it is among these or like them. */
const crs = "/usr/share/modsecurity-crs/rules";
const named = readdirSync(crs)
  .filter((file) => /^REQUEST-9[34].*conf$/.test(file))
  .flatMap((file) => readFileSync(`${crs}/${file}`, "utf8").match(/^SecRule .*$/gm) ?? [])
  .flatMap((rule) => rule.match(/-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/gi) ?? [])
  .filter((text) => text.length > 1 && /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(text));

const jsonNumber = fc.oneof(
  fc.constantFrom(...new Set(named)),
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((d) => JSON.stringify(d)),
);
const time = fc
  .date({ min: new Date(0), max: new Date("2200-01-01"), noInvalidDate: true })
  .map((date) => date.toISOString());

/**
 * Two payloads of one shape. The shape's words are attacks, parts of attacks and anything, so that a number next to them would
 * show if it counted.
 */
const words = Object.values(attacks).flat();
const word = fc.oneof(
  fc.constantFrom(...words),
  fc.constantFrom(...words).map((text) => text.slice(0, text.length >> 1)),
  fc.constantFrom("' or ", "1=", "; cat ", "<img src=", "--", "union select ", "$(", "temp", "0x"),
  fc.string(),
);
const slot = (value: fc.Arbitrary<string>) => fc.tuple(value, value);
const pair = fc
  .array(
    fc.tuple(
      word,
      fc.oneof(
        slot(jsonNumber),
        slot(fc.oneof(time, jsonNumber).map((t) => JSON.stringify(t))),
        word.map((w) => [JSON.stringify(w), JSON.stringify(w)] as [string, string]),
      ),
    ),
    { minLength: 1, maxLength: 5 },
  )
  .map((members) =>
    [0, 1].map(
      (side) => `{${members.map(([name, values]) => `${JSON.stringify(name)}:${values[side]}`).join(",")}}`,
    ),
  );

for (const paranoia of [1, 2]) {
  const families =
    paranoia === 1
      ? (["lfi", "rfi", "rce", "php", "nodejs", "xss", "sqli", "java"] as const)
      : (["rce", "xss", "sqli"] as const);
  test(`the engine itself says the same of payloads with one normal form: level ${paranoia}, ${families.join(", ")}`, () => {
    const oracle = new Oracle({ paranoia, families });
    let alike = 0;
    let refusals = 0;
    fc.assert(
      fc.property(pair, ([left, right]) => {
        const forms = [left!, right!].map(form);
        if (forms[0] !== forms[1]) return;
        alike += 1;
        const verdicts = [left!, right!].map((text) => refused(oracle.mqtt(request({ text }))));
        assert.equal(verdicts[0], verdicts[1], `${left} and ${right}`);
        if (verdicts[0]) refusals += 1;
      }),
      { numRuns: full ? 4_000 : 120 },
    );
    assert.ok(alike > 40 && refusals > 5 && refusals < alike, `${refusals} of ${alike} refused`);
  });

  test(`the engine finds nothing in any number or time by itself: level ${paranoia}`, () => {
    const oracle = new Oracle({ paranoia, families });
    fc.assert(
      fc.property(fc.array(fc.oneof(jsonNumber, time), { minLength: 20, maxLength: 20 }), (values) => {
        const inert = values.filter((value) => form(JSON.stringify(value)) === '"0"');
        const verdict = oracle.mqtt(request({ text: JSON.stringify(inert) }));
        assert.deepEqual(verdict, { clean: true }, JSON.stringify(inert));
        const bare = values.filter((value) => form(value) === "0").slice(0, 5);
        for (const text of bare) assert.deepEqual(oracle.mqtt(request({ text })), { clean: true }, text);
      }),
      { numRuns: full ? 1_000 : 20 },
    );
  });
}

test("binary payloads with the same texts have one normal form and one verdict", () => {
  const oracle = new Oracle();
  const forms = new Map<string, boolean>();
  for (const { payload } of ordinary(full ? 5_000 : 120, 11)) {
    const packed = Buffer.concat([Buffer.from([0xff, 0x01]), payload]);
    const key = normalForm(packed, false).toString("latin1");
    const verdict = refused(oracle.mqtt(request({ payload: packed })));
    assert.equal(forms.get(key) ?? verdict, verdict, packed.toString("hex"));
    forms.set(key, verdict);
  }
});
