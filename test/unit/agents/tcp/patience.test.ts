import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFAULT_CONFIG } from "@topicast/agent/tcp/config.js";
import { Connection } from "@topicast/agent/tcp/connection.js";
import { createCounters } from "@topicast/agent/tcp/counters.js";
import { MemoryBudget } from "@topicast/agent/tcp/memory.js";
import { seqAdd } from "@topicast/agent/tcp/wire/sequence.js";
import { ACK, emptySegment, type Segment, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import { type Reply, Station } from "./station.js";

/** One peer that answers every segment as `answer` says, each second at most, for hours of virtual time. */
function served(answer: (sent: Reply, now: number) => Partial<Segment>): {
  station: Station;
  minutes: number;
} {
  const station = new Station();
  const synAck = station.syn("10.0.0.2:1000", { timestamps: false, windowScale: -1, mss: 1_000 })!;
  station.ack(synAck, { window: 0 });
  const [connection] = station.accepted;
  connection!.write(Buffer.alloc(200_000));
  station.turn();
  let seconds = 0;
  for (; seconds < 7_200 && connection!.state === "ESTABLISHED"; seconds++) {
    station.clock.advance(1_000);
    station.turn();
    const sent = station.take().at(-1);
    if (sent !== undefined) station.arrive(sent.to, { flags: ACK, seq: sent.ack, ...answer(sent, seconds) });
  }
  return { station, minutes: seconds / 60 };
}

describe("peers that hold connections open without end", () => {
  it("are given up after ten minutes that brought less than a segment's worth", () => {
    const { station, minutes } = served(({ seq, payload }) => ({
      ack: seqAdd(seq, payload.length),
      window: 0,
    }));
    assert(minutes > 10 && minutes < 13, `${minutes}`);
    assert.equal(station.counters.persist_expired, 1);
    assert.equal(station.stack.size.open, 0);
  });

  it("are not those that are slow, however slow, while they take a segment's worth in time", () => {
    let open = 0;
    const { station } = served(({ seq, payload }, now) => {
      open += 1;
      return { ack: seqAdd(seq, payload.length), window: now % 480 < 60 && open % 2 === 0 ? 1_000 : 0 };
    });
    assert.equal(station.stack.size.open, 1);
    assert.equal(station.counters.persist_expired, 0);
  });

  it("are not those that took everything in between, and wait for the first time now", () => {
    const station = new Station({ persistTimeout: 60_000 });
    station.ack(station.syn("10.0.0.2:1000", { timestamps: false })!, { window: 0 });
    const [connection] = station.accepted;
    for (let i = 0; i < 5; i++) {
      connection!.write(Buffer.alloc(10));
      station.turn();
      // The window stays shut for two probes, then opens for what waits.
      for (const window of [0, 0, 100]) {
        station.clock.advance(20_000);
        const { to, ack, seq } = station.take().at(-1)!;
        const [rest] = station.arrive(to, { flags: ACK, seq: ack, ack: seq, window });
        const last = station.take().at(-1) ?? rest;
        if (window > 0) station.arrive(to, { flags: ACK, seq: ack, ack: connection!.sendNext, window: 0 });
        assert(last !== undefined || window === 0);
      }
      station.clock.advance(3_600_000);
    }
    assert.equal(connection!.state, "ESTABLISHED");
  });

  it("are not those that have taken half the sequence space since they first kept us waiting", () => {
    const counters = createCounters();
    const config = { ...DEFAULT_CONFIG, mss: 65_000 };
    const owner = {
      config,
      counters,
      memory: new MemoryBudget(0),
      timestampOffset: 0,
      touch() {},
      moved() {},
    };
    const connection = new Connection(owner, 0, true, { largest: 65_000, assumed: 536 });
    const chunk = Buffer.alloc(65_000);
    let now = 0;
    const turn = () => connection.transmit(now, () => {});
    const acknowledge = (ack: number, window: number) => {
      connection.receive({ ...emptySegment(), flags: ACK, seq: 1, ack, window }, now);
      turn();
    };
    const pass = (ms: number) => {
      for (const end = now + ms; now < end; turn()) {
        now = Math.min(connection.deadline, end);
        connection.onTimer(now);
      }
    };
    connection.open({ ...emptySegment(), flags: SYN, mss: 65_000, windowScale: 5 }, now);
    turn();
    acknowledge(1, 0);
    connection.write(chunk);
    connection.write(chunk);
    turn();
    pass(1_000);
    // Never is everything acknowledged, so all counts as one wait; the window is shut when it begins and when it ends.
    let una = 1;
    for (let taken = 0; taken <= 2 ** 31 + 1_000_000; taken += chunk.length) {
      connection.write(chunk);
      acknowledge(una, 4_000);
      una = seqAdd(una, chunk.length);
      now += 20;
    }
    acknowledge(una, 0);
    pass(60_000);
    assert.equal(connection.state, "ESTABLISHED");
    assert.equal(counters.persist_expired, 0);
    assert(counters.window_probes > 5);
  });

  it("are all given up: nothing is left but those that are idle and open on both sides", () => {
    const station = new Station();
    // Each is brought to another state and then only answers, by an ACK that acknowledges nothing new, with window 0.
    const peers = Array.from({ length: 40 }, (_, i) => `10.0.0.${i + 2}:1000`);
    for (const peer of peers) {
      const synAck = station.syn(peer, { timestamps: false })!;
      station.ack(synAck, { window: 0 });
    }
    station.accepted.forEach((connection, i) => {
      if (i % 4 === 0) connection.write(Buffer.alloc(100_000));
      if (i % 4 === 1) connection.shutdown();
      if (i % 4 === 2) connection.write(Buffer.alloc(10));
      if (i % 4 === 2) connection.shutdown();
    });
    station.turn();
    const answer = () => {
      for (const { to, ack, seq } of station.take())
        station.arrive(to, { flags: ACK, seq: ack, ack: seq, window: 0 });
    };
    answer();
    for (let minute = 0; minute < 60; minute++) {
      station.clock.advance(60_000);
      station.turn();
      answer();
    }
    assert.deepEqual(station.stack.size, { open: 10, halfOpen: 0, timeWait: 0 });
    assert(station.accepted.every(({ state }, i) => state === (i % 4 === 3 ? "ESTABLISHED" : "CLOSED")));
    assert.equal(station.counters.persist_expired + station.counters.timed_out > 30, true);
    assert.equal(station.stack.deadline, Number.POSITIVE_INFINITY);
  });
});
