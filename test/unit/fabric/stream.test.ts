import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ASK, type Datagram, encodeHeartbeat, FENCE, Kind, WHOLE } from "@topicast/protocol";
import { random } from "./sim.js";
import { CALM, GROUP, Hearer, publish, Streams, upTo } from "./streams.js";

const FROM = { address: "10.0.0.1", port: 1883 };

/** A DATA datagram that nobody sent. */
function forged(number: number, text = "forged", epoch = 7): Datagram {
  const header = { kind: Kind.DATA, flags: WHOLE, source: 1, epoch, stream: GROUP, number };
  return { ...header, payload: publish(text) };
}

describe("data streams", () => {
  it("deliver at once what comes in order", () => {
    const net = new Streams();
    for (const text of ["a", "b"]) net.now(text);
    assert.deepEqual(net.hearer.got, ["a", "b"]);
  });

  it("give each message a datagram of its own, at once, below a thousand a second", () => {
    const net = new Streams();
    for (const [i, text] of upTo(1_000).entries()) {
      net.send(text);
      if (i % 10 === 9) net.clock.advance(10);
      else assert.equal(net.data.length, i + 1);
    }
    assert.equal(net.data.length, 1_000);
  });

  it("put what is published at a time into one datagram, as far as it fits, above that", () => {
    const net = new Streams();
    for (const text of upTo(300)) net.send(text);
    assert.equal(net.sent.length, 64);
    net.clock.advance(1);
    assert.deepEqual(net.hearer.got, upTo(300));
    assert.ok(net.sent.length < 64 + 25, `${net.sent.length} datagrams`);
    assert.ok(net.sent.every((d) => d.payload.length <= 100));
  });

  it("cut a packet larger than a datagram and put it together again", () => {
    const net = new Streams();
    net.now("x".repeat(1000));
    assert.ok(net.sent.length > 10 && net.sent.every((d) => d.payload.length <= 100));
    assert.deepEqual(net.hearer.got, ["x".repeat(1000)]);
  });

  it("put two that changed places back in order, without a word", () => {
    const net = new Streams();
    net.lose = () => true;
    for (const text of ["a", "b", "c"]) net.now(text);
    const [a, b, c] = net.sent;
    for (const d of [a!, c!, b!]) net.hearer.receiver.onDatagram(d, FROM);
    net.clock.advance(5);
    assert.deepEqual(net.hearer.got, ["a", "b", "c"]);
    assert.deepEqual(net.statuses, []);
  });

  it("drop repetitions, also late ones", () => {
    const net = new Streams();
    for (const text of ["a", "b"]) net.now(text);
    for (const d of [...net.sent]) net.hearer.receiver.onDatagram(d, FROM);
    assert.deepEqual(net.hearer.got, ["a", "b"]);
    assert.equal(net.hearer.receiver.stats.duplicates, 2);
  });

  it("begin anew with the sender's next start and ignore its former life", () => {
    const net = new Streams();
    net.now("old 1");
    net.lose = () => true;
    net.now("old 2");
    net.lose = () => false;
    net.newSenders(8);
    net.join(GROUP, net.hearer);
    net.now("new");
    net.hearer.receiver.onDatagram(net.sent[1]!, FROM);
    assert.deepEqual(net.hearer.got, ["old 1", "new"]);
    assert.equal(net.hearer.receiver.stats.old_epoch, 1);
  });
});

describe("repair", () => {
  it("brings a lost datagram within 3 ms of the next one, to who asked alone", () => {
    const net = new Streams(1, CALM, 100, 2);
    net.now("a");
    net.lose = (_, hearer) => hearer === net.hearer;
    net.now("b");
    net.lose = () => false;
    net.now("c");
    net.clock.advance(3);
    for (const { got } of net.hearers) assert.deepEqual(got, ["a", "b", "c"]);
    const { naks, repaired, lost } = net.hearer.receiver.stats;
    assert.deepEqual([naks, repaired, lost], [1, 1, 0]);
    assert.equal(net.hearers[1]!.receiver.stats.duplicates, 0);
    assert.equal(net.senders.stats.repairs, 1);
  });

  it("brings the last of a burst by the heartbeat after it", () => {
    const net = new Streams();
    net.now("a");
    net.lose = (d) => d.kind === Kind.DATA && d.number === 1 && net.clock.now() === 0;
    net.now("b");
    net.clock.advance(35);
    assert.deepEqual(net.hearer.got, ["a", "b"]);
  });

  it("brings the first of a stream of which nothing was seen", () => {
    const net = new Streams();
    net.lose = () => net.clock.now() === 0;
    net.now("a");
    net.clock.advance(40);
    assert.deepEqual(net.hearer.got, ["a"]);
  });

  it("costs an idle stream five heartbeats, then nothing", () => {
    const net = new Streams();
    net.now("a");
    net.clock.advance(60_000);
    assert.equal(net.senders.stats.heartbeats, 5);
    assert.equal(net.statuses.length, 0);
    assert.equal(net.clock.pending, 0);
  });

  it("goes to all where a second of many asks for the same within a moment", () => {
    const net = new Streams(1, CALM, 100, 6);
    net.now("a");
    net.lose = (d) => d.number === 1 && net.clock.now() < 1;
    net.now("b");
    net.now("c");
    net.clock.advance(5);
    for (const { got } of net.hearers) assert.deepEqual(got, ["a", "b", "c"]);
    assert.equal(net.senders.stats.repairs, 1);
    assert.equal(net.senders.stats.group_repairs, 1);
  });

  it("says at once what is not there any more, and the receiver goes on", () => {
    const net = new Streams();
    net.now("a");
    net.hearer.cut = true;
    net.now("too old when it is asked for");
    net.clock.advance(4_000);
    net.hearer.cut = false;
    net.now("c");
    net.clock.advance(3);
    assert.deepEqual(net.hearer.got, ["a", "c"]);
    assert.equal(net.hearer.receiver.stats.lost, 1);
  });

  it("drops a packet of which a piece is not there any more, and no other", () => {
    const net = new Streams();
    net.now("a");
    net.lose = (d) => d.number === 3;
    net.now("x".repeat(500));
    net.clock.advance(4_000);
    net.now("next");
    net.clock.advance(3);
    assert.deepEqual(net.hearer.got, ["a", "next"]);
    assert.equal(net.hearer.receiver.stats.incomplete, 1);
  });

  it("keeps what is sent within 32 MiB over all streams and counts what had to go", () => {
    const net = new Streams(1, CALM, 60_000);
    for (let i = 0; i < 800; i++) {
      net.send("m".repeat(59_000), undefined, GROUP + (i % 7));
      net.clock.advance(1);
    }
    const { bytes, evicted } = net.senders.kept;
    assert.ok(bytes <= 32 * 1024 * 1024 && bytes > 30 * 1024 * 1024, `${bytes}`);
    assert.ok(evicted > 200, `${evicted}`);
    net.clock.advance(4_000);
    assert.equal(net.senders.kept.bytes, 0);
  });

  it("is for edges of the group at their own address; a stranger gets no message again", () => {
    const net = new Streams();
    net.now("a");
    const before = net.sent.length;
    const stranger = new Hearer(net, 9, 5);
    for (const d of [...net.sent]) stranger.receiver.onDatagram({ ...d, number: d.number + 5 }, FROM);
    const status = { kind: Kind.STATUS, flags: 0, source: 2, epoch: 100, stream: GROUP, number: 0 };
    const payload = Buffer.from("0000000700000000000000ff", "hex");
    net.senders.onStatus({ ...status, payload }, { address: "10.0.0.66", port: 1883 });
    net.clock.advance(5);
    assert.deepEqual(
      net.sent.slice(before).filter((d) => d.kind === Kind.DATA),
      [],
    );
    assert.ok(net.senders.stats.strangers >= 1);
  });
});

describe("entering a stream", () => {
  it("begins with what was sent after the edge came into the group, and asks for nothing before", () => {
    const net = new Streams(1, CALM, 100, 2);
    const [first, second] = net.hearers as [Hearer, Hearer];
    second.cut = true;
    net.join(GROUP, first);
    for (const text of ["before", "and this"]) net.now(text);
    net.join(GROUP, first, second);
    second.cut = false;
    net.lose = (d, h) => h === second && d.number === 2 && net.clock.now() === 0;
    net.now("lost at first");
    net.now("seen first");
    net.clock.advance(5);
    assert.deepEqual(second.got, ["lost at first", "seen first"]);
    assert.equal(second.receiver.stats.lost, 0);
  });

  it("of an edge that has started anew begins with its new life", () => {
    const net = new Streams();
    for (const text of ["a", "b"]) net.now(text);
    const again = new Hearer(net, 2, 101);
    net.hearers[0] = again;
    net.join(GROUP, again);
    net.now("c");
    net.clock.advance(5);
    assert.deepEqual(again.got, ["c"]);
  });

  it("delivers what the datagram seen first had overtaken", () => {
    const net = new Streams();
    const late = new Hearer(net, 3, 1);
    for (const text of upTo(100)) net.now(text);
    net.hearers.push(late);
    net.join(GROUP, ...net.hearers);
    net.lose = (_, h) => h === late;
    for (const text of ["a", "b", "c"]) net.now(text);
    const [a, b, c] = net.sent.slice(-3);
    net.lose = () => false;
    for (const d of [c!, a!, b!]) late.receiver.onDatagram(d, FROM);
    net.clock.advance(1);
    assert.deepEqual(late.got, ["a", "b", "c"]);
  });
});

describe("what nobody honest sends", () => {
  it("far numbers: nothing is kept, little is asked, and the stream goes on", () => {
    const net = new Streams();
    net.now("a");
    for (let i = 0; i < 10_000; i++) {
      net.hearer.receiver.onDatagram(forged(1 + ((i * 214_013 + 2_531_011) % 0x7fffffff)), FROM);
    }
    net.clock.advance(10_000);
    assert.ok(net.statuses.length < 100, `${net.statuses.length} asked`);
    assert.ok(net.statuses.every((s) => s.payload.length <= 4 + 64 * 8));
    net.now("b");
    net.clock.advance(500);
    assert.ok(net.hearer.receiver.stats.beyond_window > 9_900);
    // A forged number within the window is one of the stream: only the keyed tag tells it from the sender's own.
    assert.deepEqual(
      net.hearer.got.filter((text) => text !== "forged"),
      ["a", "b"],
    );
  });

  /** `count` streams of a source that does not answer. */
  function invent(net: Streams, count: number): void {
    const from = { address: "10.0.0.77", port: 1 };
    for (let i = 0; i < count; i++) {
      net.hearer.receiver.onDatagram({ ...forged(9), stream: i, source: 77 }, from);
    }
  }

  it("streams that do not exist: 65,536 are remembered", () => {
    const net = new Streams();
    invent(net, 70_000);
    assert.equal(net.hearer.receiver.size, 65_536);
    net.hearer.receiver.close();
    assert.equal(net.clock.pending, 0);
  });

  it("streams that do not exist: asked for 100 times in 10 ms at most, 5 s long", () => {
    const net = new Streams();
    invent(net, 3_000);
    for (let before = 0, t = 0; t < 100; t++) {
      net.clock.advance(10);
      assert.ok(net.statuses.length - before <= 200, `${net.statuses.length - before}`);
      before = net.statuses.length;
    }
    net.now("a");
    net.clock.advance(10_000);
    const asked = net.statuses.length;
    net.clock.advance(60_000);
    assert.equal(net.statuses.length, asked);
    assert.deepEqual(net.hearer.got, ["a"]);
    assert.equal(net.clock.pending, 0);
  });

  it("from another address: another source's stream is not touched", () => {
    const net = new Streams();
    net.now("a");
    net.hearer.receiver.onDatagram(forged(1), { address: "10.0.0.66", port: 1883 });
    net.now("b");
    assert.deepEqual(net.hearer.got, ["a", "b"]);
    assert.equal(net.hearer.receiver.stats.not_source, 1);
  });

  it("a heartbeat or a STATUS cut short, a fence without its place: counted", () => {
    const net = new Streams();
    net.now("a");
    const header = { source: 1, epoch: 7, stream: GROUP, number: 1 };
    for (const length of [0, 3, 5, 11]) {
      const payload = Buffer.alloc(length);
      net.hearer.receiver.onDatagram({ ...header, kind: Kind.HEARTBEAT, flags: ASK, payload }, FROM);
      net.senders.onStatus(
        { ...header, source: 2, kind: Kind.STATUS, flags: 0, payload },
        net.hearer.endpoint,
      );
    }
    net.hearer.receiver.onDatagram({ ...forged(1), flags: WHOLE | FENCE, payload: Buffer.alloc(7) }, FROM);
    assert.equal(net.hearer.receiver.stats.malformed, 4);
    assert.equal(net.senders.stats.bad_statuses, 4);
  });

  it("a heartbeat that names 2^32 numbers as gone costs no time", () => {
    const net = new Streams();
    net.now("a");
    const gone = Array.from({ length: 64 }, () => ({ first: 1, count: 0xffffffff }));
    const header = { kind: Kind.HEARTBEAT, flags: 0, source: 1, epoch: 7, stream: GROUP, number: 100 };
    const start = performance.now();
    net.hearer.receiver.onDatagram({ ...header, payload: encodeHeartbeat({ oldest: 0, gone }) }, FROM);
    // To count them one by one would take minutes.
    assert.ok(performance.now() - start < 2_000);
  });
});

describe("order and repair, whatever the network does", () => {
  it("QoS 0: all, in order, once, for as long as the sender has it: 300 seeds", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const rand = random(seed + 1_000);
      const weather = { loss: rand() * 0.3, repeat: rand() * 0.2, delay: [0, rand() * 15] as const };
      const net = new Streams(seed, weather, 100, 3);
      const count = 100;
      for (let i = 0; i < count; i++) {
        net.send(`${i} ${"z".repeat(rand() < 0.1 ? 250 : 5)}`);
        if (rand() < 0.7) net.clock.advance(rand() * 5);
      }
      net.clock.advance(1_000);
      // The end is certain where the network is: heartbeats may all be lost.
      net.weather = CALM;
      net.send("end");
      net.clock.advance(1_000);
      for (const { got } of net.hearers) {
        const numbers = got.slice(0, -1).map((t) => Number(t.split(" ")[0]));
        assert.deepEqual(numbers, upTo(count).map(Number), `seed ${seed}`);
      }
      net.clock.advance(10_000);
      assert.equal(net.clock.pending, 0, `seed ${seed}: a timer goes on`);
      assert.equal(net.senders.kept.bytes, 0, `seed ${seed}`);
    }
  });
});

describe("positions", () => {
  it("acknowledge when every edge has it, after one round trip", () => {
    const net = new Streams(1, { ...CALM, delay: [1, 1] }, 100, 3);
    let done = false;
    net.send("a", () => {
      done = true;
    });
    net.clock.advance(1.9);
    assert.equal(done, false);
    net.clock.advance(0.2);
    assert.equal(done, true);
    assert.equal(net.statuses.length, 3);
    assert.equal(net.senders.kept.bytes, 0, "what all have is not kept");
  });

  it("may be followed by more from within the acknowledgement: nothing is lost", () => {
    const net = new Streams(1, CALM, 1_000);
    for (const members of [[], [net.hearer]]) {
      net.join(GROUP, ...members);
      const before = net.hearer.got.length;
      for (let i = 0; i < 300; i++) net.send("one", () => net.send("more"));
      net.clock.advance(100);
      const { length } = net.hearer.got.slice(before).filter((text) => text === "more");
      assert.equal(length, 300, `${members.length} members`);
    }
  });

  it("are told once for a burst", () => {
    const net = new Streams(1, CALM, 1_000);
    let done = 0;
    for (const text of upTo(500)) net.send(text, () => done++);
    net.clock.advance(1);
    assert.equal(done, 500);
    assert.ok(net.statuses.length <= 4, `${net.statuses.length}`);
  });

  it("do not acknowledge what an edge lacks, and a lost one is repaired without a datagram after it", () => {
    const net = new Streams(1, CALM, 100, 2);
    net.lose = (d, h) => h === net.hearer && d.kind === Kind.DATA && net.clock.now() < 5;
    let done = false;
    net.now("a", () => {
      done = true;
    });
    assert.equal(done, false);
    net.clock.advance(20);
    assert.equal(done, true);
    assert.deepEqual(net.hearer.got, ["a"]);
  });

  it("do not count of an edge's former life", () => {
    const net = new Streams();
    net.now("a");
    const again = new Hearer(net, 2, 101);
    net.join(GROUP, again);
    net.hearers[0] = again;
    net.lose = () => true;
    let done = false;
    net.now("b", () => {
      done = true;
    });
    const status = { kind: Kind.STATUS, flags: 0, source: 2, epoch: 100, stream: GROUP, number: 2 };
    net.senders.onStatus({ ...status, payload: Buffer.from([0, 0, 0, 7]) }, again.endpoint);
    net.clock.advance(50);
    assert.equal(done, false);
    net.lose = () => false;
    net.clock.advance(2_000);
    assert.equal(done, true);
    assert.deepEqual(again.got, ["b"]);
  });

  it("nobody hangs on an edge that is declared gone, nor longer than 10 s on one that is silent", () => {
    for (const declared of [true, false]) {
      const net = new Streams(1, CALM, 100, 2);
      net.hearer.cut = true;
      let doneAt: number | undefined;
      net.now("a", () => {
        doneAt = net.clock.now();
      });
      net.clock.advance(3_000);
      assert.equal(doneAt, undefined);
      if (declared) net.senders.removeEdge(2, 100, false);
      net.clock.advance(9_000);
      if (declared) assert.equal(doneAt, 3_000);
      else assert.ok(doneAt !== undefined && doneAt >= 10_000 && doneAt <= 11_300, `${doneAt}`);
      net.hearer.cut = false;
      net.now("b");
      net.clock.advance(100);
      assert.deepEqual(net.hearers[1]!.got, ["a", "b"]);
    }
  });

  it("a stalled edge makes the others wait a second, gets all of QoS 1 in order when it is back", () => {
    const net = new Streams(1, CALM, 100, 2);
    const [slow, quick] = net.hearers as [Hearer, Hearer];
    slow.cut = true;
    let done = 0;
    for (let i = 0; i < 3_000; i++) {
      // QoS 0 and 1 by turns; each is a datagram of its own.
      net.send(`${i} ${"x".repeat(60)}`, i % 2 === 0 ? undefined : () => done++);
      net.clock.advance(1);
    }
    assert.ok(quick.got.length > 1_900, `${quick.got.length}`);
    assert.equal(done, 0);
    net.clock.advance(2_000);
    assert.equal(quick.got.length, 3_000, "all of it, at the latest a second later");
    slow.cut = false;
    net.clock.advance(4_000);
    assert.equal(done, 1_500);
    const odd = slow.got.map((t) => Number(t.split(" ")[0])).filter((n) => n % 2 === 1);
    assert.equal(odd.length, 1_500);
    assert.ok(odd.every((n, i) => n === 2 * i + 1));
    assert.ok(slow.receiver.stats.lost > 500, "QoS 0 of that time is lost, and counted");
    assert.equal(net.senders.kept.pinnedBytes, 0);
  });

  it("a window of 512 datagrams, then publishers wait; nothing is lost", () => {
    const net = new Streams(1, CALM, 100, 1);
    net.hearer.cut = true;
    let done = 0;
    for (let i = 0; i < 20_000; i++) net.send(`${i} ${"x".repeat(60)}`, () => done++);
    net.clock.advance(900);
    assert.equal(net.data.length, 512);
    net.clock.advance(2_000);
    assert.ok(net.senders.kept.pinnedBytes < 4_200 * 300);
    net.hearer.cut = false;
    net.clock.advance(20_000);
    assert.equal(done, 20_000);
    assert.deepEqual(
      net.hearer.got.map((t) => t.split(" ")[0]),
      upTo(20_000),
    );
  });

  it("QoS 0 behind a full window: 4 MiB wait, then the new one is dropped and counted", () => {
    const net = new Streams(1, CALM, 1_400, 1);
    net.hearer.cut = true;
    for (let i = 0; i < 600; i++) net.send("x".repeat(1_300), () => {});
    let taken = 0;
    for (let i = 0; i < 5_000; i++) if (net.send("y".repeat(1_300))) taken += 1;
    assert.ok(taken * 1_300 < 4.3 * 1024 * 1024 && taken > 2_000, `${taken}`);
    assert.equal(net.senders.stats.queue_drops, 5_000 - taken);
  });

  it("a message of 20 MB arrives, at QoS 0 and 1, paced", () => {
    for (const done of [undefined, () => {}]) {
      const net = new Streams(1, { ...CALM, loss: 0.01 }, 1_452, 2);
      const text = "0123456789".repeat(2_000_000);
      net.send(text, done);
      net.clock.advance(done === undefined ? 1_500 : 5_000);
      for (const { got } of net.hearers) assert.equal(got[0]?.length, text.length);
    }
  });
});
