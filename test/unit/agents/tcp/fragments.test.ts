import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import type { Endpoints } from "@topicast/agent/tcp/wire/path.js";
import { ACK, PSH } from "@topicast/agent/tcp/wire/tcp.js";
import fc from "../../../property.js";
import { frameOf, Station } from "./frame-station.js";
import { pattern } from "./pattern.js";
import { cut, fragment4, fragment6 } from "./wire/cut.js";
import { FRAGMENTS4, parsed, STATION_MAC } from "./wire/linux-frames.js";

const MAC = parseMac("02:00:00:00:00:01");
const V4: Endpoints = {
  localMac: parseMac("02:00:00:00:00:02"),
  remoteMac: MAC,
  local: "10.0.0.2",
  localPort: 50_000,
  remote: "10.0.0.1",
  remotePort: 1883,
};
const V6: Endpoints = { ...V4, local: "fd00::2", remote: "fd00::1" };
const ISS = 1_000;

function station(): Station {
  return new Station({ mac: MAC, ipv4: ["10.0.0.1"], ipv6: ["fd00::1"] }, ISS, 1883);
}

/** `length` bytes of the test stream from the client of `ends`. */
function data(ends: Endpoints, length: number): Buffer {
  const payload = pattern(0, length);
  return frameOf(ends, { flags: ACK | PSH, seq: 1, ack: ISS + 1, window: 60_000, payload });
}

for (const [name, ends] of [
  ["IPv4", V4],
  ["IPv6", V6],
] as const) {
  /** The header of a frame to the station, for fragments that nothing good cuts. */
  const header = data(ends, 100).subarray(0, ends === V4 ? 34 : 54);
  const fragment = (offset: number, length: number, more: boolean, id = 1) =>
    (ends === V4 ? fragment4 : fragment6)(header, Buffer.alloc(length, id), offset, more, id);

  describe(`fragments over ${name}`, () => {
    it("give the datagram, however it was cut, in any order, repeated or not", () => {
      const whole = data(ends, 1_400);
      fc.assert(
        fc.property(
          fc.uniqueArray(fc.integer({ min: 3, max: 177 }), { minLength: 1, maxLength: 20 }),
          fc.integer(),
          fc.array(fc.nat(), { maxLength: 5 }),
          fc.infiniteStream(fc.nat()),
          (cuts, id, repeated, order) => {
            const edges = cuts.map((n) => n * 8).sort((a, b) => a - b);
            const fragments = cut(whole, edges, id);
            const all = [...fragments, ...repeated.map((n) => fragments[n % fragments.length]!)]
              .map((bytes) => ({ bytes, place: order.next().value as number }))
              .sort((a, b) => a.place - b.place);
            const at = station();
            const connection = at.open(ends);
            for (const { bytes } of all) at.arrive(bytes);
            const received = connection.read();
            assert.deepEqual(received, pattern(0, 1_400));
            assert.equal(at.stack.counters.drop_tcp_checksum, 0);
            assert(at.last.segment.ack === 1_401);
          },
        ),
        { numRuns: 200 },
      );
    });

    it("give nothing while one is missing, and cost nothing after their time", () => {
      const fragments = cut(data(ends, 1_400), [480, 960], 5);
      for (const missing of fragments) {
        const at = station();
        const connection = at.open(ends);
        for (const bytes of fragments) if (bytes !== missing) at.arrive(bytes);
        assert.equal(connection.read(), undefined);
        assert(at.stack.fragmentMemory > 0);
        at.now = 15_000;
        at.flush();
        assert.equal(at.stack.fragmentMemory, 0);
        assert.equal(at.stack.counters.fragments_expired, 1);
        at.arrive(missing);
        assert.equal(connection.read(), undefined, "what came before is forgotten");
      }
    });

    it("lose their datagram by overlap, whatever comes of it afterwards", () => {
      const overlaps: Array<Array<[offset: number, length: number, more: boolean]>> = [
        [
          [0, 48, true],
          [40, 48, true],
        ],
        [
          [40, 48, true],
          [0, 48, true],
        ],
        [
          [0, 48, true],
          [0, 56, true],
        ],
        [
          [0, 480, true],
          [48, 48, true],
        ],
        [
          [48, 48, true],
          [0, 480, true],
        ],
        // Two ends, and something beyond the end.
        [
          [96, 48, false],
          [48, 24, false],
        ],
        [
          [48, 24, false],
          [96, 48, true],
        ],
        [
          [48, 24, false],
          [72, 8, true],
        ],
        [
          [96, 48, true],
          [48, 24, false],
        ],
      ];
      for (const pieces of overlaps) {
        const at = station();
        at.open(ends);
        for (const [offset, length, more] of pieces) at.arrive(fragment(offset, length, more));
        const { counters } = at.stack;
        assert.equal(counters.drop_fragment_overlap, 1, JSON.stringify(pieces));
        for (const bytes of cut(data(ends, 1_400), [480], 1)) at.arrive(bytes);
        assert.equal(counters.drop_fragment_overlap, 3);
        assert.equal(counters.fragments_joined, 0);
        at.now = 15_000;
        for (const bytes of cut(data(ends, 1_400), [480], 1)) at.arrive(bytes);
        assert.equal(counters.fragments_joined, 1, "the next with that number is another one");
      }
    });

    it("may come twice, but not with other bytes", () => {
      const at = station();
      at.open(ends);
      const [first, second] = cut(data(ends, 1_400), [480], 1);
      at.arrive(first!);
      at.arrive(first!);
      const changed = Buffer.from(first!);
      changed[100]! ^= 1;
      at.arrive(changed);
      at.arrive(second!);
      const { fragments_joined, drop_fragment_again, drop_fragment_overlap } = at.stack.counters;
      assert.deepEqual([fragments_joined, drop_fragment_again, drop_fragment_overlap], [0, 1, 2]);
    });

    it("are refused where no router would cut so, and beyond 64 KB", () => {
      const at = station();
      const refused = [
        fragment(0, 16, true),
        fragment(8, 12, true),
        fragment(8, 0, true),
        fragment(65_528, 8, false),
        fragment(65_520, 16, false),
      ];
      for (const bytes of refused) at.arrive(bytes);
      assert.equal(at.stack.counters.drop_fragment, refused.length);
      assert.equal(at.stack.fragmentMemory, 0);
      // Each one lies within, but not with the header in front.
      for (let offset = 0; offset < 65_520; offset += 1_456) at.arrive(fragment(offset, 1_456, true));
      at.arrive(fragment(65_520, 15, false));
      assert.equal(at.stack.counters.drop_fragment, refused.length + 1);
      assert.equal(at.stack.fragmentMemory, 0);
    });

    it("for other stations, or of other protocols, are not kept", () => {
      const at = station();
      const [first] = cut(data({ ...ends, remote: ends === V4 ? "10.0.0.9" : "fd00::9" }, 1_400), [480], 1);
      at.arrive(first!);
      const [udp] = cut(data(ends, 1_400), [480], 1);
      udp![ends === V4 ? 23 : 54] = 17;
      if (ends === V4) udp!.writeUInt16BE(udp!.readUInt16BE(24) - 11, 24);
      at.arrive(udp!);
      assert.equal(at.stack.fragmentMemory, 0);
      assert.deepEqual([at.stack.counters.drop_other_host, at.stack.counters.drop_not_tcp], [1, 1]);
    });

    it("of one source push out only its own, of many the oldest", () => {
      const at = station();
      // A host has many addresses over IPv6.
      const clients = (n: number, host = 2) => {
        const local = ends === V4 ? `10.0.1.${n}` : `fd00:0:0:${n}::${host.toString(16)}`;
        return { ...ends, local };
      };
      const [victim, rest] = cut(data(ends, 1_400), [480], 1);
      const connection = at.open(ends);
      at.arrive(victim!);
      for (let id = 0; id < 100; id++) at.arrive(cut(data(clients(1, id), 1_400), [480], id)[0]!);
      assert.equal(at.stack.counters.fragments_evicted, 84);
      at.arrive(rest!);
      assert.equal(connection.read()?.length, 1_400);
      at.arrive(cut(data(ends, 1_400), [480], 2)[0]!);
      for (let n = 2; n < 80; n++) at.arrive(cut(data(clients(n), 1_400), [480], 1)[0]!);
      at.arrive(cut(data(ends, 1_400), [480], 2)[1]!);
      assert.equal(at.stack.counters.fragments_joined, 1, "the second one was pushed out");
    });

    it("never take more memory than they may", () => {
      const at = station();
      let most = 0;
      for (let i = 0; i < 64 * 40; i++) {
        const from = { ...ends, local: ends === V4 ? `10.0.1.${1 + (i % 8)}` : `fd00:0:0:${i % 8}::2` };
        const header = data(from, 100).subarray(0, ends === V4 ? 34 : 54);
        const piece = Buffer.alloc(1_400);
        const offset = 1_400 * (1 + Math.floor(i / 64));
        at.arrive((ends === V4 ? fragment4 : fragment6)(header, piece, offset, true, (i >> 3) % 8));
        most = Math.max(most, at.stack.fragmentMemory);
      }
      assert(most > 1_000_000 && most <= 1024 * 1024, `${most}`);
      assert(at.stack.counters.fragments_evicted > 0);
      at.now = 15_000;
      at.flush();
      assert.equal(at.stack.fragmentMemory, 0);
    });
  });
}

describe("fragments that Linux made", () => {
  const mac = parseMac(STATION_MAC);

  it("are put together in any order", () => {
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 2, 0],
    ]) {
      const at = new Station({ mac, ipv4: ["10.78.0.1"] }, 0, 1884);
      for (const i of order) at.arrive(FRAGMENTS4[i]!);
      // There is no connection: the segment is answered with RST, so it was whole and its checksum right.
      assert.equal(at.stack.counters.fragments_joined, 1);
      assert.equal(at.last.segment.seq, 0x8d2abc5d | 0);
      assert.equal(at.stack.counters.resets_out, 1);
    }
  });

  it("are sound TCP only together", () => {
    for (const bytes of FRAGMENTS4) assert.throws(() => parsed(bytes), /is fragment/);
  });
});

describe("a fragment within a fragment", () => {
  it("is dropped", () => {
    const at = station();
    const [inner] = cut(data(V6, 1_400), [480], 1);
    const outer = cut(inner!, [240], 2);
    // The cut says that TCP follows; what follows is the inner fragment header.
    for (const bytes of outer) {
      bytes[54] = 44;
      at.arrive(bytes);
    }
    assert.equal(at.stack.counters.fragments_joined, 1);
    assert.equal(at.stack.counters.drop_fragment, 1);
    assert.equal(at.stack.fragmentMemory, 0);
  });
});
