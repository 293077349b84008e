/** What the sessions tell an uplink that makes several edges one server, and what they do with what it tells them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ClientWill, Downlink, Uplink } from "@topicast/agent/mqtt/index.js";
import type { Message } from "@topicast/protocol";
import {
  describe as describePacket,
  publish,
  settle,
  subscribe,
  subscribeAt,
  TestBroker,
} from "./harness.js";

class NetworkUplink implements Uplink {
  readonly calls: string[] = [];
  sessions!: Downlink;

  attach(sessions: Downlink): void {
    this.sessions = sessions;
  }

  async subscribe(filter: string): Promise<void> {
    this.calls.push(`subscribe ${filter}`);
  }

  unsubscribe(filter: string): void {
    this.calls.push(`unsubscribe ${filter}`);
    this.sessions.retained.trim(filter);
  }

  setShare(share: string, connected: number | undefined): Promise<void> | undefined {
    this.calls.push(`share ${share} ${connected}`);
    return undefined;
  }

  setWill(clientId: string, will: ClientWill | undefined): void {
    this.calls.push(`will ${clientId} ${will === undefined ? "-" : `${will.message.topic} ${will.delay}`}`);
  }

  publish({ topic, payload }: Message): undefined {
    this.calls.push(`publish ${topic} ${payload}`);
  }

  take(): string[] {
    return this.calls.splice(0);
  }
}

/** Raises the subscribe barrier only when it is released. */
class HoldingUplink extends NetworkUplink {
  release!: () => void;

  override subscribe(): Promise<void> {
    return new Promise((resolve) => {
      this.release = resolve;
    });
  }
}

function retained(topic: string, text: string): Message {
  return { topic, payload: Buffer.from(text), qos: 0, retain: true };
}

const bye = { topic: "gone", payload: Buffer.from("bye"), qos: 0 as const, retain: false };

describe("wills, as the network hears of them", () => {
  it("begin with CONNECT, and end with DISCONNECT or after they are published", async () => {
    const uplink = new NetworkUplink();
    const broker = new TestBroker({ uplink });
    const a = await broker.connect("a", { will: bye });
    const b = await broker.connect("b", { will: bye });
    await broker.connect("c");
    assert.deepEqual(uplink.take(), ["will a gone 0", "will b gone 0"]);
    a.send({ cmd: "disconnect" });
    await a.take();
    b.stream.destroy();
    await b.take();
    assert.deepEqual(uplink.take(), ["will a -", "publish gone bye", "will b -"]);
  });

  it("have the delay that their session leaves them, and end when the client is back", async () => {
    const uplink = new NetworkUplink();
    const broker = new TestBroker({ uplink });
    const properties = { sessionExpiryInterval: 20 };
    const will = { ...bye, properties: { willDelayInterval: 30 } };
    const a = await broker.connect5("a", { will, properties });
    assert.deepEqual(uplink.take(), ["will a gone 20"]);
    a.stream.destroy();
    await a.take();
    await broker.connect5("a", { clean: false, properties });
    broker.clock.advance(60_000);
    assert.deepEqual(uplink.take(), ["will a -"]);
  });

  it("are not published here once others have done so", async () => {
    const uplink = new NetworkUplink();
    const broker = new TestBroker({ uplink });
    const a = await broker.connect("a", { will: bye });
    uplink.sessions.discardWill("a");
    uplink.take();
    a.stream.destroy();
    await a.take();
    assert.deepEqual(uplink.take(), []);
  });
});

describe("retained messages of the network", () => {
  it("are sent to new subscribers, and nobody else", async () => {
    const uplink = new NetworkUplink();
    const broker = new TestBroker({ uplink });
    const a = await broker.connect("a");
    a.send(subscribe(1, "t/#"));
    await a.take();
    uplink.sessions.retained.apply(1, retained("t/1", "one"));
    uplink.sessions.retained.apply(2, retained("u", "not wanted"));
    assert.deepEqual(await a.told(), []);
    a.send(subscribe(2, "#"));
    assert.deepEqual(await a.told(), ["suback 2 [0]", "publish t/1 one retain"]);
    assert.equal(broker.stat("retained_messages"), 1);
  });

  it("give way to what was published since, until that is in its order", async () => {
    const uplink = new NetworkUplink();
    const broker = new TestBroker({ uplink });
    const a = await broker.connect("a");
    const seen = async () => {
      a.send(subscribe(1, "t"));
      return (await a.told()).filter((word) => word.endsWith("retain"));
    };
    await seen();
    uplink.sessions.retained.link();
    broker.broker.deliver(retained("t", "from elsewhere"));
    await a.take();
    uplink.sessions.retained.apply(1, retained("t", "older"));
    assert.deepEqual(await seen(), ["publish t from elsewhere retain"]);
    uplink.sessions.retained.apply(2, retained("t", "from elsewhere"));
    uplink.sessions.retained.apply(3, retained("t", "later"));
    assert.deepEqual(await seen(), ["publish t later retain"]);
    a.send(publish("t", "own", { retain: true }));
    await a.take();
    uplink.sessions.retained.apply(4, retained("t", "another's"));
    assert.deepEqual(await seen(), ["publish t own retain"], "until the forwarder has it");
    uplink.sessions.retained.settle("t");
    assert.deepEqual(await seen(), ["publish t another's retain"]);
    broker.broker.deliver(retained("t", "its agent died"));
    await a.take();
    broker.clock.advance(11_000);
    assert.deepEqual(
      await seen(),
      ["publish t another's retain"],
      "the forwarder has not heard of it in time",
    );
  });

  it("that a client was sent when it subscribed do not come to it live as well, however late", async () => {
    const uplink = new NetworkUplink();
    const broker = new TestBroker({ uplink });
    const tagged = (count: number) => ({ ...retained("t", `${count}`), tag: `e-1-${count}` });
    const [early, both, late] = [
      await broker.connect("early"),
      await broker.connect("both"),
      await broker.connect("late"),
    ];
    early.send(subscribe(1, "t"));
    both.send(subscribe(1, "#"));
    await settle();
    uplink.sessions.retained.apply(1, tagged(2));
    both.send(subscribe(2, "t"));
    late.send(subscribe(1, "+", "t"));
    await settle();
    for (const count of [1, 2, 3]) broker.broker.deliver(tagged(count));
    const live = [1, 2, 3].map((count) => `publish t ${count}`);
    assert.deepEqual(await early.told(), ["suback 1 [0]", ...live]);
    const fed = ["publish t 2 retain"];
    assert.deepEqual(
      await both.told(),
      ["suback 1 [0]", "suback 2 [0]", ...fed, ...live],
      "by its first one",
    );
    assert.deepEqual(await late.told(), ["suback 1 [0,0]", ...fed, ...fed, "publish t 3"]);
    assert.equal(broker.stat("retained_before_live"), 2);
    // What came late has not taken the place of what is in the forwarder's order.
    broker.broker.deliver(tagged(2));
    late.send(subscribe(2, "t"));
    assert.deepEqual((await late.told()).at(-1), "publish t 3 retain");
  });

  it("that have come live since the SUBSCRIBE do not come behind the SUBACK again", async () => {
    for (const isToldFirst of [false, true]) {
      const uplink = new HoldingUplink();
      const broker = new TestBroker({ uplink });
      const client = await broker.connect("c");
      client.send(subscribe(1, "+"));
      await settle();
      const message = { ...retained("t", "x"), tag: "e-1-1" };
      uplink.sessions.retained.apply(1, { ...retained("u", "y"), tag: "e-1-0" });
      if (isToldFirst) uplink.sessions.retained.apply(2, message);
      broker.broker.deliver(message);
      if (!isToldFirst) uplink.sessions.retained.apply(2, message);
      assert.deepEqual(await client.told(), ["publish t x"]);
      uplink.release();
      assert.deepEqual(await client.told(), ["suback 1 [0]", "publish u y retain"]);
      client.send(subscribe(2, "+"));
      assert.deepEqual((await client.told()).sort(), [
        "publish t x retain",
        "publish u y retain",
        "suback 2 [0]",
      ]);
    }
  });

  it("of this edge's clients that were published before the SUBACK have come live, too", async () => {
    const uplink = new HoldingUplink();
    const broker = new TestBroker({ uplink });
    const [client, p] = [await broker.connect("c"), await broker.connect("p")];
    client.send(subscribe(1, "t"));
    await settle();
    p.send(publish("t", "x", { retain: true }));
    assert.deepEqual(await client.told(), ["publish t x"]);
    uplink.release();
    assert.deepEqual(await client.told(), ["suback 1 [0]"]);
  });

  it("that are not told in a round of everything are gone", async () => {
    const uplink = new NetworkUplink();
    const broker = new TestBroker({ uplink });
    const a = await broker.connect("a");
    a.send(subscribe(1, "#"));
    await a.take();
    const { retained: replica } = uplink.sessions;
    for (const topic of ["a", "b", "c"]) replica.apply(1, retained(topic, "x"));
    replica.beginRound();
    replica.apply(2, retained("b", "y"));
    replica.endRound();
    assert.deepEqual(
      [...replica.ordered()].map(({ message }) => `${message.topic}=${message.payload}`),
      ["b=y"],
    );
    assert.equal(broker.stat("retained_messages"), 1);
  });

  it("are bounded, and leave nothing behind with the last filter", async () => {
    const uplink = new NetworkUplink();
    const broker = new TestBroker({ uplink, limits: { retainedMessages: 2, retainedBytes: 2_000 } });
    const a = await broker.connect("a");
    a.send(subscribe(1, "#"));
    await a.take();
    for (const topic of ["a", "b", "c"]) uplink.sessions.retained.apply(1, retained(topic, "x"));
    assert.equal(broker.stat("retained_messages"), 2);
    assert.equal(broker.stat("retained_refused"), 1);
    uplink.sessions.retained.apply(2, retained("a", "x".repeat(2_000)));
    assert.equal(broker.stat("retained_messages"), 1);
    a.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: ["#"] });
    await a.take();
    assert.equal(broker.stat("retained_messages"), 0);
    assert.equal(broker.stat("retained_bytes"), 0);
  });
});

describe("shared subscriptions of the network", () => {
  const GROUP = "$share/g/t/#";

  it("are told with their connected members, apart from plain ones", async () => {
    const uplink = new NetworkUplink();
    const broker = new TestBroker({ uplink });
    const properties = { sessionExpiryInterval: 100 };
    const a = await broker.connect5("a", { properties });
    const b = await broker.connect5("b");
    a.send(subscribe(1, GROUP));
    await a.take();
    b.send(subscribe(1, GROUP, "t/#"));
    await b.take();
    assert.deepEqual(uplink.take(), [`share ${GROUP} 1`, `share ${GROUP} 2`, "subscribe t/#"]);
    a.stream.destroy();
    await a.take();
    assert.deepEqual(uplink.take(), [`share ${GROUP} 1`]);
    b.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: ["t/#", GROUP] });
    await b.take();
    assert.deepEqual(uplink.take(), ["unsubscribe t/#", `share ${GROUP} 0`]);
    await broker.connect5("a", { clean: false, properties });
    await b.take();
    assert.deepEqual(uplink.take(), [`share ${GROUP} 1`]);
    await broker.connect5("a", { clean: true });
    await b.take();
    assert.deepEqual(uplink.take().at(-1), `share ${GROUP} undefined`);
  });

  it("get nothing but what the uplink gives them, one member each", async () => {
    const uplink = new NetworkUplink();
    const broker = new TestBroker({ uplink });
    const [a, b] = [await broker.connect5("a"), await broker.connect5("b")];
    for (const client of [a, b]) {
      client.send(subscribe(1, GROUP));
      await client.take();
    }
    a.send(publish("t/1", "own"));
    broker.broker.deliver({ ...retained("t/1", "from elsewhere"), retain: false });
    assert.deepEqual([...(await a.told()), ...(await b.told())], []);
    const message = { ...retained("t/1", "given"), retain: false };
    assert.equal(uplink.sessions.deliverShared(GROUP, message), true);
    assert.equal(uplink.sessions.deliverShared(GROUP, message), true);
    assert.deepEqual(await a.told(), ["publish t/1 given"]);
    assert.deepEqual(await b.told(), ["publish t/1 given"]);
    assert.equal(uplink.sessions.deliverShared("$share/other/t/#", message), false);
  });

  it("are served although the session has come from an edge that had the message by a plain subscription", async () => {
    const keep = { clean: false, properties: { sessionExpiryInterval: 100 } };
    const message: Message = {
      ...{ topic: "t/1", payload: Buffer.from("x"), qos: 2, retain: false, origin: "p-1" },
    };
    const old = new NetworkUplink();
    const before = new TestBroker({ uplink: old });
    const client = await before.connect5("c", keep);
    client.send(subscribeAt(2, 1, GROUP, "t/1"));
    await client.take();
    const head = old.sessions.handover.yield("c", false, 0)!;
    before.broker.deliver(message);
    const rest = (await old.sessions.handover.rest("c"))!;
    assert.equal(old.sessions.deliverShared(GROUP, message), false, "what is left of it takes nothing more");

    const uplink = new NetworkUplink();
    const broker = new TestBroker({ uplink });
    assert.ok(await uplink.sessions.handover.prepare("c", head));
    assert.equal(uplink.sessions.deliverShared(GROUP, message), true);
    await uplink.sessions.handover.complete("c", rest);
    assert.equal(uplink.sessions.deliverShared(GROUP, message), true);
    broker.broker.deliver(message);
    const { early } = await broker.connect5("c", keep);
    const words = early.map((packet) => describePacket(packet));
    // Twice by its group, once by the plain subscription.
    assert.deepEqual(words, Array(3).fill("publish t/1 x q2"));
  });
});
