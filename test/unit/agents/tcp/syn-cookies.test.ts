import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFAULT_CONFIG } from "@topicast/agent/tcp/config.js";
import { SynCookies, stampOptions } from "@topicast/agent/tcp/syn-cookies.js";
import { seqAdd, seqDiff } from "@topicast/agent/tcp/wire/sequence.js";
import { ACK, emptySegment, type Segment, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import fc from "../../../property.js";
import { PERFECT, random, SERVER_PORT, SimLink } from "./link.js";
import { Peer } from "./peer.js";
import { peerOf, Station } from "./station.js";

const KEY = "\x0a\x00\x00\x02\x0a\x00\x00\x01\xc3\x50\x07\x5b";
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });

function cookies(): { made: number; cookies: SynCookies } {
  let made = 0;
  const cookies = new SynCookies(DEFAULT_CONFIG, () => {
    made += 1;
    return Buffer.alloc(32, made);
  });
  return {
    cookies,
    get made() {
      return made;
    },
  };
}

function synOf(fields: Partial<Segment>): Segment {
  return { ...emptySegment(), flags: SYN, mss: 1460, ...fields };
}

/** The ACK that a peer sends for our SYN-ACK with `iss`, and with what our timestamp was. */
function ackOf(syn: Segment, iss: number, stamp?: number): Segment {
  const ack = { ...emptySegment(), flags: ACK, seq: seqAdd(syn.seq, 1), ack: seqAdd(iss, 1) };
  return stamp === undefined ? ack : { ...ack, timestamps: true, tsVal: 9, tsEcr: stamp };
}

describe("SYN cookies", () => {
  it("bring back what the SYN said, the MSS rounded down, the options by the timestamp", () => {
    fc.assert(
      fc.property(
        int32,
        fc.integer({ min: 48, max: 65_535 }),
        fc.integer({ min: -1, max: 14 }),
        fc.boolean(),
        int32,
        fc.nat(200_000),
        (seq, mss, windowScale, sackPermitted, clock, now) => {
          const { cookies: made } = cookies();
          const syn = synOf({ seq, mss, windowScale, sackPermitted, timestamps: true });
          const iss = made.make(KEY, syn.seq, syn.mss, now);
          assert.equal(iss, iss | 0);
          const stamp = stampOptions(clock, syn);
          const before = seqDiff(clock, stamp);
          assert(before >= 0 && before < 32, "never ahead of the clock");
          const opened = made.open(KEY, ackOf(syn, iss, stamp), now);
          assert(opened !== undefined);
          assert(
            opened.mss <= mss && opened.mss >= Math.min(mss, 1_460) * 0.18,
            `${mss} became ${opened.mss}`,
          );
          assert.deepEqual(
            [opened.seq, opened.windowScale, opened.sackPermitted, opened.timestamps, opened.tsVal],
            [seq, windowScale, sackPermitted, true, 9],
          );
          const plain = made.open(KEY, ackOf(syn, iss), now);
          assert.deepEqual([plain?.windowScale, plain?.sackPermitted, plain?.timestamps], [-1, false, false]);
        },
      ),
    );
  });

  it("keep the segment sizes that are common on Ethernet", () => {
    for (const mss of [536, 1220, 1440, 1460]) {
      const { cookies: made } = cookies();
      const syn = synOf({ mss });
      assert.equal(made.open(KEY, ackOf(syn, made.make(KEY, syn.seq, syn.mss, 0)), 0)?.mss, mss);
    }
  });

  it("are worth nothing with any bit changed, nor to another connection", () => {
    const { cookies: made } = cookies();
    const syn = synOf({ seq: 123_456 });
    const ack = ackOf(syn, made.make(KEY, syn.seq, syn.mss, 0));
    assert(made.open(KEY, ack, 0) !== undefined);
    for (let bit = 0; bit < 32; bit++) {
      assert.equal(
        made.open(KEY, { ...ack, ack: seqAdd(seqAdd(ack.ack, -1) ^ (1 << bit), 1) }, 0),
        undefined,
      );
      assert.equal(made.open(KEY, { ...ack, seq: ack.seq ^ (1 << bit) }, 0), undefined);
    }
    assert.equal(made.open(`${KEY.slice(0, 11)}\x5c`, ack, 0), undefined);
  });

  it("live one to two minutes, each minute's by a secret of its own that goes with it", () => {
    const { cookies: made } = cookies();
    const syn = synOf({});
    assert(!made.isAwaiting(0));
    const early = ackOf(syn, made.make(KEY, syn.seq, syn.mss, 120_000));
    const late = ackOf(syn, made.make(KEY, syn.seq, syn.mss, 179_999));
    for (const [now, valid] of [
      [179_999, true],
      [239_999, true],
      [240_000, false],
      [300_000, false],
      [10 * 60_000, false],
    ] as const) {
      assert.equal(made.open(KEY, early, now) !== undefined, valid, `${now}`);
      assert.equal(made.open(KEY, late, now) !== undefined, valid, `${now}`);
      assert.equal(made.isAwaiting(now), valid, `${now}`);
    }
    const again = ackOf(syn, made.make(KEY, syn.seq, syn.mss, 240_000));
    assert.notEqual(again.ack, early.ack, "the next secret at this place is another");
    assert.equal(made.open(KEY, early, 240_000), undefined);
  });

  it("cost one secret a minute, however many SYNs come", () => {
    const made = cookies();
    for (let i = 0; i < 1_000; i++) made.cookies.make(KEY, i, 1460, i * 120);
    assert.equal(made.made, 2);
  });
});

describe("a stack whose half-open connections are at their bound", () => {
  const full = () => {
    const station = new Station({ maxHalfOpen: 3 });
    for (let i = 0; i < 3; i++) station.syn(peerOf(i));
    return station;
  };

  it("remembers nothing of further SYNs, and answers each", () => {
    const station = full();
    const { size, sources } = station.stack;
    for (let i = 3; i < 2_000; i++) assert(station.syn(peerOf(i)) !== undefined);
    assert.deepEqual(station.stack.size, size);
    assert.equal(station.stack.sources, sources);
    assert.equal(station.counters.cookies_sent, 1_997);
    assert.equal(station.clock.pending, 1, "no timer but that of the first ones");
  });

  it("lets who answers in, with all that was agreed, and takes data that comes with the ACK", () => {
    const station = full();
    const synAck = station.syn("10.0.0.9:4000", { mss: 1_000 });
    assert.deepEqual(
      [synAck?.mss, synAck?.windowScale, synAck?.sackPermitted, synAck?.timestamps, synAck?.tsEcr],
      [1_460, 3, true, true, 77],
    );
    const [answer] = station.ack(synAck!, { payload: Buffer.from("connect"), window: 100 });
    assert.equal(answer?.ack, 1_008);
    const [connection] = station.accepted;
    assert.equal(connection?.state, "ESTABLISHED");
    assert.equal(connection.read()?.toString(), "connect");
    assert.equal(connection.path.peer, "10.0.0.9:4000");
    // Window 100 << 7 lets 10 segments of the initial window go, each with a timestamp, none above the peer's MSS.
    connection.write(Buffer.alloc(20_000));
    station.turn();
    const sent = station.take();
    assert.equal(sent.length, 10);
    assert(sent.every(({ timestamps, payload }) => timestamps && payload.length === 536 - 12));
    // SACK: three later segments that arrived prove the first one lost.
    const edges = [sent[1]!.seq, seqAdd(sent[3]!.seq, 524)];
    const [again] = station.ack(synAck!, { seq: 1_008, tsEcr: sent[3]!.tsVal, sacks: edges });
    assert.equal(again?.seq, sent[0]!.seq);
    assert.equal(station.counters.cookies_accepted, 1);
    assert.deepEqual(station.stack.size, { open: 4, halfOpen: 3, timeWait: 0 });
  });

  it("echoes the timestamp of the first data, however long after the ACK it comes", () => {
    const station = full();
    const synAck = station.syn("10.0.0.9:4000")!;
    station.ack(synAck, { tsVal: 100 });
    station.clock.advance(30_000);
    const [answer] = station.ack(synAck, { tsVal: 30_100, payload: Buffer.from("connect") });
    assert.deepEqual([answer?.ack, answer?.tsEcr], [1_008, 30_100]);
  });

  it("takes the first data for the ACK where that was lost, and the FIN too", () => {
    const station = full();
    const synAck = station.syn("10.0.0.9:4000", { timestamps: false });
    assert.deepEqual([synAck?.windowScale, synAck?.sackPermitted, synAck?.timestamps], [-1, false, false]);
    station.ack(synAck!, { flags: ACK | 0x09, payload: Buffer.from("hi") });
    assert.equal(station.accepted[0]?.state, "CLOSE-WAIT");
    assert.equal(station.accepted[0]?.read()?.toString(), "hi");
    assert(station.accepted[0]?.isEnded);
  });

  it("refuses an ACK without a valid cookie by RST, and opens no cookie twice at a time", () => {
    const station = full();
    const synAck = station.syn("10.0.0.9:4000")!;
    const [reset] = station.ack({ ...synAck, seq: seqAdd(synAck.seq, 16) });
    assert.deepEqual([reset?.flags, reset?.seq], [0x04, seqAdd(synAck.seq, 17)]);
    assert.deepEqual([station.counters.cookies_rejected, station.counters.drop_no_connection], [1, 1]);
    station.ack(synAck);
    station.ack(synAck);
    assert.equal(station.accepted.length, 1);
    station.clock.advance(120_000);
    const [late] = station.ack({ ...synAck, to: "10.0.0.9:4001" });
    assert.equal(late?.flags, 0x04);
    assert.equal(station.counters.cookies_rejected, 1, "no cookie is awaited any more");
  });

  it("keeps TIME-WAIT rather than answer its reopening by a cookie", () => {
    const station = new Station({ maxHalfOpen: 1 });
    station.open("10.0.0.9:4000");
    station.accepted[0]!.shutdown();
    station.turn();
    const [fin] = station.take();
    station.arrive("10.0.0.9:4000", {
      ...{ flags: ACK | 0x01, seq: 1_001, ack: seqAdd(fin!.seq, 1), window: 512 },
      ...{ timestamps: true, tsVal: 79, tsEcr: fin!.tsVal },
    });
    assert.equal(station.stack.size.timeWait, 1);
    station.syn(peerOf(0));
    assert.equal(station.syn("10.0.0.9:4000", { seq: 900_000, tsVal: 80_000 }), undefined);
    assert.equal(station.counters.drop_half_open_full, 1);
    assert.equal(station.stack.size.timeWait, 1);
    station.clock.advance(63_000);
    assert(station.syn("10.0.0.9:4000", { seq: 900_000, tsVal: 80_000 }) !== undefined);
  });
});

describe("a flood of SYNs from forged addresses", () => {
  it("keeps nobody out: real clients connect through it and carry their bytes", () => {
    const faults = { ...PERFECT, loss: 0.02 };
    const link = new SimLink(3, faults, { server: { maxHalfOpen: 16 } });
    const served: Peer[] = [];
    link.server.stack.listen(SERVER_PORT, (connection) => {
      served.push(new Peer(connection, link.clock, 30_000));
    });
    const next = random(4);
    const forge = () => {
      for (let i = 0; i < 50; i++) link.forge(peerOf(Math.floor(next() * 1e6)), { flags: SYN, seq: i });
      if (link.clock.now() < 20_000) link.clock.setTimer(10, forge);
    };
    forge();
    link.clock.advance(100);
    const clients = Array.from({ length: 20 }, (_, i) => {
      return new Peer(link.client.stack.connect(link.path(40_000 + i), 100), link.clock, 30_000);
    });
    link.clock.advance(5_000);
    for (const client of clients) client.send();
    link.clock.advance(30_000);
    assert.equal(served.length, 20);
    for (const peer of [...served, ...clients]) assert.deepEqual([peer.received, peer.ended], [30_000, true]);
    const { counters, size } = link.server.stack;
    assert(counters.cookies_sent > 50_000);
    assert.equal(counters.cookies_accepted, 20);
    assert.equal(size.halfOpen, 16);
  });
});
