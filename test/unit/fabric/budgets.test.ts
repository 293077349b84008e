import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PERFECT, random, type SimAgent } from "./sim.js";
import { Whole } from "./whole.js";

/** Topics by the edges that want them: many with all four but one, a few with two of these three. */
function interests(agents: readonly SimAgent[]): Map<string, SimAgent[]> {
  const wanted = new Map<string, SimAgent[]>();
  for (let i = 0; i < 40; i++)
    wanted.set(
      `heavy/${i}`,
      agents.filter((_, n) => n !== i % 2),
    );
  for (let i = 0; i < 6; i++)
    wanted.set(
      `light/${i}`,
      agents.filter((_, n) => n === i % 3 || n === 3),
    );
  return wanted;
}

describe("fabric over switches that hold few groups", () => {
  const GROUPS = 3;

  function checkSwitches(whole: Whole): void {
    for (const { groups, refused } of whole.ryu.switches.values()) {
      assert.ok(groups.size <= GROUPS, `${groups.size} groups`);
      assert.equal(refused, 0);
    }
  }

  it("delivers everything, in order and once, by shared groups or unicast, within bounds of waste", async () => {
    const whole = await Whole.start(1, PERFECT, [], { groups: GROUPS });
    const { agents, network, forwarder } = whole;
    const wanted = interests(agents);
    const barriers = [...wanted].flatMap(([topic, edges]) => edges.map((e) => e.subscribe(topic)));
    await network.until(Promise.all(barriers));
    const publisher = agents[0]!;
    for (let round = 0; round < 20; round++) {
      for (const topic of wanted.keys()) publisher.publish(topic, String(round), (round % 3) as 0 | 1 | 2);
      await network.run(20);
      checkSwitches(whole);
    }
    await network.run(2_000);
    checkSwitches(whole);
    for (const [topic, edges] of wanted) {
      for (const agent of agents.filter((a) => a !== publisher)) {
        const expected = edges.includes(agent) ? Array.from({ length: 20 }, (_, i) => String(i)) : [];
        assert.deepEqual(agent.texts(topic), expected, `${topic} at ${agent.id}`);
      }
    }
    const { useful, extra } = forwarder.forwarder.allocation().copies;
    const { sets, groups, shared } = forwarder.forwarder.allocation();
    assert.ok(sets > groups && shared > 0, `${sets} sets in ${groups} groups, ${shared} shared`);
    assert.ok(extra > 0 && extra <= 0.1 * useful, `${extra} of ${useful} copies wasted`);
    for (const { topic, edges } of whole.topics()) {
      assert.deepEqual(
        edges,
        wanted
          .get(topic)!
          .map((a) => a.id)
          .sort(),
        "edges are those that want it",
      );
    }
  });

  it("loses and doubles nothing while edges come and go, at QoS 1 and 2", async () => {
    const whole = await Whole.start(2, PERFECT, [], { groups: 2, outputs: 1 });
    const { agents, network } = whole;
    const rand = random(5);
    const topics = Array.from({ length: 12 }, (_, i) => `t/${i}`);
    const expected = new Map<SimAgent, Map<string, string[]>>(agents.map((a) => [a, new Map()]));
    const subscribed = new Map<SimAgent, Set<string>>(agents.map((a) => [a, new Set()]));
    const acknowledged: Promise<unknown>[] = [];
    let pressed = 0;
    for (let round = 0; round < 120; round++) {
      const agent = agents[Math.floor(rand() * agents.length)]!;
      const topic = topics[Math.floor(rand() * topics.length)]!;
      const own = subscribed.get(agent)!;
      if (own.has(topic)) {
        await network.run(100);
        agent.unsubscribe(topic);
        own.delete(topic);
      } else {
        await network.until(agent.subscribe(topic));
        own.add(topic);
      }
      const publisher = agents[round % agents.length]!;
      for (const name of topics) {
        const text = `${publisher.id} ${round}`;
        const done = publisher.publish(name, text, (1 + (round % 2)) as 1 | 2);
        if (done !== undefined) acknowledged.push(done);
        for (const other of agents) {
          if (other === publisher || !subscribed.get(other)!.has(name)) continue;
          const texts = expected.get(other)!.get(name) ?? [];
          expected.get(other)!.set(name, [...texts, text]);
        }
      }
      await network.run(10);
      for (const { groups } of whole.ryu.switches.values()) assert.ok(groups.size <= 2);
      const { shared, waiting } = whole.forwarder.forwarder.allocation();
      if (shared + waiting > 0) pressed += 1;
    }
    assert.ok(pressed > 20, `room was short in ${pressed} rounds only`);
    await network.until(Promise.all(acknowledged));
    for (const agent of agents) {
      for (const topic of topics) {
        assert.deepEqual(
          agent.texts(topic).sort(),
          (expected.get(agent)!.get(topic) ?? []).sort(),
          `${topic} at ${agent.id}`,
        );
      }
    }
  });

  it("keeps the shared groups of before when the forwarder starts anew, and touches no switch", async () => {
    const whole = await Whole.start(3, PERFECT, [], { groups: GROUPS });
    const { agents, network } = whole;
    const wanted = interests(agents);
    const barriers = [...wanted].flatMap(([topic, edges]) => edges.map((e) => e.subscribe(topic)));
    await network.until(Promise.all(barriers));
    const publish = (text: string) => {
      for (const topic of wanted.keys()) agents[0]!.publish(topic, text, 1);
    };
    publish("first");
    await network.run(3_000);
    publish("second");
    await network.run(500);
    const before = new Map([...whole.forwarder.forwarder.topics()].map((t) => [t.topic, t]));
    assert.ok(whole.forwarder.forwarder.allocation().shared > 0);
    whole.forwarder.kill();
    await network.run(1_000);
    whole.ryu.log.length = 0;
    whole.newForwarder();
    await network.run(6_000);
    assert.deepEqual(whole.ryu.log, [], "no command to any switch");
    for (const { topic, group, carriage } of whole.forwarder.forwarder.topics()) {
      assert.deepEqual(
        { group, carriage },
        { group: before.get(topic)!.group, carriage: before.get(topic)!.carriage },
        topic,
      );
    }
    publish("third");
    await network.run(500);
    for (const [topic, edges] of wanted) {
      for (const agent of edges.filter((a) => a !== agents[0])) {
        assert.deepEqual(agent.texts(topic), ["first", "second", "third"], `${topic} at ${agent.id}`);
      }
    }
  });
});
