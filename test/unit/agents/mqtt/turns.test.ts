import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Turns } from "@topicast/agent/mqtt/turns.js";
import { publish, subscribe, TestBroker } from "./harness.js";

/** Turns of an event loop that the test makes. */
class Loop {
  private deferred: (() => void)[] = [];
  readonly defer = (fn: () => void) => this.deferred.push(fn);

  turn(): void {
    const { deferred } = this;
    this.deferred = [];
    for (const fn of deferred) fn();
  }
}

describe("turns", () => {
  it("are taken one at a time, in the order of asking, and the first at once", () => {
    const loop = new Loop();
    const turns = new Turns(loop.defer);
    const done: string[] = [];
    for (const name of ["a", "b", "c"]) if (turns.take(() => done.push(name))) done.push(`${name} now`);
    assert.deepEqual(done, ["a now"]);
    loop.turn();
    // Who comes while others wait is behind them.
    assert.equal(
      turns.take(() => done.push("d")),
      false,
    );
    assert.deepEqual(done, ["a now", "b"]);
    for (let n = 0; n < 3; n++) loop.turn();
    assert.deepEqual(done, ["a now", "b", "c", "d"]);
    assert.equal(
      turns.take(() => {}),
      true,
    );
  });

  it("keep a rush of CONNECTs from who is connected, and each is answered, in order with what follows it", async () => {
    const loop = new Loop();
    const broker = new TestBroker({ defer: loop.defer });
    const turn = async () => {
      loop.turn();
      await new Promise(setImmediate);
    };
    const calm = broker.open(5);
    calm.send({ cmd: "connect", clientId: "calm", clean: true, keepalive: 0, protocolVersion: 5 });
    calm.send(subscribe(1, "a"));
    for (let n = 0; n < 4; n++) await turn();
    assert.deepEqual(await calm.told(), ["connack 0", "suback 1 [0]"]);

    const rush = Array.from({ length: 50 }, (_, n) => {
      const client = broker.open(5);
      client.send({ cmd: "connect", clientId: `r${n}`, clean: true, keepalive: 0, protocolVersion: 5 });
      return client.send(publish("b", "x", { qos: 1, id: 1 }));
    });
    const bad = broker.open(5).raw("10 08 0004 4d515454 05 ff");
    calm.send(publish("a", "1"));
    for (let n = 0; n < 3; n++) await turn();
    assert.deepEqual(await calm.told(), ["publish a 1"]);
    assert.ok(rush.filter(({ received }) => received.length > 0).length < 10, "the others wait");
    for (let n = 0; n < 60; n++) await turn();
    for (const client of rush) assert.deepEqual(await client.told(), ["connack 0", "puback 1 0x10"]);
    await bad.take();
    assert.ok(bad.ended);
  });

  it("of who has gone meanwhile are nobody's", async () => {
    const loop = new Loop();
    const broker = new TestBroker({ defer: loop.defer });
    const clients = [1, 2].map((n) => {
      const client = broker.open();
      return client.send({ cmd: "connect", clientId: `c${n}`, clean: true, keepalive: 0 });
    });
    clients[1]!.stream.destroy();
    await new Promise(setImmediate);
    for (let n = 0; n < 5; n++) {
      loop.turn();
      await new Promise(setImmediate);
    }
    assert.deepEqual(await clients[0]!.told(), ["connack 0"]);
    assert.equal(broker.stat("clients"), 1);
  });
});
