import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sourceOf } from "@topicast/agent/tcp/sources.js";
import { seqAdd } from "@topicast/agent/tcp/wire/sequence.js";
import { ACK } from "@topicast/agent/tcp/wire/tcp.js";
import { TokenBucket } from "@topicast/protocol";
import fc from "../../../property.js";
import { peerOf, type Reply, Station } from "./station.js";

describe("token bucket", () => {
  it("lets through no more than its rate and burst, over any time, and no less", () => {
    const step = fc.record({ wait: fc.nat(3_000), count: fc.integer({ min: 1, max: 8 }) });
    fc.assert(
      fc.property(fc.array(step), fc.integer({ min: 1, max: 20 }), (steps, perSecond) => {
        const bucket = new TokenBucket({ perSecond, burst: 10 }, 0);
        let [now, taken, tokens] = [0, 0, 10];
        for (const { wait, count } of steps) {
          now += wait;
          tokens = Math.min(tokens + (wait / 1_000) * perSecond, 10);
          assert.equal(bucket.holds(count, now), bucket.take(count, now), "holds and take agree");
          if (tokens >= count) {
            tokens -= count;
            taken += count;
          }
          assert(Math.abs(tokens - 10) > 1e-9 || bucket.isFull(now));
        }
        assert(taken <= 10 + (now / 1_000) * perSecond);
      }),
    );
  });

  it("is full again after burst / rate seconds", () => {
    const bucket = new TokenBucket({ perSecond: 4, burst: 8 }, 0);
    assert(bucket.isFull(0));
    for (let i = 0; i < 8; i++) assert(bucket.take(1, 0));
    assert(!bucket.take(1, 200));
    assert(bucket.take(1, 250));
    assert(!bucket.isFull(2_200));
    assert(bucket.isFull(2_251));
  });
});

describe("sources", () => {
  it("are IPv4 addresses and IPv6 /64s", () => {
    const key = (...parts: string[]) => Buffer.from(parts.join(""), "hex").toString("latin1");
    const ports = "c350075b";
    const v4 = sourceOf(key("0a000002", "0a000001", ports));
    assert.equal(sourceOf(key("0a000002", "0a000009", "ffff075b")), v4);
    assert.notEqual(sourceOf(key("0a000003", "0a000001", ports)), v4);
    const local = "20010db8000000000000000000000001";
    const v6 = sourceOf(key("20010db8000000010000000000000002", local, ports));
    assert.equal(sourceOf(key("20010db800000001ffffffffffffffff", local, ports)), v6);
    assert.notEqual(sourceOf(key("20010db8000000020000000000000002", local, ports)), v6);
  });
});

describe("bounds of one source", () => {
  it("let a thousand devices behind one address connect at once by default", () => {
    const station = new Station();
    const answers: Reply[] = [];
    for (let i = 0; i < 1_000; i++) answers.push(station.syn(`10.0.0.2:${10_000 + i}`)!);
    assert.equal(station.stack.size.halfOpen, 1_000);
    for (const synAck of answers) station.ack(synAck);
    assert.equal(station.accepted.length, 1_000);
    assert.equal(station.counters.cookies_sent, 0);
    assert.equal(station.stack.sources, 1);
  });

  it("are on its connections: what goes beyond is dropped, counted, and gets in once there is room", () => {
    const station = new Station({ maxConnectionsPerSource: 3 });
    for (let i = 0; i < 3; i++) station.open(`10.0.0.2:${10_000 + i}`);
    assert.equal(station.syn("10.0.0.2:20000"), undefined);
    assert.equal(station.counters.drop_source_connections, 1);
    station.open("10.0.0.3:20000");
    station.accepted[0]!.abort();
    station.turn();
    station.open("10.0.0.2:20000");
    assert.equal(station.stack.size.open, 4);
  });

  it("are on its half-open connections: beyond, cookies answer it, and nobody else", () => {
    const station = new Station({ maxHalfOpenPerSource: 2 });
    for (let i = 0; i < 2; i++) station.syn(`10.0.0.2:${10_000 + i}`);
    station.open("10.0.0.2:20000");
    assert.equal(station.counters.cookies_accepted, 1);
    station.open("10.0.0.3:20000");
    assert.equal(station.counters.cookies_accepted, 1);
    assert.equal(station.stack.size.open, 4);
    station.clock.advance(64_000);
    station.open("10.0.0.2:20001");
    assert.equal(station.counters.cookies_sent, 1, "none is half-open any more");
    assert.equal(station.counters.half_open_expired, 2);
  });

  it("are on how fast it opens connections, by SYN or by cookie", () => {
    for (const maxHalfOpen of [100, 0]) {
      const station = new Station({ connectionRatePerSource: 2, connectionBurstPerSource: 5, maxHalfOpen });
      for (let i = 0; i < 5; i++) station.open(`10.0.0.2:${10_000 + i}`);
      assert.equal(station.syn("10.0.0.2:20000"), undefined);
      assert.equal(station.counters.drop_source_rate, 1);
      station.open("10.0.0.3:20000");
      station.clock.advance(500);
      station.open("10.0.0.2:20001");
      assert.equal(station.syn("10.0.0.2:20002"), undefined);
      // Closing does not give back what was taken.
      for (const connection of station.accepted) connection.abort();
      station.turn();
      assert.equal(station.syn("10.0.0.2:20003"), undefined);
      assert.equal(station.counters.drop_source_rate, 3);
    }
  });

  it("hold for cookies that were sent before they were reached, and the client gets in later", () => {
    const station = new Station({ maxHalfOpen: 0, maxConnectionsPerSource: 1 });
    const [first, second] = [station.syn("10.0.0.2:1")!, station.syn("10.0.0.2:2")!];
    station.ack(first);
    assert.deepEqual(station.ack(second, { payload: Buffer.from("a") }), [], "neither taken nor reset");
    assert.equal(station.counters.drop_source_connections, 1);
    station.accepted[0]!.abort();
    station.turn();
    station.ack(second, { payload: Buffer.from("a") });
    assert.equal(station.accepted[1]?.read()?.toString(), "a");
    const total = new Station({ maxHalfOpen: 0, maxConnections: 1 });
    const [a, b] = [total.syn("10.0.0.2:1")!, total.syn("10.0.0.3:1")!];
    total.ack(a);
    total.ack(b);
    assert.equal(total.counters.drop_connections_full, 1);
  });

  it("may be on frames and bytes a second, which come again", () => {
    for (const [config, counter] of [
      [{ frameRatePerSource: 10 }, "drop_source_frames"],
      [{ byteRatePerSource: 65_536 }, "drop_source_bytes"],
    ] as const) {
      const station = new Station(config);
      station.open("10.0.0.2:1");
      station.open("10.0.0.3:1");
      const [greedy, modest] = station.accepted;
      const iss = seqAdd(greedy!.sendNext, 0);
      const send = (peer: string, at: number, ack: number) =>
        station.arrive(peer, {
          ...{ flags: ACK, seq: 1_001 + at, ack, window: 512, payload: Buffer.alloc(8_000, 1) },
          ...{ timestamps: true, tsVal: 79, tsEcr: 0 },
        });
      for (let i = 0; i < 12; i++) send("10.0.0.2:1", i * 8_000, iss);
      assert(station.counters[counter] >= 2, counter);
      const taken = greedy!.receiveNext - 1_001;
      assert(taken >= 8 * 8_000 && taken < 12 * 8_000, `${taken}`);
      send("10.0.0.3:1", 0, modest!.sendNext);
      assert.equal(modest!.receiveNext, 9_001, "another source is not held up");
      station.clock.advance(1_000);
      for (let i = taken / 8_000; i < 12; i++) send("10.0.0.2:1", i * 8_000, iss);
      assert.equal(greedy!.receiveNext, 97_001);
    }
  });

  it("remember those without a connection as long as their rate counts, no longer, and not too many", () => {
    const station = new Station({ maxRestingSources: 100, connectionBurstPerSource: 500 });
    const visit = (i: number) => {
      station.open(peerOf(i));
      station.accepted.pop()!.abort();
      station.turn();
    };
    for (let i = 0; i < 150; i++) visit(i);
    assert.equal(station.stack.sources, 100);
    assert.equal(station.counters.sources_evicted, 50);
    station.clock.advance(1_000);
    visit(200);
    assert.equal(station.stack.sources, 1);
    const unlimited = new Station({ connectionRatePerSource: 0 });
    unlimited.open(peerOf(1));
    unlimited.accepted[0]!.abort();
    unlimited.turn();
    assert.equal(unlimited.stack.sources, 0);
  });

  it("count TIME-WAIT for nothing, and give everything back in the end", () => {
    const station = new Station({ maxConnectionsPerSource: 1 });
    for (let i = 0; i < 3; i++) {
      station.open(`10.0.0.2:${10_000 + i}`);
      const connection = station.accepted.pop()!;
      connection.shutdown();
      station.turn();
      const [fin] = station.take();
      station.arrive(`10.0.0.2:${10_000 + i}`, {
        ...{ flags: ACK | 0x01, seq: 1_001, ack: seqAdd(fin!.seq, 1), window: 512 },
        ...{ timestamps: true, tsVal: 79, tsEcr: fin!.tsVal },
      });
      assert.equal(connection.state, "TIME-WAIT");
    }
    assert.deepEqual(station.stack.size, { open: 0, halfOpen: 0, timeWait: 3 });
    station.clock.advance(61_000);
    assert.deepEqual(station.stack.size, { open: 0, halfOpen: 0, timeWait: 0 });
    station.open("10.0.0.2:1");
    assert.equal(station.stack.sources, 1);
  });
});
