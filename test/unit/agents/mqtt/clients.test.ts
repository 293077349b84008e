import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { connectAsync, type IClientOptions, type MqttClient } from "mqtt";
import { type SocketBroker, socketBroker } from "./socket-broker.js";

describe("MQTT.js over kernel sockets", () => {
  let server: SocketBroker;
  const clients: MqttClient[] = [];

  before(async () => {
    server = await socketBroker({ credentials: { username: "u", password: "p" } });
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

  for (const qos of [0, 1, 2] as const) {
    it(`a thousand messages published at QoS ${qos} arrive once and in order`, async () => {
      const sub = await client();
      const pub = await client();
      const granted = await sub.subscribeAsync(`q${qos}/+`, { qos });
      assert.equal(granted[0]?.qos, 0);
      const got = messages(sub, 1_000);
      await Promise.all(
        Array.from({ length: 1_000 }, (_, i) => pub.publishAsync(`q${qos}/t`, String(i), { qos })),
      );
      assert.deepEqual(
        await got,
        Array.from({ length: 1_000 }, (_, i) => `q${qos}/t ${i}`),
      );
    });
  }

  it("MQTT 3.1 (MQIsdp) is served", async () => {
    const old = await client({ protocolId: "MQIsdp", protocolVersion: 3 });
    const got = messages(old, 1);
    await old.subscribeAsync("old/#");
    await old.publishAsync("old/x", "1", { qos: 1 });
    assert.deepEqual(await got, ["old/x 1"]);
  });

  it("MQTT 5 is refused with a reason that the client understands", async () => {
    await assert.rejects(client({ protocolVersion: 5 }), /Unsupported Protocol Version/);
  });

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
