/** What subscribers get: retained messages, subscription options, shared subscriptions, aliases, permissions, $SYS. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Admission, type Authority, allowAll, type Limits } from "@topicast/agent/mqtt/index.js";
import type { IPublishPacket, ISubscription, Packet } from "mqtt-packet";
import {
  describe as describeWords,
  publish,
  settle,
  subscribe,
  subscribeAt,
  TestBroker,
  unsubscribe,
} from "./harness.js";

function subscribeWith(
  messageId: number,
  options: Partial<ISubscription> & { topic: string },
  id?: number,
): Packet {
  return {
    cmd: "subscribe",
    messageId,
    subscriptions: [{ qos: 0, ...options }],
    ...(id === undefined ? {} : { properties: { subscriptionIdentifier: id } }),
  };
}

function propertiesOf(packet: Packet | undefined): object {
  return { ...(packet as IPublishPacket | undefined)?.properties };
}

describe("retained messages", () => {
  it("come with a new subscription, RETAIN set, at the lesser QoS (MQTT-3.3.1-5, -8)", async () => {
    const broker = new TestBroker();
    const p = await broker.connect("p");
    p.send(publish("a/1", "old", { retain: true }), publish("a/1", "new", { retain: true }));
    p.send(publish("a/2", "q2", { retain: true, qos: 2, id: 1 }), { cmd: "pubrel", messageId: 1 });
    p.send(publish("b", "other", { retain: true }), publish("a/3", "not kept"));
    await p.take();
    const c = await broker.connect("c");
    c.send(subscribeAt(1, 1, "a/+"));
    const [first, ...rest] = await c.told();
    assert.equal(first, "suback 1 [1]", "behind the SUBACK");
    assert.deepEqual(rest.sort(), ["publish a/1 new retain", "publish a/2 q2 q1 retain"]);
    assert.equal(broker.stat("retained_messages"), 3);
  });

  it("go with an empty payload, which is itself sent to those who are there (MQTT-3.3.1-6, -7)", async () => {
    const broker = new TestBroker();
    const p = await broker.connect("p");
    p.send(publish("a", "x", { retain: true }), subscribe(1, "a"));
    await p.take();
    p.send(publish("a", "", { retain: true }), publish("never", "", { retain: true }));
    assert.deepEqual(await p.told(), ["publish a "]);
    assert.equal(broker.stat("retained_messages"), 0);
    assert.equal(broker.stat("retained_bytes"), 0);
  });

  /** A client that is given retained messages one by one breaks off before the first; then what its session has of them. */
  async function resumed(limits: Partial<Limits>): Promise<{ told: string[]; broker: TestBroker }> {
    const broker = new TestBroker({ limits });
    const p = await broker.connect("p");
    for (const [i, qos] of ([0, 1, 2, 1] as const).entries()) {
      p.send(publish(`t/${i}`, "kept", { qos, id: 1, retain: true }), { cmd: "pubrel", messageId: 1 });
    }
    const keep = { clean: false, properties: { sessionExpiryInterval: 100, receiveMaximum: 1 } };
    const first = await broker.connect5("c", keep);
    // While this is not acknowledged there is no room for others.
    first.send(subscribeAt(1, 1, "hold"));
    p.send(publish("hold", "x", { qos: 1, id: 1 }));
    await settle();
    first.send(subscribeAt(2, 2, "t/#"));
    p.send(publish("t/3", "", { qos: 1, id: 1, retain: true }));
    await settle();
    assert.ok(!(await first.told()).some((told) => /t\/[12]/.test(told)));
    first.stream.destroy();
    await settle();
    const again = await broker.connect5("c", { clean: false, properties: { sessionExpiryInterval: 100 } });
    return { broker, told: again.early.map(describeWords).filter((told) => told.includes("kept")) };
  }

  it("wait with the session where the connection breaks before they are sent", async () => {
    const { told, broker } = await resumed({});
    assert.deepEqual(told.sort(), ["publish t/1 kept q1 retain", "publish t/2 kept q2 retain"]);
    assert.equal(broker.stat("retained_dropped"), 0);
  });

  it("wait as far as there is room", async () => {
    const { told, broker } = await resumed({ queueMessages: 3 });
    assert.equal(told.length, 1);
    assert.equal(broker.stat("queue_dropped"), 1);
    assert.ok(broker.stat("retained_dropped") >= 1);
  });

  it("come as Retain Handling says (MQTT-3.3.1-9, -10, -11)", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("c");
    c.send(publish("a", "x", { retain: true }));
    for (const [rh, first, again] of [
      [0, 1, 1],
      [1, 1, 0],
      [2, 0, 0],
    ] as const) {
      c.send(subscribeWith(1, { topic: "a", rh }));
      assert.equal((await c.take()).length - 1, first, `retain handling ${rh}, new`);
      c.send(subscribeWith(2, { topic: "a", rh }));
      assert.equal((await c.take()).length - 1, again, `retain handling ${rh}, again`);
      c.send(unsubscribe(3, "a"));
      await c.take();
    }
  });

  it("keep RETAIN live only for Retain As Published (MQTT-3.3.1-12, -13)", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("c");
    c.send(subscribeWith(1, { topic: "as", rap: true }), subscribeWith(2, { topic: "not", rap: false }));
    for (const topic of ["as", "not"]) c.send(publish(topic, "1", { retain: true }), publish(topic, "2"));
    assert.deepEqual((await c.told()).slice(2), [
      "publish as 1 retain",
      "publish as 2",
      "publish not 1",
      "publish not 2",
    ]);
  });

  it("keep their properties, and the subscription's identifier is with them (MQTT-3.3.4-3)", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("c");
    c.send(publish("a", "x", { retain: true, properties: { contentType: "t", userProperties: { k: "v" } } }));
    c.send(subscribeWith(1, { topic: "a" }, 300));
    const [, packet] = await c.take();
    assert.deepEqual(propertiesOf(packet), {
      subscriptionIdentifier: 300,
      contentType: "t",
      userProperties: Object.assign(Object.create(null), { k: "v" }),
    });
  });

  it("are bounded in number and bytes; what is not kept is delivered, and takes the old one away", async () => {
    const broker = new TestBroker({ limits: { retainedMessages: 2, retainedBytes: 1_000 } });
    const c = await broker.connect("c");
    c.send(subscribe(1, "#"));
    c.send(
      publish("a", "1", { retain: true }),
      publish("b", "1", { retain: true }),
      publish("c", "1", { retain: true }),
    );
    c.send(publish("a", "y".repeat(900), { retain: true }));
    assert.equal((await c.told()).length, 5);
    assert.equal(broker.stat("retained_refused"), 2);
    assert.equal(broker.stat("retained_messages"), 1);
    c.send(subscribe(2, "+"));
    assert.deepEqual(await c.told(), ["suback 2 [0]", "publish b 1 retain"]);
  });

  it("in any number reach a client as fast as it takes them; none that was replaced meanwhile", async () => {
    const broker = new TestBroker({ limits: { outboxBytes: 10_000 } });
    for (let i = 0; i < 5_000; i++) {
      const payload = Buffer.from(`${i} ${"x".repeat(100)}`);
      broker.broker.deliver({ topic: `r/${i}`, payload, qos: i % 2 === 0 ? 0 : 1, retain: true });
    }
    const c = await broker.connect("c");
    c.stream.pause();
    c.send(subscribeAt(1, 1, "r/#"));
    await settle();
    broker.broker.deliver({ topic: "r/4998", payload: Buffer.from("replaced"), qos: 0, retain: true });
    broker.broker.deliver({ topic: "r/0", payload: Buffer.from("replaced"), qos: 0, retain: true });
    c.stream.resume();
    const got = new Map<string, string[]>();
    for (let i = 0; i < 2_000 && got.size < 5_000; i++) {
      for (const packet of await c.take()) {
        if (packet.cmd !== "publish") continue;
        got.set(packet.topic, [...(got.get(packet.topic) ?? []), `${packet.payload}`.split(" ")[0]!]);
        if (packet.qos === 1) c.send({ cmd: "puback", messageId: packet.messageId! });
      }
    }
    assert.equal(got.size, 5_000);
    for (const [topic, payloads] of got) {
      if (topic === "r/4998" || topic === "r/0") assert.equal(payloads.at(-1), "replaced", topic);
      else assert.deepEqual(payloads, [topic.slice(2)]);
    }
    assert.equal(broker.stat("publish_dropped"), 0);
  });
});

describe("subscription options", () => {
  it("No Local keeps a client's own messages from it, also where another subscription overlaps (MQTT-3.8.3-3)", async () => {
    const broker = new TestBroker();
    const a = await broker.connect5("a");
    const b = await broker.connect5("b");
    a.send(subscribeWith(1, { topic: "t/#", nl: true, qos: 1 }, 1));
    await a.take();
    a.send(publish("t/1", "mine"));
    b.send(publish("t/1", "theirs"));
    assert.deepEqual(await a.told(), ["publish t/1 theirs"]);
    a.send(subscribeWith(2, { topic: "t/+", qos: 0 }, 2));
    await a.take();
    a.send(publish("t/1", "mine", { qos: 1, id: 1 }));
    b.send(publish("t/1", "theirs", { qos: 1, id: 1 }));
    const got = (await a.take()).filter((packet) => packet.cmd === "publish");
    assert.deepEqual(got.map(describeWords), ["publish t/1 mine", "publish t/1 theirs q1"]);
    assert.deepEqual(
      got.map((packet) => propertiesOf(packet)),
      [{ subscriptionIdentifier: 2 }, { subscriptionIdentifier: [1, 2] }],
    );
  });

  it("overlapping: one copy, at the greatest QoS, with all identifiers (MQTT-3.3.4-2, -4)", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("c");
    c.send(subscribeWith(1, { topic: "t/#", qos: 1 }, 1), subscribeWith(2, { topic: "t/+", qos: 2 }));
    c.send(subscribeWith(3, { topic: "t/1", qos: 0 }, 268_435_455));
    await c.take();
    broker.broker.deliver({ topic: "t/1", payload: Buffer.from("x"), qos: 2, retain: false });
    const [packet, ...none] = await c.take();
    assert.equal(describeWords(packet!), "publish t/1 x q2");
    assert.deepEqual(propertiesOf(packet), { subscriptionIdentifier: [1, 268_435_455] });
    assert.deepEqual(none, []);
  });

  it("again for the same filter replaces them all (MQTT-3.8.4-3)", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("c");
    c.send(subscribeWith(1, { topic: "t", qos: 2, nl: true }, 1), subscribeWith(2, { topic: "t", qos: 1 }));
    c.send(publish("t", "x", { qos: 2, id: 1 }));
    const got = (await c.take()).filter((packet) => packet.cmd === "publish");
    assert.deepEqual(got.map(describeWords), ["publish t x q1"]);
    assert.deepEqual(propertiesOf(got[0]), {});
    assert.equal(broker.stat("subscriptions"), 1);
  });
});

describe("user properties", () => {
  it("keep their order, names that repeat or look like numbers among them (MQTT-3.3.2-18)", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("c");
    c.send(subscribe(1, "t"));
    await c.take();
    const seen: Buffer[] = [];
    c.stream.on("data", (chunk: Buffer) => seen.push(chunk));
    const pairs = "26 0001 62 0001 31 26 0001 39 0001 32 26 0001 31 0001 33 26 0001 62 0000".replaceAll(
      " ",
      "",
    );
    const length = pairs.length / 2;
    c.raw(Buffer.from([0x30, 4 + length, 0, 1, 0x74, length]), pairs);
    await settle();
    assert.ok(Buffer.concat(seen).toString("hex").includes(pairs));
  });
});

describe("topic aliases", () => {
  it("of a client stand for its topics, on its connection only (MQTT-3.3.2-12)", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("c");
    c.send(subscribe(1, "#"));
    await c.take();
    c.send(publish("long/topic", "1", { properties: { topicAlias: 1 } }));
    c.send(publish("", "2", { properties: { topicAlias: 1 } }));
    c.send(publish("other", "3", { properties: { topicAlias: 1 } }));
    c.send(publish("", "4", { properties: { topicAlias: 1 } }));
    const got = await c.take();
    assert.deepEqual(got.map(describeWords), [
      "publish long/topic 1",
      "publish long/topic 2",
      "publish other 3",
      "publish other 4",
    ]);
    assert.deepEqual(propertiesOf(got[0]), {}, "not forwarded");
    const again = await broker.connect5("c", { clean: false });
    again.send(publish("", "x", { properties: { topicAlias: 1 } }));
    assert.deepEqual(await again.told(), ["disconnect 0x82"]);
  });

  it("are used towards a client as far as it allows (MQTT-3.1.2-26, -27)", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("c", { properties: { topicAliasMaximum: 2 } });
    c.send(subscribeAt(1, 1, "#"));
    await c.take();
    for (const topic of ["a", "b", "c", "a", "c"]) {
      broker.broker.deliver({ topic, payload: Buffer.from("x"), qos: topic === "a" ? 1 : 0, retain: false });
    }
    const got = (await c.take()) as IPublishPacket[];
    assert.deepEqual(
      got.map(({ topic, properties }) => [topic, properties?.topicAlias]),
      [
        ["a", 1],
        ["b", 2],
        ["c", undefined],
        ["", 1],
        ["c", undefined],
      ],
    );
  });
});

describe("maximum packet size of a client", () => {
  it("keeps larger messages from it, as if they had been sent (MQTT-3.1.2-24, -25)", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("c", { properties: { maximumPacketSize: 30, topicAliasMaximum: 5 } });
    const d = await broker.connect5("d");
    for (const client of [c, d]) client.send(subscribeAt(1, 1, "t"));
    await c.take();
    for (const qos of [0, 1] as const) {
      for (const size of [100, 10]) {
        broker.broker.deliver({ topic: "t", payload: Buffer.alloc(size, "x"), qos, retain: false });
      }
    }
    assert.deepEqual(await c.told(), [`publish t ${"x".repeat(10)}`, `publish  ${"x".repeat(10)} q1`]);
    assert.equal((await d.take()).length, 5);
    assert.equal(broker.stat("publish_too_large"), 2);
  });
});

describe("shared subscriptions", () => {
  it("give each message to one of the members, in turn; the others get theirs (MQTT-4.8.2-4)", async () => {
    const broker = new TestBroker();
    const members = await Promise.all(["a", "b", "c"].map((id) => broker.connect5(id)));
    for (const member of members) member.send(subscribe(1, "$share/g/t/+"));
    const other = await broker.connect("other");
    other.send(subscribe(1, "$share/h/t/#", "t/1"));
    await settle();
    for (const client of [...members, other]) await client.take();
    for (let i = 0; i < 9; i++) other.send(publish("t/1", `${i}`));
    await settle();
    for (const member of members) assert.equal((await member.take()).length, 3);
    assert.equal((await other.take()).length, 18);
    assert.equal(broker.stat("shared_groups"), 2);
    members[0]!.send(unsubscribe(2, "$share/g/t/+"));
    members[1]!.send({ cmd: "disconnect", reasonCode: 0 });
    await settle();
    other.send(publish("t/1", "x"), publish("t/1", "y"));
    assert.deepEqual(await members[2]!.told(), ["publish t/1 x", "publish t/1 y"]);
    members[2]!.stream.destroy();
    other.send({ cmd: "disconnect", reasonCode: 0 });
    await settle();
    assert.equal(broker.stat("shared_groups"), 0);
    assert.equal(broker.stat("filters"), 0);
  });

  it("grant each member its QoS (MQTT-4.8.2-3) and get no retained messages", async () => {
    const broker = new TestBroker();
    const a = await broker.connect5("a");
    const b = await broker.connect5("b");
    a.send(publish("t", "kept", { retain: true }));
    a.send(subscribeAt(1, 1, "$share/g/t"));
    b.send(subscribeAt(0, 1, "$share/g/t"));
    assert.deepEqual(await a.told(), ["suback 1 [1]"]);
    await b.take();
    for (let i = 0; i < 2; i++)
      broker.broker.deliver({ topic: "t", payload: Buffer.from("x"), qos: 2, retain: false });
    assert.deepEqual(await a.told(), ["publish t x q1"]);
    assert.deepEqual(await b.told(), ["publish t x"]);
  });

  it("prefer members who are there; with none, the message waits for one of them, as what one of them leaves does", async () => {
    const broker = new TestBroker();
    const keep = { clean: false, properties: { sessionExpiryInterval: 100 } };
    const away = await broker.connect5("away", keep);
    const here = await broker.connect5("here");
    for (const client of [away, here]) client.send(subscribeAt(1, 1, "$share/g/t"));
    await here.take();
    away.stream.destroy();
    await settle();
    const deliver = (text: string) =>
      broker.broker.deliver({ topic: "t", payload: Buffer.from(text), qos: 1, retain: false });
    for (const text of ["1", "2", "3"]) deliver(text);
    assert.equal((await here.take()).length, 3);
    here.send({ cmd: "puback", messageId: 1 }, { cmd: "puback", messageId: 2 });
    await settle();
    here.stream.destroy();
    await settle();
    deliver("4");
    const back = await broker.connect5("away", keep);
    assert.deepEqual(back.early.map(describeWords), ["publish t 3 q1", "publish t 4 q1"]);
    assert.equal(broker.stat("shared_passed_on"), 1);
  });

  it("are told to the uplink by their topic filter", async () => {
    const calls: string[] = [];
    const broker = new TestBroker({
      uplink: {
        subscribe: async (filter) => void calls.push(`+${filter}`),
        unsubscribe: (filter) => void calls.push(`-${filter}`),
        publish: () => undefined,
      },
    });
    const a = await broker.connect5("a");
    a.send(subscribe(1, "$share/g/t", "$share/h/t", "t"), unsubscribe(2, "t", "$share/g/t", "$share/h/t"));
    await settle();
    assert.deepEqual(calls, ["+t", "-t"]);
  });
});

describe("an authority", () => {
  const rules: Authority = {
    authenticate: async ({ clientId, password }): Promise<Admission> => {
      if (clientId === "broken") throw new Error("no answer");
      if (clientId === "banned") return { admitted: false, reason: "not_authorized" };
      return password?.toString() === "ok"
        ? { admitted: true, username: clientId.toUpperCase() }
        : { admitted: false, reason: "bad_credentials" };
    },
    mayPublish: ({ username }, topic) => topic.startsWith(`${username}/`),
    maySubscribe: (_client, filter) => filter !== "secret/#",
    mayReceive: ({ username }, topic) => !topic.endsWith("/private") || topic.startsWith(`${username}/`),
  };
  const ok = { username: "u", password: Buffer.from("ok") };

  it("is asked at CONNECT, and nothing more is read until it has answered", async () => {
    const broker = new TestBroker({ authority: rules });
    for (const [clientId, password, code5, code4] of [
      ["a", "ok", 0, 0],
      ["a", "no", 0x87, 5],
      ["banned", "ok", 0x87, 5],
      ["broken", "ok", 0x87, 5],
    ] as const) {
      for (const protocolVersion of [4, 5] as const) {
        const client = broker.open(protocolVersion);
        const credentials = { username: "u", password: Buffer.from(password) };
        client.send({ cmd: "connect", clientId, clean: true, keepalive: 0, protocolVersion, ...credentials });
        client.send({ cmd: "pingreq" });
        const code = protocolVersion === 5 ? code5 : code4;
        assert.deepEqual(await client.told(), [`connack ${code}`, ...(code === 0 ? ["pingresp"] : [])]);
        assert.equal(client.ended, code !== 0);
        client.stream.destroy();
        await settle();
      }
    }
    assert.equal(broker.stat("refused_credentials"), 6);
  });

  it("is asked for each PUBLISH, filter, delivery and will", async () => {
    const broker = new TestBroker({ authority: rules });
    const a = await broker.connect5("a", ok);
    const b = await broker.connect("b", ok);
    a.send(subscribe(1, "#", "secret/#", "$share/g/secret/#"));
    b.send(subscribe(1, "+/private", "secret/#"));
    assert.deepEqual(await a.told(), ["suback 1 [0,128,128]"]);
    assert.deepEqual(await b.told(), ["suback 1 [0,128]"]);
    a.send(
      publish("A/private", "1", { qos: 1, id: 1, retain: true }),
      publish("B/x", "2", { qos: 1, id: 2 }),
    );
    a.send(publish("B/x", "3", { qos: 2, id: 3 }), publish("B/x", "4"));
    assert.deepEqual(await a.told(), ["publish A/private 1", "puback 1", "puback 2 0x87", "pubrec 3 0x87"]);
    b.send(publish("A/x", "5", { qos: 1, id: 1 }), publish("A/x", "6", { qos: 2, id: 2 }));
    assert.deepEqual(await b.told(), ["puback 1", "pubrec 2"], "MQTT 3.1.1 cannot be told");
    b.send(subscribe(2, "A/#"));
    assert.deepEqual(await b.told(), ["suback 2 [0]"], "retained messages are asked for, too");
    assert.equal(broker.stat("publish_denied"), 5);
    assert.equal(broker.stat("receive_denied"), 1);
    const will = { topic: "C/x", payload: Buffer.from("x"), qos: 0 as const, retain: false };
    const d = broker.open(5);
    d.send({ cmd: "connect", clientId: "d", clean: true, keepalive: 0, protocolVersion: 5, ...ok, will });
    assert.deepEqual(await d.told(), ["connack 135"]);
    assert.equal(broker.stat("refused_will"), 1);
  });

  it("is asked whether a retained message's publisher may still write its topic, as it is", async () => {
    const writers = new Set(["P"]);
    const asked: unknown[] = [];
    const authority: Authority = {
      ...allowAll,
      authenticate: ({ clientId }) => ({ admitted: true, username: clientId.toUpperCase() }),
      mayPublish: (client) => {
        asked.push(client);
        return writers.has(client.username ?? "");
      },
    };
    const broker = new TestBroker({ authority });
    const p = await broker.connect("p", {
      will: { topic: "will", payload: Buffer.from("w"), qos: 0, retain: true },
    });
    p.send(publish("t", "x", { retain: true }));
    p.stream.destroy();
    await settle();
    const s = await broker.connect("s");
    s.send(subscribe(1, "+"));
    assert.deepEqual((await s.told()).sort(), [
      "publish t x retain",
      "publish will w retain",
      "suback 1 [0]",
    ]);
    assert.deepEqual(asked.at(-1), { clientId: "p", username: "P", listener: undefined });
    writers.clear();
    s.send(subscribe(2, "+"));
    assert.deepEqual(await s.told(), ["suback 2 [0]"]);
    writers.add("P");
    s.send(subscribe(3, "+"));
    assert.equal((await s.told()).length, 3, "it is still there");
  });

  it("is not waited for longer than for a CONNECT", async () => {
    let late: ((admission: Admission) => void) | undefined;
    const authority = {
      ...allowAll,
      authenticate: () =>
        new Promise<Admission>((resolve) => {
          late = resolve;
        }),
    };
    const broker = new TestBroker({ authority });
    const client = broker.open().send({ cmd: "connect", clientId: "c", clean: true, keepalive: 0 });
    await settle();
    broker.clock.advance(10_000);
    await settle();
    assert.ok(client.ended);
    late?.({ admitted: true, username: undefined });
    await settle();
    assert.deepEqual(await client.told(), []);
    assert.equal(broker.stat("clients"), 0);
  });
});

describe("a payload that is said to be text and is not", () => {
  it("is refused with 0x99 (MQTT 5, 3.3.2.3.2)", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("c");
    c.send(subscribe(1, "t"));
    await c.take();
    c.raw("32 09 0001 74 0001 02 0101 ff", "34 09 0001 74 0002 02 0101 ff", "30 07 0001 74 02 0101 ff");
    c.raw("32 09 0001 74 0003 02 0101 78", "32 09 0001 74 0004 02 0100 ff");
    assert.deepEqual(
      (await c.told()).filter((line) => !line.startsWith("publish")),
      ["puback 1 0x99", "pubrec 2 0x99", "puback 3", "puback 4"],
    );
    assert.equal(broker.stat("publish_not_text"), 3);
  });
});

describe("$SYS", () => {
  it("tells what mosquitto's users look for, retained, when it changes", async () => {
    const broker = new TestBroker({ sys: { intervalMs: 10_000, version: "topicast 1" } });
    const c = await broker.connect("c");
    c.send(subscribe(1, "$SYS/broker/+", "$SYS/broker/clients/#", "$SYS/broker/load/messages/received/+"));
    const told = await c.told();
    assert.ok(told.includes("publish $SYS/broker/version topicast 1 retain"));
    assert.ok(told.includes("publish $SYS/broker/clients/connected 0 retain"), "as it was at the start");
    broker.clock.advance(10_000);
    const later = await c.told();
    assert.ok(later.includes("publish $SYS/broker/uptime 10 seconds"));
    assert.ok(later.includes("publish $SYS/broker/clients/connected 1"));
    const load = later.find((line) => line.startsWith("publish $SYS/broker/load/messages/received/1min"));
    // Two packets in ten seconds are twelve a minute; 1 - e^(-1/6) of that.
    assert.equal(
      load,
      `publish $SYS/broker/load/messages/received/1min ${(12 * (1 - Math.exp(-1 / 6))).toFixed(2)}`,
    );
    broker.clock.advance(10_000);
    const quiet = await c.told();
    assert.ok(!quiet.some((line) => line.includes("clients/connected")), "has not changed");
    c.send(subscribe(2, "#"));
    assert.deepEqual(await c.told(), ["suback 2 [0]"], "# does not match it (MQTT-4.7.2-1)");
    void broker.broker.close();
    broker.clock.advance(2_000);
    assert.equal(broker.clock.pending, 0);
  });
});
