import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { oneUser, publish, settle } from "../mqtt/harness.js";
import { at, rulesIn, rulesWith, WalledBroker } from "./support.js";

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
