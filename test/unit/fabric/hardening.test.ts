/** What a client, an unlucky moment or a slow part must not be able to break. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Coalesced } from "@topicast/controller/forwarder/coalesced.js";
import { type Endpoint, Kind } from "@topicast/protocol";
import {
  type Faults,
  FORWARDER,
  pair,
  SimAgent,
  SimForwarder,
  SimNetwork,
  settleJobs,
  simFabric,
} from "./sim.js";

const MEGABYTE = 1_000_000;

function upTo(count: number, prefix = ""): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`);
}

/** Publishes `texts` one by one, `ms` apart. */
async function publishAll(network: SimNetwork, agent: SimAgent, topic: string, texts: string[], ms: number) {
  for (const text of texts) {
    agent.publish(topic, text);
    await network.run(ms, Math.min(ms, 10));
  }
}

function publishBig(agent: SimAgent, topic: string): void {
  void agent.fabric.publish({ topic, payload: Buffer.alloc(MEGABYTE), qos: 0, retain: false });
}

/** Whether the promise has settled by now. */
function settledFlag(promise: Promise<unknown>): () => boolean {
  let settled = false;
  void promise.then(() => {
    settled = true;
  });
  return () => settled;
}

describe("a client's topics that begin with $", () => {
  it("cannot put relays out of step: nothing of them reaches the forwarder", async () => {
    const { network, agents } = await simFabric(1, 2);
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e1.subscribe("#"));
    for (const topic of ["$fabric/oops", "$fabric/release", "$SYS/x"]) e2.publish(topic, "x", 1);
    await network.run(500);
    e2.publish("a/b", "0");
    await network.run(2_000);
    for (let i = 1; i <= 3_000; i++) {
      e2.publish("a/b", String(i));
      if (i % 10 === 0) await network.run(1);
    }
    await network.run(1_000, 10);
    assert.deepEqual(e1.texts(), upTo(3_001));
    const { published_relayed, published_direct, reserved_topics } = e2.fabric.counters();
    assert.deepEqual([published_relayed, published_direct, reserved_topics], [1, 3_000, 3]);
  });

  it("cannot make routes at the forwarder", async () => {
    const { network, agents, forwarder } = await simFabric(1, 2);
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e1.subscribe("#"));
    e2.publish("$fabric/held", JSON.stringify([{ topic: "ghost", group: null }]));
    await network.run(500);
    assert.deepEqual(forwarder.forwarder.counts(), { agents: 2, filters: 1, topics: 0, idle: 0 });
  });

  it("cannot subscribe across the fabric", async () => {
    const { network, agents, forwarder } = await simFabric(1, 2);
    await network.until(agents[0]!.subscribe("$fabric/#"));
    await network.run(500);
    assert.equal(forwarder.forwarder.counts().filters, 0);
  });
});

describe("the subscribe barrier", () => {
  it("holds for a filter that is given up and taken again while its first answer is on its way", async () => {
    const { network, agents } = await simFabric(1, 2, { loss: 0, repeat: 0, delay: [20, 20] });
    const [e1, e2] = agents as [SimAgent, SimAgent];
    e1.publish("t", "first");
    await network.run(500);
    void e2.subscribe("t");
    await network.run(1);
    e2.unsubscribe("t");
    await network.run(48);
    await network.until(e2.subscribe("t"));
    await publishAll(network, e1, "t", upTo(60), 1);
    await network.run(2_000);
    assert.deepEqual(e2.texts("t"), upTo(60));
  });

  it("waits for a publisher that has died without a word, whenever that was", async () => {
    for (let phase = 0; phase < 1_000; phase += 100) {
      const { network, agents } = await simFabric(1, 5);
      const [e1, e2, e3, e4, e5] = agents as [SimAgent, SimAgent, SimAgent, SimAgent, SimAgent];
      await network.until(e1.subscribe("t"));
      e2.publish("t", "first");
      e3.publish("t", "first");
      await network.run(1_000 + phase);
      e2.kill();
      void e4.subscribe("t");
      await network.run(20);
      const start = network.clock.now();
      await network.until(e5.subscribe("t"));
      const waited = network.clock.now() - start;
      assert.ok(waited <= 6_000, `phase ${phase}: the dead are given up within 6 s: ${waited} ms`);
      await publishAll(network, e3, "t", upTo(100), 10);
      await network.run(1_000, 10);
      assert.deepEqual(e5.texts("t"), upTo(100), `phase ${phase}`);
      assert.equal(e5.fabric.counters().subscribe_timeouts, 0, `phase ${phase}`);
    }
  });

  it("holds at the new place of an edge that comes back at another address at once", async () => {
    const { network, agents, forwarder } = await simFabric(1, 3);
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e2.subscribe("t"));
    e1.publish("t", "first");
    await network.run(500);
    e2.fabric.close();
    await network.run(1);
    network.detach(e2.endpoint.address);
    await network.run(99);
    const moved = new SimAgent(network, "e2", "10.0.0.202");
    await network.until(moved.subscribe("t"));
    await publishAll(network, e1, "t", upTo(100), 20);
    await network.run(100);
    assert.deepEqual(moved.texts("t"), upTo(100));
    assert.equal([...forwarder.forwarder.agents()].find((a) => a.id === "e2")?.address, "10.0.0.202");
  });
});

describe("order within a topic", () => {
  /** What e1, subscribed all the time, got of the messages 0, 1, ... while e3 came and went every 110 ms. */
  async function overChanges(seed: number, delay: Faults["delay"]): Promise<{ got: number[]; sent: number }> {
    const { network, agents } = await simFabric(seed, 3, { loss: 0, repeat: 0, delay });
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(e1.subscribe("t"));
    e2.publish("t", "0");
    await network.run(600, 5);
    for (let sent = 1; sent <= 1_000; sent++) {
      if (sent % 220 === 1) void e3.subscribe("t");
      if (sent % 220 === 111) e3.unsubscribe("t");
      e2.publish("t", String(sent));
      await network.run(1);
    }
    await network.run(2_000, 5);
    assert.ok(e2.fabric.counters().streams! > 1, "the edge set has changed");
    return { got: e1.texts("t").map(Number), sent: 1_001 };
  }

  for (const jitter of [2, 6, 19.9]) {
    it(`holds over changes of the edge set, nothing twice, with jitter up to ${jitter} ms: 20 seeds`, async () => {
      for (let seed = 1; seed <= 20; seed++) {
        const { got } = await overChanges(seed, [0.2, jitter]);
        const wrong = got.filter((number, i) => i > 0 && number <= got[i - 1]!);
        assert.deepEqual(wrong, [], `seed ${seed}`);
      }
    });
  }

  it("holds over changes of the edge set without a gap where the network keeps order", async () => {
    for (const delay of [0.2, 5, 19]) {
      const { got, sent } = await overChanges(1, [delay, delay]);
      assert.deepEqual(
        got,
        Array.from({ length: sent }, (_, i) => i),
      );
    }
  });

  it("holds for a message behind one that waits in the backlog", async () => {
    const { network, agents } = await simFabric(1, 2, { loss: 0, repeat: 0, delay: [1, 1] });
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e1.subscribe("#"));
    e2.publish("t", "0");
    for (let i = 0; i < 9; i++) publishBig(e2, `big${i}`);
    e2.publish("t", "1");
    assert.equal(e2.fabric.counters().backlog, 1, "the case is there");
    await publishAll(network, e2, "unknown", upTo(50), 1);
    await publishAll(network, e2, "t", upTo(20).slice(2), 10);
    await network.run(5_000, 5);
    assert.deepEqual(e1.texts("t"), upTo(20));
    assert.deepEqual(e1.texts("unknown"), upTo(50));
  });
});

describe("the end of a life", () => {
  it("an agent whose clock was set back is heard again", async () => {
    const { network, agents } = await simFabric(1, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(e1.subscribe("t"));
    e3.publish("t", "another publisher keeps the group");
    await publishAll(network, e2, "t", upTo(5, "before "), 100);
    e2.kill();
    const unixTime = network.unixTime.bind(network);
    network.unixTime = () => unixTime() - 3_600_000;
    const again = new SimAgent(network, "e2", e2.endpoint.address);
    await network.run(10_000, 10);
    assert.equal(again.fabric.state, "registered");
    await publishAll(network, again, "t", upTo(100, "after "), 100);
    assert.deepEqual(
      e1.texts("t").filter((text) => text.startsWith("after")),
      upTo(100, "after "),
    );
  });

  it("an agent that leaves while its message waits for settling leaves nothing behind", async () => {
    const network = new SimNetwork(1);
    const { forwarder } = new SimForwarder(network);
    const e1 = new SimAgent(network, "e1", "10.0.0.101");
    const e2 = new SimAgent(network, "e2", "10.0.0.102");
    await network.run(500);
    void e1.subscribe("#");
    e2.publish("t", "x");
    await network.run(200);
    assert.equal(forwarder.settled, false);
    e2.fabric.close();
    await network.run(1);
    network.detach(e2.endpoint.address);
    await network.run(10_000, 10);
    assert.deepEqual(forwarder.counts(), { agents: 1, filters: 1, topics: 0, idle: 0 });
  });

  it("an edge that has died costs the living ones nothing of a new topic", async () => {
    const { network, agents } = await simFabric(1, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(Promise.all([e1.subscribe("#"), e3.subscribe("#")]));
    await network.run(1_000);
    e3.kill();
    await publishAll(network, e2, "fresh", upTo(10_000), 1);
    await network.run(1_000, 10);
    assert.deepEqual(e1.texts("fresh"), upTo(10_000));
    assert.equal(e2.fabric.counters().published_dropped, 0);
  });

  it("an edge given up by the forwarder and back at once gets what publishers' streams lose: it had left them", async () => {
    const { network, forwarder, agents } = await simFabric(1, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    for (const agent of [e2, e3]) await network.until(agent.subscribe("t"));
    await publishAll(network, e1, "t", ["route"], 200);
    const apart = pair(e3.endpoint.address, FORWARDER.address);
    network.parted.add(apart);
    while (!forwarder.events.includes("agent_down e3")) await network.run(1);
    network.parted.delete(apart);
    await network.run(1_000);
    assert.deepEqual(e3.states, ["registered", "connecting", "unreachable", "registered"]);
    const isFor = (to: Endpoint) => to.address === e3.endpoint.address;
    let lost = 0;
    network.lose = (header, to) => header.kind === Kind.DATA && isFor(to) && lost++ < 2;
    await network.until(e1.publish("t", "lost at first", 1)!);
    assert.deepEqual(e3.texts().slice(-1), ["lost at first"]);
    assert.equal(lost, 3, "sent again until it was there");
  });

  it("close lets everyone go who waits for an acknowledgement", async () => {
    const { network, agents } = await simFabric(1, 2);
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e1.subscribe("#"));
    network.cut.add(e1.endpoint.address);
    const relayed = settledFlag(e2.publish("t", "its edge does not answer", 1)!);
    await network.run(100);
    const held = settledFlag(e2.publish("t", "behind that one", 2)!);
    for (let i = 0; i < 9; i++) publishBig(e2, `big${i}`);
    const waiting = settledFlag(e2.publish("new", "the channel is full", 1)!);
    const { published_relayed, published_direct, backlog } = e2.fabric.counters();
    assert.deepEqual([published_relayed, published_direct, backlog], [10, 0, 1], "one of each kind");
    await network.run(100);
    assert.deepEqual([relayed(), held(), waiting()], [false, false, false]);
    e2.fabric.close();
    await settleJobs();
    assert.deepEqual([relayed(), held(), waiting()], [true, true, true]);
  });
});

describe("bounds", () => {
  it("a flood of an unknown topic over a restart: what did not arrive is counted, what comes later arrives", async () => {
    const { network, agents, forwarder } = await simFabric(1, 2);
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e1.subscribe("#"));
    forwarder.kill();
    await network.run(7_000, 10);
    new SimForwarder(network);
    let published = 0;
    for (let t = 0; t < 8_000; t++) {
      for (let k = 0; k < 5; k++) e2.publish("new/t", String(published++));
      await network.run(1);
    }
    await publishAll(network, e2, "new/t", upTo(60, "late "), 1_000);
    const texts = e1.texts("new/t");
    const numbers = texts.filter((text) => !text.startsWith("late")).map(Number);
    assert.deepEqual(texts.slice(-60), upTo(60, "late "));
    assert.equal(numbers.length + e2.fabric.counters().published_dropped!, published);
    assert.ok(
      numbers.every((number, i) => i === 0 || number > numbers[i - 1]!),
      "in order, none twice",
    );
    assert.equal(e2.fabric.state, "registered");
  });

  it("large messages while the forwarder settles: it takes 4 MiB, the agent holds 12 MiB, the rest is counted", async () => {
    const { network, agents, forwarder } = await simFabric(1, 2, { loss: 0, repeat: 0, delay: [0.01, 0.01] });
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e1.subscribe("#"));
    forwarder.kill();
    await network.run(7_000, 10);
    const { forwarder: next } = new SimForwarder(network);
    while (e2.fabric.state !== "registered") await network.run(20, 5);
    let sent = 0;
    for (; !next.settled; sent++) {
      publishBig(e2, `t${sent}`);
      await network.run(5, 1);
      if (next.settled) continue;
      // Each bound may be passed by one message.
      const { published_relayed, backlog, published_dropped } = e2.fabric.counters();
      assert.ok(published_relayed! <= 5 + 9, `${published_relayed} messages left the agent's backlog`);
      assert.ok(backlog! <= 4, `${backlog} in the backlog`);
      assert.equal(published_relayed! + backlog! + published_dropped!, sent + 1);
    }
    assert.ok(sent > 100, "far more than the bounds");
    await network.run(10_000, 1);
    assert.equal(e1.received.length + e2.fabric.counters().published_dropped!, sent);
  });

  it("an edge that gets more than it can take at a time stays registered and gets all of it", async () => {
    const { network, agents, forwarder } = await simFabric(1, 7, { loss: 0, repeat: 0, delay: [1, 1] });
    const [e1, ...publishers] = agents as [SimAgent, ...SimAgent[]];
    await network.until(e1.subscribe("#"));
    for (const agent of publishers) for (let i = 0; i < 4; i++) publishBig(agent, `${agent.id}/${i}`);
    await network.run(5_000, 1);
    assert.deepEqual(
      forwarder.events.filter((event) => event.startsWith("agent_down")),
      [],
    );
    assert.deepEqual(e1.states, ["registered"]);
    assert.equal(new Set(e1.received.map((m) => m.topic)).size, 24);
    assert.equal(e1.received.length, 24);
  });

  const states: Array<[what: string, routes: number, topic: (i: number) => string, burst: number]> = [
    ["300 routes of 60 kB each", 300, (i) => `${i}/${"x".repeat(60_000)}`, 5],
    ["20,000 routes", 20_000, (i) => `plant/${i}/temp`, 500],
  ];
  for (const [what, routes, topic, burst] of states) {
    it(`an agent with ${what} registers again, once, with a new forwarder`, async () => {
      const { network, agents, forwarder } = await simFabric(1, 2);
      const e2 = agents[1]!;
      for (let i = 0; i < routes; i++) {
        e2.publish(topic(i), "v");
        if (i % burst === burst - 1) await network.run(200, 1);
      }
      await network.run(2_000, 5);
      const before = e2.fabric.counters();
      assert.deepEqual([before.routes, before.published_dropped], [routes, 0]);
      forwarder.kill();
      await network.run(7_000, 50);
      const { forwarder: next } = new SimForwarder(network);
      await network.run(20_000, 1);
      assert.equal(e2.fabric.state, "registered");
      assert.equal(e2.fabric.counters().registrations, 2);
      assert.equal(e2.fabric.counters().routes, routes);
      assert.equal(next.counts().idle, routes, "the new forwarder knows every route");
    });
  }
});

describe("Coalesced", () => {
  it("never runs twice at a time, and answers nobody before a run that began after the request", async () => {
    let running = 0;
    let begun = 0;
    const gates: Array<() => void> = [];
    const coalesced = new Coalesced(async () => {
      begun += 1;
      running += 1;
      assert.equal(running, 1);
      await new Promise<void>((resolve) => gates.push(resolve));
      running -= 1;
    });
    const answers: Array<{ asked: number; at: () => boolean }> = [];
    const request = () => answers.push({ asked: begun, at: settledFlag(coalesced.request()) });
    request();
    request();
    await settleJobs();
    gates.shift()!();
    // Requests in each of the microtasks in which one run ends and the next begins.
    for (let i = 0; i < 12; i++) {
      await null;
      request();
    }
    while (gates.length > 0) {
      await settleJobs();
      for (const { asked, at } of answers) if (asked >= begun) assert.equal(at(), false);
      gates.shift()?.();
      await settleJobs();
    }
    assert.ok(answers.every(({ at }) => at()));
    assert.ok(begun <= 3, `${begun} runs`);
  });
});
