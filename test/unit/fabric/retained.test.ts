import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Kind } from "@topicast/protocol";
import { random, SimAgent, SimDisk, SimForwarder, SimNetwork, simFabric } from "./sim.js";

function metric({ forwarder }: SimForwarder, name: string): number {
  return [...forwarder.metrics()].find((m) => m.name === `forwarder_${name}_total`)?.value ?? Number.NaN;
}

describe("retained messages of the whole network", () => {
  it("reach who subscribes at another edge later, before its SUBACK", async () => {
    const { network, agents } = await simFabric(1, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(e1.retain("a/1", "one")!);
    await network.until(e1.retain("b/1", "other")!);
    await network.until(e2.subscribe("a/#"));
    assert.deepEqual(e2.retained("#"), ["a/1=one"]);
    assert.deepEqual(e1.retained("#"), [], "an edge without subscribers keeps none");
    await network.until(e3.subscribe("+/1"));
    assert.deepEqual(e3.retained("#"), ["a/1=one", "b/1=other"]);
    assert.deepEqual(e3.texts(), [], "they are not delivered as live ones");
  });

  it("are replaced and deleted everywhere when the publisher has its acknowledgement", async () => {
    const { network, agents } = await simFabric(2, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    for (const edge of [e2, e3]) await network.until(edge.subscribe("a/#"));
    await network.until(e1.retain("a/1", "one")!);
    for (const edge of [e2, e3]) assert.deepEqual(edge.retained("#"), ["a/1=one"]);
    await network.until(e3.retain("a/1", "two")!);
    for (const edge of [e2, e3]) assert.deepEqual(edge.retained("#"), ["a/1=two"]);
    await network.until(e2.retain("a/1", "")!);
    for (const edge of [e2, e3]) assert.deepEqual(edge.retained("#"), []);
    assert.deepEqual(e2.texts(), ["one", "two"], "live copies, each once");
    assert.deepEqual(e3.texts(), ["one", ""]);
  });

  it("are the same everywhere, whoever published last by the forwarder's order", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { network, agents } = await simFabric(seed, 4, { loss: 0.1, repeat: 0.1, delay: [0.1, 8] });
      const rand = random(seed);
      for (const agent of agents) await network.until(agent.subscribe("#"));
      for (let i = 0; i < 60; i++) {
        const agent = agents[Math.floor(rand() * 4)]!;
        void agent.retain(
          `t/${Math.floor(rand() * 3)}`,
          rand() < 0.2 ? "" : `${agent.id} ${i}`,
          rand() < 0.5 ? 0 : 1,
        );
        if (rand() < 0.5) await network.run(rand() * 5);
      }
      await network.run(15_000, 10);
      const views = agents.map((agent) => agent.retained("#").join());
      assert.equal(new Set(views).size, 1, `seed ${seed}: ${views.join(" | ")}`);
    }
  });

  it("are forgotten with the last filter that matches, and told again", async () => {
    const { network, agents, forwarder } = await simFabric(3, 2);
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e1.retain("a/1", "one")!);
    await network.until(e2.subscribe("a/#"));
    await network.until(e2.subscribe("a/1"));
    assert.equal(metric(forwarder, "retained_told"), 1, "what another filter has brought is not sent again");
    e2.unsubscribe("a/#");
    assert.deepEqual(e2.retained("#"), ["a/1=one"]);
    e2.unsubscribe("a/1");
    assert.deepEqual(e2.retained("#"), []);
    await network.until(e2.subscribe("a/+"));
    assert.deepEqual(e2.retained("#"), ["a/1=one"]);
  });

  it("expire at every edge at their time", async () => {
    const { network, agents } = await simFabric(4, 2);
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e1.retain("a/1", "one", 1, 60)!);
    await network.run(30_000, 100);
    await network.until(e2.subscribe("a/#"));
    const [message] = e2.replica.matching("#");
    assert.equal(message?.expiry(network.clock.now()), 30);
    await network.run(31_000, 100);
    assert.deepEqual(e2.retained("#"), []);
  });

  it("survive the forwarder's end where it has a disk, and are reconciled by what has changed", async () => {
    const network = new SimNetwork(5);
    const disk = new SimDisk(network);
    let forwarder = new SimForwarder(network, { retained: disk });
    const [e1, e2, e3] = [1, 2, 3].map((n) => new SimAgent(network, `e${n}`, `10.0.0.10${n}`)) as [
      SimAgent,
      SimAgent,
      SimAgent,
    ];
    await network.run(4_000, 10);
    await network.until(e2.subscribe("#"));
    for (let i = 0; i < 50; i++) await network.until(e1.retain(`t/${i}`, `${i}`)!);
    await network.until(e1.retain("t/0", "")!);
    await network.run(3_000, 10);
    forwarder.kill();
    forwarder = new SimForwarder(network, { retained: disk });
    await network.run(12_000, 10);
    assert.equal(metric(forwarder, "retained_told"), 0, "nothing has changed");
    await network.until(e3.subscribe("t/4"));
    assert.deepEqual(e3.retained("#"), ["t/4=4"]);
    // Changes while an edge is away are all that it is told.
    network.cut.add(e2.endpoint.address);
    await network.run(100);
    void e1.retain("t/1", "new");
    void e1.retain("t/2", "");
    await network.run(7_000, 10);
    network.cut.delete(e2.endpoint.address);
    const before = metric(forwarder, "retained_told");
    await network.run(7_000, 10);
    assert.equal(metric(forwarder, "retained_told") - before, 2);
    assert.equal(e2.retained("#").length, 48);
    assert.ok(e2.retained("t/1").includes("t/1=new"));
  });

  it("come back from the agents where the forwarder has lost them, but for what was deleted since", async () => {
    const { network, forwarder, agents } = await simFabric(6, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(e2.subscribe("#"));
    await network.until(e3.subscribe("a/#"));
    for (const topic of ["a/1", "a/2", "b/1"]) await network.until(e1.retain(topic, topic)!);
    await network.run(1_000, 10);
    forwarder.kill();
    network.cut.add(e3.endpoint.address);
    const lost = new SimForwarder(network);
    await network.run(9_000, 10);
    assert.equal(metric(lost, "retained_recovered"), 3);
    await network.until(e2.retain("a/1", "")!);
    network.cut.delete(e3.endpoint.address);
    await network.run(9_000, 10);
    assert.deepEqual(e3.retained("#"), ["a/2=a/2"], "what e3 still had of a/1 does not come back");
    await network.until(e1.subscribe("#"));
    assert.deepEqual(e1.retained("#"), ["a/2=a/2", "b/1=b/1"]);
  });

  it("go by the forwarder's order, an edge's that was cut off among them", async () => {
    const { network, agents } = await simFabric(7, 2);
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e2.subscribe("#"));
    await network.until(e1.retain("t", "first")!);
    network.cut.add(e1.endpoint.address);
    const waiting = e1.retain("t", "while away")!;
    await network.until(waiting, 12_000);
    assert.deepEqual(e1.retained("#"), ["t=while away"], "its own clients see it");
    void e1.retain("t", "last while away");
    network.cut.delete(e1.endpoint.address);
    await network.run(8_000, 10);
    assert.deepEqual(e2.retained("#"), ["t=last while away"]);
    assert.deepEqual(e1.retained("#"), [], "kept by the forwarder now");
  });

  it("are not counted twice when they are sent again", async () => {
    const network = new SimNetwork(8);
    const disk = new SimDisk(network);
    let forwarder = new SimForwarder(network, { retained: disk });
    const e1 = new SimAgent(network, "e1", "10.0.0.101");
    const e2 = new SimAgent(network, "e2", "10.0.0.102");
    await network.run(4_000, 10);
    await network.until(e2.subscribe("#"));
    // The forwarder has it and has said so to nobody when it dies.
    network.lose = (header, to) => header.kind !== Kind.DATA && to.address === "10.0.0.101";
    const kept = e1.retain("t", "first")!;
    await network.run(50);
    forwarder.kill();
    forwarder = new SimForwarder(network, { retained: disk });
    await network.run(4_000, 10);
    await network.until(e2.retain("t", "second")!);
    network.lose = () => false;
    await network.until(kept);
    await network.run(8_000, 10);
    assert.equal(metric(forwarder, "retained_repeated"), 1);
    assert.deepEqual(e2.retained("#"), ["t=second"]);
  });

  it("are the same everywhere in the end, whatever dies or is cut off meanwhile, and what was acknowledged last is there", async () => {
    for (let seed = 1; seed <= 16; seed++) {
      const network = new SimNetwork(seed, { loss: 0.05, repeat: 0.05, delay: [0.1, 5] });
      const disk = new SimDisk(network);
      // Half of them lose what they kept with each forwarder, and get it back from the agents.
      const isDurable = seed % 2 === 0;
      const start = () => new SimForwarder(network, { retained: isDurable ? disk : undefined });
      let forwarder = start();
      const rand = random(seed);
      const addresses = [1, 2, 3].map((n) => `10.0.0.10${n}`);
      const agents = addresses.map((address, i) => new SimAgent(network, `e${i + 1}`, address));
      await network.run(4_000, 10);
      for (const agent of agents) await network.until(agent.subscribe("#"));
      const subscribeAgain = async (i: number) => {
        agents[i] = new SimAgent(network, `e${i + 1}`, addresses[i]!);
        void agents[i]!.subscribe("#");
      };
      for (let step = 0; step < 80; step++) {
        const i = Math.floor(rand() * 3);
        const chance = rand();
        if (chance < 0.03) {
          forwarder.kill();
          forwarder = start();
          await network.run(rand() * 8_000, 10);
        } else if (chance < 0.06) {
          network.cut.add(addresses[i]!);
          network.clock.setTimer(rand() * 9_000, () => network.cut.delete(addresses[i]!));
        } else if (chance < 0.08 && isDurable) {
          agents[i]!.kill();
          await network.run(rand() * 3_000, 10);
          await subscribeAgain(i);
        } else {
          void agents[i]!.retain(`t/${Math.floor(rand() * 4)}`, rand() < 0.15 ? "" : `${i} ${step}`);
          await network.run(rand() * 60, 2);
        }
      }
      await network.run(20_000, 10);
      // Each topic once more, acknowledged, by whomever.
      for (let topic = 0; topic < 2; topic++) {
        await network.until(agents[topic]!.retain(`t/${topic}`, "last")!);
      }
      const views = agents.map((agent) => agent.retained("#").join());
      assert.equal(new Set(views).size, 1, `seed ${seed}: ${views.join(" | ")}`);
      for (const topic of [0, 1])
        assert.ok(views[0]!.includes(`t/${topic}=last`), `seed ${seed}: ${views[0]}`);
      for (const { fabric } of agents) assert.equal(fabric.counters().retain_pending, 0, `seed ${seed}`);
      forwarder.kill();
      for (const agent of agents) agent.kill();
    }
  });
});
