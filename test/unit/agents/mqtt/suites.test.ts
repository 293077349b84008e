/** What public conformance suites look for and the standard leaves open, or says in passing. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { IConnackPacket, IPublishPacket } from "mqtt-packet";
import { publish, subscribe, subscribeAt, TestBroker, type TestClient, unsubscribe } from "./harness.js";

const versions = [4, 5] as const;

describe("a CONNACK that is larger than its client takes", () => {
  const tiny = { protocolVersion: 5, properties: { maximumPacketSize: 2 } } as const;

  it("is not sent, and neither session nor connection of that client is touched", async () => {
    const broker = new TestBroker();
    const properties = { sessionExpiryInterval: 100 };
    const first = await broker.connect5("c", { clean: false, properties });
    first.send(subscribe(1, "t"));
    await first.take();
    const will = { topic: "t", payload: Buffer.from("gone"), qos: 0 as const, retain: false };
    const second = broker.open(5);
    second.send({ cmd: "connect", clientId: "c", clean: true, keepalive: 0, ...tiny, will });
    assert.deepEqual(await second.told(), []);
    assert.ok(second.ended);
    first.send(publish("t"));
    assert.deepEqual(await first.told(), ["publish t x"]);
    assert.equal(broker.stat("closed_packet_too_large"), 1);
    assert.equal(broker.stat("closed_taken_over"), 0);
    assert.equal(broker.stat("sessions"), 1);
  });

  it("is found before another edge is asked for the session", async () => {
    const claimed: string[] = [];
    const uplink = {
      subscribe: () => Promise.resolve(),
      unsubscribe: () => {},
      publish: () => undefined,
      claim: (clientId: string) => {
        claimed.push(clientId);
        return Promise.resolve(true);
      },
    };
    const client = new TestBroker({ uplink }).open(5);
    client.send({ cmd: "connect", clientId: "c", clean: true, keepalive: 0, ...tiny });
    assert.deepEqual(await client.told(), []);
    assert.deepEqual(claimed, []);
  });
});

describe("a client that loses a race of two connections", () => {
  const uplink = {
    subscribe: () => Promise.resolve(),
    unsubscribe: () => {},
    publish: () => undefined,
    claim: () => Promise.resolve(false),
  };

  for (const version of [3, ...versions] as const) {
    for (const clean of [true, false]) {
      it(`is let in and taken over: version ${version}, ${clean ? "" : "not "}clean`, async () => {
        const broker = new TestBroker({ uplink });
        const protocolId = version === 3 ? "MQIsdp" : "MQTT";
        const connect = { cmd: "connect", clientId: "c", keepalive: 0, protocolVersion: version } as const;
        const client = broker.open(version).send({ ...connect, clean, protocolId }, { cmd: "pingreq" });
        // It is never told that there is no session, when its other connection has it.
        const connack = `connack 0${clean || version === 3 ? "" : " present"}`;
        const told = version === 5 ? [connack, "disconnect 0x8e"] : [connack];
        assert.deepEqual(await client.told(), told);
        assert.ok(client.ended);
        assert.equal(broker.stat("closed_taken_over"), 1);
        assert.equal(broker.stat("sessions"), 0);
      });
    }
  }
});

describe("a CONNACK", () => {
  it("has its properties in the order that is looked for", async () => {
    const limits = { keepAliveSeconds: 60, sessionExpirySeconds: 5 };
    const client = new TestBroker({ limits }).open(5);
    const bytes: Buffer[] = [];
    client.stream.on("data", (chunk: Buffer) => bytes.push(chunk));
    const properties = { sessionExpiryInterval: 10 };
    client.send({
      cmd: "connect",
      clientId: "",
      clean: true,
      keepalive: 120,
      protocolVersion: 5,
      properties,
    });
    assert.deepEqual(await client.told(), ["connack 0"]);
    const [connack] = client.received as [IConnackPacket];
    const id = Buffer.from(connack.properties!.assignedClientIdentifier!);
    assert.equal(id.length, 41);
    const expected = `20420000 3f 13003c 22000a 120029${id.toString("hex")} 1100000005 27001e8480 210014`;
    assert.equal(Buffer.concat(bytes).toString("hex"), expected.replaceAll(" ", ""));
  });
});

describe("a QoS 2 message that comes again", () => {
  const repeated = publish("t", "x", { qos: 2, id: 7 });

  /** A watcher of `t`, and a client of the version. */
  async function start(version: 4 | 5): Promise<[TestClient, TestClient, TestBroker]> {
    const broker = new TestBroker();
    const watcher = await broker.connect("w");
    watcher.send(subscribeAt(2, 1, "#"));
    await watcher.take();
    const properties = { sessionExpiryInterval: 100 };
    const session = version === 5 ? { clean: true, properties } : { clean: false };
    return [await broker.connect("c", { protocolVersion: version, ...session }), watcher, broker];
  }

  for (const version of versions) {
    it(`once is acknowledged, twice breaks the protocol: version ${version}`, async () => {
      const [client, watcher, broker] = await start(version);
      for (const dup of [false, true]) {
        client.send({ ...repeated, dup } as typeof repeated);
        assert.deepEqual(await client.told(), ["pubrec 7"]);
      }
      client.send(repeated);
      assert.deepEqual(await client.told(), version === 5 ? ["disconnect 0x82"] : []);
      assert.ok(client.ended);
      assert.deepEqual(await watcher.told(), ["publish t x q2"]);
      assert.equal(broker.stat("closed_protocol_error"), 1);
      // What it has sent is not lost by that, nor published again.
      const properties = { sessionExpiryInterval: 100 };
      const back = await broker.connect("c", { clean: false, protocolVersion: version, properties });
      for (let i = 0; i < 2; i++) {
        back.send({ ...repeated, dup: true } as typeof repeated);
        assert.deepEqual(await back.told(), ["pubrec 7"]);
      }
      back.send({ cmd: "pubrel", messageId: 7 }, publish("t", "y", { qos: 2, id: 7 }));
      assert.deepEqual(await back.told(), ["pubcomp 7", "pubrec 7"]);
      assert.deepEqual(await watcher.told(), ["publish t y q2"]);
    });

    it(`as another message each time is acknowledged, and never published: version ${version}`, async () => {
      const [client, watcher] = await start(version);
      for (const payload of ["", "p", "", "p", ""]) {
        client.send(publish("t", payload, { qos: 2, id: 7 }));
        assert.deepEqual(await client.told(), ["pubrec 7"]);
      }
      assert.deepEqual(await watcher.told(), ["publish t  q2"]);
    });
  }

  it("is waited with for as long as its PUBREC waits for other edges", async () => {
    let arrived = (): void => {};
    const uplink = {
      subscribe: () => Promise.resolve(),
      unsubscribe: () => {},
      publish: () =>
        new Promise<boolean>((resolve) => {
          arrived = () => resolve(true);
        }),
    };
    const client = await new TestBroker({ uplink }).connect5("c");
    for (let i = 0; i < 5; i++) client.send(repeated);
    assert.deepEqual(await client.told(), []);
    arrived();
    assert.deepEqual(new Set(await client.told()), new Set(["pubrec 7"]));
    assert.ok(!client.ended);
  });
});

describe("shared subscriptions without a name or a filter", () => {
  const wrong = ["$share/g", "$share//a", "$share/g/", "$share/+/a"];

  it("are refused one by one before MQTT 5, which calls them a protocol error", async () => {
    const broker = new TestBroker();
    for (const version of [3, 4] as const) {
      const protocolId = version === 3 ? "MQIsdp" : "MQTT";
      const client = await broker.connect(`v${version}`, { protocolVersion: version, protocolId });
      client.send(subscribe(1, "a", ...wrong, "b"), unsubscribe(2, ...wrong));
      assert.deepEqual(await client.told(), ["suback 1 [0,128,128,128,128,0]", "unsuback 2"]);
    }
    assert.equal(broker.stat("refused_subscriptions"), 8);
    for (const filter of wrong) {
      const client = await broker.connect5("five");
      client.send(subscribe(1, filter));
      assert.deepEqual(await client.told(), ["disconnect 0x82"], filter);
    }
  });
});

describe("topics of the server's own", () => {
  const bridge = "$SYS/broker/connection/hall/state";

  it("are refused to clients, but for where a mosquitto bridge says whether it is connected", async () => {
    const broker = new TestBroker();
    const client = await broker.connect5("c");
    const topics = ["$SYS/broker/uptime", "$SYS/broker/connection/hall", `${bridge}/x`, "$share/g/t"];
    topics.push(bridge, "$other/t");
    topics.forEach((topic, i) => {
      client.send(publish(topic, "1", { qos: 2, id: i + 1 }));
    });
    const refused = [1, 2, 3, 4].map((id) => `pubrec ${id} 0x87`);
    assert.deepEqual(await client.told(), [...refused, "pubrec 5", "pubrec 6"]);
  });

  it("let it connect with that will, and tell who asks", async () => {
    const broker = new TestBroker();
    const watcher = await broker.connect("w");
    watcher.send(subscribe(1, "$SYS/broker/connection/+/state"));
    await watcher.take();
    const will = { topic: bridge, payload: Buffer.from("0"), qos: 1 as const, retain: true };
    const client = await broker.connect("hall", { will });
    client.send(publish(bridge, "1", { qos: 1, id: 1, retain: true }));
    assert.deepEqual(await client.told(), ["puback 1"]);
    client.stream.destroy();
    assert.deepEqual(await watcher.told(), [`publish ${bridge} 1`, `publish ${bridge} 0`]);
  });
});

describe("a message that has expired while it waited", () => {
  it("is not sent, and has had its identifier", async () => {
    const broker = new TestBroker();
    const session = { clean: false, properties: { sessionExpiryInterval: 60 } };
    const away = await broker.connect5("c", session);
    away.send(subscribeAt(1, 1, "t"));
    await away.take();
    away.stream.destroy();
    const p = await broker.connect5("p");
    for (const [i, messageExpiryInterval] of [1, 10].entries()) {
      p.send(publish("t", `${i}`, { qos: 1, id: i + 1, properties: { messageExpiryInterval } }));
    }
    assert.deepEqual(await p.told(), ["puback 1", "puback 2"]);
    broker.clock.advance(2_100);
    const { early } = await broker.connect5("c", session);
    const [message, ...more] = early as [IPublishPacket];
    assert.equal(more.length, 0);
    assert.deepEqual([message.payload.toString(), message.messageId], ["1", 2]);
    assert.equal(message.properties?.messageExpiryInterval, 8);
  });
});
