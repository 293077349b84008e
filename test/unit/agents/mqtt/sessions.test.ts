import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { IConnectPacket, IPublishPacket } from "mqtt-packet";
import {
  describe as describeWords,
  publish,
  settle,
  subscribe,
  subscribeAt,
  TestBroker,
  type TestClient,
  unsubscribe,
} from "./harness.js";

const KEEP = { clean: false, properties: { sessionExpiryInterval: 100 } } satisfies Partial<IConnectPacket>;

function ack(cmd: "puback" | "pubrec" | "pubrel" | "pubcomp", messageId: number, reasonCode = 0) {
  return { cmd, messageId, reasonCode } as const;
}

/** A broker with a publisher `p` of MQTT 5. */
async function withPublisher(options: ConstructorParameters<typeof TestBroker>[0] = {}) {
  const broker = new TestBroker(options);
  const p = await broker.connect5("p");
  return { broker, p };
}

/** Publishes at QoS 1 and waits for the acknowledgement. */
async function publishAll(p: TestClient, topic: string, payloads: readonly string[], qos: 1 | 2 = 1) {
  for (const [i, payload] of payloads.entries()) {
    p.send(publish(topic, payload, { qos, id: i + 1 }));
    if (qos === 2) p.send(ack("pubrel", i + 1));
    await settle();
  }
  await p.take();
}

describe("a session", () => {
  for (const version of [4, 5] as const) {
    it(`level ${version}: is resumed, with subscriptions and messages (MQTT-3.1.2-5, MQTT-3.2.2-3)`, async () => {
      const { broker, p } = await withPublisher();
      const keep = { protocolVersion: version, ...KEEP };
      const first = await broker.connect("c", keep);
      assert.equal(first.connack.sessionPresent, false);
      first.send(subscribeAt(2, 1, "t/#"), { cmd: "disconnect" });
      await settle();
      assert.equal(broker.stat("sessions"), 2);
      assert.equal(broker.stat("clients"), 1);
      p.send(publish("t/0", "lost"));
      await publishAll(p, "t/1", ["a", "b"]);
      await publishAll(p, "t/2", ["c"], 2);
      const again = await broker.connect("c", keep);
      assert.equal(again.connack.sessionPresent, true);
      const got = again.early.map((packet) => packet as IPublishPacket);
      assert.deepEqual(
        got.map((packet) => [packet.topic, `${packet.payload}`, packet.qos, packet.dup]),
        [
          ["t/1", "a", 1, false],
          ["t/1", "b", 1, false],
          ["t/2", "c", 2, false],
        ],
      );
      p.send(publish("t/3", "live"));
      assert.deepEqual(await again.told(), ["publish t/3 live"]);
    });
  }

  it("ends with its connection where it does not expire later (MQTT-3.1.2-23)", async () => {
    const { broker } = await withPublisher();
    for (const version of [4, 5] as const) {
      const c = await broker.connect("c", { protocolVersion: version, clean: version === 4 });
      c.send(subscribe(1, "t"), { cmd: "disconnect" });
      await settle();
      assert.equal(broker.stat("sessions"), 1);
      assert.equal(broker.stat("subscriptions"), 0);
    }
  });

  it("expires after its interval, not before, and the interval runs anew after each connection", async () => {
    const { broker } = await withPublisher();
    for (let i = 0; i < 2; i++) {
      const c = await broker.connect5("c", KEEP);
      c.send(subscribe(1, "t"), { cmd: "disconnect" });
      await settle();
      broker.clock.advance(99_999);
      assert.equal(broker.stat("sessions"), 2);
    }
    broker.clock.advance(1);
    assert.equal(broker.stat("sessions"), 1);
    assert.equal(broker.stat("subscriptions"), 0);
    assert.equal(broker.stat("sessions_expired"), 1);
    const c = await broker.connect5("c", KEEP);
    assert.equal(c.connack.sessionPresent, false);
  });

  it("of 0xffffffff never expires, nor does one of MQTT 3.1.1", async () => {
    const broker = new TestBroker();
    const forever = { sessionExpiryInterval: 0xffff_ffff };
    (await broker.connect5("a", { clean: false, properties: forever })).send({ cmd: "disconnect" });
    (await broker.connect("b", { clean: false })).stream.destroy();
    (await broker.connect5("long", { properties: { sessionExpiryInterval: 0xffff_fffe } })).send({
      cmd: "disconnect",
    });
    await settle();
    broker.clock.advance(0xffff_fffe * 1_000 - 1);
    assert.equal(broker.stat("sessions"), 3);
    broker.clock.advance(1_000);
    assert.equal(broker.stat("sessions"), 2);
  });

  it("takes the interval of DISCONNECT (MQTT 5, 3.14.2.2.2)", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("c", KEEP);
    c.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 5 } });
    await settle();
    broker.clock.advance(4_999);
    assert.equal(broker.stat("sessions"), 1);
    broker.clock.advance(1);
    assert.equal(broker.stat("sessions"), 0);
    const d = await broker.connect5("d", KEEP);
    d.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
    await settle();
    assert.equal(broker.stat("sessions"), 0);
  });

  it("is discarded by Clean Start (MQTT-3.1.2-4)", async () => {
    const { broker, p } = await withPublisher();
    const first = await broker.connect5("c", KEEP);
    first.send(subscribeAt(1, 1, "t"), { cmd: "disconnect" });
    await settle();
    await publishAll(p, "t", ["gone"]);
    const again = await broker.connect5("c", { ...KEEP, clean: true });
    assert.equal(again.connack.sessionPresent, false);
    assert.deepEqual(again.early, []);
    assert.equal(broker.stat("subscriptions"), 0);
    assert.equal(broker.stat("queued_bytes"), 0);
  });

  it("is taken over: the old connection is told 0x8E, the new one goes on (MQTT-3.1.4-3)", async () => {
    const { broker, p } = await withPublisher();
    const old = await broker.connect5("c", KEEP);
    old.send(subscribeAt(1, 1, "t"));
    await old.take();
    const fresh = await broker.connect5("c", KEEP);
    assert.deepEqual(await old.told(), ["disconnect 0x8e"]);
    assert.ok(old.ended);
    assert.equal(fresh.connack.sessionPresent, true);
    p.send(publish("t", "x", { qos: 1, id: 1 }));
    assert.deepEqual(await fresh.told(), ["publish t x q1"]);
    assert.equal(broker.stat("clients"), 2);
    assert.equal(broker.stat("closed_taken_over"), 1);
  });

  it("is refused above the limit, and the limit of expiry is told", async () => {
    const broker = new TestBroker({ limits: { sessions: 1, sessionExpirySeconds: 7 } });
    const c = await broker.connect5("c", KEEP);
    assert.equal(c.connack.properties?.sessionExpiryInterval, 7);
    const d = broker
      .open(5)
      .send({ cmd: "connect", clientId: "d", protocolVersion: 5, clean: true, keepalive: 0 });
    assert.deepEqual(await d.told(), ["connack 137"]);
    const e = broker.open().send({ cmd: "connect", clientId: "e", clean: true, keepalive: 0 });
    assert.deepEqual(await e.told(), ["connack 3"]);
    assert.equal(broker.stat("refused_sessions"), 2);
  });
});

describe("CONNACK", () => {
  it("tells what the server takes (MQTT-3.2.2-9 and others), and nothing that is the default", async () => {
    const { p } = await withPublisher();
    assert.deepEqual(
      { ...p.connack.properties },
      { topicAliasMaximum: 10, maximumPacketSize: 2_000_000, receiveMaximum: 20 },
    );
  });

  it("tells an assigned client identifier (MQTT-3.2.2-16), under which the session is kept", async () => {
    const broker = new TestBroker();
    const c = await broker.connect5("", { ...KEEP, clean: true });
    const id = c.connack.properties?.assignedClientIdentifier;
    assert.match(id ?? "", /^auto-/);
    c.send({ cmd: "disconnect" });
    await settle();
    assert.equal((await broker.connect5(id!, KEEP)).connack.sessionPresent, true);
  });

  it("tells another keep-alive than was asked for, and keeps to it (MQTT-3.2.2-21, -22)", async () => {
    const broker = new TestBroker({ limits: { keepAliveSeconds: 60 } });
    for (const keepalive of [0, 61, 3_600]) {
      const c = await broker.connect5("c", { keepalive });
      assert.equal(c.connack.properties?.serverKeepAlive, 60);
      broker.clock.advance(89_999);
      await settle();
      assert.ok(!c.ended);
      broker.clock.advance(1);
      assert.deepEqual(await c.told(), ["disconnect 0x8d"]);
    }
    const d = await broker.connect5("d", { keepalive: 60 });
    assert.equal(d.connack.properties?.serverKeepAlive, undefined);
    for (const protocolVersion of [3, 4] as const) {
      const connect = { cmd: "connect", clientId: "e", clean: true, protocolVersion } as const;
      const protocolId = protocolVersion === 3 ? "MQIsdp" : "MQTT";
      for (const [keepalive, code] of [
        [0, 0],
        [60, 0],
        [61, 2],
      ] as const) {
        const old = broker.open(protocolVersion).send({ ...connect, keepalive, protocolId });
        assert.deepEqual(
          await old.told(),
          [`connack ${code}`],
          "before MQTT 5 nobody can be told another one",
        );
        assert.equal(old.ended, code !== 0);
        old.stream.destroy();
        await settle();
      }
    }
    assert.equal(broker.stat("refused_keep_alive"), 2);
  });
});

describe("wills", () => {
  const will = (delay?: number): NonNullable<IConnectPacket["will"]> => ({
    topic: "will",
    payload: Buffer.from("gone"),
    qos: 1,
    retain: false,
    properties: {
      ...(delay === undefined ? {} : { willDelayInterval: delay }),
      contentType: "t",
      messageExpiryInterval: 9,
    },
  });

  async function watched() {
    const broker = new TestBroker();
    const watcher = await broker.connect5("w");
    watcher.send(subscribe(1, "will"));
    await watcher.take();
    return { broker, watcher };
  }

  it("wait for their delay, and carry their properties (MQTT-3.1.3-9, -10)", async () => {
    const { broker, watcher } = await watched();
    (await broker.connect5("c", { ...KEEP, will: will(10) })).stream.destroy();
    await settle();
    broker.clock.advance(9_999);
    assert.deepEqual(await watcher.told(), []);
    broker.clock.advance(1);
    const [packet] = await watcher.take();
    assert.ok(packet?.cmd === "publish" && packet.payload.toString() === "gone");
    assert.deepEqual({ ...packet.properties }, { messageExpiryInterval: 9, contentType: "t" });
    broker.clock.advance(200_000);
    assert.deepEqual(await watcher.told(), [], "once");
    assert.equal(broker.stat("wills_published"), 1);
  });

  it("are not published when the client comes back before", async () => {
    const { broker, watcher } = await watched();
    (await broker.connect5("c", { ...KEEP, will: will(10) })).stream.destroy();
    await settle();
    broker.clock.advance(5_000);
    await broker.connect5("c", KEEP);
    broker.clock.advance(60_000);
    assert.deepEqual(await watcher.told(), []);
  });

  it("are published at the latest when the session ends, but for Clean Start within their delay (MQTT-3.1.2-8)", async () => {
    const { broker, watcher } = await watched();
    const short = { clean: false, properties: { sessionExpiryInterval: 3 } };
    (await broker.connect5("c", { ...short, will: will(10) })).stream.destroy();
    await settle();
    broker.clock.advance(3_000);
    assert.deepEqual(await watcher.told(), ["publish will gone"]);
    (await broker.connect5("c", { ...KEEP, will: will(10) })).stream.destroy();
    await settle();
    await broker.connect5("c", { clean: true });
    broker.clock.advance(60_000);
    assert.deepEqual(await watcher.told(), [], "the client is back");
  });

  it("are published on a take-over as on any other end", async () => {
    const { broker, watcher } = await watched();
    await broker.connect5("c", { ...KEEP, will: will() });
    await broker.connect5("c", { ...KEEP, will: will(10) });
    assert.deepEqual(await watcher.told(), ["publish will gone"], "delay 0");
    await broker.connect5("c", { ...KEEP, will: will(10) });
    assert.deepEqual(await watcher.told(), [], "the session goes on within the delay");
    await broker.connect5("c", { clean: true });
    assert.deepEqual(await watcher.told(), ["publish will gone"], "its session has ended");
  });

  it("are published on DISCONNECT 0x04, discarded on 0x00 (MQTT-3.14.4-3)", async () => {
    const { broker, watcher } = await watched();
    (await broker.connect5("c", { will: will() })).send({ cmd: "disconnect", reasonCode: 0 });
    assert.deepEqual(await watcher.told(), []);
    (await broker.connect5("c", { will: will() })).send({ cmd: "disconnect", reasonCode: 4 });
    assert.deepEqual(await watcher.told(), ["publish will gone"]);
  });

  it("are retained where they say so (MQTT-3.1.2-17)", async () => {
    const { broker } = await watched();
    (await broker.connect5("c", { will: { ...will(), retain: true } })).stream.destroy();
    await settle();
    const late = await broker.connect5("late");
    late.send(subscribe(1, "will"));
    assert.deepEqual(await late.told(), ["suback 1 [0]", "publish will gone retain"]);
  });
});

describe("QoS 1 and 2 to a subscriber", () => {
  it("is sent again with DUP and its identifier, in order, then what waited (MQTT-4.4.0-1, MQTT-4.6.0-1)", async () => {
    const { broker, p } = await withPublisher({ limits: { inflight: 3 } });
    const c = await broker.connect5("c", KEEP);
    c.send(subscribeAt(2, 1, "t"));
    await c.take();
    await publishAll(p, "t", ["1", "2"], 2);
    await publishAll(p, "t", ["3", "4", "5"]);
    const sent = (await c.take()) as IPublishPacket[];
    assert.deepEqual(
      sent.map(({ messageId, qos }) => [messageId, qos]),
      [
        [1, 2],
        [2, 2],
        [3, 1],
      ],
    );
    c.send(ack("pubrec", 1));
    assert.deepEqual(await c.told(), ["pubrel 1"]);
    c.stream.destroy();
    await settle();
    const again = await broker.connect5("c", KEEP);
    assert.equal(again.connack.sessionPresent, true);
    assert.deepEqual(again.early.map(describeWords), [
      "pubrel 1",
      "publish t 2 q2 dup",
      "publish t 3 q1 dup",
      "publish t 4 q1",
    ]);
    again.send(ack("pubcomp", 1), ack("puback", 3), ack("pubrec", 2));
    assert.deepEqual(await again.told(), ["publish t 5 q1", "pubrel 2"]);
    again.send(ack("pubcomp", 2), ack("puback", 4), ack("puback", 5));
    await settle();
    assert.equal(broker.stat("queued_bytes"), 0);
    assert.equal(broker.stat("publish_resent"), 2);
  });

  it("keeps to the client's Receive Maximum, also when sending again (MQTT-3.3.4-9)", async () => {
    const { broker, p } = await withPublisher();
    const c = await broker.connect5("c", KEEP);
    c.send(subscribeAt(2, 1, "t"));
    await c.take();
    await publishAll(p, "t", ["1", "2", "3", "4"], 2);
    c.stream.destroy();
    await settle();
    const again = await broker.connect5("c", {
      clean: false,
      properties: { sessionExpiryInterval: 100, receiveMaximum: 2 },
    });
    assert.deepEqual(again.early.map(describeWords), ["publish t 1 q2 dup", "publish t 2 q2 dup"]);
    again.send(ack("pubrec", 1));
    assert.deepEqual(await again.told(), ["pubrel 1"], "PUBREC frees nothing");
    again.send(ack("pubcomp", 1));
    assert.deepEqual(await again.told(), ["publish t 3 q2 dup"]);
    again.send(ack("pubrec", 2, 0x97));
    assert.deepEqual(await again.told(), ["publish t 4 q2 dup"], "a PUBREC that refuses is the end of it");
  });

  it("keeps to the bytes that may be on their way, until the last acknowledgement, and never holds all back", async () => {
    const { broker, p } = await withPublisher({ limits: { inflightBytes: 16 } });
    const c = await broker.connect5("c", KEEP);
    c.send(subscribeAt(2, 1, "t"));
    await c.take();
    const texts = ["message1", "message2", "message3", "a message longer than that", "5"];
    await publishAll(p, "t", texts, 2);
    assert.deepEqual(await c.told(), ["publish t message1 q2", "publish t message2 q2"]);
    c.send(ack("pubrec", 1));
    assert.deepEqual(await c.told(), ["pubrel 1"]);
    c.send(ack("pubcomp", 1));
    assert.deepEqual(await c.told(), ["publish t message3 q2"]);
    c.stream.destroy();
    await settle();
    const again = await broker.connect5("c", KEEP);
    assert.deepEqual(again.early.map(describeWords), [
      "publish t message2 q2 dup",
      "publish t message3 q2 dup",
    ]);
    again.send(ack("pubrec", 2, 0x97), ack("pubrec", 3, 0x97));
    assert.deepEqual(await again.told(), ["publish t a message longer than that q2"]);
    again.send(ack("pubrec", 4, 0x97));
    assert.deepEqual(await again.told(), ["publish t 5 q2"]);
  });

  const wrong: [
    name: string,
    qos: 1 | 2,
    before: ("pubrec" | "puback")[],
    last: "puback" | "pubrec" | "pubcomp",
  ][] = [
    ["PUBREC for QoS 1", 1, [], "pubrec"],
    ["PUBCOMP for QoS 1", 1, [], "pubcomp"],
    ["PUBACK for QoS 2", 2, [], "puback"],
    ["PUBCOMP before PUBREC", 2, [], "pubcomp"],
    ["PUBACK instead of PUBCOMP", 2, ["pubrec"], "puback"],
  ];
  for (const [name, qos, before, last] of wrong) {
    it(`${name} is a protocol error (0x82)`, async () => {
      const { broker, p } = await withPublisher();
      const c = await broker.connect5("c");
      c.send(subscribeAt(qos, 1, "t"));
      await publishAll(p, "t", ["x"], qos);
      for (const cmd of before) c.send(ack(cmd, 1));
      await c.take();
      c.send(ack(last, 1));
      assert.deepEqual(await c.told(), ["disconnect 0x82"]);
    });
  }

  it("a repeated PUBREC is answered again, and identifiers in use are not given out (MQTT-2.2.1-4)", async () => {
    const { broker, p } = await withPublisher({
      limits: { inflight: 70_000, queueMessages: 70_000, queueBytes: 1e9 },
    });
    const c = await broker.connect5("c");
    c.send(subscribeAt(2, 1, "t"));
    await publishAll(p, "t", ["first"], 2);
    c.send(ack("pubrec", 1), ack("pubrec", 1));
    assert.deepEqual((await c.told()).slice(-2), ["pubrel 1", "pubrel 1"]);
    for (let i = 0; i < 65_540; i++) {
      broker.broker.deliver({ topic: "t", payload: Buffer.alloc(0), qos: 1, retain: false });
      if (i % 5_000 === 0) await settle();
    }
    for (let i = 0; i < 400 && c.received.length < 65_539; i++) await settle();
    const ids = ((await c.take()) as IPublishPacket[]).map(({ messageId }) => messageId!);
    assert.equal(ids.length, 65_534, "all but the one that waits for PUBCOMP");
    assert.equal(new Set(ids).size, ids.length);
    assert.ok(!ids.includes(1));
    c.send(ack("puback", 70));
    assert.equal(((await c.take())[0] as IPublishPacket).messageId, 70);
  });

  it("waits within bounds of number and bytes; what is above is dropped and counted", async () => {
    const { broker, p } = await withPublisher({ limits: { queueMessages: 3 } });
    const c = await broker.connect5("c", KEEP);
    c.send(subscribeAt(1, 1, "t"), { cmd: "disconnect" });
    await settle();
    await publishAll(p, "t", ["1", "2", "3", "4", "5"]);
    assert.equal(broker.stat("queue_dropped"), 2);
    const again = await broker.connect5("c", KEEP);
    assert.deepEqual(again.early.map(describeWords), ["publish t 1 q1", "publish t 2 q1", "publish t 3 q1"]);
    const tight = await withPublisher({ limits: { queueBytesTotal: 2 * (256 + 101) } });
    for (const id of ["a", "b"]) {
      const d = await tight.broker.connect5(id, KEEP);
      d.send(subscribeAt(1, 1, "t"), { cmd: "disconnect" });
    }
    await settle();
    await publishAll(tight.p, "t", ["x".repeat(100), "y"]);
    assert.equal(tight.broker.stat("queue_dropped"), 2, "one message each fits");
    assert.equal(tight.broker.stat("queued_bytes"), 2 * (256 + 101));
  });

  it("that does not read gets what it missed once it reads, and delays nobody", async () => {
    const broker = new TestBroker({ limits: { inflight: 65_535 } });
    const slow = await broker.connect5("slow");
    const quick = await broker.connect5("quick");
    for (const c of [slow, quick]) c.send(subscribeAt(1, 1, "t"));
    await slow.take();
    await quick.take();
    slow.stream.pause();
    const body = Buffer.alloc(5_000, "x");
    for (let i = 0; i < 2_000; i++) {
      broker.broker.deliver({ topic: "t", payload: body, qos: 1, retain: false });
      if (i % 100 === 0) await settle();
    }
    for (let i = 0; i < 50; i++) await settle();
    assert.equal((await quick.take()).length, 2_000);
    // Of ten megabytes only what the streams' buffers hold has been encoded for the slow one.
    assert.ok(broker.stat("publish_sent") < 2_100, `${broker.stat("publish_sent")} sent`);
    slow.stream.resume();
    for (let i = 0; i < 1_000 && slow.received.length < 2_002; i++) await settle();
    const ids = ((await slow.take()) as IPublishPacket[]).map(({ messageId }) => messageId);
    assert.deepEqual(
      ids,
      Array.from({ length: 2_000 }, (_, i) => i + 1),
    );
  });
});

describe("QoS 2 from a publisher", () => {
  it("above Receive Maximum is told 0x93 (MQTT-3.3.4-7), as many are served", async () => {
    const { p } = await withPublisher();
    for (let id = 1; id <= 20; id++) p.send(publish("t", "x", { qos: 2, id }));
    assert.equal((await p.take()).length, 20);
    p.send(
      publish("t", "x", { qos: 2, id: 5, dup: true }),
      ack("pubrel", 7),
      publish("t", "x", { qos: 2, id: 21 }),
    );
    assert.deepEqual(await p.told(), ["pubrec 5", "pubcomp 7", "pubrec 21"]);
    p.send(publish("t", "x", { qos: 1, id: 22 }));
    assert.deepEqual(await p.told(), ["disconnect 0x93"]);
    assert.ok(p.ended);
  });

  it("is published once over a reconnection (MQTT-4.3.3-10)", async () => {
    const broker = new TestBroker();
    const watcher = await broker.connect5("w");
    watcher.send(subscribe(1, "t"));
    const p = await broker.connect5("p", KEEP);
    p.send(publish("t", "x", { qos: 2, id: 9 }));
    await settle();
    p.stream.destroy();
    await settle();
    const again = await broker.connect5("p", KEEP);
    again.send(publish("t", "x", { qos: 2, id: 9, dup: true }), ack("pubrel", 9));
    assert.deepEqual(await again.told(), ["pubrec 9", "pubcomp 9"]);
    assert.deepEqual(await watcher.told(), ["suback 1 [0]", "publish t x"]);
    again.send(publish("t", "y", { qos: 2, id: 9 }));
    assert.deepEqual(await watcher.told(), ["publish t y"]);
  });
});

describe("message expiry", () => {
  it("is sent on less the time that the message waited (MQTT-3.3.2-6), and ends it (MQTT-3.3.2-5)", async () => {
    const { broker, p } = await withPublisher();
    const c = await broker.connect5("c", KEEP);
    const old = await broker.connect("old", { clean: false });
    for (const client of [c, old]) client.send(subscribeAt(1, 1, "t"), { cmd: "disconnect" });
    await settle();
    for (const [i, seconds] of [2, 10].entries()) {
      p.send(
        publish("t", `${seconds}`, { qos: 1, id: i + 1, properties: { messageExpiryInterval: seconds } }),
      );
    }
    await settle();
    broker.clock.advance(3_500);
    const [packet, ...none] = (await broker.connect5("c", KEEP)).early as IPublishPacket[];
    assert.ok(packet !== undefined && none.length === 0);
    assert.equal(`${packet.payload}`, "10");
    assert.equal(packet.properties?.messageExpiryInterval, 7);
    const { early } = await broker.connect("old", { clean: false });
    assert.deepEqual(early.map(describeWords), ["publish t 10 q1"]);
    assert.equal(broker.stat("queue_expired"), 2);
  });

  it("ends retained messages too", async () => {
    const { broker, p } = await withPublisher();
    p.send(publish("t", "x", { retain: true, properties: { messageExpiryInterval: 5 } }));
    await settle();
    broker.clock.advance(4_000);
    p.send(subscribe(1, "t"));
    const [, packet] = (await p.take()) as IPublishPacket[];
    assert.equal(packet?.properties?.messageExpiryInterval, 1);
    broker.clock.advance(1_000);
    p.send(subscribe(2, "t"));
    assert.deepEqual(await p.told(), ["suback 2 [0]"]);
    assert.equal(broker.stat("retained_messages"), 0);
    assert.equal(broker.stat("retained_expired"), 1);
    assert.equal(broker.stat("retained_bytes"), 0);
  });
});

describe("unsubscribing", () => {
  it("tells of each filter whether it was subscribed (MQTT-3.11.3-2), and lets finish what is on its way", async () => {
    const { broker, p } = await withPublisher();
    const c = await broker.connect5("c");
    c.send(subscribeAt(1, 1, "t"));
    await publishAll(p, "t", ["x"]);
    c.send(unsubscribe(2, "t", "u"), ack("puback", 1));
    assert.deepEqual((await c.told()).slice(2), ["unsuback 2 [0,17]"]);
    assert.ok(!c.ended);
  });
});
