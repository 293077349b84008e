import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { IConnectPacket } from "mqtt-packet";
import { oneUser, publish, settle, subscribe, TestBroker, type TestClient } from "./harness.js";

const CONNECT: IConnectPacket = { cmd: "connect", clientId: "c", clean: true, keepalive: 0 };

async function connect(
  broker: TestBroker,
  options: Partial<IConnectPacket>,
): Promise<[TestClient, string[]]> {
  const client = broker.open();
  client.send({ ...CONNECT, ...options });
  return [client, await client.told()];
}

describe("CONNECT", () => {
  it("is accepted at MQTT 3.1.1 and 3.1", async () => {
    const broker = new TestBroker();
    const [a, told] = await connect(broker, {});
    assert.deepEqual(told, ["connack 0"]);
    const [b, told31] = await connect(broker, { clientId: "d", protocolId: "MQIsdp", protocolVersion: 3 });
    assert.deepEqual(told31, ["connack 0"]);
    assert.equal(broker.stat("clients"), 2);
    assert.ok(!a.closed && !b.closed);
  });

  const lenient: [name: string, flags: string, rest: string][] = [
    ["a user name", "82", ""],
    ["a user name and a password", "c2", ""],
    ["a password", "c2", "0001 75"],
    ["a will, but its QoS", "1a", ""],
    ["a will, but its RETAIN", "22", ""],
  ];
  for (const [name, flags, rest] of lenient) {
    it(`of MQTT 3.1 alone may lack ${name} that its flags tell of`, async () => {
      const length = (16 + rest.replaceAll(" ", "").length / 2).toString(16);
      const old = new TestBroker()
        .open()
        .raw(`10 ${length} 0006 4d5149736470 03 ${flags} 003c 0002 6162 ${rest}`);
      assert.deepEqual(await old.told(), ["connack 0"]);
      const length4 = (14 + rest.replaceAll(" ", "").length / 2).toString(16).padStart(2, "0");
      const newer = new TestBroker()
        .open()
        .raw(`10 ${length4} 0004 4d515454 04 ${flags} 003c 0002 6162 ${rest}`);
      assert.deepEqual(await newer.told(), []);
      assert.ok(newer.ended);
    });
  }

  it("of MQTT 3.1 is closed where its user name is cut short", async () => {
    const client = new TestBroker().open().raw("10 12 0006 4d5149736470 03 82 003c 0002 6162 0005");
    assert.deepEqual(await client.told(), []);
    assert.ok(client.ended);
  });

  const levels: [name: string, bytes: string][] = [
    ["MQTT level 6", "10 0f 0004 4d515454 06 02 003c 0003 616263"],
    ["MQTT level 3", "10 0f 0004 4d515454 03 02 003c 0003 616263"],
    ["MQIsdp level 4", "10 11 0006 4d5149736470 04 02 003c 0003 616263"],
  ];
  for (const [name, bytes] of levels) {
    it(`of ${name} is refused with reason code 0x84 in MQTT 5's form (MQTT-3.1.2-2)`, async () => {
      const broker = new TestBroker();
      const client = broker.open(5);
      client.raw(bytes);
      assert.deepEqual(await client.told(), ["connack 132"]);
      assert.deepEqual(client.errors, []);
      assert.ok(client.ended);
      assert.equal(broker.stat("refused_protocol_version"), 1);
    });
  }

  it("with another protocol name is closed without an answer (MQTT-3.1.2-1)", async () => {
    const client = new TestBroker().open();
    client.raw("10 0f 0004 4d515458 04 02 003c 0003 616263");
    assert.deepEqual(await client.told(), []);
    assert.ok(client.ended);
  });

  it("without a client identifier gets one assigned when the session is clean (MQTT-3.1.3-6)", async () => {
    const broker = new TestBroker();
    assert.deepEqual((await connect(broker, { clientId: "" }))[1], ["connack 0"]);
    assert.deepEqual((await connect(broker, { clientId: "" }))[1], ["connack 0"]);
    assert.equal(broker.stat("clients"), 2);
  });

  it("without a client identifier is refused when the session is not clean (MQTT-3.1.3-8), or at MQTT 3.1", async () => {
    const broker = new TestBroker();
    const client = broker.open().raw("10 0c 0004 4d515454 04 00 003c 0000");
    assert.deepEqual(await client.told(), ["connack 2"]);
    assert.ok(client.ended);
    const old = broker.open().raw("10 0e 0006 4d5149736470 03 02 003c 0000");
    assert.deepEqual(await old.told(), ["connack 2"]);
    const long = await connect(new TestBroker({ limits: { clientIdBytes: 23 } }), {
      clientId: "x".repeat(24),
    });
    assert.deepEqual(long[1], ["connack 2"]);
    assert.equal(broker.stat("refused_client_id"), 2);
  });

  it("twice on a connection closes it (MQTT-3.1.0-2)", async () => {
    const broker = new TestBroker();
    const client = await broker.connect("c");
    client.send(CONNECT);
    await settle();
    assert.ok(client.ended);
    assert.equal(broker.stat("closed_protocol_error"), 1);
  });

  it("must be the first packet (MQTT-3.1.0-1)", async () => {
    const broker = new TestBroker();
    const client = broker.open().send(publish("a"));
    assert.deepEqual(await client.told(), []);
    assert.ok(client.ended);
    assert.equal(broker.stat("closed_protocol_error"), 1);
  });

  it("must come within the time limit, byte by byte or not at all", async () => {
    const broker = new TestBroker();
    const silent = broker.open();
    const slow = broker.open();
    broker.clock.advance(9_999);
    slow.raw("10");
    await settle();
    assert.ok(!silent.ended && !slow.ended);
    broker.clock.advance(1);
    await settle();
    assert.ok(silent.ended && slow.ended);
    assert.equal(broker.stat("closed_connect_timeout"), 2);
    const quick = await broker.connect("c");
    broker.clock.advance(60_000);
    await settle();
    assert.ok(!quick.ended, "the limit ends with the CONNECT");
  });
});

describe("credentials", () => {
  const authority = oneUser("plant", "secret");
  const cases: [name: string, options: Partial<IConnectPacket>, told: string][] = [
    ["right", { username: "plant", password: Buffer.from("secret") }, "connack 0"],
    ["wrong password", { username: "plant", password: Buffer.from("Secret") }, "connack 5"],
    ["wrong user name", { username: "plan", password: Buffer.from("secret") }, "connack 5"],
    ["no password", { username: "plant" }, "connack 5"],
    ["empty password", { username: "plant", password: Buffer.alloc(0) }, "connack 5"],
    ["none", {}, "connack 5"],
  ];
  for (const [name, options, expected] of cases) {
    it(`${name}: ${expected}`, async () => {
      const broker = new TestBroker({ authority });
      const [client, told] = await connect(broker, options);
      assert.deepEqual(told, [expected]);
      const refused = expected === "connack 0" ? 0 : 1;
      assert.equal(client.ended, refused === 1);
      assert.equal(broker.stat("refused_credentials"), refused);
      assert.equal(broker.stat("closed_refused"), refused);
    });
  }

  it("that are wrong: MQTT 3.1 has a code for them, MQTT 5 says no more than that they do not do", async () => {
    const broker = new TestBroker({ authority });
    const wrong = { username: "plant", password: Buffer.from("no") };
    const [old, five] = [broker.open(3), broker.open(5)];
    old.send({ ...CONNECT, ...wrong, protocolId: "MQIsdp", protocolVersion: 3 });
    five.send({ ...CONNECT, ...wrong, protocolVersion: 5 });
    assert.deepEqual([await old.told(), await five.told()], [["connack 4"], ["connack 135"]]);
  });

  it("are not asked for unless configured", async () => {
    const broker = new TestBroker();
    const [, told] = await connect(broker, { username: "any", password: Buffer.from("body") });
    assert.deepEqual(told, ["connack 0"]);
  });

  it("refused: what follows the CONNECT has no effect, and no will is published", async () => {
    const broker = new TestBroker({ authority });
    const ok = { username: "plant", password: Buffer.from("secret") };
    const watcher = await broker.connect("w", ok);
    watcher.send(subscribe(1, "#"));
    const client = broker.open();
    const will = { topic: "will", payload: Buffer.from("gone"), qos: 0 as const, retain: false };
    client.send({ ...CONNECT, will }, publish("a"), subscribe(1, "b"));
    assert.deepEqual(await client.told(), ["connack 5"]);
    assert.deepEqual(await watcher.told(), ["suback 1 [0]"]);
    assert.equal(broker.stat("subscriptions"), 1);
  });
});

describe("a client identifier in use", () => {
  it("closes the old connection and publishes its will (MQTT-3.1.4-2)", async () => {
    const broker = new TestBroker();
    const watcher = await broker.connect("w");
    watcher.send(subscribe(1, "will/#"));
    await watcher.take();
    const will = { topic: "will/c", payload: Buffer.from("gone"), qos: 0 as const, retain: false };
    const old = await broker.connect("c", { will });
    old.send(subscribe(1, "x"));
    await settle();
    const fresh = await broker.connect("c");
    assert.ok(old.ended);
    assert.deepEqual(await watcher.told(), ["publish will/c gone"]);
    assert.equal(broker.stat("closed_taken_over"), 1);
    assert.equal(broker.stat("clients"), 2);
    assert.equal(broker.stat("subscriptions"), 1, "the old connection's subscriptions went with it");
    fresh.send(subscribe(1, "x"), publish("x", "mine"));
    assert.deepEqual(await fresh.told(), ["suback 1 [0]", "publish x mine"]);
    // The old stream's own end, however late, is nobody else's.
    old.stream.end();
    await settle();
    assert.equal(broker.stat("clients"), 2);
  });
});

describe("wills", () => {
  const will = { topic: "will", payload: Buffer.from("gone"), qos: 1 as const, retain: true };

  const ends: [name: string, end: (client: TestClient, broker: TestBroker) => void, published: boolean][] = [
    ["DISCONNECT", (client) => client.send({ cmd: "disconnect" }), false],
    ["end of the stream", (client) => client.stream.end(), true],
    ["reset of the stream", (client) => client.stream.destroy(), true],
    ["a malformed packet", (client) => client.raw("ff 00"), true],
    ["keep-alive", (_client, broker) => broker.clock.advance(15_000), true],
  ];
  for (const [name, end, published] of ends) {
    it(`${published ? "published on" : "discarded on"} ${name}`, async () => {
      const broker = new TestBroker();
      const watcher = await broker.connect("w");
      watcher.send(subscribe(1, "will"));
      await watcher.take();
      const client = await broker.connect("c", { will, keepalive: 10 });
      end(client, broker);
      // Delivered live: at the granted QoS 0, RETAIN 0 (MQTT-3.3.1-12).
      assert.deepEqual(await watcher.told(), published ? ["publish will gone"] : []);
      assert.equal(broker.stat("wills_published"), published ? 1 : 0);
      assert.ok(client.ended || client.closed);
      assert.equal(broker.stat("clients"), 1);
    });
  }
});

describe("keep-alive", () => {
  it("closes a client that is silent for one and a half times its interval (MQTT-3.1.2-24)", async () => {
    const broker = new TestBroker();
    const client = await broker.connect("c", { keepalive: 10 });
    for (let i = 0; i < 5; i++) {
      broker.clock.advance(14_999);
      client.send({ cmd: "pingreq" });
      assert.deepEqual(await client.told(), ["pingresp"]);
    }
    broker.clock.advance(14_999);
    await settle();
    assert.ok(!client.ended);
    broker.clock.advance(1);
    await settle();
    assert.ok(client.ended);
    assert.equal(broker.stat("closed_keep_alive"), 1);
  });

  it("of 0 never closes", async () => {
    const broker = new TestBroker();
    const client = await broker.connect("c", { keepalive: 0 });
    broker.clock.advance(7 * 86_400_000);
    await settle();
    assert.ok(!client.ended);
  });
});

describe("closing", () => {
  it("resets a closed client that leaves its side open", async () => {
    const broker = new TestBroker();
    const client = await broker.connect("c");
    client.raw("ff 00");
    await settle();
    assert.ok(client.ended && !client.closed);
    assert.equal(broker.stat("connections"), 1);
    broker.clock.advance(2_000);
    await settle();
    assert.ok(client.closed);
    assert.equal(broker.stat("connections"), 0);
  });

  it("leaves no timer behind", async () => {
    const broker = new TestBroker();
    const clients = await Promise.all([1, 2, 3].map((i) => broker.connect(`c${i}`, { keepalive: 10 })));
    clients[0]!.send({ cmd: "disconnect" });
    clients[1]!.stream.destroy();
    clients[2]!.raw("00 00");
    for (const client of clients) client.stream.end();
    await settle();
    assert.equal(broker.stat("connections"), 0);
    assert.equal(broker.clock.pending, 0);
  });

  it("takes at most the configured number of connections", async () => {
    const broker = new TestBroker({ limits: { connections: 2 } });
    await broker.connect("a");
    const b = await broker.connect("b");
    const c = broker.open();
    await settle();
    assert.ok(c.closed);
    assert.equal(broker.stat("refused_connections"), 1);
    b.stream.destroy();
    await settle();
    await broker.connect("c");
  });

  it("of the broker ends every client, publishes wills, and takes no new one", async () => {
    const published: string[] = [];
    const broker = new TestBroker({
      uplink: {
        subscribe: () => Promise.resolve(),
        unsubscribe: () => {},
        publish: (message) => {
          published.push(message.topic);
          return undefined;
        },
      },
    });
    const polite = await broker.connect("a");
    polite.stream.on("end", () => polite.stream.end());
    const stuck = await broker.connect("b", {
      will: { topic: "will/b", payload: Buffer.from("x"), qos: 0, retain: false },
    });
    let done = false;
    const closed = broker.broker.close().then(() => {
      done = true;
    });
    await settle();
    assert.ok(polite.closed && stuck.ended && !done);
    assert.deepEqual(published, ["will/b"]);
    assert.equal(broker.broker.close(), broker.broker.close());
    broker.clock.advance(2_000);
    await closed;
    assert.ok(stuck.closed);
    const late = broker.open();
    await settle();
    assert.ok(late.closed);
  });
});
