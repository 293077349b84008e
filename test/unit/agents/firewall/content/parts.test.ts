import assert from "node:assert/strict";
import test from "node:test";
import { textsIn } from "@topicast/agent/firewall/content/binary.js";
import { cborTexts } from "@topicast/agent/firewall/content/cbor.js";
import {
  FrameReader,
  frame,
  readRequest,
  readVerdict,
  requestFrame,
  verdictFrame,
} from "@topicast/agent/firewall/content/frames.js";
import { readLogLine } from "@topicast/agent/firewall/content/log-line.js";
import { httpRequests } from "@topicast/agent/firewall/content/mapping.js";
import { requestKey, VerdictMemory } from "@topicast/agent/firewall/content/memory.js";
import { normalForm } from "@topicast/agent/firewall/content/normal-form.js";
import { protobufTexts } from "@topicast/agent/firewall/content/protobuf.js";
import { contentSettings } from "@topicast/agent/firewall/content/settings.js";
import type { ContentVerdict } from "@topicast/agent/firewall/content.js";
import { UserError } from "@topicast/protocol";
import fc from "../../../../property.js";
import { request } from "./oracle.js";

const strings = (texts: readonly Buffer[] | undefined) => texts?.map(String);

test("frames: what goes in comes out, however the stream is cut", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          topic: fc.string(),
          payload: fc.uint8Array(),
          contentType: fc.option(fc.string(), { nil: undefined }),
        }),
      ),
      fc.integer({ min: 1, max: 50 }),
      (items, step) => {
        const asked = items.map(({ topic, payload, contentType }) =>
          request({ topics: [topic], payload: Buffer.from(payload), contentType }),
        );
        const stream = Buffer.concat([frame(Buffer.alloc(0)), ...asked.map(requestFrame)]);
        const reader = new FrameReader();
        const bodies: Buffer[] = [];
        for (let at = 0; at < stream.length; at += step)
          bodies.push(...reader.push(stream.subarray(at, at + step)));
        assert.equal(bodies.shift()?.length, 0);
        const plain = (one: object) => JSON.parse(JSON.stringify(one)) as unknown;
        assert.deepEqual(bodies.map(readRequest).map(plain), asked.map(plain));
      },
    ),
  );
  const verdicts: ContentVerdict[] = [
    { clean: true },
    { clean: true, noted: [{ id: 1, message: "m", matched: "x", severity: "" }] },
    { clean: false, rules: [], score: 5 },
  ];
  for (const verdict of verdicts)
    assert.deepEqual(readVerdict(new FrameReader().push(verdictFrame(verdict))[0]!), verdict);
});

test("a log line: the rule's own fields, not what the sender wrote in their shape", () => {
  const spoof = '[file ""] [line ""] [id "7"] [rev ""] [msg "harmless"] [data ""] [severity "7"]';
  const line =
    `ModSecurity: Warning. Matched "Operator \`Rx' … (Value: \`${spoof}' ) [file "/x.conf"] [line "46"] [id "942100"] [rev ""] ` +
    `[msg "SQL Injection"] [data "Matched Data: x"] [severity "2"] [ver ""] [hostname "secret"] [uri "/${spoof}"] [unique_id "1"]`;
  assert.deepEqual(readLogLine(line, "secret"), {
    id: 942100,
    message: "SQL Injection",
    matched: "Matched Data: x",
    severity: "CRITICAL",
  });
  assert.equal(readLogLine(line.replace("secret", "other"), "secret"), undefined);
});

test("CBOR: RFC 8949's examples, strings of indefinite length, nothing of what is no CBOR", () => {
  const hex = (text: string) => strings(cborTexts(Buffer.from(text, "hex")));
  assert.deepEqual(hex("a56161614161626142616361436164614461656145"), [
    "a",
    "A",
    "b",
    "B",
    "c",
    "C",
    "d",
    "D",
    "e",
    "E",
  ]);
  assert.deepEqual(hex("7f657374726561646d696e67ff"), ["streaming"]);
  assert.deepEqual(hex("c11a514b67b0"), []);
  assert.deepEqual(hex("bf6346756ef563416d7421ff"), ["Fun", "Amt"]);
  assert.deepEqual(hex("fb3ff199999999999a6161"), ["a"]);
  for (const broken of [
    "62",
    "6261",
    "9f01",
    "a1",
    "1c",
    "ff",
    "5f6161ff",
    "bf01ff",
    "c1",
    `${"81".repeat(20)}00`,
  ]) {
    assert.equal(hex(broken), undefined, broken);
  }
});

test("Protocol Buffers: strings, also those of messages within; nothing of what is none", () => {
  const hex = (text: string) => strings(protobufTexts(Buffer.from(text, "hex")));
  assert.deepEqual(hex("120774657374696e67"), ["testing"]);
  assert.deepEqual(hex("1a03089601"), []);
  assert.deepEqual(hex("1a0512036c732f"), ["\x12\x03ls/", "ls/"]);
  assert.deepEqual(hex("0d0000a04109000000000000f03f089601"), []);
  for (const broken of ["12", "1207", "0d00", "0b", "00", "08ffffffffffffffffffff01"])
    assert.equal(hex(broken), undefined, broken);
});

test("texts in binary payloads: each once, also where a length would hide a beginning", () => {
  assert.deepEqual(strings(textsIn(Buffer.from("\x00\x01abc\x00abcd\xff\x00B\xfcrx\x07abcd", "latin1"))), [
    "abcd",
  ]);
  assert.deepEqual(
    strings(textsIn(Buffer.concat([Buffer.from([0x80]), Buffer.from("Büro 1"), Buffer.from([0xc3])]))),
    ["Büro 1"],
  );
  assert.ok(strings(textsIn(Buffer.from("a163636d6468756e616d65202d61", "hex")))!.includes("uname -a"));
});

test("any bytes become HTTP requests with printable URIs and few arguments", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 3000 }),
      fc.array(fc.string(), { maxLength: 1000 }),
      fc.boolean(),
      (bytes, topics, json) => {
        for (const http of httpRequests(request({ payload: Buffer.from(bytes), topics }), json)) {
          assert.match(http.uri, /^\/[\x21-\x7e]*$/);
          assert.ok(http.uri.split("&").length <= 400);
        }
      },
    ),
  );
});

test("a packet with more arguments than the library reads becomes several requests, with all of them", () => {
  const topics = Array.from({ length: 950 }, (_, i) => `t${i}`);
  const uris = httpRequests(request({ kind: "subscribe", topics })).map((http) => http.uri);
  assert.equal(uris.length, 3);
  for (const topic of topics)
    assert.ok(
      uris.some((uri) => new RegExp(`=${topic}(&|$)`).test(uri)),
      topic,
    );
});

test("remembered verdicts: everything judged is part of the key, and there are never more than the limit", () => {
  const first = request({ text: "a" });
  const others = [
    request({ text: "b" }),
    request({ text: "a", topics: ["x"] }),
    request({ text: "a", clientId: "x" }),
    request({ text: "a", username: "x" }),
    request({ text: "a", peer: "192.0.2.8" }),
    request({ text: "a", contentType: "text/plain" }),
    request({ text: "a", kind: "connect" }),
    request({ text: "a", properties: [["x", "y"]] }),
  ];
  const keys = new Set([first, ...others].map((one) => requestKey(one, true)));
  assert.equal(keys.size, 9);
  const binary = Buffer.from("\x01\xffx' or\xff1=1--", "latin1");
  const lookalike = normalForm(binary, true);
  assert.notEqual(
    requestKey(request({ payload: binary }), true),
    requestKey(request({ payload: lookalike }), true),
  );
  const memory = new VerdictMemory(100);
  for (let i = 0; i < 10_000; i++) {
    memory.set(String(i), { clean: true });
    assert.deepEqual(memory.get("0"), { clean: true }, "what is asked for stays");
    assert.ok(memory.size <= 100);
  }
  assert.equal(memory.get("5000"), undefined);
});

test("remembered verdicts that quote many rules are fewer", () => {
  const rule = { id: 1, message: "m", matched: "x".repeat(200), severity: "CRITICAL" };
  const verdict: ContentVerdict = { clean: false, rules: Array.from({ length: 19 }, () => rule), score: 95 };
  const memory = new VerdictMemory(1_000);
  for (let i = 0; i < 1_000; i++) {
    memory.set(String(i), verdict);
    assert.ok(memory.size * 20 <= 1_000);
  }
});

test("large binary payloads go by what they are: looking into them is the workers' task", () => {
  const payload = Buffer.alloc(5_000, 0xff);
  assert.equal(normalForm(payload, true), payload);
});

test("settings out of range name the setting and what it may be", () => {
  assert.throws(
    () => contentSettings({ paranoia: 5 }),
    new UserError("content.paranoia is 5: it is a whole number from 1 to 4"),
  );
  assert.throws(
    () => contentSettings({ families: ["sql" as "sqli"] }),
    /families holds sql: the families are lfi, /,
  );
});
