import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import {
  decodeDelivery,
  decodeMessage,
  decodeSession,
  encodeDelivery,
  encodeMessage,
  encodeSession,
  type SessionRecord,
} from "@topicast/agent/mqtt/durable/records.js";
import type { SessionStore, Uplink } from "@topicast/agent/mqtt/index.js";
import { Publication } from "@topicast/agent/mqtt/publication.js";
import { type Message, systemClock } from "@topicast/protocol";
import { Store } from "@topicast/protocol/store";
import type { IConnectPacket, IPublishPacket, Packet } from "mqtt-packet";
import fc from "../../../property.js";
import { publish, settle, subscribeAt, TestBroker, type TestClient, unsubscribe } from "./harness.js";

const KEEP = { clean: false, properties: { sessionExpiryInterval: 100 } } satisfies Partial<IConnectPacket>;

let directory: string;
let store: Store;
/** Milliseconds since 1970; the brokers' clocks begin at 0. */
let unix: number;
/** The system clock's timers do not keep the process running. */
let running: NodeJS.Timeout;

before(() => {
  running = setInterval(() => {}, 1_000);
});
after(() => clearInterval(running));
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "topicast-sessions-"));
  unix = Date.UTC(2026, 0, 1);
  await openStore();
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

async function openStore(): Promise<void> {
  store = await Store.open({ directory, clock: systemClock, log: { error: assert.fail } });
}

/** A broker over the store, with what an earlier one has left there. */
async function start(uplink?: Uplink): Promise<TestBroker> {
  const options = {
    entries: store,
    unixTime: (): number => unix + broker.clock.now(),
  } satisfies SessionStore;
  const broker = new TestBroker({ store: options, ...(uplink === undefined ? {} : { uplink }) });
  await broker.broker.restore();
  return broker;
}

/** The process has ended without any farewell, and `seconds` later another one starts. */
async function restart(from: TestBroker, seconds = 0, uplink?: Uplink): Promise<TestBroker> {
  unix += from.clock.now() + seconds * 1_000;
  await store.close();
  await openStore();
  return start(uplink);
}

/** What has arrived, once everything is written that it waits for. */
async function written(client: TestClient): Promise<string[]> {
  return (await packets(client)).map(shown);
}

async function packets(client: TestClient): Promise<Packet[]> {
  await settle();
  await store.durable();
  return client.take();
}

function shown(packet: Packet): string {
  if (packet.cmd !== "publish") return `${packet.cmd} ${packet.messageId}`;
  return `${packet.topic} ${packet.payload} q${packet.qos} id ${packet.messageId}${packet.dup ? " dup" : ""}`;
}

async function connect(broker: TestBroker, clientId: string, options: Partial<IConnectPacket> = {}) {
  const client = broker.open(5);
  client.send({ cmd: "connect", clientId, keepalive: 0, protocolVersion: 5, ...KEEP, ...options });
  const [connack, ...early] = await packets(client);
  assert.equal(connack?.cmd, "connack");
  return { client, isPresent: connack.sessionPresent, early: early.map(shown), packets: early };
}

describe("retained messages of an agent by itself", () => {
  const retain = (topic: string, payload: string, id: number, expiry?: number) =>
    publish(topic, payload, {
      ...{ qos: 1, id, retain: true },
      ...(expiry === undefined ? {} : { properties: { messageExpiryInterval: expiry, contentType: "text" } }),
    });

  async function found(broker: TestBroker, filter: string): Promise<string[]> {
    const { client } = await connect(broker, `finder of ${filter}`, { clean: true });
    client.send(subscribeAt(1, 1, filter));
    const got = (await packets(client)).filter((packet) => packet.cmd === "publish");
    return got.map(({ topic, payload, properties: p }) => {
      return `${topic}=${payload}${p?.contentType === undefined ? "" : ` ${p.contentType}, ${p.messageExpiryInterval} s`}`;
    });
  }

  it("are there after its death: the last of each topic, with what they have left, and no deleted one", async () => {
    let broker = await start();
    const { client } = await connect(broker, "p");
    client.send(retain("a", "old", 1), retain("a", "new", 2), retain("b", "gone", 3), retain("b", "", 4));
    client.send(retain("c", "for a while", 5, 100), retain("d", "not for long", 6, 10));
    client.send(retain("$own/e", "of this process", 7));
    const acknowledged = (await written(client)).filter((word) => word.startsWith("puback"));
    assert.equal(acknowledged.length, 7);
    broker = await restart(broker, 20);
    assert.deepEqual((await found(broker, "#")).sort(), ["a=new", "c=for a while text, 80 s"]);
    assert.deepEqual(await found(broker, "$own/#"), []);
    broker = await restart(broker, 100);
    assert.deepEqual(await found(broker, "#"), ["a=new"]);
    assert.equal(broker.stat("retained_messages"), 1);
  });

  it("are acknowledged when they are written", async () => {
    const broker = await start();
    const { client } = await connect(broker, "p", { clean: true, properties: {} });
    let write = () => {};
    const { durable } = store;
    store.durable = () => new Promise<void>((resolve) => (write = () => resolve(durable.call(store))));
    client.send(retain("a", "x", 1));
    await settle();
    assert.deepEqual(await client.told(), []);
    store.durable = durable;
    write();
    await store.durable();
    assert.deepEqual(await client.told(), ["puback 1 0x10"], "nobody listens, and it is kept");
  });

  it("one that cannot be understood is reported and forgotten, the others stay", async () => {
    let broker = await start();
    const { client } = await connect(broker, "p");
    client.send(retain("a", "x", 1), retain("b", "y", 2));
    await written(client);
    store.put("retained/a", Buffer.from([1, 2, 3]));
    broker = await restart(broker);
    assert.deepEqual(await found(broker, "#"), ["b=y"]);
    assert.equal(broker.stat("retained_damaged"), 1);
    broker = await restart(broker);
    assert.equal(broker.stat("retained_damaged"), 0);
  });

  it("belong to the network where there is one: then they are not written here", async () => {
    const uplink: Uplink = {
      attach: () => {},
      subscribe: () => Promise.resolve(),
      unsubscribe: () => {},
      publish: () => undefined,
    };
    const broker = await start(uplink);
    const { client } = await connect(broker, "p");
    client.send(retain("a", "x", 1));
    await written(client);
    for await (const [key] of store.entries("retained/")) assert.fail(key);
  });
});

describe("a session after the agent's death", () => {
  it("has its subscriptions with their options, and the messages that came while nobody was there", async () => {
    let broker = await start();
    const { client } = await connect(broker, "c");
    client.send({
      cmd: "subscribe",
      messageId: 1,
      subscriptions: [{ topic: "t/#", qos: 2, nl: true, rap: true, rh: 2 }],
      properties: { subscriptionIdentifier: 77 },
    });
    client.send(subscribeAt(1, 2, "gone"), unsubscribe(3, "gone"), { cmd: "disconnect" });
    await settle();
    const { client: p } = await connect(broker, "p", { clean: true, properties: {} });
    p.send(publish("t/1", "a", { qos: 1, id: 1, retain: true, properties: { contentType: "text" } }));
    p.send(publish("t/2", "b", { qos: 2, id: 2 }), publish("t/3", "at most once"));
    assert.deepEqual(await written(p), ["puback 1", "pubrec 2"]);
    assert.equal(broker.stat("stored_messages"), 2);

    broker = await restart(broker);
    assert.equal(broker.stat("sessions_restored"), 1, "that of p ended with its connection");
    assert.equal(broker.stat("subscriptions"), 1);
    const again = await connect(broker, "c");
    assert.equal(again.isPresent, true);
    assert.deepEqual(again.early, ["t/1 a q1 id 1", "t/2 b q2 id 2"]);
    const [a] = again.packets as IPublishPacket[];
    assert.equal(a?.retain, true);
    assert.equal(a?.properties?.contentType, "text");
    assert.equal(a?.properties?.subscriptionIdentifier, 77);
    again.client.send(publish("t/own", "no local"));
    assert.deepEqual(await written(again.client), []);
  });

  it("goes on with what was on its way, under its identifiers, in its order", async () => {
    let broker = await start();
    const { client } = await connect(broker, "c", { properties: { ...KEEP.properties, receiveMaximum: 4 } });
    client.send(subscribeAt(2, 1, "t"));
    const { client: p } = await connect(broker, "p");
    for (const [i, qos] of ([2, 1, 2, 1, 2] as const).entries()) {
      p.send(publish("t", `${i}`, { qos, id: i + 1 }));
    }
    await settle();
    assert.deepEqual((await written(client)).slice(1), [
      "t 0 q2 id 1",
      "t 1 q1 id 2",
      "t 2 q2 id 3",
      "t 3 q1 id 4",
    ]);
    client.send({ cmd: "pubrec", messageId: 1 }, { cmd: "puback", messageId: 2 });
    assert.deepEqual(await written(client), ["t 4 q2 id 5", "pubrel 1"].reverse());

    broker = await restart(broker);
    const again = await connect(broker, "c");
    assert.deepEqual(again.early, ["pubrel 1", "t 2 q2 id 3 dup", "t 3 q1 id 4 dup", "t 4 q2 id 5 dup"]);
    again.client.send({ cmd: "pubcomp", messageId: 1 }, { cmd: "puback", messageId: 4 });
    for (const messageId of [3, 5]) again.client.send({ cmd: "pubrec", messageId });
    await written(again.client);
    for (const messageId of [3, 5]) again.client.send({ cmd: "pubcomp", messageId });
    await written(again.client);
    assert.equal(broker.stat("stored_messages"), 0);

    broker = await restart(broker);
    assert.deepEqual((await connect(broker, "c")).early, []);
  });

  it("knows a QoS 2 message that was received, and its identifier is free again after PUBCOMP", async () => {
    let broker = await start();
    const { client } = await connect(broker, "c");
    client.send(subscribeAt(1, 1, "t"), { cmd: "disconnect" });
    let { client: p } = await connect(broker, "p");
    p.send(publish("t", "once", { qos: 2, id: 9 }), publish("t", "done", { qos: 2, id: 8 }));
    await written(p);
    p.send({ cmd: "pubrel", messageId: 8 });
    assert.deepEqual(await written(p), ["pubcomp 8"]);

    broker = await restart(broker);
    ({ client: p } = await connect(broker, "p"));
    p.send(publish("t", "once", { qos: 2, id: 9, dup: true }), publish("t", "new", { qos: 2, id: 8 }));
    assert.deepEqual(await written(p), ["pubrec 9", "pubrec 8"]);
    assert.equal(broker.stat("publish_repeated"), 1);
    assert.deepEqual((await connect(broker, "c")).early, [
      "t once q1 id 1",
      "t done q1 id 2",
      "t new q1 id 3",
    ]);
  });

  it("expires by the clock on the wall; what nobody waits for any more is gone", async () => {
    let broker = await start();
    const { client } = await connect(broker, "c");
    client.send(subscribeAt(1, 1, "t"), { cmd: "disconnect" });
    const { client: p } = await connect(broker, "p", { clean: true, properties: {} });
    p.send(publish("t", "x", { qos: 1, id: 1 }));
    await written(p);
    p.stream.destroy();
    broker.clock.advance(60_000);
    broker = await restart(broker, 30);
    assert.equal(broker.stat("sessions"), 1);
    broker.clock.advance(9_000);
    assert.equal(broker.stat("sessions"), 1);
    broker.clock.advance(1_000);
    assert.equal(broker.stat("sessions"), 0);
    broker = await restart(broker);
    assert.equal(broker.stat("sessions_restored"), 0);
    for await (const [key] of store.entries("")) assert.fail(`${key} is left`);
  });

  it("has expired while the agent was away", async () => {
    let broker = await start();
    (await connect(broker, "c")).client.send({ cmd: "disconnect" });
    await settle();
    broker = await restart(broker, 101);
    assert.equal(broker.stat("sessions_expired"), 1);
    assert.equal((await connect(broker, "c")).isPresent, false);
  });

  it("does not begin anew for the clock that was set back", async () => {
    let broker = await start();
    (await connect(broker, "c")).client.send({ cmd: "disconnect" });
    await settle();
    broker = await restart(broker, -1_000_000);
    broker.clock.advance(100_000);
    assert.equal(broker.stat("sessions"), 0);
  });

  it("forgets messages whose time is over, by the clock on the wall", async () => {
    let broker = await start();
    const { client } = await connect(broker, "c");
    client.send(subscribeAt(1, 1, "t"), { cmd: "disconnect" });
    const { client: p } = await connect(broker, "p");
    for (const [i, messageExpiryInterval] of [10, 50].entries()) {
      p.send(publish("t", `${i}`, { qos: 1, id: i + 1, properties: { messageExpiryInterval } }));
    }
    await written(p);
    broker = await restart(broker, 20);
    const again = await connect(broker, "c");
    assert.deepEqual(again.early, ["t 1 q1 id 2"]);
    assert.equal((again.packets[0] as IPublishPacket).properties?.messageExpiryInterval, 30);
    again.client.send({ cmd: "puback", messageId: 2 });
    await written(again.client);
    assert.equal(broker.stat("stored_messages"), 0);
  });

  it("publishes its will once: the agent's death ended its connection", async () => {
    const will = { topic: "will", payload: Buffer.from("gone"), qos: 1, retain: false } as const;
    let broker = await start();
    const { client: w } = await connect(broker, "watcher");
    w.send(subscribeAt(1, 1, "will"));
    await connect(broker, "soon", { will });
    await connect(broker, "late", { will: { ...will, properties: { willDelayInterval: 30 } } });
    await connect(broker, "back", { will: { ...will, properties: { willDelayInterval: 30 } } });
    (await connect(broker, "orderly", { will })).client.send({ cmd: "disconnect" });
    await settle();
    broker = await restart(broker, 5);
    assert.equal(broker.stat("wills_published"), 1);
    await connect(broker, "back");
    broker.clock.advance(30_000);
    assert.equal(broker.stat("wills_published"), 2);
    broker = await restart(broker);
    broker.clock.advance(60_000);
    assert.equal(broker.stat("wills_published"), 0);
    assert.deepEqual((await connect(broker, "watcher")).early, ["will gone q1 id 1", "will gone q1 id 2"]);
  });

  it("that was ended is not there again: clean start, expiry 0 at DISCONNECT", async () => {
    let broker = await start();
    const { client } = await connect(broker, "c");
    client.send(subscribeAt(1, 1, "t"));
    await connect(broker, "c", { clean: true });
    const d = await connect(broker, "d");
    d.client.send({ cmd: "disconnect", properties: { sessionExpiryInterval: 0 } });
    await settle();
    broker = await restart(broker);
    assert.equal(broker.stat("subscriptions"), 0);
    assert.equal((await connect(broker, "d")).isPresent, false);
  });

  it("that cannot be understood ends alone", async () => {
    let broker = await start();
    for (const id of ["a", "b", "c"]) {
      (await connect(broker, id)).client.send(subscribeAt(1, 1, "t"), { cmd: "disconnect" });
      await settle();
    }
    const { client: p } = await connect(broker, "p", { clean: true, properties: {} });
    p.send(publish("t", "x", { qos: 1, id: 1 }));
    await written(p);
    p.stream.destroy();
    store.put("session/00000001", Buffer.from("{"));
    store.put("delivery/00000002/000000000001", Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 99]));
    store.put("message/xyz", Buffer.from("?"));
    broker = await restart(broker);
    assert.equal(broker.stat("sessions"), 1);
    assert.equal(broker.stat("sessions_damaged"), 3);
    assert.deepEqual((await connect(broker, "c")).early, ["t x q1 id 1"]);
    broker = await restart(broker);
    assert.equal(broker.stat("sessions_damaged"), 0);
  });
});

describe("what an agent promises", () => {
  /** The store, but nothing is durable before the test says so. */
  class Gate {
    private open: (() => void)[] = [];

    readonly entries = {
      put: (key: string, value: Uint8Array) => store.put(key, value),
      delete: (key: string) => store.delete(key),
      entries: (prefix: string) => store.entries(prefix),
      durable: () => new Promise<void>((resolve) => this.open.push(resolve)),
    };

    async pass(): Promise<void> {
      for (const open of this.open.splice(0)) open();
      await settle();
    }
  }

  it("leaves when it is written, in order; what promises nothing does not wait", async () => {
    const gate = new Gate();
    const broker = new TestBroker({ store: { entries: gate.entries, unixTime: () => unix } });
    const c = broker.open(5);
    c.send({ cmd: "connect", clientId: "c", keepalive: 0, protocolVersion: 5, ...KEEP });
    assert.deepEqual(await c.told(), []);
    await gate.pass();
    assert.deepEqual(await c.told(), ["connack 0"]);
    c.send(subscribeAt(2, 1, "t"), { cmd: "pingreq" });
    assert.deepEqual(await c.told(), []);
    await gate.pass();
    assert.deepEqual(await c.told(), ["suback 1 [2]", "pingresp"]);

    const p = await broker.connect5("p");
    p.send(publish("other", "x", { qos: 1, id: 1 }), publish("t", "x"));
    assert.deepEqual(await p.told(), ["puback 1 0x10"], "no session that outlives its connection has it");
    assert.deepEqual(await c.told(), ["publish t x"], "at most once is no promise");
    p.send(publish("t", "y", { qos: 2, id: 2 }), publish("other", "x", { qos: 1, id: 3 }));
    assert.deepEqual([await p.told(), await c.told()], [[], []]);
    await gate.pass();
    assert.deepEqual(await p.told(), ["pubrec 2", "puback 3 0x10"]);
    assert.deepEqual(await c.told(), ["publish t y q2"]);
    c.send({ cmd: "pubrec", messageId: 1 });
    assert.deepEqual(await c.told(), []);
    await gate.pass();
    assert.deepEqual(await c.told(), ["pubrel 1"]);
  });

  it("is not said to a client that has gone meanwhile, and the stream is ended behind what was", async () => {
    const gate = new Gate();
    const broker = new TestBroker({ store: { entries: gate.entries, unixTime: () => unix } });
    const c = broker.open(5);
    c.send({ cmd: "connect", clientId: "c", keepalive: 0, protocolVersion: 5, ...KEEP });
    c.send({ cmd: "disconnect" });
    await settle();
    assert.equal(c.ended, false);
    await gate.pass();
    assert.deepEqual(await c.told(), ["connack 0"]);
    assert.equal(c.ended, true);
    c.stream.end();
    const d = broker.open(5);
    d.send({ cmd: "connect", clientId: "d", keepalive: 0, protocolVersion: 5, ...KEEP });
    await settle();
    d.stream.destroy();
    await settle();
    await gate.pass();
    assert.equal(broker.stat("connections"), 0);
  });

  it("waits for the other edges, too, which hear of a QoS 2 message only when it is written here", async () => {
    const sent: Message[] = [];
    const uplink: Uplink = {
      subscribe: async () => {},
      unsubscribe: () => {},
      newOrigin: () => "e1-7",
      publish: (message) => {
        sent.push(message);
        return sent.length === 1 ? new Promise(() => {}) : undefined;
      },
    };
    const broker = await start(uplink);
    const { client: p } = await connect(broker, "p");
    p.send(publish("t", "x", { qos: 2, id: 1 }));
    assert.deepEqual(sent, []);
    assert.deepEqual(await written(p), []);
    assert.equal(sent.length, 1);
    const after = await restart(broker, 0, uplink);
    const { client: again } = await connect(after, "p");
    again.send(publish("t", "x", { qos: 2, id: 1, dup: true }));
    assert.deepEqual(await written(again), ["pubrec 1"]);
    assert.deepEqual(
      sent.map(({ origin }) => origin),
      ["e1-7", "e1-7"],
      "those who have it must know it",
    );
    again.send(publish("t", "x", { qos: 2, id: 1, dup: true }));
    assert.deepEqual(await written(again), ["pubrec 1"]);
    assert.equal(sent.length, 2);
  });
});

describe("records", () => {
  const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
    fc.record<T>(model, { noNullPrototype: true });
  const text = fc.string({ unit: "grapheme" });
  const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
  const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
  const qos = fc.constantFrom(0 as const, 1 as const, 2 as const);

  it("of a session are read as they were written", () => {
    const will = plain({
      ...{ topic: text, payload: bytes, qos, retain: fc.boolean(), delay: fc.nat() },
      ...{ expiry: optional(fc.nat()), forward: optional(bytes) },
    });
    const session: fc.Arbitrary<SessionRecord> = plain({
      ...{ clientId: text, username: optional(text), listener: optional(text) },
      ...{ expiry: fc.nat(), leftAt: optional(fc.nat()), will: optional(will) },
      ...{ isPartial: fc.boolean(), connectedAt: fc.nat() },
    });
    fc.assert(
      fc.property(session, (record) => assert.deepEqual(decodeSession(encodeSession(record)), record)),
    );
  });

  it("of messages and deliveries are read as they were written, or are refused", () => {
    const arguments_ = fc.tuple(
      ...[text, bytes, qos, fc.boolean(), optional(bytes), fc.integer(), optional(text)],
    );
    const source = optional(plain({ clientId: text, username: optional(text), listener: optional(text) }));
    fc.assert(
      fc.property(arguments_, source, fc.nat(), (args, client, toUnix) => {
        const message = new Publication(...(args as ConstructorParameters<typeof Publication>));
        message.source = client;
        const encoded = encodeMessage(message, toUnix);
        assert.deepEqual(decodeMessage(encoded, toUnix).toMessage(0), message.toMessage(0));
        assert.deepEqual(decodeMessage(encoded, toUnix).source, client);
        const head = encoded.length - message.payload.length;
        for (let cut = 0; cut < head; cut++) assert.throws(() => decodeMessage(encoded.subarray(0, cut), 0));
      }),
    );
    const delivery = plain({
      progress: fc.constantFrom("publish" as const, "release" as const),
      ...{ qos: fc.constantFrom(1 as const, 2 as const), retain: fc.boolean() },
      ...{ id: fc.integer({ min: 1, max: 65_535 }), message: fc.nat({ max: 2 ** 48 - 1 }) },
      subscriptionIds: fc.array(fc.nat({ max: 268_435_455 }), { maxLength: 3 }),
    });
    fc.assert(
      fc.property(delivery, (record) => assert.deepEqual(decodeDelivery(encodeDelivery(record)), record)),
    );
    assert.throws(() => decodeDelivery(Buffer.alloc(9)), /flags 0/);
    assert.throws(() => decodeDelivery(Buffer.alloc(8, 1)), /8 bytes/);
  });
});
