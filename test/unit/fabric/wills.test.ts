import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Message } from "@topicast/protocol";
import { SimAgent, SimDisk, SimForwarder, SimNetwork, simFabric } from "./sim.js";

const DEAD_MS = 5_000;

function will(topic: string, text: string, delay = 0, more: Partial<Message> = {}) {
  return { delay, message: { topic, payload: Buffer.from(text), qos: 1 as const, retain: false, ...more } };
}

async function threeEdges(seed: number) {
  const { network, forwarder, agents } = await simFabric(seed, 3);
  const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
  await network.until(e2.subscribe("gone/#"));
  await network.until(e3.subscribe("gone/+"));
  return { network, forwarder, e1, e2, e3 };
}

/** As `Store` does, it writes without being asked to. */
class WritingDisk extends SimDisk {
  override put(key: string, value: Buffer): void {
    super.put(key, value);
    void this.durable();
  }

  override delete(key: string): void {
    super.delete(key);
    void this.durable();
  }
}

/** When the agent first has something of the topic, in milliseconds from now. */
async function arrival(network: SimNetwork, agent: SimAgent, topic: string, limit: number): Promise<number> {
  const from = network.clock.now();
  while (agent.texts(topic).length === 0) {
    assert.ok(network.clock.now() - from < limit, `nothing on ${topic} within ${limit} ms`);
    await network.run(20, 10);
  }
  return network.clock.now() - from;
}

describe("wills of clients whose agent dies", () => {
  it("are published once, at every edge, and kept where they say so", async () => {
    const { network, e1, e2, e3 } = await threeEdges(1);
    e1.fabric.setWill("c1", will("gone/c1", "bye", 0, { retain: true }));
    e1.fabric.setWill("c2", will("gone/c2", "bye"));
    await network.run(100);
    e1.kill();
    await network.run(DEAD_MS + 2_000, 10);
    for (const edge of [e2, e3]) assert.deepEqual(edge.texts().sort(), ["bye", "bye"]);
    assert.deepEqual(e2.retained("#"), ["gone/c1=bye"]);
    await network.run(20_000, 50);
    assert.equal(e2.received.length, 2);
  });

  it("are not when the client has gone in order, or its will has been published or replaced", async () => {
    const { network, e1, e2 } = await threeEdges(2);
    e1.fabric.setWill("c1", will("gone/c1", "no"));
    e1.fabric.setWill("c2", will("gone/c2", "old"));
    e1.fabric.setWill("c2", will("gone/c2", "new"));
    e1.fabric.setWill("c1", undefined);
    await network.run(100);
    e1.kill();
    await network.run(DEAD_MS + 2_000, 10);
    assert.deepEqual(e2.texts(), ["new"]);
  });

  it("wait for their delay", async () => {
    const { network, e1, e2 } = await threeEdges(3);
    e1.fabric.setWill("c1", will("gone/soon", "bye"));
    e1.fabric.setWill("c2", will("gone/late", "bye", 30));
    await network.run(100);
    e1.kill();
    const soon = await arrival(network, e2, "gone/soon", 8_000);
    assert.ok(soon >= DEAD_MS - 1_100, `${soon} ms`);
    const late = await arrival(network, e2, "gone/late", 40_000);
    assert.ok(late > 29_000 && late < 31_000, `${late} ms`);
  });

  it("are told to an agent that was only cut off, and not published a second time", async () => {
    const { network, e1, e2 } = await threeEdges(4);
    e1.fabric.setWill("c1", will("gone/c1", "bye"));
    e1.fabric.setWill("c2", will("gone/c2", "bye", 60));
    await network.run(100);
    network.cut.add(e1.endpoint.address);
    await arrival(network, e2, "gone/c1", 8_000);
    network.cut.delete(e1.endpoint.address);
    await network.run(5_000, 10);
    assert.deepEqual(e1.discarded, ["c1"]);
    await network.run(70_000, 50);
    assert.deepEqual(e2.texts(), ["bye"], "its delay was not over, and its agent is alive");
    // The one that was not published still is when the agent dies for good, the other is not again.
    e1.kill();
    await network.run(DEAD_MS + 65_000, 50);
    assert.deepEqual(e2.texts("gone/c2"), ["bye"]);
    assert.deepEqual(e2.texts("gone/c1"), ["bye"]);
  });

  it("of a client that has come again while its agent was cut off are other wills", async () => {
    const { network, e1, e2 } = await threeEdges(5);
    e1.fabric.setWill("c1", will("gone/c1", "first"));
    await network.run(100);
    network.cut.add(e1.endpoint.address);
    await arrival(network, e2, "gone/c1", 8_000);
    e1.fabric.setWill("c1", will("gone/c1", "second"));
    network.cut.delete(e1.endpoint.address);
    await network.run(5_000, 10);
    assert.deepEqual(e1.discarded, []);
    e1.kill();
    await network.run(DEAD_MS + 2_000, 10);
    assert.deepEqual(e2.texts(), ["first", "second"]);
  });

  it("are published for the former life of an agent that was quickly started again", async () => {
    const { network, e1, e2 } = await threeEdges(6);
    e1.fabric.setWill("c1", will("gone/c1", "bye"));
    await network.run(100);
    e1.kill();
    await network.run(500);
    const again = new SimAgent(network, "e1", e1.endpoint.address);
    await network.run(3_000, 10);
    assert.deepEqual(e2.texts(), ["bye"]);
    assert.deepEqual(again.discarded, []);
  });

  it("are known to a forwarder that was started after them", async () => {
    const { network, forwarder, e1, e2 } = await threeEdges(7);
    e1.fabric.setWill("c1", will("gone/c1", "bye"));
    await network.run(100);
    forwarder.kill();
    new SimForwarder(network);
    await network.run(12_000, 10);
    assert.deepEqual(e2.texts(), []);
    e1.kill();
    await network.run(DEAD_MS + 2_000, 10);
    assert.deepEqual(e2.texts(), ["bye"]);
  });

  it("are published by the next forwarder, where the agent has died while there was none", async () => {
    for (const ms of [0, 500, 4_000, 8_000]) {
      const network = new SimNetwork(9);
      const disk = new WritingDisk(network);
      const start = () => new SimForwarder(network, { wills: disk });
      const first = start();
      const [e1, e2] = ["e1", "e2"].map((id, i) => new SimAgent(network, id, `10.0.0.10${i + 1}`));
      await network.run(4_000, 10);
      await network.until(e2!.subscribe("gone/#"));
      e1!.fabric.setWill("c1", will("gone/c1", "bye"));
      e1!.fabric.setWill("c2", will("gone/c2", "late", 30));
      e1!.fabric.setWill("c3", will("gone/c3", "not any more"));
      e2!.fabric.setWill("c4", will("gone/c4", "of the living"));
      await network.run(50);
      e1!.fabric.setWill("c3", undefined);
      await network.run(50);
      first.kill();
      e1!.kill();
      await network.run(ms, 10);
      const second = start();
      await network.run(16_000, 10);
      assert.deepEqual(e2!.texts(), ["bye"], `${ms} ms`);
      await network.run(30_000, 20);
      assert.deepEqual(e2!.texts(), ["bye", "late"], `${ms} ms`);
      // What has been published is not published again by a third one.
      second.kill();
      start();
      await network.run(60_000, 50);
      assert.deepEqual(e2!.texts(), ["bye", "late"], `${ms} ms`);
    }
  });

  it("are not, where the agent has come back to it", async () => {
    const network = new SimNetwork(10);
    const disk = new WritingDisk(network);
    const start = () => new SimForwarder(network, { wills: disk });
    let forwarder = start();
    const [e1, e2] = ["e1", "e2"].map((id, i) => new SimAgent(network, id, `10.0.0.10${i + 1}`));
    await network.run(4_000, 10);
    await network.until(e2!.subscribe("gone/#"));
    e1!.fabric.setWill("c1", will("gone/c1", "bye"));
    await network.run(100);
    for (const ms of [100, 3_000, 9_000]) {
      forwarder.kill();
      await network.run(ms, 10);
      forwarder = start();
      await network.run(20_000, 20);
      assert.deepEqual(e2!.texts(), []);
    }
    e1!.kill();
    await network.run(DEAD_MS + 2_000, 10);
    assert.deepEqual(e2!.texts(), ["bye"]);
  });
});
