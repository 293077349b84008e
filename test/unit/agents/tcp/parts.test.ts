import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFAULT_CONFIG, windowShift } from "@topicast/agent/tcp/config.js";
import { Cubic } from "@topicast/agent/tcp/congestion.js";
import { createCounters } from "@topicast/agent/tcp/counters.js";
import { Deadlines } from "@topicast/agent/tcp/deadlines.js";
import { createIsnGenerator } from "@topicast/agent/tcp/isn.js";
import { MemoryBudget } from "@topicast/agent/tcp/memory.js";
import { Receiver } from "@topicast/agent/tcp/receiver.js";
import { RttEstimator } from "@topicast/agent/tcp/rtt.js";
import { SendQueue } from "@topicast/agent/tcp/send-queue.js";
import { Sender } from "@topicast/agent/tcp/sender.js";
import { Timestamps } from "@topicast/agent/tcp/timestamps.js";
import { seqAdd, seqDiff } from "@topicast/agent/tcp/wire/sequence.js";
import { ACK, emptySegment } from "@topicast/agent/tcp/wire/tcp.js";
import fc from "../../../property.js";
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

describe("send queue of small chunks", () => {
  const queueOf = (size: number, count: number) => {
    const queue = new SendQueue();
    for (let i = 0; i < count; i++) queue.append(pattern(i * size, size));
    return queue;
  };

  it("joins them, and only them: what lies in one chunk is not gathered in the common buffer", () => {
    const isGathered = (queue: SendQueue, half: number) => {
      const front = queue.slice(0, half);
      queue.slice(half, half);
      return !front.equals(pattern(0, half));
    };
    assert(!isGathered(queueOf(4, 100), 200));
    assert(isGathered(queueOf(1_000, 4), 2_000));
  });

  it("leaves what the writer holds alone", () => {
    const queue = new SendQueue();
    const chunks = [pattern(0, 10), pattern(10, 10), pattern(20, 600), pattern(620, 10)];
    for (const chunk of chunks) queue.append(chunk);
    assert(queue.slice(0, 630).equals(pattern(0, 630)));
    assert(Buffer.concat(chunks).equals(pattern(0, 630)));
  });
});

describe("receiver", () => {
  const capacity = 2_000;

  function newReceiver(irs: number, shift = windowShift(capacity)) {
    const memory = new MemoryBudget(1_000_000);
    const counters = createCounters();
    const receiver = new Receiver(capacity, memory, counters);
    receiver.open(irs, true, shift);
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

  it("joins tiny chunks that waited behind gaps", () => {
    const { receiver } = newReceiver(0);
    for (let at = 1; at < 30; at += 2) receiver.receive(1 + at, pattern(at, 1), false);
    for (let at = 0; at < 30; at += 2) receiver.receive(1 + at, pattern(at, 1), false);
    assert(receiver.read()?.equals(pattern(0, 30)));
    assert.equal(receiver.read(), undefined);
  });

  it("never takes back window that it announced, but for what the shift cuts off (RFC 7323 section 2.4)", () => {
    const step = fc.record({ length: fc.nat(300), read: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step), fc.integer({ min: 0, max: 8 }), (steps, shift) => {
        const { receiver } = newReceiver(0, shift);
        let edge = receiver.nxt;
        let at = 0;
        for (const { length, read } of steps) {
          const room = seqDiff(edge, receiver.nxt);
          const taken = Math.min(length, Math.max(room, 0));
          assert(taken === 0 || receiver.receive(receiver.nxt, pattern(at, taken), false) === "in-order");
          at += taken;
          if (read) receiver.read();
          const next = seqAdd(receiver.nxt, receiver.announce(100) << receiver.scale);
          assert(seqDiff(next, edge) > -(1 << shift));
          edge = seqDiff(next, edge) > 0 ? next : edge;
        }
      }),
    );
  });

  it("shuts the window when nobody reads, however small the segments", () => {
    for (const length of [1, 7, 8, 15, 100]) {
      const { receiver, memory } = newReceiver(0, 4);
      let window = capacity;
      for (let at = 0; window >= length && at < 10 * capacity; at += length) {
        receiver.receive(receiver.nxt, pattern(at, length), false);
        window = receiver.announce(100) << receiver.scale;
      }
      assert(memory.inUse <= capacity, `${memory.inUse} unread bytes in segments of ${length}`);
      assert(memory.inUse > capacity - 16 - length);
    }
  });

  it("reports nothing as held that has long been delivered, though no acknowledgement told of it then", () => {
    const { receiver } = newReceiver(0);
    receiver.sack = true;
    receiver.receive(11, pattern(10, 10), false);
    receiver.receive(1, pattern(0, 10), false);
    receiver.nxt = seqAdd(receiver.nxt, 2 ** 31 + 100);
    assert.deepEqual(receiver.takeSackBlocks(4), []);
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

describe("sender", () => {
  const TURN = 2 ** 31;

  /** One that has sent a little more than half the sequence space, and lost nothing. */
  function longSender(sack: boolean) {
    const counters = createCounters();
    const sender = new Sender(0, { ...DEFAULT_CONFIG, mss: 65_000 }, counters, new Timestamps(0));
    const answer = { ...emptySegment(), flags: ACK, seq: 1, window: 0xffff };
    const out = emptySegment();
    const acknowledge = (ack: number, now: number) => sender.acknowledge({ ...answer, ack }, now);
    const send = (now: number) => {
      sender.write(CHUNK);
      while (sender.next(now, out));
    };
    sender.sack = sack;
    sender.scale = 5;
    sender.started(1);
    sender.open({ ...answer, ack: 1 }, 0xffff);
    for (let sent = 0, now = 0; sent <= TURN; sent += CHUNK.length, now++) {
      send(now);
      acknowledge(sender.nxt, now);
    }
    return { sender, counters, acknowledge, send };
  }
  const CHUNK = Buffer.alloc(65_000);

  it("still probes for the loss of the tail after half a turn of the sequence space", () => {
    const { sender, counters, send } = longSender(true);
    send(100_000);
    assert(sender.timer < 100_000 + sender.rtt.rto + 50 && sender.onTimer(100_000 + 300));
    assert.equal(counters.tail_probes, 1);
  });

  it("still repairs at three duplicates after half a turn of the sequence space", () => {
    const { sender, counters, acknowledge, send } = longSender(false);
    for (let i = 0; i < 5; i++) send(100_000);
    for (let i = 0; i < 3; i++) acknowledge(sender.una, 100_001);
    assert.equal(counters.fast_recoveries, 1);
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

describe("CUBIC (RFC 9438)", () => {
  /** A full window is acknowledged each `rtt` ms for `time` ms; returns the window in segments after each. */
  function run(cubic: Cubic, from: number, time: number, rtt: number): number[] {
    const windows: number[] = [];
    for (let now = from; now < from + time; now += rtt) {
      const { window } = cubic;
      for (let acked = 0; acked < window; acked += 1_000) cubic.onAcknowledged(1_000, window, now, rtt);
      windows.push(cubic.window / 1_000);
    }
    return windows;
  }

  it("begins with ten segments, fewer of large ones (RFC 6928)", () => {
    assert.equal(new Cubic(1460).window, 14_600);
    assert.equal(new Cubic(536).window, 5_360);
    assert.equal(new Cubic(9_000).window, 18_000);
  });

  it("doubles per round trip in slow start", () => {
    const cubic = new Cubic(1_000);
    assert.deepEqual(run(cubic, 0, 30, 10), [20, 40, 80]);
  });

  it("keeps seven tenths after a loss, and is back after the time the curve takes, whatever the round trip", () => {
    for (const rtt of [100, 150, 200]) {
      const cubic = new Cubic(1_000);
      for (let i = 0; i < 150; i++) cubic.onAcknowledged(1_000, cubic.window, 0, rtt);
      assert.equal(cubic.window, 160_000);
      cubic.onLoss(160_000);
      assert.equal(cubic.window, 112_000);
      // K = cbrt(160 * 0.3 / 0.4) = 4.93 s.
      const windows = run(cubic, 1_000, 10_000, rtt);
      const at = (time: number) => windows[Math.floor(time / rtt)]!;
      assert(at(1_000) > 130 && at(1_000) < 145, `${at(1_000)}`);
      assert(Math.abs(at(4_930) - 160) < 2, `${at(4_930)}`);
      assert(at(9_800) > 185, `${at(9_800)}`);
    }
  });

  it("on a short round trip grows like Reno: faster than the curve", () => {
    const cubic = new Cubic(1_000);
    cubic.onLoss(10_000);
    assert.equal(cubic.window, 7_000);
    // 3 segments lost at 0.53 per round trip, then one each.
    const windows = run(cubic, 0, 20, 1);
    assert(windows[5]! >= 9.5 && windows[5]! <= 10.5, `${windows[5]}`);
    assert(windows[19]! >= 21 && windows[19]! <= 25, `${windows[19]}`);
  });

  it("rests lower when losses come before the last size was reached: makes room for others", () => {
    const cubic = new Cubic(1_000);
    run(cubic, 0, 400, 100);
    cubic.onLoss(160_000);
    cubic.onLoss(112_000);
    assert(Math.abs(cubic.window - 78_400) < 1);
    // W_max = 112 * 0.85 = 95.2, K = 3.48 s
    const windows = run(cubic, 1_000, 4_000, 200);
    assert(Math.abs(windows[17]! - 95.2) < 1, `${windows[17]}`);
  });

  it("does not grow while the application is the limit, and loses little then", () => {
    const cubic = new Cubic(1_000);
    for (let i = 0; i < 100; i++) cubic.onAcknowledged(100, 100, i, 10);
    assert.equal(cubic.window, 10_000);
    cubic.onLoss(100);
    assert.equal(cubic.window, 7_000);
  });

  it("falls to one segment at a time-out, and reduces the threshold once per series", () => {
    const cubic = new Cubic(1_000);
    cubic.onTimeout(10_000, true);
    cubic.onTimeout(1_000, false);
    assert.equal(cubic.window, 1_000);
    for (let i = 0; i < 6; i++) cubic.onAcknowledged(1_000, cubic.window, i, 10);
    assert.equal(cubic.window, 7_000);
    cubic.onAcknowledged(1_000, cubic.window, 7, 10);
    assert(cubic.window < 7_200);
  });

  it("takes a wrong reduction back", () => {
    const cubic = new Cubic(1_000);
    cubic.onTimeout(10_000, true);
    cubic.undo();
    assert.equal(cubic.window, 10_000);
    assert.deepEqual(run(cubic, 0, 10, 10), [20]);
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
