import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { windowShift } from "@topicast/agent/tcp/config.js";
import { NewReno } from "@topicast/agent/tcp/congestion.js";
import { createCounters } from "@topicast/agent/tcp/counters.js";
import { Deadlines } from "@topicast/agent/tcp/deadlines.js";
import { createIsnGenerator } from "@topicast/agent/tcp/isn.js";
import { MemoryBudget } from "@topicast/agent/tcp/memory.js";
import { Receiver } from "@topicast/agent/tcp/receiver.js";
import { RttEstimator } from "@topicast/agent/tcp/rtt.js";
import { SendQueue } from "@topicast/agent/tcp/send-queue.js";
import { seqAdd, seqDiff } from "@topicast/agent/tcp/wire/sequence.js";
import fc from "fast-check";
import { pattern } from "./pattern.js";

describe("send queue", () => {
  it("behaves like one long buffer", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("append" as const), size: fc.nat(400) }),
      fc.record({ kind: fc.constant("release" as const), size: fc.nat(600) }),
      fc.record({ kind: fc.constant("slice" as const), size: fc.nat(600), at: fc.nat(600) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const queue = new SendQueue();
        let model = Buffer.alloc(0);
        let written = 0;
        for (const action of steps) {
          if (action.kind === "append") {
            const chunk = pattern(written, action.size);
            written += action.size;
            queue.append(chunk);
            model = Buffer.concat([model, chunk]);
          } else if (action.kind === "release") {
            const count = Math.min(action.size, model.length);
            queue.release(count);
            model = model.subarray(count);
          } else if (model.length > 0) {
            const at = Math.min(action.at, model.length - 1);
            const count = Math.max(Math.min(action.size, model.length - at), 1);
            assert(queue.slice(at, count).equals(model.subarray(at, at + count)));
          }
          assert.equal(queue.length, model.length);
        }
      }),
    );
  });
});

describe("receiver", () => {
  const capacity = 2_000;

  function newReceiver(irs: number) {
    const memory = new MemoryBudget(1_000_000);
    const counters = createCounters();
    const receiver = new Receiver(capacity, memory, counters);
    receiver.open(irs, true, windowShift(capacity));
    return { receiver, memory, counters };
  }

  it("puts any segments in any order together to the stream that was sent, and gives all memory back", () => {
    const segment = fc.record({
      at: fc.nat(1_999),
      length: fc.integer({ min: 1, max: 700 }),
      read: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(segment, { maxLength: 60 }), fc.integer(), (segments, irs) => {
        const total = 2_000;
        const { receiver, memory } = newReceiver(irs | 0);
        const first = receiver.nxt;
        let got = Buffer.alloc(0);
        const readAll = () => {
          for (let chunk = receiver.read(); chunk !== undefined; chunk = receiver.read())
            got = Buffer.concat([got, chunk]);
          receiver.announce(100);
        };
        const arrive = (at: number, length: number) => {
          const data = pattern(at, Math.min(length, total - at));
          const fin = at + data.length === total;
          const seq = seqAdd(first, at);
          const space = data.length + (fin ? 1 : 0);
          if (!receiver.finished && receiver.isAcceptable(seq, space)) receiver.receive(seq, data, fin);
        };
        for (const { at, length, read } of segments) {
          arrive(at, length);
          if (read) readAll();
          assert(seqDiff(receiver.nxt, first) <= total + 1);
        }
        // In the end the sender repeats everything from the front, as TCP does.
        for (let at = 0; at < total; at += 500) {
          arrive(at, 500);
          readAll();
        }
        assert(receiver.finished);
        assert(got.equals(pattern(0, total)));
        assert.equal(memory.inUse, 0);
      }),
    );
  });

  it("holds no more than its share of tiny pieces, and still gets everything when the gap is filled", () => {
    const { receiver, memory, counters } = newReceiver(0);
    for (let at = 1; at < 1_900; at += 2) receiver.receive(1 + at, pattern(at, 1), false);
    assert(counters.drop_reassembly_full > 0);
    assert(memory.inUse <= capacity * 1.25);
    let got = Buffer.alloc(0);
    for (let at = 0; at < 1_900; at += 100) receiver.receive(1 + at, pattern(at, 100), false);
    for (let chunk = receiver.read(); chunk !== undefined; chunk = receiver.read())
      got = Buffer.concat([got, chunk]);
    assert(got.equals(pattern(0, 1_900)));
    assert.equal(memory.inUse, 0);
  });

  it("joins tiny unread chunks", () => {
    const { receiver } = newReceiver(0);
    for (let at = 0; at < 1_000; at++) receiver.receive(1 + at, pattern(at, 1), false);
    assert(receiver.read()?.equals(pattern(0, 1_000)));
    assert.equal(receiver.read(), undefined);
  });

  it("never takes back window that it announced", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ length: fc.nat(300), read: fc.boolean() })), (steps) => {
        const { receiver } = newReceiver(0);
        let edge = receiver.nxt;
        let at = 0;
        for (const { length, read } of steps) {
          const room = seqDiff(edge, receiver.nxt);
          const taken = Math.min(length, Math.max(room, 0));
          receiver.receive(receiver.nxt, pattern(at, taken), false);
          at += taken;
          if (read) receiver.read();
          const next = seqAdd(receiver.nxt, receiver.announce(100) << receiver.scale);
          assert(seqDiff(next, edge) >= 0);
          edge = next;
        }
      }),
    );
  });

  it("drops payload that the common memory has no room for", () => {
    const counters = createCounters();
    const receiver = new Receiver(capacity, new MemoryBudget(100), counters);
    receiver.open(0, true, 0);
    assert.equal(receiver.receive(1, pattern(0, 101), false), "nothing");
    assert.equal(receiver.receive(1, pattern(0, 100), false), "in-order");
    assert.equal(receiver.receive(201, pattern(200, 10), false), "out-of-order");
    assert.equal(counters.drop_memory_full, 2);
  });
});

describe("deadlines", () => {
  it("come up in order, whatever was put off, advanced or removed", () => {
    const step = fc.record({ item: fc.nat(9), deadline: fc.nat(1_000), remove: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), fc.nat(1_000), (steps, now) => {
        const deadlines = new Deadlines();
        const items = Array.from({ length: 10 }, () => ({
          deadline: Number.POSITIVE_INFINITY,
          scheduledAt: Number.POSITIVE_INFINITY,
          heapIndex: -1,
        }));
        for (const { item: index, deadline, remove } of steps) {
          const item = items[index]!;
          item.deadline = remove ? Number.POSITIVE_INFINITY : deadline;
          if (remove) deadlines.remove(item);
          else deadlines.update(item);
          assert(deadlines.next <= Math.min(...items.map((i) => i.deadline)));
        }
        const due = new Set<object>();
        deadlines.expire(now, (item) => {
          due.add(item);
          (item as { deadline: number }).deadline = Number.POSITIVE_INFINITY;
        });
        const left = items.filter((i) => i.deadline < Number.POSITIVE_INFINITY);
        assert(left.every((i) => i.deadline > now));
        assert(deadlines.next > now);
        assert.equal(deadlines.size, left.length);
      }),
    );
  });
});

describe("round trip estimator (RFC 6298)", () => {
  it("begins with the initial time-out, then follows SRTT and RTTVAR", () => {
    const rtt = new RttEstimator(1_000, 1, 60_000);
    assert.equal(rtt.rto, 1_000);
    rtt.sample(100);
    assert.equal(rtt.rto, 100 + 4 * 50);
    rtt.sample(200);
    // RTTVAR = 3/4 * 50 + 1/4 * 100, SRTT = 7/8 * 100 + 1/8 * 200
    assert.equal(rtt.rto, 112.5 + 4 * 62.5);
  });

  it("keeps its floor above the smoothed round trip and its ceiling", () => {
    const rtt = new RttEstimator(1_000, 200, 60_000);
    for (let i = 0; i < 100; i++) rtt.sample(50);
    assert.equal(Math.round(rtt.rto), 250);
    for (let i = 0; i < 40; i++) rtt.backOff();
    assert.equal(rtt.rto, 60_000);
    rtt.sample(50);
    assert.equal(Math.round(rtt.rto), 250);
  });
});

describe("NewReno", () => {
  it("begins with ten segments, fewer of large ones (RFC 6928)", () => {
    assert.equal(new NewReno(1460).window, 14_600);
    assert.equal(new NewReno(536).window, 5_360);
    assert.equal(new NewReno(9_000).window, 18_000);
  });

  it("doubles per round trip in slow start, grows by a segment per round trip after a loss", () => {
    const reno = new NewReno(1_000);
    for (let i = 0; i < 10; i++) reno.onAcknowledged(1_000, 10_000);
    assert.equal(reno.window, 20_000);
    reno.onLoss(20_000);
    assert.equal(reno.window, 10_000);
    reno.onRecovered(10_000);
    for (let i = 0; i < 10; i++) reno.onAcknowledged(1_000, 10_000);
    assert.equal(reno.window, 11_000);
  });

  it("does not grow while the application is the limit", () => {
    const reno = new NewReno(1_000);
    for (let i = 0; i < 100; i++) reno.onAcknowledged(100, 100);
    assert.equal(reno.window, 10_000);
  });

  it("falls to one segment at a time-out, and halves the threshold once per series", () => {
    const reno = new NewReno(1_000);
    reno.onTimeout(10_000, true);
    reno.onTimeout(1_000, false);
    assert.equal(reno.window, 1_000);
    for (let i = 0; i < 4; i++) reno.onAcknowledged(1_000, reno.window);
    assert.equal(reno.window, 5_000);
    for (let i = 0; i < 5; i++) reno.onAcknowledged(1_000, reno.window);
    assert.equal(reno.window, 6_000);
  });
});

describe("initial sequence numbers (RFC 6528)", () => {
  it("advance by 250 a millisecond for one connection, and tell nothing of another", () => {
    const choose = createIsnGenerator(Buffer.alloc(32, 1));
    assert.equal(seqDiff(choose("a", 1_000), choose("a", 0)), 250_000);
    assert.equal(seqDiff(choose("a", 20_000_000), choose("a", 0)), (20_000_000 * 250) | 0);
    assert.notEqual(choose("a", 0), choose("b", 0));
    assert.notEqual(choose("a", 0), createIsnGenerator(Buffer.alloc(32, 2))("a", 0));
    assert.notEqual(createIsnGenerator()("a", 0), createIsnGenerator()("a", 0));
  });
});

describe("window scale", () => {
  it("is the smallest that can announce the buffer", () => {
    assert.deepEqual([1, 65_535, 65_536, 262_144, 2 ** 30].map(windowShift), [0, 0, 1, 3, 14]);
  });
});
