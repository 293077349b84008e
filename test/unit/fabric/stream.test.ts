import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Datagram, encodePublish, SimClock, StreamReceiver, StreamSender } from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import { random } from "./sim.js";

const GROUP = 0xefc00001;
const publish = (text: string) =>
  encodePublish({ topic: "t", payload: Buffer.from(text), qos: 0, retain: false });

function setUp(payloadBytes = 100, epoch = 7) {
  const clock = new SimClock();
  const got: string[] = [];
  const receiver = new StreamReceiver({
    clock,
    onPacket: (packet) => got.push((packet as IPublishPacket).payload.toString()),
  });
  const senderOf = (e: number) => new StreamSender(1, e, GROUP, payloadBytes);
  const sender = senderOf(epoch);
  const datagrams = (text: string, from = sender): Datagram[] => {
    const out: Datagram[] = [];
    from.send(publish(text), (header, payload) => out.push({ ...header, payload }));
    return out;
  };
  return { clock, got, receiver, datagrams, senderOf };
}

describe("data streams", () => {
  it("deliver at once what comes in order", () => {
    const { receiver, datagrams, got } = setUp();
    for (const text of ["a", "b"]) for (const d of datagrams(text)) receiver.onDatagram(d);
    assert.deepEqual(got, ["a", "b"]);
  });

  it("cut a packet larger than a datagram and put it together again", () => {
    const { receiver, datagrams, got } = setUp();
    const pieces = datagrams("x".repeat(1000));
    assert.ok(pieces.length > 10 && pieces.every((d) => d.payload.length <= 100));
    for (const d of pieces) receiver.onDatagram(d);
    assert.deepEqual(got, ["x".repeat(1000)]);
  });

  it("put two that changed places back in order", () => {
    const { receiver, datagrams, got } = setUp();
    const [a, b, c] = [...datagrams("a"), ...datagrams("b"), ...datagrams("c")];
    for (const d of [a!, c!, b!]) receiver.onDatagram(d);
    assert.deepEqual(got, ["a", "b", "c"]);
    assert.equal(receiver.stats.lost, 0);
  });

  it("go on 20 ms after a loss, and count it", () => {
    const { receiver, datagrams, got, clock } = setUp();
    const [a, , c] = [...datagrams("a"), ...datagrams("b"), ...datagrams("c")];
    receiver.onDatagram(a!);
    receiver.onDatagram(c!);
    clock.advance(19);
    assert.deepEqual(got, ["a"]);
    clock.advance(1);
    assert.deepEqual(got, ["a", "c"]);
    assert.equal(receiver.stats.lost, 1);
  });

  it("drop a packet of which a piece is missing, and no other", () => {
    const { receiver, datagrams, got, clock } = setUp();
    const pieces = datagrams("x".repeat(500));
    for (const d of [...pieces.slice(0, 2), ...pieces.slice(3), ...datagrams("next")]) receiver.onDatagram(d);
    clock.advance(20);
    assert.deepEqual(got, ["next"]);
    assert.equal(receiver.stats.incomplete, 1);
  });

  it("drop repetitions, also late ones", () => {
    const { receiver, datagrams, got } = setUp();
    const [a, b] = [...datagrams("a"), ...datagrams("b")];
    for (const d of [a!, a!, b!, a!]) receiver.onDatagram(d);
    assert.deepEqual(got, ["a", "b"]);
    assert.equal(receiver.stats.duplicates, 2);
  });

  it("begin anew with the sender's next start and ignore its former life", () => {
    const { receiver, datagrams, got, senderOf } = setUp();
    const old = [...datagrams("old 1"), ...datagrams("old 2")];
    receiver.onDatagram(old[0]!);
    for (const d of datagrams("new", senderOf(8))) receiver.onDatagram(d);
    receiver.onDatagram(old[1]!);
    assert.deepEqual(got, ["old 1", "new"]);
    assert.equal(receiver.stats.old_epoch, 1);
  });

  it("can be entered in the middle, also of a cut packet, without noise", () => {
    const { receiver, datagrams, got, clock } = setUp();
    for (let i = 0; i < 10; i++) datagrams("before we came");
    const pieces = datagrams("y".repeat(300));
    for (const d of [...pieces.slice(1), ...datagrams("b")]) receiver.onDatagram(d);
    clock.advance(20);
    assert.deepEqual(got, ["b"]);
    for (let i = 0; i < 5_000; i++) datagrams("while we were away");
    for (const d of [...datagrams("c"), ...datagrams("d")]) receiver.onDatagram(d);
    clock.advance(20);
    assert.deepEqual(got, ["b", "c", "d"]);
    assert.equal(receiver.stats.joins, 2);
    assert.equal(receiver.stats.lost, 0);
  });

  it("deliver what the datagram seen first had overtaken", () => {
    const { receiver, datagrams, got, clock } = setUp();
    for (let i = 0; i < 100; i++) datagrams("before we came");
    const [a, b, c] = [...datagrams("a"), ...datagrams("b"), ...datagrams("c")];
    for (const d of [c!, a!, b!]) receiver.onDatagram(d);
    clock.advance(20);
    assert.deepEqual(got, ["a", "b", "c"]);
  });

  it("keep order and never repeat, whatever the network does: 500 seeds", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const rand = random(seed);
      const { receiver, datagrams, got, clock } = setUp();
      for (let i = 0; i < 200; i++) {
        for (const d of datagrams(`${i} ${"z".repeat(Math.floor(rand() * 250))}`)) {
          if (rand() < 0.05) continue;
          for (let n = rand() < 0.1 ? 2 : 1; n > 0; n--) {
            clock.setTimer(rand() * 10, () => receiver.onDatagram(d));
          }
        }
        clock.advance(1);
      }
      clock.advance(1000);
      const numbers = got.map((t) => Number(t.split(" ")[0]));
      for (let i = 1; i < numbers.length; i++) assert.ok(numbers[i]! > numbers[i - 1]!, `seed ${seed}`);
      assert.ok(numbers.length > 100, `seed ${seed}: ${numbers.length}`);
      assert.equal(clock.pending, 0, `seed ${seed}`);
    }
  });

  it("hold a bounded amount of early datagrams", () => {
    const { receiver, datagrams, got, clock } = setUp(1_000_000);
    datagrams("never arrives");
    receiver.onDatagram(datagrams("a")[0]!);
    datagrams("lost");
    for (let i = 0; i < 6; i++) receiver.onDatagram(datagrams("m".repeat(900_000))[0]!);
    assert.ok(got.length >= 5, "over 4 MiB the gap is given up before its time");
    clock.advance(20);
    assert.equal(got.length, 7);
  });
});
