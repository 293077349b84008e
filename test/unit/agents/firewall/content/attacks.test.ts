import assert from "node:assert/strict";
import test from "node:test";
import type { ContentRequest } from "@topicast/agent/firewall/content.js";
import { attacks } from "./attacks.js";
import { full, Oracle, refused, request } from "./oracle.js";

/** CBOR `{"cmd": text}` with the text's length in two bytes. */
function cbor(text: string): Buffer {
  const bytes = Buffer.from(text);
  const head = Buffer.from([0xa1, 0x63, 0x63, 0x6d, 0x64, 0x79, bytes.length >> 8, bytes.length & 0xff]);
  return Buffer.concat([head, bytes]);
}

/** A Protocol Buffers message with field 1 = 150 and field 4 = text. */
function protobuf(text: string): Buffer {
  const bytes = Buffer.from(text);
  assert.ok(bytes.length < 16_384);
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
  return Buffer.concat([Buffer.from([0x08, 0x96, 0x01, 0x22, ...length]), bytes]);
}

/** JSON with each character of a string in it escaped; undefined where that takes two escapes for one. */
function escaped(text: string, json: (escaped: string) => string): ContentRequest | undefined {
  const codes = [...text].map((character) => character.codePointAt(0)!);
  if (codes.some((code) => code > 0xffff)) return undefined;
  return request({ text: json(codes.map((code) => `\\u${code.toString(16).padStart(4, "0")}`).join("")) });
}

/** XML character references (XML 1.0, section 4.1). */
function references(text: string): string {
  return [...text].map((character) => `&#${character.codePointAt(0)};`).join("");
}

/** Every way a string may come in; undefined where MQTT does not allow it there. */
const ways: Readonly<Record<string, (text: string) => ContentRequest | undefined>> = {
  text: (text) => request({ text }),
  "JSON value": (text) => request({ text: JSON.stringify({ t: 21.5, note: text, ok: true }) }),
  topic: (text) => (/[+#]/.test(text) ? undefined : request({ topics: [text], text: "21.5" })),
  "JSON deep inside": (text) => request({ text: JSON.stringify([{ a: { b: [1, text] } }]) }),
  "JSON that lacks its end": (text) => request({ text: `{"t":21.5,"note":${JSON.stringify(text)}` }),
  form: (text) => request({ text: `t=21.5&note=${encodeURIComponent(text)}` }),
  CBOR: (text) => request({ payload: cbor(text) }),
  protobuf: (text) => request({ payload: protobuf(text) }),
  "topic level": (text) =>
    /[+#]/.test(text) ? undefined : request({ topics: [`a/${text}/b`], text: "21.5" }),
  filter: (text) => (/[+#]/.test(text) ? undefined : request({ kind: "subscribe", topics: ["a/b", text] })),
  "user property": (text) => request({ properties: [["unit", text]] }),
  "response topic": (text) => request({ properties: [["Response Topic", text]] }),
  "content type": (text) => request({ text: "21.5", contentType: text }),
  "client id": (text) => request({ kind: "connect", topics: [], clientId: text }),
  "lines of JSON, escaped": (text) => escaped(text, (note) => `{"t":21.5}\n{"note":"${note}"}`),
  "JSON behind a byte order mark, escaped": (text) => escaped(text, (note) => `\ufeff{"note":"${note}"}`),
  "JSON too deep for the library, escaped": (text) =>
    escaped(text, (note) => `${"[".repeat(70)}"${note}"${"]".repeat(70)}`),
  "XML that does not say so": (text) => request({ text: `<note by="${references(text)}"/>` }),
  "user name": (text) => request({ kind: "connect", topics: [], username: text }),
};

test("what the engine refuses of a web client it refuses of an MQTT client, whichever way it comes", (t) => {
  const oracle = new Oracle();
  let asHttp = 0;
  const missed: string[] = [];
  const counts = new Map<string, number>();
  for (const [category, texts] of Object.entries(attacks)) {
    const found = texts.filter((text) => oracle.http(text).denied);
    asHttp += found.length;
    t.diagnostic(`${category}: ${found.length} of ${texts.length} refused over HTTP`);
    for (const [index, text] of found.entries()) {
      // All of them as text; every tenth in each of the other ways keeps the test short.
      for (const [way, make] of Object.entries(ways).filter(
        (_, i) => full || i === 0 || (i + index) % 10 === 0,
      )) {
        const asked = make(text);
        if (asked === undefined) continue;
        if (refused(oracle.mqtt(asked))) counts.set(way, (counts.get(way) ?? 0) + 1);
        else missed.push(`${way}: ${text}`);
      }
    }
  }
  for (const [way, count] of counts) t.diagnostic(`${way}: ${count} refused over MQTT`);
  assert.ok(asHttp >= 300, `only ${asHttp} of the corpus are attacks in the engine's eyes`);
  assert.deepEqual(missed, []);
});

test("an injection in escapes behind a thousand members of JSON, where the library stops reading", () => {
  const many = Array.from({ length: 1_100 }, (_, i) => `"k${i}":${i}`).join();
  const asked = escaped("x' or 1=1--", (note) => `{${many},"note":"${note}"}`);
  assert.ok(refused(new Oracle().mqtt(asked!)));
});

test("the topic of a binary message without any text is judged", () => {
  const payload = Buffer.from([0xff, 0x00, 0xfe]);
  assert.ok(refused(new Oracle().mqtt(request({ topics: ["a/x' or 1=1--"], payload }))));
});
