import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StackConnection } from "@topicast/agent/tcp/stack.js";
import { checksum, sumWords } from "@topicast/agent/tcp/wire/checksum.js";
import { parseMac, writeEthernet } from "@topicast/agent/tcp/wire/ethernet.js";
import { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { readIcmpError } from "@topicast/agent/tcp/wire/icmp.js";
import type { Endpoints } from "@topicast/agent/tcp/wire/path.js";
import { ACK } from "@topicast/agent/tcp/wire/tcp.js";
import fc from "../../../property.js";
import { frameOf, Station } from "./frame-station.js";
import { pattern } from "./pattern.js";
import { FRAGMENTATION_NEEDED4, parsed, TOO_BIG6 } from "./wire/linux-frames.js";

const MAC = parseMac("02:00:00:00:00:01");
const ROUTER = parseMac("02:00:00:00:00:fe");
const V4: Endpoints = {
  localMac: ROUTER,
  remoteMac: MAC,
  local: "10.9.0.2",
  localPort: 50_000,
  remote: "10.0.0.1",
  remotePort: 1883,
};
const V6: Endpoints = { ...V4, local: "fd09::2", remote: "fd00::1" };
const ISS = 1_000;

/** An ICMP error from the router about `quoted`, a frame of the station's. */
function report(quoted: Buffer, type: number, code: number, word: number): Buffer {
  const isV4 = quoted.readUInt16BE(12) === 0x0800;
  const length = isV4 ? 28 : 1_200;
  const icmp = Buffer.concat([Buffer.from([type, code, 0, 0, 0, 0, 0, 0]), quoted.subarray(14, 14 + length)]);
  icmp.writeUInt32BE(word, 4);
  const header = Buffer.alloc(isV4 ? 34 : 54);
  writeEthernet(header, MAC, ROUTER, [], isV4 ? 0x0800 : 0x86dd);
  if (isV4) {
    header[14] = 0x45;
    header.writeUInt16BE(20 + icmp.length, 16);
    header[22] = 64;
    header[23] = 1;
    Buffer.from([10, 0, 0, 254]).copy(header, 26);
    quoted.copy(header, 30, 26, 30);
    header.writeUInt16BE(checksum(sumWords(header, 14, 34)), 24);
    icmp.writeUInt16BE(checksum(sumWords(icmp, 0, icmp.length)), 2);
  } else {
    header[14] = 0x60;
    header.writeUInt16BE(icmp.length, 18);
    header[20] = 58;
    header[21] = 64;
    Buffer.from("fd0000000000000000000000000000fe", "hex").copy(header, 22);
    quoted.copy(header, 38, 22, 38);
    const pseudo = sumWords(header, 22, 54) + 58 + icmp.length;
    icmp.writeUInt16BE(checksum(pseudo + sumWords(icmp, 0, icmp.length)), 2);
  }
  return Buffer.concat([header, icmp]);
}

const tooBig = (quoted: Buffer, mtu: number) =>
  quoted.readUInt16BE(12) === 0x0800 ? report(quoted, 3, 4, mtu) : report(quoted, 2, 0, mtu);

/** A station with a connection that has just sent `length` bytes. */
function sending(ends: Endpoints, length: number): { at: Station; connection: StackConnection } {
  const at = new Station({ mac: MAC, ipv4: ["10.0.0.1"], ipv6: ["fd00::1"] }, ISS, 1883);
  const connection = at.open(ends);
  at.sent = [];
  connection.write(pattern(0, length));
  at.flush();
  return { at, connection };
}

function sizes(at: Station): number[] {
  return at.sent.map((bytes) => parsed(bytes).segment.payload.length);
}

describe("ICMP errors of Linux", () => {
  it("tell connection, segment and MTU", () => {
    for (const [bytes, seq, key] of [
      [TOO_BIG6, 0x9085d016, `fd79${"0".repeat(27)}2fd78${"0".repeat(27)}1075ddc0e`],
      [FRAGMENTATION_NEEDED4, 0xdeec7a12, "0a4f0002" + "0a4e0001" + "075eed24"],
    ] as const) {
      const frame = new Frame();
      assert.equal(frame.parse(bytes, bytes.length), "icmp");
      const error = readIcmpError(frame);
      assert(error !== undefined);
      assert.deepEqual([error.mtu, error.seq], [1_400, seq | 0]);
      assert.equal(Buffer.from(error.key, "latin1").toString("hex"), key);
    }
  });

  it("mean nothing when damaged anywhere", () => {
    for (const whole of [TOO_BIG6, FRAGMENTATION_NEEDED4]) {
      for (let i = whole === TOO_BIG6 ? 22 : 14; i < whole.length; i++) {
        const bytes = Buffer.from(whole);
        bytes[i]! ^= 0x10;
        const frame = new Frame();
        if (frame.parse(bytes, bytes.length) === "icmp")
          assert.equal(readIcmpError(frame), undefined, `byte ${i}`);
      }
    }
  });

  it("never throw, whatever is in them", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(TOO_BIG6, FRAGMENTATION_NEEDED4),
        fc.array(fc.tuple(fc.nat(130), fc.nat(255)), { maxLength: 5 }),
        fc.nat(140),
        (whole, changes, length) => {
          const bytes = Buffer.from(whole.subarray(0, Math.max(length, 14)));
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          const frame = new Frame();
          if (frame.parse(bytes, bytes.length) === "icmp") readIcmpError(frame);
        },
      ),
      { numRuns: 3_000 },
    );
  });
});

for (const [name, ends, headers] of [
  ["IPv4", V4, 40],
  ["IPv6", V6, 60],
] as const) {
  describe(`a path with a smaller MTU over ${name}`, () => {
    it("is believed at once, and the segments fit", () => {
      const { at, connection } = sending(ends, 5_000);
      const first = 1_500 - headers;
      assert.deepEqual(sizes(at).slice(0, 3), [first, first, first]);
      const big = at.sent[0]!;
      at.sent = [];
      at.arrive(tooBig(big, 1_300));
      assert(sizes(at).length > 3);
      assert(sizes(at).every((size) => size <= 1_300 - headers));
      assert.equal(Math.max(...at.sent.map((bytes) => bytes.length)), 1_314);
      assert.equal(at.stack.counters.icmp_too_big, 1);
      at.arrive(frameOf(ends, { flags: ACK, seq: 1, ack: ISS + 5_001, window: 60_000 }));
      at.sent = [];
      connection.write(pattern(5_000, 3_000));
      at.flush();
      assert.deepEqual(sizes(at), [1_300 - headers, 1_300 - headers, 3_000 - 2 * (1_300 - headers)]);
    });

    it("is not believed of segments that are not in flight, or of no connection", () => {
      const { at } = sending(ends, 1_000);
      const [segment] = at.sent;
      at.arrive(frameOf(ends, { flags: ACK, seq: 1, ack: ISS + 1_001, window: 60_000 }));
      at.arrive(tooBig(segment!, 1_300));
      const ours = { ...ends, localMac: MAC, remoteMac: ROUTER, remote: ends.local, local: ends.remote };
      const other = { ...ours, localPort: 1883, remotePort: 50_001 };
      at.arrive(tooBig(frameOf(other, { flags: ACK, seq: ISS + 1, payload: Buffer.alloc(1_000) }), 1_300));
      assert.equal(at.stack.counters.drop_icmp_stray, 2);
      assert.equal(at.stack.counters.icmp_too_big, 0);
    });

    it("is no reason to take what no link may say", () => {
      const { at } = sending(ends, 1_000);
      const [segment] = at.sent;
      at.arrive(tooBig(segment!, ends === V4 ? 67 : 1_279));
      const foreign = tooBig(segment!, 1_300);
      // The quoted source is not the one the error comes to.
      foreign[ends === V4 ? 14 + 28 + 15 : 14 + 48 + 23]! ^= 1;
      at.arrive(foreign);
      assert.equal(at.stack.counters.drop_icmp, 2);
    });
  });

  describe(`other ICMP errors over ${name}`, () => {
    it("change nothing", () => {
      const { at, connection } = sending(ends, 1_000);
      const [segment] = at.sent;
      const errors =
        ends === V4
          ? [
              [3, 0],
              [3, 1],
              [3, 2],
              [3, 3],
              [4, 0],
              [11, 0],
              [12, 0],
            ]
          : [
              [1, 0],
              [1, 4],
              [3, 0],
              [4, 1],
            ];
      for (const [type, code] of errors) at.arrive(report(segment!, type!, code!, 0));
      assert.equal(at.stack.counters.icmp_soft_errors, errors.length);
      assert.equal(connection.state, "ESTABLISHED");
      at.arrive(report(segment!, ends === V4 ? 8 : 128, 0, 0));
      assert.equal(at.stack.counters.drop_icmp, 1);
    });
  });
}

describe("a router that does not tell its MTU (RFC 1191 section 5)", () => {
  it("is taken to have the next lower typical one", () => {
    const { at } = sending(V4, 1_460);
    const [segment] = at.sent;
    at.sent = [];
    at.arrive(tooBig(segment!, 0));
    assert.deepEqual(sizes(at), [1_492 - 40, 8]);
    at.arrive(tooBig(at.sent[0]!, 0));
    assert.equal(sizes(at)[2], 1_006 - 40);
  });
});

describe("a path that wants less than 552 bytes", () => {
  it("gets segments of 512 that routers may cut, each with a number of its own", () => {
    const { at, connection } = sending(V4, 1_000);
    const [segment] = at.sent;
    assert.equal(segment!.readUInt16BE(20), 0x4000, "don't fragment");
    at.sent = [];
    at.arrive(tooBig(segment!, 296));
    connection.write(pattern(1_000, 2_000));
    at.flush();
    assert.deepEqual(sizes(at).slice(0, 3), [512, 488, 512]);
    assert(at.sent.every((bytes) => bytes.readUInt16BE(20) === 0));
    const numbers = at.sent.map((bytes) => bytes.readUInt16BE(18));
    assert.deepEqual(
      numbers.slice(1).map((n, i) => (n - numbers[i]!) & 0xffff),
      numbers.slice(1).map(() => 1),
    );
    // The segment that was quoted is out again, so a later report of it counts, and changes nothing more.
    at.arrive(tooBig(at.sent[0]!, 296));
    assert.equal(at.stack.counters.icmp_too_big, 2);
  });
});
