import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { publish, settle, subscribe, unsubscribe } from "../mqtt/harness.js";
import { at, rulesIn, rulesWith, WalledBroker } from "./support.js";

const rates = (text: string) => ({ rates: rulesIn(`rates: ${text}`).rates });

describe("rates", () => {
  it("of messages: what is above is dropped, told by code, and let pass again with the time", async () => {
    const broker = new WalledBroker(rates("[{ of: messages, per: client, limit: 10/s, burst: 2 }]"));
    const client = await at(broker, "10.0.0.1", "c");
    client.send(subscribe(1, "#"));
    for (let id = 1; id <= 3; id++) client.send(publish("a", String(id), { qos: 1, id }));
    assert.deepEqual(await client.told(), [
      ...["connack 0", "suback 1 [0]", "publish a 1", "puback 1"],
      ...["publish a 2", "puback 2", "puback 3 0x97"],
    ]);
    broker.clock.advance(100);
    client.send(publish("a", "4"), publish("a", "5"));
    assert.deepEqual(await client.told(), ["publish a 4"]);
    assert.deepEqual(broker.told(), [
      "rates.messages.client drop c: too many messages of this client",
      "rates.messages.client drop c: too many messages of this client",
    ]);
    const count = (name: string) => broker.counter(name);
    assert.deepEqual([count("broken"), count("dropped"), count("rule_rates.messages.client")], [2, 2, 2]);
  });

  it("of bytes count topics and properties, too", async () => {
    const broker = new WalledBroker(rates("[{ of: bytes, per: client, limit: 100 B/s }]"));
    const client = await at(broker, "10.0.0.1", "c");
    const userProperties = { note: "x".repeat(60) };
    client.send(publish("a", "", { qos: 1, id: 1, properties: { userProperties } }));
    client.send(publish("t".repeat(60), "", { qos: 1, id: 2 }));
    assert.deepEqual(await client.told(), ["connack 0", "puback 1 0x10", "puback 2 0x97"]);
  });

  it("of messages can end the connection: 0x96 message rate too high", async () => {
    const rule = "[{ of: messages, per: client, limit: 1/s, answer: disconnect }]";
    const broker = new WalledBroker(rates(rule));
    const client = await at(broker, "10.0.0.1", "c");
    client.send(publish("a"), publish("a"), publish("a"));
    assert.deepEqual(await client.told(), ["connack 0", "disconnect 0x96"]);
    assert.equal(broker.told().length, 1);
  });

  it("belong to who is counted, over connections", async () => {
    for (const [per, others] of [
      ["client", false],
      ["address", true],
      ["user", true],
      ["topic", true],
    ] as const) {
      const broker = new WalledBroker(rates(`[{ of: messages, per: ${per}, limit: 1/h }]`));
      const first = await at(broker, "10.0.0.1", "a", { username: "u" });
      first.send(publish("t", "1", { qos: 1, id: 1 }));
      assert.deepEqual(await first.told(), ["connack 0", "puback 1 0x10"]);
      first.send({ cmd: "disconnect" });
      await settle();
      const again = await at(broker, "10.0.0.1", "a", { username: "u" });
      again.send(publish("t", "2", { qos: 1, id: 1 }));
      assert.deepEqual(await again.told(), ["connack 0", "puback 1 0x97"], per);
      const another = await at(broker, "10.0.0.1", "b", { username: "u" });
      another.send(publish("t", "3", { qos: 1, id: 1 }));
      assert.deepEqual(await another.told(), ["connack 0", others ? "puback 1 0x97" : "puback 1 0x10"], per);
      const elsewhere = await at(broker, "10.0.0.2", "d", { username: "v" });
      elsewhere.send(publish("u", "4", { qos: 1, id: 1 }));
      assert.deepEqual(await elsewhere.told(), ["connack 0", "puback 1 0x10"], per);
    }
  });

  it("of an IPv6 address are those of its /64, but not on a link", async () => {
    const broker = new WalledBroker(rates("[{ of: messages, per: address, limit: 1/h }]"));
    const codes: string[] = [];
    for (const address of ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "fe80::1", "fe80::2"]) {
      const client = await at(broker, address, address);
      client.send(publish("t", "1", { qos: 1, id: 1 }));
      codes.push((await client.told())[1]!);
    }
    assert.deepEqual(codes, [
      "puback 1 0x10",
      "puback 1 0x97",
      "puback 1 0x10",
      "puback 1 0x10",
      "puback 1 0x10",
    ]);
  });

  it("of bytes, on some topics, and narrower ones first", async () => {
    const broker = new WalledBroker(
      rates(`
  - { id: shared, of: messages, per: address, limit: 4/h }
  - { id: own, of: messages, per: client, limit: 2/h }
  - { id: big, of: bytes, per: client, limit: 14/h, topics: [b/#] }
`),
    );
    const a = await at(broker, "10.0.0.1", "a");
    for (let id = 1; id <= 5; id++) a.send(publish("a", "x", { qos: 1, id }));
    assert.equal((await a.told()).filter((told) => told.endsWith("0x97")).length, 3);
    // What one client was refused has not been taken from the others at its address.
    const b = await at(broker, "10.0.0.1", "b");
    b.send(publish("b/1", "x".repeat(8), { qos: 1, id: 1 }), publish("b/2", "xxx", { qos: 1, id: 2 }));
    assert.deepEqual(await b.told(), ["connack 0", "puback 1 0x10", "puback 2 0x97"]);
    assert.deepEqual(
      broker.told().map((told) => told.split(" ")[0]),
      ["own", "own", "own", "big"],
    );
  });

  it("of connections: closed before the first byte, or refused by CONNACK", async () => {
    const broker = new WalledBroker(
      rates("[{ of: connections, per: address, limit: 2/s }, { of: connections, per: client, limit: 1/h }]"),
    );
    const first = await at(broker, "10.0.0.1", "a");
    const second = await at(broker, "10.0.0.1", "a");
    const third = await at(broker, "10.0.0.1", "b");
    assert.deepEqual(await first.told(), ["connack 0"]);
    // 0x9F connection rate exceeded
    assert.deepEqual(await second.told(), ["connack 159"]);
    assert.deepEqual([await third.told(), third.closed], [[], true]);
    broker.clock.advance(1_000);
    const other = await at(broker, "10.0.0.1", "b", { version: 4 });
    const old = await at(broker, "10.0.0.1", "b", { version: 4 });
    assert.deepEqual([await other.told(), await old.told()], [["connack 0"], ["connack 3"]]);
  });

  it("of subscriptions count filters, coming and going", async () => {
    const broker = new WalledBroker(rates("[{ of: subscriptions, per: client, limit: 4/h }]"));
    const client = await at(broker, "10.0.0.1", "c");
    client.send(subscribe(1, "a", "b", "c"), unsubscribe(2, "a"), subscribe(3, "d"), unsubscribe(4, "b"));
    assert.deepEqual(await client.told(), [
      ...["connack 0", "suback 1 [0,0,0]", "unsuback 2 [0]", "suback 3 [151]", "unsuback 4 [131]"],
    ]);
    assert.equal(broker.stat("subscriptions"), 2);
  });

  it("forget whoever is longest unused where there are too many, and count that", async () => {
    const broker = new WalledBroker(rates("[{ of: messages, per: topic, limit: 1/h }]"));
    const client = await at(broker, "10.0.0.1", "c");
    for (let n = 0; n < 65_537; n++) client.send(publish(`t/${n}`));
    await client.told();
    // Of 65,536 the older half goes at once.
    assert.equal(broker.counter("rates_forgotten"), 32_768);
    client.send(publish("t/0", "x", { qos: 1, id: 1 }), publish("t/40000", "x", { qos: 1, id: 2 }));
    assert.deepEqual(await client.told(), ["puback 1 0x10", "puback 2 0x97"]);
  });
});

describe("topic rules", () => {
  const topics = (text: string) => ({ topics: rulesIn(`topics: ${text}`).topics });

  it("allow and deny messages, wills and filters, each client its own", async () => {
    const broker = new WalledBroker(
      topics(`
  - of: publish
    allow: [plant/#, "device/%c/#", "user/%u"]
    deny: [plant/secret/#]
  - of: subscribe
    deny: ["device/+/key"]
`),
    );
    const client = await at(broker, "10.0.0.1", "c", { username: "ann" });
    const tried = ["plant/1", "plant/secret/1", "device/c/x", "device/d/x", "user/ann", "user/bob", "other"];
    for (const [i, topic] of tried.entries()) client.send(publish(topic, "x", { qos: 1, id: i + 1 }));
    const codes = (await client.told()).slice(1).map((told) => told.split(" ")[2]);
    assert.deepEqual(codes, ["0x10", "0x87", "0x10", "0x87", "0x10", "0x87", "0x87"]);
    client.send(subscribe(9, "device/c/key", "device/c/#", "device/c/+", "+/c/x", "device/c", "plant/#"));
    assert.deepEqual(await client.told(), ["suback 9 [135,135,135,0,0,0]"]);
    client.send(subscribe(10, "$share/g/device/#"));
    assert.deepEqual(await client.told(), ["suback 10 [135]"]);
    const will = { topic: "other", payload: Buffer.from("x"), qos: 0 as const, retain: false };
    const dead = broker.from("10.0.0.1", 5);
    dead.send({ cmd: "connect", clientId: "d", protocolVersion: 5, keepalive: 0, will });
    assert.deepEqual(await dead.told(), ["connack 135"]);
    assert.equal(broker.events.at(-1)?.topic, "other");
  });

  it("give nothing to a client whose name holds a wildcard", async () => {
    const broker = new WalledBroker(topics(`[{ allow: ["device/%c", "user/%u/#"] }]`));
    const client = await at(broker, "10.0.0.1", "+", { username: "#" });
    client.send(publish("device/x", "x", { qos: 1, id: 1 }), publish("user/x", "x", { qos: 1, id: 2 }));
    client.send(subscribe(3, "device/+", "user/#"));
    assert.deepEqual(await client.told(), [
      "connack 0",
      "puback 1 0x87",
      "puback 2 0x87",
      "suback 3 [135,135]",
    ]);
  });

  it("allow only filters that lie within those allowed", async () => {
    const broker = new WalledBroker(topics(`[{ allow: [a/b, "c/+/d", "e/#"] }]`));
    const client = await at(broker, "10.0.0.1", "c");
    client.send(subscribe(1, "a/b", "a/+", "c/+/d", "c/#", "e/#", "e/+/f", "#"));
    assert.deepEqual(await client.told(), ["connack 0", "suback 1 [0,135,0,135,0,0,135]"]);
  });

  it("make a subscription to everything a matter of its own", async () => {
    const broker = new WalledBroker({ subscribeAll: { id: "subscribe-all", answer: "drop" } });
    const client = await at(broker, "10.0.0.1", "c");
    client.send(subscribe(1, "#", "+/#", "$share/g/#", "/#", "+", "a/#"));
    assert.deepEqual(await client.told(), ["connack 0", "suback 1 [135,135,135,0,0,0]"]);
  });

  it("are quick with long lists", async () => {
    const deny = Array.from({ length: 100_000 }, (_, n) => `black/${n % 1_000}/${n}`);
    const rule = { id: "t", answer: "drop", publish: true, subscribe: true, allow: undefined, deny } as const;
    const broker = new WalledBroker({ topics: [rule] });
    const client = await at(broker, "10.0.0.1", "c");
    const before = performance.now();
    for (let n = 0; n < 100; n++)
      client.send(subscribe(n + 1, `black/${n}/none`, "+/+/none", `black/${n}/+`));
    const told = await client.told();
    assert.equal(told.filter((packet) => packet.endsWith("[0,0,135]")).length, 100);
    const each = (performance.now() - before) / 300;
    assert.ok(each < 50, `${each} ms a filter`);
  });
});

describe("payload rules", () => {
  it("bound size, and ask for a type or a schema", async () => {
    const { payloads } = rulesIn(`
payloads:
  - { topics: [small], max-bytes: 3 }
  - { topics: [json/#], type: json }
  - { topics: [json/temp], schema: { type: object, properties: { t: { type: number } }, additionalProperties: false } }
  - { topics: [text], type: text }
  - { topics: [number], type: number, empty: refuse }
  - { topics: [tree], schema: { $ref: "#/$defs/n", $defs: { n: { type: array, items: { $ref: "#/$defs/n" } } } } }
`);
    const broker = new WalledBroker({ payloads });
    const client = await at(broker, "10.0.0.1", "c");
    await client.told();
    const deep = "[".repeat(30_000) + "]".repeat(30_000);
    const tried: [topic: string, payload: string | Buffer, code: string][] = [
      ["small", "123", "0x10"],
      ["small", "1234", "0x97"],
      ["json/x", '{"a":[1,null]}', "0x10"],
      ["json/x", "{a:1}", "0x99"],
      ["json/x", "", "0x10"],
      ["json/x", Buffer.from([0x22, 0xff, 0x22]), "0x99"],
      ["json/temp", '{"t":1.5}', "0x10"],
      ["json/temp", '{"t":"1"}', "0x99"],
      ["json/temp", '{"t":1,"u":2}', "0x99"],
      ["json/temp", '{"t":1,"__proto__":{}}', "0x99"],
      ["json/temp", `{"t":1${" ".repeat(65_536)}}`, "0x97"],
      ["text", "größe", "0x10"],
      ["text", Buffer.from([0xc3, 0x28]), "0x99"],
      ["number", " -12.5e3\n", "0x10"],
      ["number", "0x10", "0x99"],
      ["number", "", "0x99"],
      ["number", "1".repeat(65), "0x99"],
      ["tree", "[[],[[]]]", "0x10"],
      ["tree", "[[1]]", "0x99"],
      ["tree", deep, "0x99"],
      ["other", "anything", "0x10"],
    ];
    for (const [topic, payload, code] of tried) {
      client.send(publish(topic, payload as string, { qos: 1, id: 1 }));
      assert.deepEqual(await client.told(), [`puback 1 ${code}`], `${topic} ${payload.slice(0, 40)}`);
    }
    const details = new Set(broker.events.map(({ detail }) => detail));
    for (const detail of [
      "4 bytes, at most 3",
      "is not JSON",
      "/t must be number",
      "is not a number",
      "is empty",
    ]) {
      assert.ok(details.has(detail), detail);
    }
    assert.equal(broker.events[0]?.matched, "1234");
  });
});

describe("taking over a client", () => {
  it("is for the same user, or even the same address", async () => {
    const { takeOver } = rulesIn("take-over: { by: user }");
    const broker = new WalledBroker({ takeOver });
    const ann = await at(broker, "10.0.0.1", "c", { username: "ann" });
    const eve = await at(broker, "10.0.0.2", "c", { username: "eve" });
    assert.deepEqual(await eve.told(), ["connack 135"]);
    assert.deepEqual(await ann.told(), ["connack 0"]);
    const moved = await at(broker, "10.0.0.3", "c", { username: "ann" });
    assert.deepEqual(await moved.told(), ["connack 0"]);
    assert.deepEqual(await ann.told(), ["disconnect 0x8e"]);
    broker.firewall.setRules(rulesWith({ takeOver: rulesIn("take-over: { by: address }").takeOver }));
    const again = await at(broker, "10.0.0.1", "c", { username: "ann" });
    assert.deepEqual(await again.told(), ["connack 135"]);
    assert.deepEqual(broker.told(), [
      "take-over drop c: the client is connected as user ann",
      "take-over drop c: the client is connected as 10.0.0.3:50000",
    ]);
  });
});

describe("modes and answers", () => {
  const { rates: dropping } = rulesIn("rates: [{ of: messages, per: client, limit: 1/h }]");

  it("detect: everything goes on, and is told as it would have been", async () => {
    const quarantining = dropping.map((rate) => ({ ...rate, answer: "quarantine" as const }));
    const broker = new WalledBroker({ rates: quarantining }, { mode: "detect" });
    const client = await at(broker, "10.0.0.1", "c");
    client.send(subscribe(1, "#"), publish("a", "1"), publish("a", "2"));
    assert.deepEqual(await client.told(), ["connack 0", "suback 1 [0]", "publish a 1", "publish a 2"]);
    assert.deepEqual(broker.told(), ["rates.messages.client quarantine c: too many messages of this client"]);
    assert.deepEqual([broker.counter("would_refuse"), broker.counter("quarantined")], [1, 0]);
    assert.deepEqual(broker.firewall.shutOuts(), []);
  });

  it("off, and listeners that are not named: nothing is looked at", async () => {
    const broker = new WalledBroker({ rates: dropping }, { mode: "off" });
    const client = await at(broker, "10.0.0.1", "c");
    client.send(publish("a"), publish("a", "2", { qos: 1, id: 1 }));
    assert.deepEqual(await client.told(), ["connack 0", "puback 1 0x10"]);
    assert.equal(broker.counter("broken"), 0);
  });

  it("log: told, and the next rule is asked", async () => {
    const { topics } = rulesIn("topics: [{ deny: [a], answer: log }, { deny: [a] }]");
    const broker = new WalledBroker({ topics });
    const client = await at(broker, "10.0.0.1", "c");
    client.send(publish("a", "1", { qos: 1, id: 1 }));
    assert.deepEqual(await client.told(), ["connack 0", "puback 1 0x87"]);
    assert.deepEqual(broker.told(), ["topics log c: topic is denied", "topics.2 drop c: topic is denied"]);
  });

  it("before MQTT 5 what is dropped is acknowledged, or ends the connection", async () => {
    for (const [mqtt3, told] of [
      ["acknowledge", ["connack 0", "puback 1", "puback 2", "pubrec 3"]],
      ["disconnect", ["connack 0", "puback 1"]],
    ] as const) {
      const broker = new WalledBroker({ rates: dropping, mqtt3 });
      const client = await at(broker, "10.0.0.1", "c", { version: 4 });
      client.send(publish("a", "1", { qos: 1, id: 1 }), publish("a", "2", { qos: 1, id: 2 }));
      client.send(publish("a", "3", { qos: 2, id: 3 }));
      assert.deepEqual(await client.told(), told);
      assert.equal(client.ended, mqtt3 === "disconnect");
    }
  });

  it("new rules hold from the next packet on; accounts whose limit is the same go on", async () => {
    const broker = new WalledBroker({ rates: dropping });
    const client = await at(broker, "10.0.0.1", "c");
    client.send(publish("a", "1", { qos: 1, id: 1 }));
    await client.told();
    const { topics } = rulesIn("topics: [{ deny: [b/%c] }]");
    broker.firewall.setRules(rulesWith({ rates: dropping, topics }));
    client.send(publish("a", "2", { qos: 1, id: 2 }));
    assert.deepEqual(await client.told(), ["puback 2 0x97"]);
    broker.firewall.setRules(rulesWith({ topics }));
    client.send(publish("a", "3", { qos: 1, id: 3 }), publish("b/c", "4", { qos: 1, id: 4 }));
    assert.deepEqual(await client.told(), ["puback 3 0x10", "puback 4 0x87"]);
    assert.equal(broker.counter("rules_loaded"), 3);
  });

  it("events are bounded, of one client and of all, and say what was left out", async () => {
    const events = { perSecond: 30, burst: 30 };
    const { topics } = rulesIn("topics: [{ deny: [a] }]");
    const broker = new WalledBroker({ topics, events });
    const flood = await at(broker, "10.0.0.1", "flood");
    for (let n = 0; n < 1_000; n++) flood.send(publish("a"));
    await settle();
    assert.equal(broker.events.length, 20);
    const other = await at(broker, "10.0.0.2", "other");
    other.send(publish("a"));
    await settle();
    assert.equal(broker.events.at(-1)?.suppressed, 980);
    for (let n = 0; n < 20; n++) other.send(publish("a"));
    await settle();
    assert.equal(broker.events.length, 30);
    assert.equal(broker.counter("events"), 30);
    assert.equal(broker.counter("events_suppressed"), 991);
    assert.equal(broker.counter("rule_topics"), 1_021);
  });
});
