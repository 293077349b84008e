import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  ControlChannel,
  type Datagram,
  decodeDatagram,
  encodeHeader,
  encodePublish,
  Kind,
  SimClock,
  WHOLE,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import { type Faults, PERFECT, random } from "./sim.js";

/** Two channels over a faulty link in virtual time. */
function pair(seed: number, faults: Faults) {
  const clock = new SimClock();
  const rand = random(seed);
  const got: { a: string[]; b: string[] } = { a: [], b: [] };
  const broken: string[] = [];
  let sent = 0;
  const make = (epoch: number, peerEpoch: number, into: string[], peer: () => ControlChannel) =>
    new ControlChannel({
      clock,
      source: epoch,
      epoch,
      peerEpoch,
      payloadBytes: 200,
      transmit: (header, payload) => {
        sent += 1;
        if (rand() < faults.loss) return;
        const datagram = decodeDatagram(Buffer.concat([encodeHeader(header), payload])) as Datagram;
        for (let copies = rand() < faults.repeat ? 2 : 1; copies > 0; copies--) {
          const wait = faults.delay[0] + rand() * (faults.delay[1] - faults.delay[0]);
          clock.setTimer(wait, () => peer().onDatagram(datagram));
        }
      },
      onPacket: (packet) => into.push((packet as IPublishPacket).payload.toString()),
      onBroken: (reason) => broken.push(reason),
    });
  const a: ControlChannel = make(1, 0, got.a, () => b);
  const b: ControlChannel = make(2, 1, got.b, () => a);
  return { clock, a, b, got, broken, sent: () => sent };
}

const packet = (text: string) =>
  encodePublish({ topic: "t", payload: Buffer.from(text), qos: 0, retain: false });

describe("ControlChannel", () => {
  it("carries packets both ways and says when the peer has them", async () => {
    const { clock, a, b, got } = pair(1, PERFECT);
    const delivered = a.send(packet("ping"));
    clock.advance(1);
    assert.equal(await delivered, true);
    void b.send(packet("pong"));
    clock.advance(1);
    assert.deepEqual(got, { b: ["ping"], a: ["pong"] });
    assert.equal(a.peerEpoch, 2, "learned from the answer");
  });

  it("sends nothing more once everything is acknowledged", () => {
    const { clock, a, sent } = pair(1, PERFECT);
    void a.send(packet("x"));
    clock.advance(1);
    assert.equal(sent(), 2, "one CONTROL, one ACK");
    clock.advance(60_000);
    assert.equal(sent(), 2);
    assert.equal(clock.pending, 0);
  });

  it("delivers everything once and in order over 300 seeds of loss, repetition and reordering", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const faults = { loss: 0.3 * random(seed)(), repeat: 0.2, delay: [0.1, 5] as const };
      const { clock, a, b, got } = pair(seed, faults);
      const texts = Array.from({ length: 120 }, (_, i) => `${i}:${"x".repeat((i * 37) % 700)}`);
      for (const text of texts) {
        void a.send(packet(text));
        void b.send(packet(text));
      }
      clock.advance(120_000);
      assert.deepEqual(got.b, texts, `seed ${seed}`);
      assert.deepEqual(got.a, texts, `seed ${seed}`);
      assert.equal(a.waitingBytes + b.waitingBytes, 0, `seed ${seed}`);
    }
  });

  it("repeats ever more slowly towards a dead peer, at least every 2 s", () => {
    const { clock, a, sent } = pair(1, { ...PERFECT, loss: 1 });
    void a.send(packet("x"));
    clock.advance(10_000);
    // At 0, 100, 300, 700, 1500, 3100, then every 2 s: 5100, 7100, 9100.
    assert.equal(sent(), 9);
  });

  it("breaks rather than hold more than its bound", async () => {
    const { a, broken } = pair(1, { ...PERFECT, loss: 1 });
    const large = packet("x".repeat(1024 * 1024));
    const sends = Array.from({ length: 65 }, () => a.send(large));
    assert.deepEqual(broken, ["overflow"]);
    assert.deepEqual(
      await Promise.all(sends),
      sends.map(() => false),
    );
    assert.equal(a.waitingBytes, 0);
  });

  it("takes nothing more while paused, and everything after, in order", () => {
    const { clock, a, b, got } = pair(1, PERFECT);
    b.pause();
    for (let i = 0; i < 100; i++) void a.send(packet(String(i)));
    clock.advance(5_000);
    assert.deepEqual(got.b, []);
    assert.ok(a.waitingBytes > 0);
    b.resume();
    clock.advance(10_000);
    assert.deepEqual(
      got.b,
      Array.from({ length: 100 }, (_, i) => String(i)),
    );
    assert.equal(a.waitingBytes, 0);
  });

  it("says when there is room again, also when the channel ends", async () => {
    const { clock, a } = pair(1, PERFECT);
    const large = packet("x".repeat(1024 * 1024));
    for (let i = 0; i < 8; i++) void a.send(large);
    let ready = false;
    const room = a.ready().then(() => {
      ready = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(ready, false);
    clock.advance(60_000);
    await room;
    assert.ok(a.waitingBytes <= 4 * 1024 * 1024);
    for (let i = 0; i < 8; i++) void a.send(large);
    const end = a.ready();
    a.close();
    await end;
  });

  it("breaks on malformed content", () => {
    const { b, broken } = pair(1, PERFECT);
    b.onDatagram({
      kind: Kind.CONTROL,
      flags: WHOLE,
      source: 1,
      epoch: 1,
      stream: 2,
      number: 0,
      payload: Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff]),
    });
    assert.deepEqual(broken, ["malformed"]);
  });

  it("ignores what is far ahead and does not grow", () => {
    const { b, got, clock } = pair(1, PERFECT);
    for (let number = 1; number < 1000; number++) {
      b.onDatagram({
        kind: Kind.CONTROL,
        flags: WHOLE,
        source: 1,
        epoch: 1,
        stream: 2,
        number,
        payload: packet("y"),
      });
    }
    b.onDatagram({
      kind: Kind.CONTROL,
      flags: WHOLE,
      source: 1,
      epoch: 1,
      stream: 2,
      number: 0,
      payload: packet("y"),
    });
    clock.advance(1);
    assert.equal(got.b.length, 33, "the window and the one it waited for");
  });
});
