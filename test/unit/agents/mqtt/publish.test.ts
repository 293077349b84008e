import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Uplink } from "@topicast/agent/mqtt/index.js";
import type { Message } from "@topicast/protocol";
import fc from "../../../property.js";
import { publish, settle, subscribe, subscribeAt, TestBroker, unsubscribe } from "./harness.js";

/** An uplink whose promises the test settles by hand. */
class HandUplink implements Uplink {
  readonly calls: string[] = [];
  readonly open: { name: string; resolve: () => void; reject: (error: Error) => void }[] = [];
  readonly messages: Message[] = [];

  subscribe(filter: string): Promise<void> {
    this.calls.push(`subscribe ${filter}`);
    return this.promise(filter);
  }

  unsubscribe(filter: string): void {
    this.calls.push(`unsubscribe ${filter}`);
  }

  publish(message: Message): Promise<boolean> | undefined {
    this.calls.push(`publish ${message.topic}`);
    this.messages.push(message);
    return message.qos === 0 ? undefined : this.promise(message.payload.toString()).then(() => true);
  }

  async resolve(name: string): Promise<void> {
    const at = this.open.findIndex((p) => p.name === name);
    assert.notEqual(at, -1, `nothing waits for ${name}`);
    this.open.splice(at, 1)[0]!.resolve();
    await settle();
  }

  private promise(name: string): Promise<void> {
    return new Promise((resolve, reject) => this.open.push({ name, resolve, reject }));
  }
}

describe("SUBSCRIBE and PUBLISH", () => {
  it("reach every matching client, the publisher included, in order", async () => {
    const broker = new TestBroker();
    const a = await broker.connect("a");
    const b = await broker.connect("b");
    const c = await broker.connect("c");
    a.send(subscribe(1, "plant/+/temp", "plant/7/#"));
    b.send(subscribe(2, "#"));
    c.send(subscribe(3, "plant/8/temp", "+"));
    assert.deepEqual(await a.told(), ["suback 1 [0,0]"]);
    assert.deepEqual(await b.told(), ["suback 2 [0]"]);
    assert.deepEqual(await c.told(), ["suback 3 [0,0]"]);
    a.send(publish("plant/7/temp", "1"), publish("plant/8/temp", "2"), publish("plant/7", "3"));
    assert.deepEqual(await a.told(), [
      "publish plant/7/temp 1",
      "publish plant/8/temp 2",
      "publish plant/7 3",
    ]);
    assert.deepEqual(await b.told(), [
      "publish plant/7/temp 1",
      "publish plant/8/temp 2",
      "publish plant/7 3",
    ]);
    assert.deepEqual(await c.told(), ["publish plant/8/temp 2"]);
    assert.equal(broker.stat("publish_sent"), 7);
  });

  it("to overlapping subscriptions of one client is delivered once", async () => {
    const broker = new TestBroker();
    const a = await broker.connect("a");
    const b = await broker.connect("b");
    a.send(subscribe(1, "x/y", "x/+", "x/#", "#", "+/y"));
    b.send(subscribe(1, "x/+", "#"));
    await settle();
    b.send(publish("x/y", "once"));
    assert.deepEqual((await a.told()).slice(1), ["publish x/y once"]);
    assert.deepEqual((await b.told()).slice(1), ["publish x/y once"]);
  });

  it("grants what is asked for, and delivers at the lesser QoS with DUP 0 and RETAIN 0", async () => {
    const broker = new TestBroker();
    const a = await broker.connect("a");
    a.send(subscribeAt(2, 8, "p"), subscribeAt(1, 9, "q"), subscribeAt(0, 10, "r"));
    assert.deepEqual(await a.told(), ["suback 8 [2]", "suback 9 [1]", "suback 10 [0]"]);
    for (const topic of ["p", "q", "r"]) {
      for (const qos of [0, 1, 2] as const) {
        a.send(publish(topic, `${qos}`, { qos, id: 1, retain: true, dup: qos > 0 }));
        if (qos === 2) a.send({ cmd: "pubrel", messageId: 1 });
      }
    }
    assert.deepEqual(
      (await a.told()).filter((line) => line.startsWith("publish")),
      [
        "publish p 0",
        "publish p 1 q1",
        "publish p 2 q2",
        "publish q 0",
        "publish q 1 q1",
        "publish q 2 q1",
        "publish r 0",
        "publish r 1",
        "publish r 2",
      ],
    );
  });

  it("UNSUBSCRIBE ends delivery and is answered also for what was not subscribed (MQTT-3.10.4-5)", async () => {
    const broker = new TestBroker();
    const a = await broker.connect("a");
    a.send(subscribe(1, "x", "y"), unsubscribe(2, "x", "never"), publish("x"), publish("y"));
    assert.deepEqual(await a.told(), ["suback 1 [0,0]", "unsuback 2", "publish y x"]);
    assert.equal(broker.stat("subscriptions"), 1);
  });

  it("the same filter again replaces the subscription (MQTT-3.8.4-3)", async () => {
    const broker = new TestBroker();
    const a = await broker.connect("a");
    a.send(
      subscribe(1, "x", "x"),
      subscribe(2, "x"),
      publish("x", "once"),
      unsubscribe(3, "x"),
      publish("x"),
    );
    assert.deepEqual(await a.told(), ["suback 1 [0,0]", "suback 2 [0]", "publish x once", "unsuback 3"]);
    assert.equal(broker.stat("subscriptions"), 0);
  });

  it("keep $ topics from leading wildcards, and $SYS from clients", async () => {
    const broker = new TestBroker();
    const a = await broker.connect("a");
    a.send(subscribe(1, "#", "+/x", "$mine/#", "$SYS/#"));
    await a.take();
    a.send(publish("$mine/x", "1"), publish("$other/x"), publish("$SYS/x"), publish("$SYSTEM", "2"));
    assert.deepEqual(await a.told(), ["publish $mine/x 1"]);
    assert.equal(broker.stat("publish_denied"), 1);
  });

  it("carry an empty payload, one of every byte, and a large one unchanged", async () => {
    const broker = new TestBroker();
    const a = await broker.connect("a");
    a.send(subscribe(1, "#"));
    await a.take();
    const payloads = [
      Buffer.alloc(0),
      Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
      ...[127, 128, 16_383, 16_384, 65_535, 65_536, 1_000_000].map((n) => Buffer.alloc(n, n % 251)),
    ];
    for (const payload of payloads) {
      a.send({ cmd: "publish", topic: "ü/🌱", payload, qos: 0, dup: false, retain: false });
      const [packet] = await a.take();
      assert.ok(packet?.cmd === "publish" && packet.topic === "ü/🌱");
      assert.ok(payload.equals(packet.payload as Buffer), `${payload.length} bytes`);
    }
  });

  it("refuse filters above the limits with 0x80, and close for topics and filters of too many levels", async () => {
    const broker = new TestBroker({ limits: { subscriptionsPerClient: 2, topicLevels: 3 } });
    const a = await broker.connect("a");
    a.send(subscribe(1, "1", "a/b/c", "3"), subscribe(2, "1"));
    assert.deepEqual(await a.told(), ["suback 1 [0,0,128]", "suback 2 [0]"]);
    assert.equal(broker.stat("refused_subscriptions"), 1);
    const tight = new TestBroker({ limits: { subscriptionBytes: 2 * (4 + 2 * 128) } });
    const b = await tight.connect("b");
    b.send(subscribe(1, "11/1", "22/2", "x"), unsubscribe(2, "11/1"), subscribe(3, "33/3", "y"));
    assert.deepEqual(await b.told(), ["suback 1 [0,0,128]", "unsuback 2", "suback 3 [0,128]"]);
    a.send(unsubscribe(3, "1"), subscribe(4, "3"), publish("a/b/c"), publish("a/b/c/d"), publish("3"));
    assert.deepEqual(await a.told(), ["unsuback 3", "suback 4 [0]", "publish a/b/c x"]);
    assert.ok(a.ended);
    for (const version of [4, 5] as const) {
      for (const beyond of [subscribe(1, "a", "a/b/c/d"), publish("a/b/c/d")]) {
        const c = await broker.connect("c", { protocolVersion: version });
        c.send(beyond);
        assert.deepEqual(await c.told(), version === 5 ? ["disconnect 0x81"] : []);
        assert.ok(c.ended);
      }
    }
    assert.equal(broker.stat("closed_malformed"), 5);
  });
});

describe("QoS 1 and 2 from a publisher", () => {
  it("is acknowledged in the order of the packets, and QoS 2 published once", async () => {
    const broker = new TestBroker();
    const a = await broker.connect("a");
    const b = await broker.connect("b");
    b.send(subscribe(1, "#"));
    await b.take();
    a.send(
      publish("t", "1", { qos: 1, id: 10 }),
      publish("t", "2", { qos: 2, id: 11 }),
      publish("t", "2", { qos: 2, id: 11, dup: true }),
      { cmd: "pubrel", messageId: 11 },
      { cmd: "pubrel", messageId: 11 },
      publish("t", "3", { qos: 2, id: 11 }),
    );
    assert.deepEqual(await a.told(), [
      "puback 10",
      "pubrec 11",
      "pubrec 11",
      "pubcomp 11",
      "pubcomp 11",
      "pubrec 11",
    ]);
    assert.deepEqual(await b.told(), ["publish t 1", "publish t 2", "publish t 3"]);
    assert.equal(broker.stat("publish_repeated"), 1);
  });

  it("is acknowledged when the uplink has it, in order although the uplink is not", async () => {
    const uplink = new HandUplink();
    const broker = new TestBroker({ uplink });
    const a = await broker.connect("a");
    const b = await broker.connect("b");
    b.send(subscribe(1, "#"));
    await uplink.resolve("#");
    await b.take();
    a.send(
      publish("t", "1", { qos: 1, id: 1 }),
      publish("t", "2", { qos: 2, id: 2 }),
      publish("t", "3", { qos: 1, id: 3 }),
    );
    assert.deepEqual(await a.told(), []);
    assert.deepEqual(
      await b.told(),
      ["publish t 1", "publish t 2", "publish t 3"],
      "local subscribers do not wait",
    );
    await uplink.resolve("3");
    await uplink.resolve("2");
    a.send(publish("t", "2", { qos: 2, id: 2, dup: true }));
    assert.deepEqual(await a.told(), []);
    await uplink.resolve("1");
    assert.deepEqual(await a.told(), ["puback 1", "pubrec 2", "puback 3", "pubrec 2"]);
    assert.deepEqual(uplink.calls, ["subscribe #", "publish t", "publish t", "publish t"]);
  });

  it("of QoS 2 waits for the uplink over a reconnection, and is published anew where that failed", async () => {
    const uplink = new HandUplink();
    const broker = new TestBroker({ uplink });
    const sent = () => uplink.calls.filter((call) => call === "publish t").length;
    const again = async () => {
      const client = await broker.connect("a", { clean: false });
      client.send(publish("t", "1", { qos: 2, id: 7, dup: true }));
      return client;
    };
    (await again()).stream.destroy();
    await settle();
    const b = await again();
    assert.deepEqual(await b.told(), []);
    await uplink.resolve("1");
    assert.deepEqual(await b.told(), ["pubrec 7"]);
    b.send({ cmd: "pubrel", messageId: 7 }, publish("t", "1", { qos: 2, id: 7 }));
    await b.take();
    assert.equal(sent(), 2);
    uplink.open.shift()!.reject(new Error("no way out"));
    await settle();
    assert.ok(b.ended);
    const c = await again();
    await uplink.resolve("1");
    assert.deepEqual(await c.told(), ["pubrec 7"]);
    assert.equal(sent(), 3);
  });

  it("closes the client unacknowledged when the uplink fails", async () => {
    const uplink = new HandUplink();
    const broker = new TestBroker({ uplink });
    const a = await broker.connect("a");
    const b = await broker.connect("b");
    a.send(publish("t", "1", { qos: 1, id: 1 }));
    await settle();
    uplink.open[0]!.reject(new Error("no way out"));
    assert.deepEqual(await a.told(), []);
    assert.ok(a.ended && !b.ended);
    assert.equal(broker.stat("closed_uplink_error"), 1);
  });

  it("holds reading above the bound of pending acknowledgements, and loses nothing by it", async () => {
    const uplink = new HandUplink();
    const broker = new TestBroker({ uplink, limits: { pendingAcks: 10 } });
    const a = await broker.connect("a", { keepalive: 10 });
    for (let i = 1; i <= 1_000; i++) a.send(publish("t", `${i}`, { qos: 1, id: i }));
    await settle();
    assert.equal(uplink.open.length, 10);
    assert.ok(a.stream.writableLength > 0 || a.server.readableLength > 0, "the client feels it");
    // It is the uplink that is slow: the client is not to blame for its silence.
    broker.clock.advance(60_000);
    await settle();
    assert.ok(!a.ended);
    const told: string[] = [];
    for (let i = 1; i <= 1_000; i++) {
      await uplink.resolve(`${i}`);
      assert.ok(uplink.open.length <= 10);
      told.push(...(await a.told()));
    }
    assert.deepEqual(
      told,
      Array.from({ length: 1_000 }, (_, i) => `puback ${i + 1}`),
    );
    assert.ok(broker.stat("reads_held") > 100);
    broker.clock.advance(15_000);
    await settle();
    assert.ok(a.ended, "once it is read again, the keep-alive runs");
  });
});

describe("the uplink", () => {
  it("is told of the first and the last subscriber of a filter, and each SUBACK waits for its filters", async () => {
    const uplink = new HandUplink();
    const broker = new TestBroker({ uplink });
    const a = await broker.connect("a");
    const b = await broker.connect("b");
    a.send(subscribe(1, "x", "y"));
    b.send(subscribe(2, "z"), subscribe(1, "y"));
    assert.deepEqual(await a.told(), []);
    await uplink.resolve("x");
    assert.deepEqual(await a.told(), []);
    await uplink.resolve("z");
    assert.deepEqual(await b.told(), ["suback 2 [0]"], "one SUBACK does not wait for a later one's filters");
    await uplink.resolve("y");
    assert.deepEqual(await a.told(), ["suback 1 [0,0]"]);
    assert.deepEqual(await b.told(), ["suback 1 [0]"]);
    a.send(subscribe(3, "z"));
    assert.deepEqual(await a.told(), ["suback 3 [0]"], "the barrier holds already");
    a.send(unsubscribe(4, "x", "y"));
    b.send({ cmd: "disconnect" });
    await settle();
    a.stream.destroy();
    await settle();
    assert.deepEqual(uplink.calls, [
      "subscribe x",
      "subscribe y",
      "subscribe z",
      "unsubscribe x",
      "unsubscribe y",
      "unsubscribe z",
    ]);
  });

  it("is asked anew for a filter given up and taken up again while its barrier was pending", async () => {
    const uplink = new HandUplink();
    const broker = new TestBroker({ uplink });
    const a = await broker.connect("a");
    a.send(subscribe(1, "x"), unsubscribe(2, "x"), subscribe(3, "x"));
    assert.deepEqual(await a.told(), []);
    assert.deepEqual(uplink.calls, ["subscribe x", "unsubscribe x", "subscribe x"]);
    await uplink.resolve("x");
    assert.deepEqual(await a.told(), ["suback 1 [0]", "unsuback 2"]);
    await uplink.resolve("x");
    assert.deepEqual(await a.told(), ["suback 3 [0]"]);
  });

  it("may answer after the client has gone", async () => {
    const uplink = new HandUplink();
    const broker = new TestBroker({ uplink });
    const a = await broker.connect("a");
    a.send(subscribe(1, "x"), publish("t", "1", { qos: 1, id: 1 }), { cmd: "disconnect" });
    await settle();
    await uplink.resolve("x");
    await uplink.resolve("1");
    assert.deepEqual(await a.told(), ["suback 1 [0]", "puback 1"]);
    assert.ok(a.ended);
    assert.equal(broker.stat("closed_disconnect"), 1);
    assert.equal(broker.stat("filters"), 0);
  });

  it("gets each PUBLISH once with its QoS and RETAIN, and gives messages to local subscribers only", async () => {
    const uplink = new HandUplink();
    const broker = new TestBroker({ uplink });
    const a = await broker.connect("a");
    a.send(subscribe(1, "t/#"));
    await uplink.resolve("t/#");
    await a.take();
    a.send(publish("t/1", "here", { qos: 2, id: 5, retain: true }), publish("u", "unheard"));
    await settle();
    const seen = uplink.messages.map(({ topic, payload, qos, retain }) => [
      topic,
      payload.toString(),
      qos,
      retain,
    ]);
    assert.deepEqual(seen, [
      ["t/1", "here", 2, true],
      ["u", "unheard", 0, false],
    ]);
    const message = { topic: "t/2", payload: Buffer.from("there"), qos: 1, retain: true } as const;
    broker.broker.deliver(message);
    assert.deepEqual(await a.told(), ["publish t/1 here", "publish t/2 there"]);
    assert.equal(uplink.messages.length, 2);
    assert.equal(broker.stat("publish_delivered"), 1);
    assert.equal(broker.stat("publish_unwanted"), 0);
    broker.broker.deliver({ ...message, topic: "u/1", retain: false });
    assert.deepEqual(await a.told(), []);
    assert.deepEqual([broker.stat("publish_delivered"), broker.stat("publish_unwanted")], [2, 1]);
  });
});

describe("a slow subscriber", () => {
  it("loses QoS 0 messages at its bound, counted, and disturbs nobody", async () => {
    const broker = new TestBroker({ limits: { outboxBytes: 50_000 } });
    const slow = await broker.connect("slow");
    const quick = await broker.connect("quick");
    slow.send(subscribe(1, "#"));
    quick.send(subscribe(1, "#"));
    await settle();
    slow.stream.pause();
    const sender = await broker.connect("sender");
    const body = "x".repeat(90);
    for (let i = 0; i < 200; i++) {
      for (let j = 0; j < 10; j++) sender.send(publish("t", `${i * 10 + j} ${body}`));
      await settle();
    }
    const all = (await quick.told()).slice(1).map((line) => Number(line.split(" ")[2]));
    assert.deepEqual(
      all,
      Array.from({ length: 2_000 }, (_, i) => i),
    );
    const dropped = broker.stat("publish_dropped");
    // The bound is the outbox's, beside what the two streams' own buffers hold.
    assert.ok(dropped > 2_000 - (50_000 + 4 * 16_384) / 95, `${dropped} dropped`);
    slow.stream.resume();
    const got = (await slow.told()).slice(1).map((line) => Number(line.split(" ")[2]));
    assert.equal(got.length, 2_000 - dropped);
    assert.deepEqual(
      got,
      Array.from({ length: got.length }, (_, i) => i),
      "the oldest, in order, without a gap",
    );
    sender.send(publish("t", "again"));
    assert.deepEqual(await slow.told(), ["publish t again"]);
  });

  it("still gets a message larger than its bound when nothing else waits", async () => {
    const broker = new TestBroker({ limits: { outboxBytes: 1_000 } });
    const a = await broker.connect("a");
    a.send(subscribe(1, "#"));
    await a.take();
    a.send(publish("t", "y".repeat(100_000)));
    const [packet] = await a.take();
    assert.ok(packet?.cmd === "publish" && packet.payload.length === 100_000);
  });

  it("that does not read its acknowledgements is not read from either", async () => {
    const broker = new TestBroker({ limits: { controlBytes: 400 } });
    const a = await broker.connect("a");
    a.stream.pause();
    // The streams' buffers take 32 KiB of acknowledgements, the outbox 400 bytes, and the rest is left unread.
    for (let i = 1; i <= 40_000; i++) {
      a.send(publish("t", "x", { qos: 1, id: (i % 65_535) + 1 }));
      if (i % 1_000 === 0) await settle();
    }
    await settle();
    assert.ok(broker.stat("reads_held") > 0);
    assert.ok(broker.stat("publish_received") < 20_000, `${broker.stat("publish_received")}`);
    a.stream.resume();
    for (let i = 0; i < 100 && broker.stat("publish_received") < 40_000; i++) await settle();
    assert.equal((await a.take()).length, 40_000);
  });
});

describe("what one turn has for a client", () => {
  it("arrives byte for byte, whatever the sizes, whether the client reads at once or late", async () => {
    const sizes = fc.oneof(
      fc.nat(40),
      fc.nat(3_000),
      fc.integer({ min: 15_000, max: 18_000 }),
      fc.constant(70_000),
    );
    const messages = fc.array(fc.tuple(fc.constantFrom("t", "t/ü", "t/🌱/x"), sizes), { maxLength: 120 });
    await fc.assert(
      fc.asyncProperty(messages, fc.array(fc.nat(3), { minLength: 1 }), async (sent, pauses) => {
        const broker = new TestBroker({ limits: { outboxBytes: 1e9 } });
        const quick = await broker.connect("quick");
        const slow = await broker.connect("slow");
        for (const client of [quick, slow]) client.send(subscribe(1, "t/#"));
        await Promise.all([quick.take(), slow.take()]);
        const expected: string[] = [];
        for (const [i, [topic, size]] of sent.entries()) {
          if (pauses[i % pauses.length] === 0) slow.stream.pause();
          if (pauses[i % pauses.length] === 1) slow.stream.resume();
          if (pauses[i % pauses.length] === 2) await settle();
          const payload = `${i} ${String.fromCharCode(97 + (i % 26)).repeat(size)}`;
          broker.broker.deliver({ topic, payload: Buffer.from(payload), qos: 0, retain: false });
          expected.push(`publish ${topic} ${payload}`);
        }
        slow.stream.resume();
        for (let i = 0; i < 50 && slow.received.length < expected.length + 2; i++) await settle();
        assert.deepEqual(await quick.told(), expected);
        assert.deepEqual(await slow.told(), expected);
      }),
      { numRuns: 60 },
    );
  });

  it("leaves in one write", async () => {
    const broker = new TestBroker();
    const a = await broker.connect("a");
    const b = await broker.connect("b");
    a.send(subscribe(1, "#"));
    await a.take();
    const before = a.server.writes;
    a.send(publish("t", "1", { qos: 1, id: 1 }), publish("u", "2"), { cmd: "pingreq" });
    b.send(publish("t", "3"), publish("t", "4"));
    broker.broker.deliver({ topic: "t", payload: Buffer.from("5"), qos: 0, retain: false });
    assert.equal((await a.take()).length, 7);
    assert.equal(a.server.writes, before + 1);
  });
});
