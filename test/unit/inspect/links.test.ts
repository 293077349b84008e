import assert from "node:assert/strict";
import { test } from "node:test";
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
