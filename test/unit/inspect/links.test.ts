import assert from "node:assert/strict";
import { test } from "node:test";
import type { CapturedFrame } from "@topicast/inspect/read/record.js";
import { tableNames } from "@topicast/inspect/tables/schema.js";
import { FRAMINGS, reframe } from "./reframe.js";
import { inspectFrames, readFrames } from "./support.js";

for (const capture of ["sessions.pcap", "datagrams.pcap"]) {
  for (const framing of FRAMINGS) {
    test(`${capture} on another link tells the same: ${framing.name}`, () => {
      const frames = readFrames(capture);
      const asCaptured = inspectFrames(frames);
      const reframed = inspectFrames(frames.map((frame) => reframe(frame, framing)));
      assert.ok(asCaptured.of("mqtt").length + asCaptured.of("coap").length > 10);
      for (const table of tableNames) {
        if (table !== "frames") assert.deepEqual(reframed.of(table), asCaptured.of(table), table);
      }
      assert.deepEqual(
        reframed.of("frames").map(({ length, captured, vlan, ...same }) => ({ ...same, vlan })),
        asCaptured.of("frames").map(({ length, captured, ...same }) => ({ ...same, vlan: framing.vlan })),
      );
    });
  }
}

test("frames cut inside the TCP options: streams are followed all the same, and nothing is called malformed", () => {
  const frames = readFrames("sessions.pcap");
  const cut = frames.map((frame) => {
    const headers = frame.bytes[14]! >> 4 === 4 ? 14 + 20 + 20 : 14 + 40 + 20;
    return { ...frame, bytes: frame.bytes.subarray(0, headers + 4) };
  });
  const known = (each: readonly CapturedFrame[]) =>
    inspectFrames(each)
      .of("frames")
      .map(({ captured, ...same }) => same);
  assert.deepEqual(known(cut), known(frames));
  assert.deepEqual(inspectFrames(cut).of("problems"), []);
});

test("a time that is none is told, and that of the frame before taken", () => {
  const [first, second] = readFrames("sessions.pcap") as [CapturedFrame, CapturedFrame];
  const rows = inspectFrames([first, { ...second, timeUs: 2 ** 60 }]);
  assert.deepEqual(
    rows.of("frames").map(({ time }) => time),
    [first.timeUs, first.timeUs],
  );
  assert.match(rows.of("problems")[0]?.reason ?? "", /a time that is none/);
});
