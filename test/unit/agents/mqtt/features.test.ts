/** A server that does not offer all that MQTT has: what it tells, and what whoever uses it nevertheless is told. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Limits } from "@topicast/agent/mqtt/limits.js";
import type { IConnectPacket, Packet } from "mqtt-packet";
import { publish, subscribe, subscribeAt, TestBroker } from "./harness.js";

const versions = [3, 4, 5] as const;
const versioned = (protocolVersion: 3 | 4 | 5): Partial<IConnectPacket> => ({
  protocolVersion,
  protocolId: protocolVersion === 3 ? "MQIsdp" : "MQTT",
});

const identified: Packet = {
  cmd: "subscribe",
  messageId: 1,
  subscriptions: [{ topic: "a", qos: 0 }],
  properties: { subscriptionIdentifier: 7 },
};

/** What is not there, the properties of CONNACK that tell, what uses it, and its reason code. */
const table: [what: string, limits: Partial<Limits>, told: object, use: Packet, code: string][] = [
  ["QoS 2", { maximumQos: 1 }, { maximumQoS: 1 }, publish("t", "x", { qos: 2, id: 1 }), "0x9b"],
  ["QoS 1", { maximumQos: 0 }, { maximumQoS: 0 }, publish("t", "x", { qos: 1, id: 1 }), "0x9b"],
  [
    "retained messages",
    { without: ["retain"] },
    { retainAvailable: false },
    publish("t", "x", { retain: true }),
    "0x9a",
  ],
  [
    "wildcards",
    { without: ["wildcards"] },
    { wildcardSubscriptionAvailable: false },
    subscribe(1, "a", "a/+"),
    "0xa2",
  ],
  [
    "shared subscriptions",
    { without: ["shared"] },
    { sharedSubscriptionAvailable: false },
    subscribe(1, "$share/g/a"),
    "0x9e",
  ],
  [
    "subscription identifiers",
    { without: ["subscription-ids"] },
    { subscriptionIdentifiersAvailable: false },
    identified,
    "0xa1",
  ],
];

describe("a server without", () => {
  for (const [what, limits, told, use, code] of table) {
    it(`${what} says so, and disconnects who uses them with ${code}`, async () => {
      const broker = new TestBroker({ limits });
      const client = await broker.connect5("c");
      const { topicAliasMaximum, maximumPacketSize, receiveMaximum, ...rest } =
        client.connack.properties ?? {};
      assert.deepEqual(rest, told);
      client.send(use, { cmd: "pingreq" });
      assert.deepEqual(await client.told(), [`disconnect ${code}`]);
      assert.ok(client.ended);
      assert.equal(broker.stat("closed_not_supported"), 1);
    });
  }

  it("tells nothing of it where all is there", async () => {
    const { properties } = (await new TestBroker().connect5("c")).connack;
    assert.deepEqual(Object.keys(properties!), ["topicAliasMaximum", "maximumPacketSize", "receiveMaximum"]);
  });

  it("topic aliases says nothing of them, and takes none", async () => {
    const client = await new TestBroker({ limits: { topicAliases: 0 } }).connect5("c");
    assert.equal(client.connack.properties?.topicAliasMaximum, undefined);
    client.send(publish("t", "x", { properties: { topicAlias: 1 } }));
    assert.deepEqual(await client.told(), ["disconnect 0x94"]);
  });
});

describe("an empty client identifier", () => {
  for (const [name, connect, code] of [
    ["3.1.1", "10 0c 0004 4d515454 04 02 003c 0000", 2],
    ["3.1.1, not clean", "10 0c 0004 4d515454 04 00 003c 0000", 2],
    ["5", "10 0d 0004 4d515454 05 02 003c 00 0000", 0x80],
    ["5, not clean", "10 0d 0004 4d515454 05 00 003c 00 0000", 0x80],
  ] as const) {
    it(`is refused with ${code} where there are none: version ${name}`, async () => {
      const broker = new TestBroker({ limits: { without: ["empty-ids"] } });
      const client = broker.open(code === 2 ? 4 : 5).raw(connect);
      assert.deepEqual(await client.told(), [`connack ${code}`]);
      assert.ok(client.ended);
      assert.equal(broker.stat("refused_client_id"), 1);
    });
  }
});

describe("the greatest QoS", () => {
  for (const version of versions) {
    it(`is what a SUBSCRIBE is granted, whatever it asks for: version ${version} (MQTT-3.2.2-10)`, async () => {
      const broker = new TestBroker({ limits: { maximumQos: 1 } });
      const client = await broker.connect("c", versioned(version));
      client.send({
        cmd: "subscribe",
        messageId: 1,
        subscriptions: ([0, 1, 2] as const).map((qos) => ({ topic: `t${qos}`, qos })),
      });
      assert.deepEqual(await client.told(), ["suback 1 [0,1,1]"]);
      broker.broker.deliver({ topic: "t2", payload: Buffer.from("x"), qos: 2, retain: false });
      assert.deepEqual(await client.told(), ["publish t2 x q1"]);
    });
  }
});

describe("a will", () => {
  const gone = { topic: "gone", payload: Buffer.from("x") };
  const limits: Partial<Limits> = { maximumQos: 0, without: ["retain"] };
  const wills = [
    [0x9b, { ...gone, qos: 1, retain: false }],
    [0x9a, { ...gone, qos: 0, retain: true }],
  ] as const;
  for (const [code, will] of wills) {
    for (const version of versions) {
      it(`above what is offered is refused with ${code}, before MQTT 5 by closing: version ${version}`, async () => {
        const broker = new TestBroker({ limits });
        const client = broker.open(version);
        client.send({
          cmd: "connect",
          clientId: "c",
          clean: true,
          keepalive: 0,
          ...versioned(version),
          will,
        });
        assert.deepEqual(await client.told(), version === 5 ? [`connack ${code}`] : []);
        assert.ok(client.ended);
        assert.equal(broker.stat("refused_will"), 1);
        assert.equal(broker.stat("sessions"), 0);
      });
    }
  }
});

describe("before MQTT 5", () => {
  it("a PUBLISH above what is offered closes", async () => {
    const broker = new TestBroker({ limits: { maximumQos: 0, without: ["retain"] } });
    for (const version of [3, 4] as const) {
      for (const use of [publish("t", "x", { qos: 1, id: 1 }), publish("t", "x", { retain: true })]) {
        const client = await broker.connect("c", versioned(version));
        client.send(use);
        assert.deepEqual(await client.told(), []);
        assert.ok(client.ended);
      }
    }
  });

  it("filters that are not offered are refused one by one", async () => {
    const broker = new TestBroker({ limits: { without: ["wildcards", "shared"] } });
    const client = await broker.connect("c");
    client.send(subscribeAt(0, 1, "a", "a/#", "$share/g/a", "b"));
    assert.deepEqual(await client.told(), ["suback 1 [0,128,128,0]"]);
  });

  it("nobody is sent retained messages where there are none", async () => {
    const broker = new TestBroker({ limits: { without: ["retain"] } });
    broker.broker.deliver({ topic: "t", payload: Buffer.from("x"), qos: 0, retain: true });
    const client = await broker.connect("c");
    client.send(subscribe(1, "t"));
    assert.deepEqual(await client.told(), ["suback 1 [0]"]);
  });
});
