import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { connect, connectAsync, type IClientOptions, type IPublishPacket, type MqttClient } from "mqtt";
import { oneUser } from "./harness.js";
import { type SocketBroker, socketBroker } from "./socket-broker.js";

describe("MQTT.js over kernel sockets", () => {
  let server: SocketBroker;
  const clients: MqttClient[] = [];

  before(async () => {
    server = await socketBroker({ authority: oneUser("u", "p") });
  });

  after(async () => {
    for (const client of clients) client.end(true);
    await server.close();
  });

  async function client(options: IClientOptions = {}): Promise<MqttClient> {
    const connected = await connectAsync(`mqtt://127.0.0.1:${server.port}`, {
      username: "u",
      password: "p",
      protocolVersion: 4,
      reconnectPeriod: 0,
      ...options,
    });
    clients.push(connected);
    return connected;
  }

  /** Resolves with the first `count` messages. */
  function messages(from: MqttClient, count: number): Promise<string[]> {
    return new Promise((resolve) => {
      const got: string[] = [];
      from.on("message", (topic, payload) => {
        got.push(`${topic} ${payload}`);
        if (got.length === count) resolve(got);
      });
    });
  }

  for (const protocolVersion of [4, 5] as const) {
    for (const qos of [0, 1, 2] as const) {
      it(`level ${protocolVersion}: a thousand messages at QoS ${qos} arrive once and in order`, async () => {
        const topic = `v${protocolVersion}/q${qos}`;
        const sub = await client({ protocolVersion });
        const pub = await client({ protocolVersion });
        const granted = await sub.subscribeAsync(`${topic}/+`, { qos });
        assert.equal(granted[0]?.qos, qos);
        const got = messages(sub, 1_000);
        // MQTT.js does not look at the server's Receive Maximum.
        const window = protocolVersion === 5 ? 20 : 1_000;
        for (let at = 0; at < 1_000; at += window) {
          await Promise.all(
            Array.from({ length: window }, (_, i) => pub.publishAsync(`${topic}/t`, String(at + i), { qos })),
          );
        }
        assert.deepEqual(
          await got,
          Array.from({ length: 1_000 }, (_, i) => `${topic}/t ${i}`),
        );
      });
    }
  }

  it("MQTT 3.1 (MQIsdp) is served", async () => {
    const old = await client({ protocolId: "MQIsdp", protocolVersion: 3 });
    const got = messages(old, 1);
    await old.subscribeAsync("old/#");
    await old.publishAsync("old/x", "1", { qos: 1 });
    assert.deepEqual(await got, ["old/x 1"]);
  });

  it("MQTT 5: properties arrive as they were sent, aliases or not", async () => {
    const both = await client({ protocolVersion: 5, properties: { topicAliasMaximum: 10 } });
    await both.subscribeAsync("props", { qos: 1, properties: { subscriptionIdentifier: 7 } });
    const got = new Promise<IPublishPacket[]>((resolve) => {
      const packets: IPublishPacket[] = [];
      both.on("message", (topic, _payload, packet) => {
        assert.equal(topic, "props");
        if (packets.push(packet) === 2) resolve(packets);
      });
    });
    const properties = {
      payloadFormatIndicator: true,
      contentType: "text/plain",
      responseTopic: "answer",
      correlationData: Buffer.from([1, 2]),
      messageExpiryInterval: 60,
      userProperties: { a: ["1", "2"], b: "3" },
    };
    for (let i = 0; i < 2; i++) await both.publishAsync("props", "x", { qos: 1, properties });
    for (const packet of await got) {
      const { topicAlias, ...rest } = packet.properties ?? {};
      assert.equal(topicAlias, 1);
      assert.deepEqual(
        { ...rest, userProperties: { ...rest.userProperties } },
        { ...properties, subscriptionIdentifier: 7 },
      );
    }
  });

  for (const protocolVersion of [4, 5] as const) {
    it(`level ${protocolVersion}: a session waits for its client, and gives it what it missed`, async () => {
      const options: IClientOptions = {
        clientId: `keeps${protocolVersion}`,
        clean: false,
        protocolVersion,
        ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 100 } } : {}),
      };
      const topic = `kept${protocolVersion}`;
      const first = await client(options);
      await first.subscribeAsync(`${topic}/#`, { qos: 1 });
      await first.endAsync();
      const pub = await client();
      for (let i = 0; i < 20; i++) await pub.publishAsync(`${topic}/${i}`, "x", { qos: 1 });
      const again = connect(`mqtt://127.0.0.1:${server.port}`, {
        username: "u",
        password: "p",
        reconnectPeriod: 0,
        ...options,
      });
      clients.push(again);
      const got = messages(again, 20);
      const present = new Promise((resolve) =>
        again.on("connect", ({ sessionPresent }) => resolve(sessionPresent)),
      );
      assert.equal(await present, true);
      assert.deepEqual(
        await got,
        Array.from({ length: 20 }, (_, i) => `${topic}/${i} x`),
      );
    });
  }

  it("a wrong password is refused", async () => {
    await assert.rejects(client({ password: "q" }), /Bad username or password|Not authorized/);
  });

  it("a will is published when the connection breaks, not when it ends", async () => {
    const watcher = await client();
    await watcher.subscribeAsync("will/#");
    const got = messages(watcher, 1);
    const will = (topic: string) => ({
      will: { topic, payload: Buffer.from("gone"), qos: 1 as const, retain: false },
    });
    const polite = await client(will("will/polite"));
    const broken = await client(will("will/broken"));
    await polite.endAsync();
    broken.stream.destroy();
    assert.deepEqual(await got, ["will/broken gone"]);
  });

  it("a client identifier in use closes the old connection", async () => {
    const first = await client({ clientId: "same" });
    const closed = new Promise<void>((resolve) => first.on("close", resolve));
    const second = await client({ clientId: "same" });
    await closed;
    assert.ok(second.connected && !first.connected);
  });

  it("a large message arrives whole", async () => {
    const both = await client();
    await both.subscribeAsync("large");
    const got = new Promise<Buffer>((resolve) => both.on("message", (_topic, bytes) => resolve(bytes)));
    const payload = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => i % 251));
    await both.publishAsync("large", payload, { qos: 1 });
    assert.ok(payload.equals(await got));
  });
});
