import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  ASK,
  agentNumber,
  BEGIN,
  decodeDatagram,
  encodeHeader,
  encodePublish,
  epochAt,
  FENCE,
  type Header,
  Kind,
  PacketReader,
  START,
  serialDistance,
  serialNext,
  toMessage,
  WHOLE,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import fc from "../../property.js";

const u32 = fc.integer({ min: 0, max: 0xffffffff });

describe("header", () => {
  it("decodes what it encodes, for any field values", () => {
    fc.assert(
      fc.property(
        fc.constantFrom<[Kind, number]>(
          ...[0, START, WHOLE, WHOLE | ASK, WHOLE | ASK | FENCE].map((f): [Kind, number] => [Kind.DATA, f]),
          ...[0, ASK, BEGIN].map((f): [Kind, number] => [Kind.HEARTBEAT, f]),
          ...[0, BEGIN].map((f): [Kind, number] => [Kind.STATUS, f]),
          ...[0, START, WHOLE].map((f): [Kind, number] => [Kind.CONTROL, f]),
          ...[Kind.ACK, Kind.RESET, Kind.ANNOUNCE].map((kind): [Kind, number] => [kind, 0]),
        ),
        u32,
        u32,
        u32,
        u32,
        fc.uint8Array({ maxLength: 64 }),
        ([kind, flags], source, epoch, stream, number, bytes) => {
          const header: Header = { kind, flags, source, epoch, stream, number };
          const payload = Buffer.from(bytes);
          const got = decodeDatagram(Buffer.concat([encodeHeader(header), payload]));
          assert.deepEqual(got, { ...header, payload });
        },
      ),
    );
  });

  const good = Buffer.concat([
    encodeHeader({ kind: Kind.DATA, flags: WHOLE, source: 1, epoch: 2, stream: 3, number: 4 }),
    Buffer.from("x"),
  ]);
  const changed = (at: number, value: number) => {
    const bytes = Buffer.from(good);
    bytes[at] = value;
    return bytes;
  };

  for (const [what, bytes, fault] of [
    ["nothing", Buffer.alloc(0), "truncated"],
    ["a bare PUBLISH", Buffer.from([0x30, 0x05, 0, 1, 0x61, 0x62, 0x63]), "plain"],
    ["another version", changed(0, 0x02), "bad_version"],
    ["version 0", changed(0, 0x00), "bad_version"],
    ["19 bytes", good.subarray(0, 19), "truncated"],
    ["kind 0", changed(1, 0), "bad_kind"],
    ["kind 8", changed(1, 8), "bad_kind"],
    ["an unknown flag", changed(2, 0x20), "bad_flags"],
    ["a flag of another kind", changed(2, 0x08), "bad_flags"],
    ["a header length of 16", changed(3, 4), "truncated"],
    ["a header longer than the datagram", changed(3, 6), "truncated"],
  ] as const) {
    it(`refuses ${what}: ${fault}`, () => assert.equal(decodeDatagram(bytes), fault));
  }

  it("skips header bytes that it does not know", () => {
    const longer = Buffer.concat([good.subarray(0, 20), Buffer.from("tag!"), good.subarray(20)]);
    longer[3] = 6;
    const got = decodeDatagram(longer);
    assert.ok(typeof got === "object");
    assert.equal(got.payload.toString(), "x");
  });

  it("never throws, whatever comes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (b) => void decodeDatagram(Buffer.from(b))));
  });
});

describe("serial numbers", () => {
  it("go on over the wrap", () => {
    assert.equal(serialNext(0xffffffff), 0);
    assert.equal(serialDistance(0xffffffff, 1), 2);
    assert.equal(serialDistance(1, 0xffffffff), -2);
  });

  it("epochs grow with time, and past the previous one within a tick", () => {
    assert.ok(serialDistance(epochAt(1_700_000_000_000), epochAt(1_700_000_000_100)) > 0);
    const first = epochAt(1_700_000_000_000);
    assert.equal(epochAt(1_700_000_000_000, first), first + 1);
    assert.equal(epochAt(1_600_000_000_000, first), first + 1, "a clock set back does not make it older");
    assert.notEqual(epochAt(0), 0);
  });

  it("agent numbers are the id's hash, as specified", () => {
    // printf e1 | sha256sum | cut -c 1-8
    assert.equal(agentNumber("e1").toString(16).padStart(8, "0"), E1_HASH);
  });
});

const E1_HASH = "8b5cc4df";

describe("PacketReader", () => {
  const publish = encodePublish({ topic: "a", payload: Buffer.from("b"), qos: 1, retain: true });

  it("reads packets back to back", () => {
    const packets = new PacketReader().read(Buffer.concat([publish, publish]))!;
    assert.equal(packets.length, 2);
    assert.deepEqual(toMessage(packets[0] as IPublishPacket), {
      topic: "a",
      payload: Buffer.from("b"),
      qos: 1,
      retain: true,
    });
  });

  it("refuses a rest, a lie about the length, and garbage, and reads on afterwards", () => {
    const reader = new PacketReader();
    assert.equal(reader.read(publish.subarray(0, -1)), undefined);
    assert.equal(reader.read(Buffer.concat([publish, Buffer.from([0x30])])), undefined);
    assert.equal(reader.read(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0xff])), undefined);
    assert.equal(reader.read(Buffer.from([0x00, 0x00])), undefined);
    assert.equal(reader.read(publish)?.length, 1);
  });

  it("never throws, whatever comes", () => {
    const reader = new PacketReader();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (b) => void reader.read(Buffer.from(b))));
    assert.equal(reader.read(publish)?.length, 1);
  });
});
