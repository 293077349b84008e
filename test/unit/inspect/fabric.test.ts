import assert from "node:assert/strict";
import { test } from "node:test";
import type { CapturedFrame } from "@topicast/inspect/read/record.js";
import { HEADER_BYTES, parseFabricKeys, SEAL_BYTES, Seal } from "@topicast/protocol";
import { inspectFrames, readFrames } from "./support.js";

/** Ten links of the demo, from the agents' registration to the first datagrams of a group. */
const frames = readFrames("fabric.pcapng");
/** In an Ethernet frame with an IPv4 header of 20 bytes. */
const IP_LENGTH_AT = 16;
const IP_PROTOCOL_AT = 23;
const UDP_AT = 34;
const UDP_LENGTH_AT = 38;
const DATA_AT = 42;

test("the fabric: who speaks to whom, in which streams", () => {
  const rows = inspectFrames(frames);
  assert.equal(rows.of("problems").length, 0);
  const fabric = rows.of("fabric");
  const of = (kind: string) => fabric.filter((row) => row.kind === kind);
  assert.deepEqual([...new Set(fabric.map(({ agent }) => agent))].sort(), [
    "e1",
    "e3",
    "e5",
    "e7",
    "forwarder",
  ]);
  assert.equal(new Set(fabric.map((row) => row.interface)).size, 10);
  // One datagram on each of the eight links to two edges; the last ones are to the edges themselves.
  const [first] = of("DATA");
  assert.ok(first !== undefined);
  const copies = of("DATA").filter(({ number }) => number === first.number);
  assert.equal(copies.length, 8);
  assert.equal(new Set(copies.map((row) => row.interface)).size, 8);
  for (const row of copies) {
    assert.deepEqual([row.agent, row.group_address, row.epoch], ["e3", "239.192.0.1", first.epoch]);
    assert.equal(row.is_multicast, row.dst === "239.192.0.1");
  }
  assert.deepEqual(
    copies
      .filter((row) => row.is_multicast !== true)
      .map((row) => row.dst)
      .sort(),
    ["192.168.1.101", "192.168.1.105"],
  );
  const published = rows
    .of("mqtt")
    .filter((row) => row.topic === "plant/7/temp" && row.transport === "fabric");
  assert.ok(published.length >= of("DATA").length);
});

test("sealed datagrams tell the same", () => {
  const seal = new Seal(parseFabricKeys("ab".repeat(32), "key"), 1);
  const sealed = frames.map((frame): CapturedFrame => {
    const { bytes } = frame;
    const isFabric =
      bytes[IP_PROTOCOL_AT] === 17 && bytes[DATA_AT] === 1 && bytes.length >= DATA_AT + HEADER_BYTES;
    if (!isFabric) return frame;
    const length = bytes.readUInt16BE(UDP_LENGTH_AT);
    const payload = bytes.subarray(DATA_AT + HEADER_BYTES, UDP_AT + length);
    const whole = Buffer.concat([
      bytes.subarray(0, DATA_AT),
      seal.seal(bytes.subarray(DATA_AT, DATA_AT + HEADER_BYTES), payload),
      payload,
    ]);
    whole.writeUInt16BE(length + SEAL_BYTES, UDP_LENGTH_AT);
    whole.writeUInt16BE(bytes.readUInt16BE(IP_LENGTH_AT) + SEAL_BYTES, IP_LENGTH_AT);
    return { ...frame, bytes: whole, length: whole.length };
  });
  const [plain, found] = [inspectFrames(frames), inspectFrames(sealed)];
  assert.ok(plain.of("fabric").length > 100);
  for (const table of ["fabric", "mqtt", "problems"] as const)
    assert.deepEqual(found.of(table), plain.of(table));
});
