import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Packet } from "mqtt-packet";
import fc from "../../../property.js";
import {
  describe as describeWords,
  publish,
  settle,
  subscribeAt,
  TestBroker,
  type TestClient,
  unsubscribe,
} from "./harness.js";
import { Model } from "./model.js";

const IDS = ["ann", "bob", "eve"];
const TOPICS = ["a", "a/b", "a/b/c", "c", "will"];
const FILTERS = ["a", "a/b", "+", "a/#", "#", "+/b", "a/+/c", "will", "+/+"];

type Op =
  | { op: "connect"; id: string; version: 4 | 5; clean: boolean; expiry: number; will: number | undefined }
  | { op: "disconnect" | "drop" | "acknowledge" | "release" | "unreleased"; id: string }
  | { op: "subscribe"; id: string; filter: string; qos: 0 | 1 | 2 }
  | { op: "unsubscribe"; id: string; filter: string }
  | { op: "publish"; id: string; topic: string; qos: 0 | 1 | 2; retain: boolean; empty: boolean }
  | { op: "wait"; seconds: number };

const id = fc.constantFrom(...IDS);
const qos = fc.constantFrom(0, 1, 2) as fc.Arbitrary<0 | 1 | 2>;
const ops: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("connect" as const),
      id,
      version: fc.constantFrom(4 as const, 5 as const),
      clean: fc.boolean(),
      expiry: fc.constantFrom(0, 50, 1_000),
      will: fc.constantFrom(undefined, 0, 40),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constantFrom("disconnect", "drop") as fc.Arbitrary<"drop">, id }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constantFrom("acknowledge", "release", "unreleased") as fc.Arbitrary<"release">,
      id,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("subscribe" as const),
      id,
      filter: fc.constantFrom(...FILTERS),
      qos,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant("unsubscribe" as const),
      id,
      filter: fc.constantFrom(...FILTERS),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant("publish" as const),
      id,
      topic: fc.constantFrom(...TOPICS),
      qos,
      retain: fc.boolean(),
      empty: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant("wait" as const), seconds: fc.constantFrom(1, 30, 60) }),
  },
);

/** The server under test beside the model, driven by the same ops. */
class Run {
  readonly broker = new TestBroker();
  readonly model = new Model();
  /** Whose messages the others' are; never a subscriber. */
  publisher!: TestClient;
  private readonly clients = new Map<string, TestClient>();
  /** Packet identifiers of what each client has received and not acknowledged for good, oldest first. */
  private readonly open = new Map<string, { id: number; released: boolean }[]>();
  private count = 0;

  async start(): Promise<this> {
    this.publisher = await this.broker.connect5("the publisher");
    return this;
  }

  async step(op: Op): Promise<void> {
    if (op.op === "wait") {
      this.model.advance(op.seconds * 1_000);
      this.broker.clock.advance(op.seconds * 1_000);
    } else if (op.op === "connect") {
      await this.connect(op);
    } else if (op.op === "publish") {
      await this.publish(op);
    } else if (this.model.isConnected(op.id)) {
      this.act(op, this.clients.get(op.id)!);
    }
    await this.compare();
  }

  private async connect(op: Extract<Op, { op: "connect" }>): Promise<void> {
    const { id, version, clean } = op;
    const expiry = version === 5 ? op.expiry : clean ? 0 : Number.POSITIVE_INFINITY;
    this.count += 1;
    const payload = `will ${this.count}`;
    const delay = version === 5 ? (op.will ?? 0) : 0;
    const modelWill = op.will === undefined ? undefined : { payload, delayMs: delay * 1_000 };
    const { isPresent } = this.model.connect(id, clean, expiry * 1_000, modelWill);
    const client = this.broker.open(version);
    const properties = version === 5 ? { properties: { sessionExpiryInterval: op.expiry } } : {};
    const will = {
      topic: "will",
      payload: Buffer.from(payload),
      qos: 1 as const,
      retain: false,
      ...(version === 5 ? { properties: { willDelayInterval: delay } } : {}),
    };
    client.send({
      cmd: "connect",
      clientId: id,
      clean,
      keepalive: 0,
      protocolVersion: version,
      ...properties,
      ...(op.will === undefined ? {} : { will }),
    });
    await settle();
    assert.equal(describeWords(client.received[0]!), `connack 0${isPresent ? " present" : ""}`);
    client.received.shift();
    const old = this.clients.get(id);
    if (old !== undefined) assert.ok(old.ended || old.closed, "its former connection is closed");
    this.clients.set(id, client);
    this.open.set(id, []);
  }

  private async publish(op: Extract<Op, { op: "publish" }>): Promise<void> {
    const { topic, retain, empty } = op;
    // Retained messages at QoS 0 only: a subscription gets them apart from what else waits, in any order.
    const qos = retain ? 0 : op.qos;
    this.count += 1;
    const payload = empty && retain ? "" : `m${this.count}`;
    this.model.publish(topic, payload, qos, retain);
    this.publisher.send(publish(topic, payload, { qos, id: 1, retain }));
    if (qos === 2) this.publisher.send({ cmd: "pubrel", messageId: 1 });
  }

  private act(op: Exclude<Op, { op: "connect" | "publish" | "wait" }>, client: TestClient): void {
    switch (op.op) {
      case "disconnect":
        this.model.disconnect(op.id);
        client.send({ cmd: "disconnect", reasonCode: 0 });
        return;
      case "drop":
        this.model.drop(op.id);
        client.stream.destroy();
        return;
      case "subscribe":
        this.model.subscribe(op.id, op.filter, op.qos);
        client.send(subscribeAt(op.qos, 1, op.filter));
        return;
      case "unsubscribe":
        this.model.unsubscribe(op.id, op.filter);
        client.send(unsubscribe(1, op.filter));
        return;
      case "unreleased":
        this.count += 1;
        this.model.publishUnreleased(op.id, 9, "a", `u${this.count}`);
        client.send(publish("a", `u${this.count}`, { qos: 2, id: 9 }));
        return;
      case "release":
        this.model.release(op.id, 9);
        client.send({ cmd: "pubrel", messageId: 9 });
        return;
      case "acknowledge":
        return this.acknowledge(op.id, client);
    }
  }

  private acknowledge(id: string, client: TestClient): void {
    const message = this.model.next(id);
    if (message === undefined) return;
    const open = this.open.get(id)!;
    const [oldest] = open;
    assert.ok(oldest !== undefined, `${id} has received ${message.payload}`);
    if (message.qos === 1) client.send({ cmd: "puback", messageId: oldest.id });
    else if (message.state === "sent") client.send({ cmd: "pubrec", messageId: oldest.id });
    else client.send({ cmd: "pubcomp", messageId: oldest.id });
    if (message.qos === 1 || message.state === "released") open.shift();
    this.model.acknowledge(id);
  }

  private async compare(): Promise<void> {
    await settle();
    await settle();
    for (const id of IDS) {
      const expected = this.model.take(id);
      if (!this.model.isConnected(id)) continue;
      const client = this.clients.get(id)!;
      const got = client.received.splice(0);
      for (const packet of got) this.note(id, packet);
      assert.deepEqual(sortRetained(got.map(words)), sortRetained(expected), id);
      assert.deepEqual(client.errors, []);
    }
    this.publisher.received.splice(0);
    assert.equal(this.broker.stat("closed_internal_error"), 0);
  }

  private note(id: string, packet: Packet): void {
    const open = this.open.get(id)!;
    if (packet.cmd === "publish" && packet.qos > 0) {
      open.push({ id: packet.messageId!, released: false });
      assert.equal(
        new Set(open.map((o) => o.id)).size,
        open.length,
        "identifiers in use are not given out again",
      );
    } else if (packet.cmd === "pubrel" && !open.some((o) => o.id === packet.messageId)) {
      open.push({ id: packet.messageId!, released: true });
    }
  }
}

function words(packet: Packet): string {
  return packet.cmd === "publish" ? describeWords(packet) : packet.cmd;
}

function sortRetained(lines: readonly string[]): string[] {
  const retained = lines.filter((line) => line.endsWith(" retain")).sort();
  return lines.map((line) => (line.endsWith(" retain") ? retained.shift()! : line));
}

describe("a server and its reference model", () => {
  it("agree on what every client receives, whatever comes, goes, breaks, takes over and expires", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(ops, { minLength: 20, maxLength: 120 }), async (steps) => {
        const run = await new Run().start();
        for (const step of steps) await run.step(step);
      }),
      { numRuns: 120 },
    );
  });
});
