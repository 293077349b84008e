/** What clients are answered where the answers wait for other edges: in which order, and when they have gone meanwhile. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Uplink } from "@topicast/agent/mqtt/index.js";
import { DEFAULT_LIMITS } from "@topicast/agent/mqtt/index.js";
import mqtt, { type Packet } from "mqtt-packet";
import { publish, settle, subscribe, TestBroker, type TestClient, unsubscribe } from "./harness.js";

interface Waiting {
  readonly what: string;
  done(): void;
  fail(): void;
}

/** An uplink whose promises are kept when the test says so. */
class SlowUplink implements Uplink {
  readonly waiting: Waiting[] = [];
  isHeard = true;

  subscribe(filter: string): Promise<void> {
    return this.wait(filter);
  }

  unsubscribe(): void {}

  publish({ topic, qos }: { topic: string; qos: number }): Promise<boolean> | undefined {
    return qos > 0 ? this.wait(topic).then(() => this.isHeard) : undefined;
  }

  async done(what: string): Promise<void> {
    this.waiting.find((waiting) => waiting.what === what)!.done();
    await settle();
  }

  async fail(what: string): Promise<void> {
    this.waiting.find((waiting) => waiting.what === what)!.fail();
    await settle();
  }

  private wait(what: string): Promise<void> {
    return new Promise((done, fail) => this.waiting.push({ what, done, fail: () => fail(new Error("cut")) }));
  }
}

function slowBroker(limits = {}): { broker: TestBroker; uplink: SlowUplink } {
  const uplink = new SlowUplink();
  return { uplink, broker: new TestBroker({ uplink, limits }) };
}

const PUBLISH = publish("t", "x", { qos: 1, id: 7 });
const DISCONNECT = { cmd: "disconnect" } as const;

describe("SUBACK and UNSUBACK", () => {
  it("come in the order of what they answer", async () => {
    const { broker, uplink } = slowBroker();
    const client = await broker.connect5("c");
    client.send(subscribe(1, "a"), unsubscribe(2, "a"), subscribe(3, "b"), unsubscribe(4, "x"));
    client.send({ cmd: "pingreq" });
    assert.deepEqual(await client.told(), ["pingresp"]);
    await uplink.done("b");
    assert.deepEqual(await client.told(), []);
    await uplink.done("a");
    assert.deepEqual(await client.told(), [
      ...["suback 1 [0]", "unsuback 2 [0]", "suback 3 [0]", "unsuback 4 [17]"],
    ]);
  });

  it("with the retained messages behind their SUBACK", async () => {
    const { broker, uplink } = slowBroker();
    const client = await broker.connect("c");
    client.send(publish("a/1", "kept", { retain: true }), subscribe(1, "a/#"), unsubscribe(2, "b"));
    await client.take();
    await uplink.done("a/#");
    assert.deepEqual(await client.told(), ["suback 1 [0]", "publish a/1 kept retain", "unsuback 2"]);
  });

  it("that wait behind others are bounded: no more is read", async () => {
    const { broker, uplink } = slowBroker({ pendingAcks: 10 });
    const client = await broker.connect("c");
    client.send(subscribe(1, "a"));
    for (let id = 2; id <= 30; id++) client.send(unsubscribe(id, "x"));
    await settle();
    assert.equal(broker.stat("packets_received"), 11);
    await uplink.done("a");
    assert.equal((await client.take()).length, 30);
  });
});

describe("PUBACK", () => {
  it("says 0x10 where nobody is subscribed, neither here nor elsewhere", async () => {
    const { broker, uplink } = slowBroker();
    const client = await broker.connect5("c");
    const acknowledged = async (isHeard: boolean): Promise<string[]> => {
      client.send(PUBLISH);
      await settle();
      uplink.isHeard = isHeard;
      await uplink.done("t");
      uplink.waiting.length = 0;
      return client.told();
    };
    assert.deepEqual(await acknowledged(false), ["puback 7 0x10"]);
    assert.deepEqual(await acknowledged(true), ["puback 7"]);
    const watcher = await broker.connect("w");
    watcher.send(subscribe(1, "t"));
    await settle();
    await uplink.done("t");
    uplink.waiting.length = 0;
    assert.deepEqual(await acknowledged(false), ["puback 7"]);
  });
});

/** Sends it all in one piece, and ends its side. */
function sendAll({ stream }: TestClient, ...packets: Packet[]): void {
  const bytes = packets.map((packet) => mqtt.generate(packet, { protocolVersion: 5 }));
  stream.end(Buffer.concat(bytes));
}

describe("what a client has sent before it ended its side", () => {
  const will = { topic: "will", payload: Buffer.from("gone"), qos: 0 as const, retain: false };

  async function start(): Promise<{ broker: TestBroker; uplink: SlowUplink; watched(): Promise<string[]> }> {
    const { broker, uplink } = slowBroker({ receiveMaximum: 1 });
    const watcher = await broker.connect("w");
    watcher.send(subscribe(1, "#"));
    await settle();
    await uplink.done("#");
    await watcher.take();
    return { broker, uplink, watched: () => watcher.told() };
  }

  it("is handled where reading was held: its messages, its DISCONNECT", async () => {
    const { broker, uplink, watched } = await start();
    const client = await broker.connect5("c", { will });
    sendAll(client, PUBLISH, publish("u"), DISCONNECT);
    assert.deepEqual(await client.told(), []);
    assert.deepEqual(await watched(), ["publish t x"]);
    await uplink.done("t");
    assert.deepEqual(await client.told(), ["puback 7"]);
    assert.deepEqual(await watched(), ["publish u x"]);
    assert.equal(broker.stat("closed_disconnect"), 1);
    assert.ok(client.ended);
  });

  it("and it has gone without DISCONNECT when that is done", async () => {
    const { broker, uplink, watched } = await start();
    const client = await broker.connect5("c", { will });
    sendAll(client, PUBLISH, publish("u"));
    await settle();
    await uplink.done("t");
    assert.deepEqual(await client.told(), ["puback 7"]);
    assert.deepEqual(await watched(), ["publish t x", "publish u x", "publish will gone"]);
    assert.equal(broker.stat("closed_peer_closed"), 1);
  });

  it("waits no longer than a closed client is waited for", async () => {
    const { broker, watched } = await start();
    const client = await broker.connect5("c", { will, keepalive: 60 });
    sendAll(client, PUBLISH, publish("u"), DISCONNECT);
    await watched();
    broker.clock.advance(DEFAULT_LIMITS.lingerMs);
    assert.deepEqual(await watched(), ["publish will gone"]);
    broker.clock.advance(2 * DEFAULT_LIMITS.lingerMs);
    await settle();
    assert.equal(broker.stat("connections"), 1, "the watcher's");
    assert.equal(broker.clock.pending, 0);
  });

  it("is handled behind its CONNECT, although its session comes from elsewhere", async () => {
    let claimed = (_isOurs: boolean): void => {};
    const uplink = Object.assign(new SlowUplink(), {
      claim: (id: string) =>
        id === "w" ? Promise.resolve(true) : new Promise<boolean>((done) => (claimed = done)),
    });
    const broker = new TestBroker({ uplink });
    const watcher = await broker.connect("w");
    watcher.send(subscribe(1, "#"));
    await settle();
    await uplink.done("#");
    await watcher.take();
    const client = broker.open(5);
    const connect = { cmd: "connect", clientId: "c", clean: true, keepalive: 0, protocolVersion: 5 } as const;
    sendAll(client, { ...connect, will }, publish("t"), DISCONNECT);
    assert.deepEqual(await client.told(), []);
    claimed(true);
    assert.deepEqual(await client.told(), ["connack 0"]);
    assert.ok(client.ended);
    assert.deepEqual(await watcher.told(), ["publish t x"]);
  });
});

describe("a client that publishes and goes", () => {
  for (const [how, version] of [
    ["by DISCONNECT", 4],
    ["by DISCONNECT", 5],
    ["by half-close", 4],
    ["by half-close", 5],
  ] as const) {
    it(`${how} at version ${version} still gets what it is owed, and then the end`, async () => {
      const { broker, uplink } = slowBroker();
      const client = await broker.connect("c", { protocolVersion: version });
      client.send(PUBLISH, publish("u", "x", { qos: 2, id: 8 }));
      if (how === "by DISCONNECT") client.send(DISCONNECT);
      else client.stream.end();
      assert.deepEqual(await client.told(), []);
      assert.ok(!client.ended);
      assert.equal(broker.stat("clients"), 0, "it is gone");
      await uplink.done("t");
      assert.deepEqual(await client.told(), ["puback 7"]);
      assert.ok(!client.ended);
      await uplink.done("u");
      assert.deepEqual(await client.told(), ["pubrec 8"]);
      assert.ok(client.ended);
      broker.clock.advance(DEFAULT_LIMITS.lingerMs);
      await settle();
      assert.equal(broker.stat("connections"), 0);
      assert.equal(broker.clock.pending, 0);
    });
  }

  it("waits no longer than a closed client is waited for", async () => {
    const { broker, uplink } = slowBroker();
    const client = await broker.connect("c");
    client.send(PUBLISH, DISCONNECT);
    await client.take();
    broker.clock.advance(DEFAULT_LIMITS.lingerMs);
    await settle();
    assert.ok(client.ended);
    await uplink.done("t");
    assert.deepEqual(await client.told(), []);
    broker.clock.advance(DEFAULT_LIMITS.lingerMs);
    await settle();
    assert.equal(broker.stat("connections"), 0);
    assert.equal(broker.clock.pending, 0);
  });

  it("is not answered where its message has failed", async () => {
    const { broker, uplink } = slowBroker();
    const client = await broker.connect5("c");
    client.send(PUBLISH, DISCONNECT);
    await client.take();
    await uplink.fail("t");
    assert.deepEqual(await client.told(), []);
    assert.ok(client.ended);
  });

  it("has left: its will is published at once, and nothing more is read or sent to it", async () => {
    const { broker, uplink } = slowBroker();
    const watcher = await broker.connect("w");
    watcher.send(subscribe(1, "#"));
    await settle();
    await uplink.done("#");
    await watcher.take();
    const will = { topic: "will", payload: Buffer.from("gone"), qos: 0 as const, retain: false };
    const client = await broker.connect5("c", { will });
    client.send(subscribe(1, "#"));
    await client.take();
    client.send(PUBLISH, { ...DISCONNECT, reasonCode: 4 }, publish("late"));
    assert.deepEqual(await client.told(), ["publish t x"]);
    assert.deepEqual(await watcher.told(), ["publish t x", "publish will gone"]);
    // The client is back before its answer.
    const back = await broker.connect5("c");
    await uplink.done("t");
    assert.deepEqual(await client.told(), ["puback 7"]);
    assert.deepEqual(await back.told(), []);
  });

  it("without a trace is not waited for", async () => {
    const { broker } = slowBroker();
    const client = await broker.connect("c");
    client.send(PUBLISH);
    await client.take();
    client.stream.destroy();
    await settle();
    assert.equal(broker.stat("connections"), 0);
    assert.equal(broker.clock.pending, 0);
  });
});
