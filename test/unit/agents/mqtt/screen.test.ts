import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Guard, Refusal, Screen, Verdict } from "@topicast/agent/mqtt/index.js";
import { ReasonCode } from "@topicast/protocol";
import { oneUser, publish, settle, subscribe, TestBroker, unsubscribe } from "./harness.js";

const DROP: Refusal = { action: "drop", code: ReasonCode.QUOTA_EXCEEDED };
const END: Refusal = { action: "disconnect", code: ReasonCode.MESSAGE_RATE_TOO_HIGH };

/** Writes down what it is asked, and answers as the test says: by topic, filter or client identifier. */
class ScriptedScreen implements Screen {
  readonly asked: string[] = [];
  readonly answers = new Map<string, Verdict | Promise<Verdict>>();
  end: (code: number) => void = () => {};
  opening: "refused" | "unscreened" | "screened" = "screened";

  open(stream: { peer: string }, end: (code: number) => void): Guard | "refused" | undefined {
    this.asked.push(`open ${stream.peer}`);
    if (this.opening === "refused") return "refused";
    if (this.opening === "unscreened") return undefined;
    this.end = end;
    const ask = (what: string, about: string) => {
      this.asked.push(`${what} ${about}`);
      return this.answers.get(about);
    };
    return {
      connect: (_packet, clientId) => ask("connect", clientId),
      auth: (detail, clientId) => this.asked.push(`auth ${clientId ?? "(known)"}: ${detail}`),
      rejected: (reason) => this.asked.push(`rejected ${reason}`),
      admitted: ({ clientId, username }, holder) => {
        const verdict = ask("admitted", `${username}@${clientId} after ${holder?.username}`);
        return verdict instanceof Promise ? undefined : verdict;
      },
      publish: (topic, { payload }) => ask("publish", `${topic} ${payload}`),
      subscribe: ({ filters }) => ask("subscribe", filters.map(({ filter }) => filter).join()),
      unsubscribe: ({ filters }) => ask("unsubscribe", filters.join()),
      closed: (reason, detail) =>
        this.asked.push(`closed ${reason}${detail === undefined ? "" : `: ${detail}`}`),
    };
  }

  /** What it has been asked since the last call. */
  take(): string[] {
    return this.asked.splice(0);
  }
}

/** A verdict that the test gives later. */
function later(): { promise: Promise<Verdict>; give: (verdict: Verdict) => Promise<void> } {
  let resolve: (verdict: Verdict) => void;
  const promise = new Promise<Verdict>((r) => {
    resolve = r;
  });
  return {
    promise,
    give: (verdict) => {
      resolve(verdict);
      return settle();
    },
  };
}

describe("a screen", () => {
  it("is asked about each packet, and hears how connections begin and end", async () => {
    const screen = new ScriptedScreen();
    const broker = new TestBroker({ screen, authority: oneUser("u", "p") });
    const client = await broker.connect("c", { username: "u", password: Buffer.from("p") });
    client.send(subscribe(1, "a/#", "b"), publish("a/x", "1"), unsubscribe(2, "b"));
    assert.deepEqual(await client.told(), ["suback 1 [0,0]", "publish a/x 1", "unsuback 2"]);
    client.send({ cmd: "disconnect" });
    await settle();
    assert.deepEqual(screen.take(), [
      "open 192.0.2.1:50000",
      "connect c",
      "admitted u@c after undefined",
      "subscribe a/#,b",
      "publish a/x 1",
      "unsubscribe b",
      "closed disconnect",
    ]);
    const wrong = broker.open().send({ cmd: "connect", clientId: "c", username: "u", keepalive: 0 });
    assert.deepEqual(await wrong.told(), ["connack 5"]);
    broker.open().raw("00 00");
    await settle();
    assert.deepEqual(screen.take().slice(1), [
      ...["connect c", "rejected bad_credentials", "closed refused: bad credentials"],
      ...["open 192.0.2.1:50000", "closed protocol_error: packet type 0"],
    ]);
  });

  it("refuses connections, and CONNECTs before their password is checked", async () => {
    const screen = new ScriptedScreen();
    const broker = new TestBroker({ screen, authority: oneUser("u", "p") });
    screen.opening = "refused";
    const refused = broker.open();
    await settle();
    assert.equal(refused.closed, true);
    screen.opening = "screened";
    screen.answers.set("c", { action: "drop", code: ReasonCode.BANNED });
    const banned = broker.open(5).send({ cmd: "connect", clientId: "c", keepalive: 0, protocolVersion: 5 });
    const older = broker.open(4).send({ cmd: "connect", clientId: "c", keepalive: 0 });
    assert.deepEqual(await banned.told(), ["connack 138"]);
    assert.deepEqual(await older.told(), ["connack 5"]);
    assert.equal(broker.stat("refused_screened"), 3);
    assert.equal(broker.stat("refused_credentials"), 0);
    assert.equal(broker.stat("connections_total"), 2);
  });

  it("leaves alone what it does not want to see", async () => {
    const screen = new ScriptedScreen();
    screen.opening = "unscreened";
    const broker = new TestBroker({ screen });
    const client = await broker.connect("c");
    client.send(subscribe(1, "a"), publish("a", "1"));
    assert.deepEqual(await client.told(), ["suback 1 [0]", "publish a 1"]);
    assert.deepEqual(screen.take(), ["open 192.0.2.1:50000"]);
  });

  it("has messages dropped: acknowledged with an error in MQTT 5, as if taken before", async () => {
    const screen = new ScriptedScreen();
    const broker = new TestBroker({ screen });
    const all = await broker.connect("all");
    all.send(subscribe(1, "#"));
    await all.take();
    for (let qos = 0; qos < 3; qos++) screen.answers.set(`a ${qos}`, DROP);
    const v5 = await broker.connect5("v5");
    const v4 = await broker.connect("v4");
    for (const client of [v5, v4]) {
      client.send(
        publish("a", "0"),
        publish("a", "1", { qos: 1, id: 1 }),
        publish("a", "2", { qos: 2, id: 2 }),
      );
      client.send(publish("a", "3", { qos: 1, id: 3 }));
    }
    assert.deepEqual(await v5.told(), ["puback 1 0x97", "pubrec 2 0x97", "puback 3"]);
    assert.deepEqual(await v4.told(), ["puback 1", "pubrec 2", "puback 3"]);
    v4.send({ cmd: "pubrel", messageId: 2 });
    assert.deepEqual(await v4.told(), ["pubcomp 2"]);
    assert.deepEqual(await all.told(), ["publish a 3", "publish a 3"]);
    assert.equal(broker.stat("publish_screened"), 6);
  });

  it("is not asked about the repetition of a QoS 2 message", async () => {
    const screen = new ScriptedScreen();
    const broker = new TestBroker({ screen });
    const client = await broker.connect("c");
    client.send(publish("a", "1", { qos: 2, id: 9 }), publish("a", "1", { qos: 2, id: 9, dup: true }));
    assert.deepEqual(await client.told(), ["pubrec 9", "pubrec 9"]);
    assert.deepEqual(screen.take().slice(3), ["publish a 1"]);
  });

  it("refuses some filters of a SUBSCRIBE, or all, and UNSUBSCRIBEs", async () => {
    const screen = new ScriptedScreen();
    const broker = new TestBroker({ screen });
    const code = ReasonCode.NOT_AUTHORIZED;
    screen.answers.set("a,b", { action: "drop", code, filters: [0, code] });
    screen.answers.set("c,d", { action: "drop", code });
    screen.answers.set("a", { action: "drop", code: ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR });
    for (const [version, refused, kept] of [
      [5, 135, "unsuback 3 [131]"],
      [4, 128, "unsuback 3"],
    ] as const) {
      const client = await broker.connect(`v${version}`, { protocolVersion: version });
      client.send(subscribe(1, "a", "b"), subscribe(2, "c", "d"), unsubscribe(3, "a"));
      const granted = [`suback 1 [0,${refused}]`, `suback 2 [${refused},${refused}]`, kept];
      assert.deepEqual(await client.told(), granted);
    }
    assert.equal(broker.stat("subscriptions"), 2);
  });

  it("ends connections, at once and later, with its reason code", async () => {
    const screen = new ScriptedScreen();
    const broker = new TestBroker({ screen });
    screen.answers.set("a 1", END);
    screen.answers.set("b", END);
    screen.answers.set("c", END);
    for (const packet of [publish("a", "1", { qos: 1, id: 1 }), subscribe(1, "b"), unsubscribe(1, "c")]) {
      const client = await broker.connect5("c5");
      client.send(packet, publish("x", "never"));
      assert.deepEqual(await client.told(), ["disconnect 0x96"]);
      assert.equal(client.ended, true);
    }
    assert.equal(screen.asked.filter((asked) => asked.startsWith("publish x")).length, 0);
    const client = await broker.connect5("c5");
    screen.end(ReasonCode.ADMINISTRATIVE_ACTION);
    screen.end(ReasonCode.ADMINISTRATIVE_ACTION);
    assert.deepEqual(await client.told(), ["disconnect 0x98"]);
    assert.equal(broker.stat("closed_screened"), 4);
  });

  it("is told who loses its connection to a client, and can refuse that", async () => {
    const screen = new ScriptedScreen();
    const broker = new TestBroker({ screen });
    screen.answers.set("eve@c after ann", { action: "drop", code: ReasonCode.CLIENT_IDENTIFIER_NOT_VALID });
    const ann = await broker.connect("c", { username: "ann" });
    const eve = broker.open().send({ cmd: "connect", clientId: "c", username: "eve", keepalive: 0 });
    assert.deepEqual(await eve.told(), ["connack 2"]);
    assert.equal(ann.ended, false);
    await broker.connect("c", { username: "ann" });
    assert.equal(ann.ended, true);
    assert.equal(screen.take().filter((asked) => asked === "admitted ann@c after ann").length, 1);
  });

  it("takes its time with one client: what that sends waits in order, others go on", async () => {
    const screen = new ScriptedScreen();
    const broker = new TestBroker({ screen });
    const slow = await broker.connect5("slow");
    const other = await broker.connect5("other");
    other.send(subscribe(1, "#"));
    await other.take();
    const verdict = later();
    screen.answers.set("a 1", verdict.promise);
    slow.send(publish("a", "1", { qos: 1, id: 1 }), publish("a", "2"), subscribe(3, "b"), { cmd: "pingreq" });
    other.send(publish("b", "meanwhile"));
    assert.deepEqual(await slow.told(), []);
    assert.deepEqual(await other.told(), ["publish b meanwhile"]);
    await verdict.give(undefined);
    assert.deepEqual(await slow.told(), ["puback 1", "suback 3 [0]", "pingresp"]);
    assert.deepEqual(await other.told(), ["publish a 1", "publish a 2"]);
  });

  it("holds the client back while it thinks: no more than the buffers take is read", async () => {
    const screen = new ScriptedScreen();
    const broker = new TestBroker({ screen });
    const client = await broker.connect("c", { keepalive: 10 });
    const verdict = later();
    screen.answers.set("a 1", verdict.promise);
    client.send(publish("a", "1"));
    await settle();
    const big = "x".repeat(10_000);
    while (!client.stream.writableNeedDrain) client.send(publish("b", big));
    await settle();
    assert.equal(broker.stat("publish_received"), 1);
    // What it sends meanwhile is not its silence.
    broker.clock.advance(60_000);
    assert.equal(client.ended, false);
    await verdict.give(DROP);
    await settle();
    assert.equal(client.stream.writableNeedDrain, false);
    assert.ok(broker.stat("publish_received") > 1);
    assert.equal(broker.stat("publish_screened"), 1);
  });

  it("thinks about a CONNECT and a SUBSCRIBE in the same way", async () => {
    const screen = new ScriptedScreen();
    const broker = new TestBroker({ screen });
    const [connect, filters] = [later(), later()];
    screen.answers.set("c", connect.promise);
    screen.answers.set("a", filters.promise);
    const client = broker.open(5);
    client.send({ cmd: "connect", clientId: "c", protocolVersion: 5, keepalive: 0 }, subscribe(1, "a"));
    client.send(publish("a", "1"));
    assert.deepEqual(await client.told(), []);
    await connect.give(undefined);
    assert.deepEqual(await client.told(), ["connack 0"]);
    await filters.give(undefined);
    assert.deepEqual(await client.told(), ["suback 1 [0]", "publish a 1"]);
  });

  it("does nothing with a verdict that comes after the connection's end", async () => {
    const screen = new ScriptedScreen();
    const broker = new TestBroker({ screen });
    const all = await broker.connect("all");
    all.send(subscribe(1, "#"));
    await all.take();
    const verdict = later();
    screen.answers.set("a 1", verdict.promise);
    const client = await broker.connect5("c");
    client.send(publish("a", "1"));
    await settle();
    screen.end(ReasonCode.ADMINISTRATIVE_ACTION);
    await verdict.give(undefined);
    assert.deepEqual(await client.told(), ["disconnect 0x98"]);
    assert.deepEqual(await all.told(), []);
  });
});
