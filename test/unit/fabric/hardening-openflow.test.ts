/** A forwarder that starts anew must not disturb what its predecessor left in the switches. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SimAgent } from "./sim.js";
import { Whole } from "./whole.js";

type Four = [SimAgent, SimAgent, SimAgent, SimAgent];

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i));
}

describe("groups over a restart of the forwarder", () => {
  it("a new topic does not get a group that the switches hold for another edge set", async () => {
    const whole = await Whole.start(3);
    const [e1, e2, e3, e4] = whole.agents as Four;
    await whole.network.until(Promise.all([e1.subscribe("a"), e3.subscribe("a"), e2.subscribe("b")]));
    e4.publish("a", "0");
    await whole.network.run(500);
    const before = whole.topics();
    assert.deepEqual(before, [{ topic: "a", edges: ["e1", "e3"], carriage: "openflow" }]);
    const group = [...whole.forwarder.forwarder.topics()][0]!.group;
    whole.forwarder.kill();
    await whole.network.run(2_000, 5);
    whole.newForwarder();
    for (let i = 1; i < 3_000; i++) {
      if (i === 500) e4.publish("b", "new");
      e4.publish("a", String(i));
      await whole.network.run(2);
    }
    await whole.network.run(1_000, 5);
    const after = new Map([...whole.forwarder.forwarder.topics()].map((t) => [t.topic, t]));
    assert.equal(after.get("a")?.group, group);
    assert.deepEqual(after.get("a")?.edges, ["e1", "e3"]);
    assert.deepEqual(after.get("b")?.edges, ["e2"]);
    assert.notEqual(after.get("b")?.group, group);
    assert.deepEqual(e1.texts(), numbers(3_000));
    assert.deepEqual(e3.texts(), numbers(3_000));
    assert.deepEqual(e2.texts(), ["new"]);
    assert.equal(e2.fabric.counters().stream_received, 0, "the switches brought e2 nothing of a");
    assert.equal(whole.astray, 0);
  });

  for (const left of ["a", "z"]) {
    const other = left === "a" ? "z" : "a";
    it(`of two topics in one group, the one that lost an edge meanwhile takes another: ${left}`, async () => {
      const whole = await Whole.start(3);
      const [e1, , e3, e4] = whole.agents as Four;
      const { network } = whole;
      await network.until(
        Promise.all([e1.subscribe("a"), e3.subscribe("a"), e1.subscribe("z"), e3.subscribe("z")]),
      );
      e4.publish("a", "0");
      e4.publish("z", "0");
      await network.run(500);
      const group = new Set([...whole.forwarder.forwarder.topics()].map((t) => t.group));
      assert.equal(group.size, 1);
      whole.forwarder.kill();
      e3.unsubscribe(left);
      await network.run(2_000, 5);
      whole.newForwarder();
      for (let i = 1; i < 3_000; i++) {
        e4.publish("z", String(i));
        e4.publish("a", String(i));
        await network.run(2);
      }
      await network.run(1_000, 5);
      const after = new Map([...whole.forwarder.forwarder.topics()].map((t) => [t.topic, t]));
      assert.ok(group.has(after.get(other)!.group!), "the edge set that is still there keeps its group");
      assert.ok(!group.has(after.get(left)!.group!));
      assert.deepEqual(after.get(other)?.edges, ["e1", "e3"]);
      assert.deepEqual(after.get(left)?.edges, ["e1"]);
      assert.deepEqual(e1.texts("a"), numbers(3_000));
      assert.deepEqual(e1.texts("z"), numbers(3_000));
      assert.deepEqual(e3.texts(other), numbers(3_000));
      assert.deepEqual(e3.texts(left), ["0"]);
      assert.equal(whole.astray, 0);
    });
  }

  it("the subscribe barrier waits for a publisher that comes back late while the forwarder settles", async () => {
    const whole = await Whole.start(3);
    const [e1, e2] = whole.agents as Four;
    const { network } = whole;
    e2.publish("t", "nobody is subscribed");
    await network.run(500);
    whole.forwarder.kill();
    await network.run(1_000, 5);
    network.cut.add(e2.endpoint.address);
    whole.newForwarder();
    const barrier = e1.subscribe("t");
    await network.run(1_000, 5);
    network.cut.delete(e2.endpoint.address);
    await network.until(barrier);
    for (const text of numbers(200)) {
      e2.publish("t", text);
      await network.run(1);
    }
    await network.run(1_000, 5);
    assert.deepEqual(e1.texts("t"), numbers(200));
    assert.equal(e1.fabric.counters().subscribe_timeouts, 0);
  });
});
