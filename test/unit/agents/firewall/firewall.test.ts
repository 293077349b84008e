import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { oneUser, publish, settle, subscribe, type TestClient, unsubscribe } from "../mqtt/harness.js";
import { rulesIn, rulesWith, WalledBroker } from "./support.js";

/** A connected client at an address. */
async function at(
  broker: WalledBroker,
  address: string,
  clientId: string,
  { version = 5 as 3 | 4 | 5, username = undefined as string | undefined, password = "p" } = {},
): Promise<TestClient> {
  const client = broker.from(address, version);
  const user = username === undefined ? {} : { username, password: Buffer.from(password) };
  client.send({ cmd: "connect", clientId, clean: true, keepalive: 0, protocolVersion: version, ...user });
  return client;
}

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

describe("guessing", () => {
  const guessing = (text: string) => ({ guessing: rulesIn(`guessing: ${text}`).guessing });
  const authority = oneUser("u", "right");

  it("of one address ends it for a time, whatever the user", async () => {
    const broker = new WalledBroker(
      guessing("{ address: { limit: 3/m, lock: 60s, answer: drop }, user: off }"),
      {
        authority,
      },
    );
    const login = async (address: string, username: string, password: string) => {
      const client = await at(broker, address, "c", { username, password });
      return (await client.told())[0];
    };
    for (let n = 0; n < 4; n++) assert.equal(await login("10.0.0.1", `u${n}`, "x"), "connack 135");
    // 0x8A banned, even who knows the password
    assert.equal(await login("10.0.0.1", "u", "right"), "connack 138");
    assert.equal(await login("10.0.0.2", "u", "right"), "connack 0");
    broker.clock.advance(59_000);
    assert.equal(await login("10.0.0.1", "u", "right"), "connack 138");
    broker.clock.advance(1_001);
    assert.equal(await login("10.0.0.1", "u", "right"), "connack 0");
    assert.deepEqual(
      broker.told().map((told) => told.split(" ").slice(0, 2).join(" ")),
      ["guessing.address drop", "guessing.address drop", "guessing.address drop"],
    );
  });

  it("at one user from everywhere locks all out but who has logged in from where it is", async () => {
    const broker = new WalledBroker(guessing("{ user: { limit: 5/m }, address: off }"), { authority });
    const login = async (address: string, password: string) => {
      const client = await at(broker, address, address, { username: "u", password });
      return (await client.told())[0];
    };
    assert.equal(await login("10.0.0.9", "right"), "connack 0");
    for (let n = 1; n <= 6; n++) assert.equal(await login(`10.0.1.${n}`, "x"), "connack 135");
    assert.equal(await login("10.0.0.8", "right"), "connack 138");
    assert.equal(await login("10.0.0.9", "right"), "connack 0");
    broker.clock.advance(300_001);
    assert.equal(await login("10.0.0.8", "right"), "connack 0");
  });

  it("does not count for safe addresses", async () => {
    const rules = rulesIn("guessing: { address: { limit: 1/m } }\nsafe: [10.0.0.0/24]");
    const broker = new WalledBroker({ guessing: rules.guessing, safe: rules.safe }, { authority });
    for (let n = 0; n < 5; n++) {
      const client = await at(broker, "10.0.0.1", "c", { username: "u", password: "x" });
      assert.deepEqual(await client.told(), ["connack 135"]);
    }
    assert.deepEqual(broker.told(), []);
  });

  it("refuses guesses that were under way when the lock came", async () => {
    const waiting: (() => void)[] = [];
    const authority = {
      authenticate: ({ password }: { password: Buffer | undefined }) =>
        new Promise<{ admitted: true; username: string } | { admitted: false; reason: "bad_credentials" }>(
          (resolve) =>
            waiting.push(() =>
              resolve(
                password?.toString() === "right"
                  ? { admitted: true, username: "u" }
                  : { admitted: false, reason: "bad_credentials" },
              ),
            ),
        ),
      mayPublish: () => true,
      maySubscribe: () => true,
      mayReceive: () => true,
    };
    const broker = new WalledBroker(guessing("{ address: { limit: 2/m, answer: drop }, user: off }"), {
      authority,
    });
    const clients = [];
    for (const password of ["a", "b", "c", "right"]) {
      clients.push(await at(broker, "10.0.0.1", `c-${password}`, { username: "u", password }));
    }
    await settle();
    for (const answer of waiting) answer();
    await settle();
    assert.deepEqual(await clients[2]!.told(), ["connack 135"]);
    assert.deepEqual(await clients[3]!.told(), ["connack 138"]);
  });
});

describe("quarantine", () => {
  const rules = rulesIn(`
guessing: { address: { limit: 2/m }, user: off }
quarantine: { for: 2m }
safe: [10.0.0.7]
`);
  const { guessing, quarantineMs, safe } = rules;
  const authority = oneUser("u", "right");
  const options = { username: "u", password: "right" };

  it("ends all connections of the address at once, and takes none for a time", async () => {
    const broker = new WalledBroker({ guessing, quarantineMs, safe }, { authority });
    const same = await at(broker, "10.0.0.1", "same", options);
    const other = await at(broker, "10.0.0.2", "other", options);
    await settle();
    for (let n = 0; n < 3; n++) await at(broker, "10.0.0.1", `g${n}`, { username: "u", password: "x" });
    assert.deepEqual(await same.told(), ["connack 0", "disconnect 0x98"]);
    assert.deepEqual(
      broker.firewall.shutOuts().map(({ source, rule }) => `${source} ${rule}`),
      ["10.0.0.1 guessing.address"],
    );
    assert.deepEqual(broker.told(), ["guessing.address quarantine g2: too many wrong passwords"]);
    const later = await at(broker, "10.0.0.1", "later", options);
    assert.deepEqual([await later.told(), later.closed], [[], true]);
    other.send(publish("a", "x", { qos: 1, id: 1 }));
    assert.deepEqual(await other.told(), ["connack 0", "puback 1 0x10"]);
    assert.deepEqual([broker.counter("quarantine"), broker.counter("quarantine_refused")], [1, 1]);
    const bars = () => ["10.0.0.1", "10.0.0.2", "10.0.0.7"].map((address) => broker.firewall.bars(address));
    assert.deepEqual(bars(), [true, false, false]);
    broker.clock.advance(120_001);
    assert.deepEqual(bars(), [false, false, false]);
    assert.equal(broker.counter("quarantine"), 0);
    broker.clock.advance(300_000);
    assert.deepEqual(await (await at(broker, "10.0.0.1", "back", options)).told(), ["connack 0"]);
  });

  it("is no more than the end of a connection where a safe host or this one's neighbours have the same /64", async () => {
    const rate = "rates: [{ of: messages, per: client, limit: 1/h, answer: quarantine }]";
    const { rates, safe } = rulesIn(`${rate}\nsafe: ["2001:db8:1::5"]`);
    const ownAddresses = () => ["192.0.2.1", "2001:db8:2::1"];
    const broker = new WalledBroker({ rates, safe }, { ownAddresses });
    for (const address of ["2001:db8:1::6", "2001:db8:2::6", "2001:db8:3::6"]) {
      const client = await at(broker, address, address);
      client.send(publish("a"), publish("a"));
      assert.deepEqual(await client.told(), ["connack 0", "disconnect 0x96"], address);
    }
    broker.firewall.setRules({ ...rulesWith({}), safe, guessing });
    for (const source of ["2001:db8:1::/64", "2001:db8:2::/64", "2001:db8:3::/64"])
      broker.firewall.guessed(source, undefined);
    assert.deepEqual(broker.guesses, ["2001:db8:3::/64"], "wrong passwords are told on what may be shut out");
    assert.deepEqual(
      broker.firewall.shutOuts().map(({ source }) => source),
      ["2001:db8:3::/64"],
    );
  });

  it("can be ended by the network's word", async () => {
    const broker = new WalledBroker({
      guessing: rulesIn("guessing: { address: { limit: 1/m, lock: 1s } }").guessing,
    });
    const [guess] = [rulesIn("rates: [{ of: messages, per: client, limit: 1/h, answer: quarantine }]")];
    broker.firewall.setRules(rulesWith({ rates: guess.rates }));
    const client = await at(broker, "10.0.0.1", "c");
    client.send(publish("a"), publish("a"));
    // 0x96 rather than 0x98: it is told what it did.
    assert.deepEqual(await client.told(), ["connack 0", "disconnect 0x96"]);
    broker.firewall.onUpdate({ shut: [], free: ["10.0.0.1"] });
    assert.deepEqual(broker.firewall.shutOuts(), []);
    assert.deepEqual(await (await at(broker, "10.0.0.1", "c")).told(), ["connack 0"]);
  });

  it("never comes over a safe address: what it does is refused all the same", async () => {
    const { rates } = rulesIn("rates: [{ of: messages, per: client, limit: 1/h, answer: quarantine }]");
    const broker = new WalledBroker({ rates, safe });
    const client = await at(broker, "10.0.0.7", "c");
    client.send(publish("a"), publish("a"));
    assert.deepEqual(await client.told(), ["connack 0", "disconnect 0x96"]);
    assert.deepEqual(broker.firewall.shutOuts(), []);
    assert.deepEqual(await (await at(broker, "10.0.0.7", "c")).told(), ["connack 0"]);
  });

  it("is bounded: the one that ends first ends early", async () => {
    const { rates } = rulesIn("rates: [{ of: connections, per: address, limit: 1/h, answer: quarantine }]");
    const broker = new WalledBroker({ rates });
    for (let n = 0; n < 4_097; n++) {
      const address = `10.1.${n >> 8}.${n & 255}`;
      broker.clock.advance(1);
      broker.from(address);
      broker.from(address);
    }
    assert.equal(broker.counter("quarantine"), 4_096);
    assert.equal(broker.counter("quarantine_forgotten"), 1);
    assert.ok(!broker.firewall.shutOuts().some(({ source }) => source === "10.1.0.0"));
  });

  it("follows too many protocol errors", async () => {
    const { protocol } = rulesIn("protocol: { limit: 3/m }");
    const broker = new WalledBroker({ protocol });
    broker.from("10.0.0.1").raw("00 00");
    broker.from("10.0.0.1", 5).raw("10 08 0004 4d515454 05 ff");
    broker.from("10.0.0.1").raw("f0 ff ff ff 7f");
    await settle();
    assert.deepEqual(broker.told(), []);
    broker.from("10.0.0.1");
    broker.clock.advance(10_000);
    await settle();
    assert.deepEqual(broker.told(), [
      "protocol quarantine -: too many protocol errors, the last one connect timeout",
    ]);
    assert.deepEqual(
      broker.firewall.shutOuts().map(({ source }) => source),
      ["10.0.0.1"],
    );
    broker.from("10.0.0.3").raw("10 ff ff ff 7f");
    await settle();
    assert.equal(broker.counter("protocol_mistakes"), 5);
    // Whoever just goes away, or is refused for a password, has made none.
    const gone = broker.from("10.0.0.2");
    gone.stream.end();
    await settle();
    assert.equal(broker.counter("protocol_mistakes"), 5);
  });

  it("does not follow a CONNECT that was not answered in time", async () => {
    const { protocol } = rulesIn("protocol: { limit: 1/m }");
    const authority = { ...oneUser("u", "p"), authenticate: () => new Promise<never>(() => {}) };
    const broker = new WalledBroker({ protocol }, { authority });
    const clients = [await at(broker, "10.0.0.1", "a"), await at(broker, "10.0.0.1", "b")];
    await settle();
    broker.clock.advance(10_000);
    await settle();
    assert.ok(clients.every(({ ended }) => ended));
    assert.deepEqual([broker.counter("protocol_mistakes"), broker.told()], [0, []]);
  });

  it("follows authentication methods, in CONNECT and AUTH: none is served, each is told", async () => {
    const { protocol } = rulesIn("protocol: { limit: 2/m }");
    const broker = new WalledBroker({ protocol });
    const scram = broker.from("10.0.0.1", 5);
    const properties = { authenticationMethod: "SCRAM-SHA-1" };
    scram.send({ cmd: "connect", clientId: "s", clean: true, keepalive: 0, protocolVersion: 5, properties });
    assert.deepEqual(await scram.told(), ["connack 140"]);
    const anew = await at(broker, "10.0.0.1", "a");
    anew.raw("f0 02 19 00");
    assert.deepEqual(await anew.told(), ["connack 0", "disconnect 0x82"]);
    assert.deepEqual(
      broker.events.map(({ packet }) => packet),
      ["auth", "auth"],
    );
    assert.deepEqual(broker.told(), [
      "protocol log s: authentication method SCRAM-SHA-1",
      "protocol log a: AUTH",
    ]);
    assert.equal(broker.counter("protocol_mistakes"), 2);
    (await at(broker, "10.0.0.1", "b")).raw("f0 00");
    await settle();
    assert.deepEqual(broker.told(), ["protocol quarantine b: too many protocol errors, the last one AUTH"]);
    assert.deepEqual([broker.counter("rule_protocol"), broker.counter("quarantine")], [3, 1]);
  });

  it("does not follow what is no AUTH before MQTT 5, nor where the rule is off", async () => {
    const old = new WalledBroker({ protocol: rulesIn("protocol: { limit: 2/m }").protocol });
    (await at(old, "10.0.0.1", "a", { version: 4 })).raw("f0 00");
    const off = new WalledBroker({});
    (await at(off, "10.0.0.1", "a")).raw("f0 00");
    await settle();
    assert.deepEqual([old.told(), off.told()], [[], []]);
    assert.deepEqual([old.counter("protocol_mistakes"), off.counter("protocol_mistakes")], [1, 1]);
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
