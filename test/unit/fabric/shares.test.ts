import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Turns } from "@topicast/protocol";
import { random, SimAgent, SimForwarder, simFabric } from "./sim.js";

const GROUP = "$share/g/jobs/#";

/** What each of the agents got of the group, by texts. */
function got(...agents: readonly SimAgent[]): string[][] {
  return agents.map(({ shared }) => shared.map((line) => line.slice(line.indexOf(" ") + 1)));
}

function counts(...agents: readonly SimAgent[]): number[] {
  return agents.map(({ shared }) => shared.length);
}

/** Fails unless each of the texts is somewhere exactly once. */
function assertOnce(texts: readonly string[], ...agents: readonly SimAgent[]): void {
  assert.deepEqual(
    got(...agents)
      .flat()
      .sort(),
    [...texts].sort(),
  );
}

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `${i}`);

describe("shared subscriptions over all edges", () => {
  it("give each message to one member, by the number of members at each edge", async () => {
    const { network, agents } = await simFabric(1, 4);
    const [e1, e2, e3, e4] = agents as [SimAgent, SimAgent, SimAgent, SimAgent];
    await network.until(e2.share(GROUP, 1)!);
    await network.until(e3.share(GROUP, 2)!);
    await network.until(e1.share(GROUP, 1)!);
    for (const text of numbered(40)) await network.until(e1.publish("jobs/1", text, 1)!);
    assertOnce(numbered(40), ...agents);
    assert.deepEqual(counts(e1, e2, e3, e4), [10, 10, 20, 0]);
    assert.deepEqual(e4.fabric.counters().streams_received, 0, "who has no member gets nothing");
    assert.deepEqual(
      agents.flatMap(({ received }) => received),
      [],
    );
  });

  it("are known to every publisher when the SUBACK comes, whatever it has published before", async () => {
    const { network, agents } = await simFabric(2, 3, { loss: 0.1, repeat: 0.1, delay: [0.1, 8] });
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    e1.publish("jobs/1", "before");
    await network.until(e2.share(GROUP, 1)!);
    await network.until(e1.publish("jobs/1", "1", 1)!);
    await network.until(e3.publish("jobs/2", "2", 1)!);
    assertOnce(["1", "2"], e2);
  });

  it("and plain ones of the same filter do not disturb each other", async () => {
    const { network, agents } = await simFabric(3, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(e2.share(GROUP, 1)!);
    await network.until(e2.share("$share/other/jobs/+", 1)!);
    await network.until(e3.share(GROUP, 1)!);
    await network.until(e3.subscribe("jobs/#"));
    for (const text of numbered(10)) await network.until(e1.publish("jobs/1", text, 1)!);
    assert.deepEqual(e3.texts(), numbered(10), "the plain one has all in order");
    assert.deepEqual(e2.texts(), []);
    const ofOther = e2.shared.filter((line) => line.startsWith("$share/other/"));
    assert.equal(ofOther.length, 10);
    assert.equal(e2.shared.length + e3.shared.length, 20);
    assert.ok([...e2.shared, ...e3.shared].every((line) => !line.includes("fabric/")));
    for (const { properties } of e3.received) assert.equal(properties, undefined);
  });

  it("skip those who are away, but at QoS 1 where nobody is there", async () => {
    const { network, agents } = await simFabric(4, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(e2.share(GROUP, 1)!);
    await network.until(e3.share(GROUP, 1)!);
    e2.share(GROUP, 0);
    await network.run(300);
    for (const text of numbered(6)) await network.until(e1.publish("jobs/1", text, 1)!);
    assert.deepEqual(counts(e2, e3), [0, 6]);
    e3.share(GROUP, undefined);
    await network.run(300);
    e1.publish("jobs/1", "lost", 0);
    await network.until(e1.publish("jobs/1", "waits", 1)!);
    assert.deepEqual(got(e2), [["waits"]]);
  });

  it("lose nothing of QoS 1 when an edge dies, nor when its last member leaves", async () => {
    const { network, agents } = await simFabric(5, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(e2.share(GROUP, 1)!);
    await network.until(e3.share(GROUP, 1)!);
    const settled: Promise<unknown>[] = [];
    e2.kill();
    for (const text of numbered(10)) settled.push(e1.publish("jobs/1", text, 1)!);
    await network.until(Promise.all(settled), 12_000);
    assertOnce(numbered(10), e3);
    // What is on its way to an edge whose member goes is sent on.
    const again = new SimAgent(network, "e2", "10.0.0.102");
    await network.run(3_000, 10);
    await network.until(again.share(GROUP, 1)!);
    const more = numbered(10).map((text) => e1.publish("jobs/1", `more ${text}`, 1)!);
    again.share(GROUP, undefined);
    await network.until(Promise.all(more));
    await network.run(500);
    assert.equal(again.shared.length, 0);
    assert.equal(e3.shared.length, 20);
  });

  it("go on without a forwarder, and are the same after it", async () => {
    const { network, forwarder, agents } = await simFabric(6, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(e2.share(GROUP, 1)!);
    await network.until(e3.share(GROUP, 1)!);
    await network.until(e1.publish("jobs/1", "first", 1)!);
    forwarder.kill();
    await network.run(7_000, 10);
    const away: Promise<unknown>[] = [];
    for (const text of numbered(10)) {
      // Its plain subscribers' route is known.
      away.push(e1.publish("jobs/1", text, 1)!);
    }
    await network.until(Promise.all(away));
    assertOnce(["first", ...numbered(10)], e2, e3);
    new SimForwarder(network);
    for (const text of numbered(50)) {
      e1.publish("jobs/1", `over ${text}`, 1);
      await network.run(200, 10);
    }
    await network.run(3_000, 10);
    assert.equal(e2.shared.length + e3.shared.length, 61);
    const [a = 0, b = 0] = counts(e2, e3);
    assert.ok(Math.abs(a - b) <= 2, `${a} and ${b}`);
  });

  it("are an edge's own while there has never been a forwarder", async () => {
    const { network, forwarder, agents } = await simFabric(7, 1);
    forwarder.kill();
    const [e1] = agents as [SimAgent];
    await network.run(12_000, 10);
    assert.equal(e1.share(GROUP, 1), undefined);
    e1.publish("jobs/1", "x", 0);
    void e1.publish("jobs/1", "y", 1);
    assert.deepEqual(got(e1), [["x", "y"]]);
  });

  it("give wills of dead edges to one member", async () => {
    const { network, agents } = await simFabric(8, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(e2.share(GROUP, 1)!);
    await network.until(e3.share(GROUP, 1)!);
    const message = { topic: "jobs/will", payload: Buffer.from("bye"), qos: 1 as const, retain: false };
    e1.fabric.setWill("c", { delay: 0, message });
    await network.run(100);
    e1.kill();
    await network.run(8_000, 10);
    assertOnce(["bye"], e2, e3);
  });

  it("lose and double nothing of QoS 1 in trouble, while no edge dies", async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const { network, agents } = await simFabric(seed, 4, { loss: 0.15, repeat: 0.1, delay: [0.1, 10] });
      const rand = random(seed);
      await network.until(agents[0]!.share(GROUP, 1)!);
      const published: string[] = [];
      const settled: Promise<unknown>[] = [];
      for (let i = 0; i < 80; i++) {
        const agent = agents[Math.floor(rand() * 4)]!;
        if (rand() < 0.15 && agent !== agents[0]) {
          void agent.share(GROUP, agent.members.has(GROUP) ? undefined : 1 + Math.floor(rand() * 3));
        } else {
          published.push(`${i}`);
          settled.push(agent.publish(`jobs/${i % 3}`, `${i}`, 1) ?? Promise.resolve());
        }
        await network.run(rand() * 20);
      }
      await network.until(Promise.all(settled));
      await network.run(2_000, 5);
      assertOnce(published, ...agents);
    }
  });
});

describe("Turns", () => {
  it("gives as many turns as there are members, evenly", () => {
    const turns = new Turns();
    const edges = [
      { id: 1, connected: 3 },
      { id: 2, connected: 1 },
      { id: 3, connected: 0 },
    ];
    const row = Array.from({ length: 8 }, () => turns.next(edges, 0)?.id);
    assert.deepEqual(row, [1, 1, 2, 1, 1, 1, 2, 1]);
    assert.equal(turns.next([{ id: 3, connected: 0 }], 0), undefined);
    assert.equal(turns.next([{ id: 3, connected: 0 }], 1)?.id, 3);
    assert.equal(turns.next([], 2), undefined);
  });
});
