import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Turns } from "@topicast/agent/mqtt/turns.js";
import { SimClock } from "@topicast/protocol";
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

/** Some time passes whenever somebody looks. */
class BusyClock extends SimClock {
  private looks = 0;

  override now(): number {
    this.looks += 1;
    return super.now() + this.looks * 0.5;
  }
}

describe("turns", () => {
  it("are taken for a millisecond each, in the order of asking, and the first at once", () => {
    const loop = new Loop();
    let now = 0;
    const turns = new Turns(() => now, loop.defer);
    const done: string[] = [];
    const take = (name: string, ms: number) => {
      const go = () => {
        now += ms;
        done.push(name);
      };
      if (turns.take(go)) go();
    };
    take("a", 0.4);
    take("b", 0.7);
    take("c", 0.2);
    take("d", 3);
    take("e", 0);
    assert.deepEqual(done, ["a", "b"]);
    loop.turn();
    assert.deepEqual(done.splice(0), ["a", "b", "c", "d"], "what has begun is not cut");
    // Who comes while others wait is behind them.
    take("f", 0);
    assert.deepEqual(done, []);
    loop.turn();
    assert.deepEqual(done.splice(0), ["e", "f"]);
    loop.turn();
    take("g", 0);
    assert.deepEqual(done, ["g"]);
  });

  it("keep a rush of CONNECTs from who is connected, and each is answered, in order with what follows it", async () => {
    const loop = new Loop();
    const broker = new TestBroker({ defer: loop.defer }, new BusyClock());
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
    const broker = new TestBroker({ defer: loop.defer }, new BusyClock());
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

  it("that do not come in time are no mistake of the client's", async () => {
    const loop = new Loop();
    const broker = new TestBroker({ defer: loop.defer }, new BusyClock());
    const clients = Array.from({ length: 20 }, (_, n) =>
      broker.open().send({ cmd: "connect", clientId: `c${n}`, clean: true, keepalive: 0 }),
    );
    const silent = broker.open();
    await new Promise(setImmediate);
    broker.clock.advance(10_000);
    await new Promise(setImmediate);
    assert.ok(silent.ended && clients.at(-1)!.ended);
    assert.equal(broker.stat("closed_connect_timeout"), 1);
    assert.ok(broker.stat("closed_unanswered") > 10);
  });
});
