import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ContentEngine, ContentRequest, ContentVerdict } from "@topicast/agent/firewall/content.js";
import { publish, settle, subscribe, unsubscribe } from "../mqtt/harness.js";
import { rulesIn, WalledBroker } from "./support.js";

const HOSTILE: ContentVerdict = {
  clean: false,
  score: 5,
  rules: [{ id: 942100, message: "SQL Injection", matched: "1' or 1=1", severity: "CRITICAL" }],
};
const STATS = {
  ...{ requests: 0, remembered: 0, clean: 0, matched: 0, busy: 0 },
  ...{ crashed: 0, timeout: 0, oversize: 0, restarts: 0, waiting: 0 },
};

/** Calls hostile what holds "evil", at once or when the test lets it; fails on the words for that. */
class WordEngine implements ContentEngine {
  readonly requests: ContentRequest[] = [];
  readonly stats = STATS;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly takesTime = false) {}

  inspect(request: ContentRequest): ContentVerdict | Promise<ContentVerdict> {
    this.requests.push({ ...request, payload: Buffer.from(request.payload) });
    const text = [...request.topics, request.clientId, request.payload].join(" ");
    const failed = (["crashed", "busy", "oversize", "timeout"] as const).find((word) => text.includes(word));
    const others: ContentVerdict = failed === undefined ? { clean: true } : { failed };
    const verdict = text.includes("evil") ? HOSTILE : others;
    if (!this.takesTime) return verdict;
    return new Promise((resolve) => this.waiting.push(() => resolve(verdict)));
  }

  async answer(): Promise<void> {
    for (const answer of this.waiting.splice(0)) answer();
    await settle();
  }

  reload(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

const rule = (text: string) => ({ content: rulesIn(`content: ${text}`).content });

describe("content", () => {
  it("is judged with all that a packet says", async () => {
    const engine = new WordEngine();
    const broker = new WalledBroker(rule("{}"), { engine });
    const client = broker.from("10.0.0.1", 5);
    const will = {
      ...{ topic: "w", payload: Buffer.from("gone"), qos: 0 as const, retain: false },
      properties: { contentType: "text/plain" },
    };
    client.send({ cmd: "connect", clientId: "c", username: "u", protocolVersion: 5, keepalive: 0, will });
    client.send(
      subscribe(1, "a/#", "b"),
      publish("a/x", "{}", {
        properties: {
          ...{ contentType: "application/json", responseTopic: "r" },
          userProperties: { unit: "C", note: ["1", "2"] },
        },
      }),
    );
    client.send(unsubscribe(2, "b"));
    await client.told();
    const who = { clientId: "c", username: "u", peer: "10.0.0.1" };
    const nothing = { payload: Buffer.alloc(0), contentType: undefined, properties: [] };
    const willSays = { payload: Buffer.from("gone"), contentType: "text/plain", properties: [] };
    assert.deepEqual(engine.requests, [
      { kind: "connect", topics: ["w"], ...willSays, ...who },
      { kind: "subscribe", topics: ["a/#", "b"], ...nothing, ...who },
      {
        kind: "publish",
        topics: ["a/x"],
        payload: Buffer.from("{}"),
        contentType: "application/json",
        properties: [
          ["Response Topic", "r"],
          ["unit", "C"],
          ["note", "1"],
          ["note", "2"],
        ],
        ...who,
      },
      { kind: "unsubscribe", topics: ["b"], ...nothing, ...who },
    ]);
  });

  it("that is hostile is refused, and told with rule and match", async () => {
    for (const takesTime of [false, true]) {
      const engine = new WordEngine(takesTime);
      const broker = new WalledBroker(rule("{}"), { engine });
      const client = broker.from("10.0.0.1", 5);
      client.send({ cmd: "connect", clientId: "c", protocolVersion: 5, keepalive: 0 });
      client.send(publish("a", "evil", { qos: 1, id: 1 }), publish("a", "good", { qos: 1, id: 2 }));
      client.send(subscribe(3, "evil/+"), unsubscribe(4, "evil"));
      for (let n = 0; n < 6; n++) {
        await settle();
        await engine.answer();
      }
      assert.deepEqual(await client.told(), [
        ...["connack 0", "puback 1 0x87", "puback 2 0x10", "suback 3 [135]", "unsuback 4 [131]"],
      ]);
      const [event] = broker.events;
      assert.deepEqual(
        [event?.rule, event?.detail, event?.matched, event?.contentRule, event?.topic],
        ["content", "SQL Injection (score 5)", "1' or 1=1", 942100, "a"],
      );
      const hostile = broker.from("10.0.0.1", 5);
      hostile.send({ cmd: "connect", clientId: "evil", protocolVersion: 5, keepalive: 0 });
      await settle();
      await engine.answer();
      assert.deepEqual(await hostile.told(), ["connack 135"]);
    }
  });

  it("keeps a client's order while it is judged, and lets others go on", async () => {
    const engine = new WordEngine(true);
    const broker = new WalledBroker(rule("{ topics: [slow/#] }"), { engine });
    const join = async (clientId: string) => {
      const client = broker.from("10.0.0.1", 5);
      client.send({ cmd: "connect", clientId, protocolVersion: 5, keepalive: 0 });
      await settle();
      await engine.answer();
      return client;
    };
    const [slow, other] = [await join("s"), await join("o")];
    other.send(subscribe(1, "#"));
    await settle();
    await engine.answer();
    await other.told();
    slow.send(publish("slow/1", "1"), publish("quick/2", "2"));
    other.send(publish("quick/3", "3"));
    assert.deepEqual(await other.told(), ["publish quick/3 3"]);
    await engine.answer();
    assert.deepEqual(await other.told(), ["publish slow/1 1", "publish quick/2 2"]);
  });

  it("without a verdict passes, or is refused, as the rules say", async () => {
    for (const [failed, code, answer] of [
      ["pass", "0x10", "log"],
      ["refuse", "0x87", "drop"],
    ] as const) {
      const engine = new WordEngine();
      const broker = new WalledBroker(rule(`{ failed: ${failed}, answer: quarantine }`), { engine });
      const client = broker.from("10.0.0.1", 5);
      client.send({ cmd: "connect", clientId: "c", protocolVersion: 5, keepalive: 0 });
      client.send(publish("a", "crashed", { qos: 1, id: 1 }));
      assert.deepEqual(await client.told(), ["connack 0", `puback 1 ${code}`]);
      assert.deepEqual(broker.told(), [`content ${answer} c: no verdict on the content: crashed`]);
      assert.equal(broker.counter("content_failed"), 1);
    }
  });

  it("without a verdict is refused unless the rules say otherwise; mode detect says so, but for what would have waited", async () => {
    for (const [mode, code] of [
      ["block", "0x87"],
      ["detect", "0x10"],
    ] as const) {
      for (const failed of ["crashed", "busy", "oversize", "timeout"]) {
        const broker = new WalledBroker(rule("{}"), { engine: new WordEngine(), mode });
        const client = broker.from("10.0.0.1", 5);
        client.send({ cmd: "connect", clientId: "c", protocolVersion: 5, keepalive: 0 });
        client.send(publish("a", failed, { qos: 1, id: 1 }));
        assert.deepEqual(await client.told(), ["connack 0", `puback 1 ${code}`]);
        const answer = mode === "detect" && failed === "busy" ? "log" : "drop";
        assert.deepEqual(broker.told(), [`content ${answer} c: no verdict on the content: ${failed}`]);
      }
    }
  });

  it("in mode detect is waited for by nobody, and told all the same", async () => {
    const engine = new WordEngine(true);
    const broker = new WalledBroker(rule("{}"), { engine, mode: "detect" });
    const client = broker.from("10.0.0.1", 5);
    client.send({ cmd: "connect", clientId: "c", protocolVersion: 5, keepalive: 0 });
    client.send(publish("a", "evil", { qos: 1, id: 1 }));
    assert.deepEqual(await client.told(), ["connack 0", "puback 1 0x10"]);
    await engine.answer();
    assert.deepEqual(broker.told(), ["content drop c: SQL Injection (score 5)"]);
  });

  it("is not looked at where the rules say so, and refused packets cost the engine nothing", async () => {
    const engine = new WordEngine();
    const off = new WalledBroker(rule("off"), { engine });
    const client = off.from("10.0.0.1", 5);
    client.send({ cmd: "connect", clientId: "evil", protocolVersion: 5, keepalive: 0 }, publish("a", "evil"));
    assert.deepEqual(await client.told(), ["connack 0"]);
    const { topics } = rulesIn("topics: [{ deny: [a] }]");
    const broker = new WalledBroker({ ...rule("{}"), topics }, { engine });
    const denied = broker.from("10.0.0.1", 5);
    denied.send({ cmd: "connect", clientId: "c", protocolVersion: 5, keepalive: 0 }, publish("a", "evil"));
    await settle();
    assert.deepEqual(
      engine.requests.map(({ kind }) => kind),
      ["connect"],
    );
  });
});
