import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatEndpoint, Kind } from "@topicast/protocol";
import { seedsToRun } from "./chaos.js";
import { PERFECT, random, type SimAgent } from "./sim.js";
import { Whole } from "./whole.js";

describe("fabric over OpenFlow switches", () => {
  it("sends one datagram to the group, and each subscribed edge gets its copy", async () => {
    const whole = await Whole.start(1);
    const [e1, e2, e3, e4] = whole.agents as [SimAgent, SimAgent, SimAgent, SimAgent];
    await whole.network.until(Promise.all([e1.subscribe("plant/+/temp"), e3.subscribe("plant/+/temp")]));
    e2.publish("plant/7/temp", "0");
    await whole.network.run(100);
    assert.deepEqual(whole.topics(), [{ topic: "plant/7/temp", edges: ["e1", "e3"], carriage: "openflow" }]);
    const sent = e2.fabric.counters().published_direct!;
    whole.network.carried.clear();
    for (let i = 1; i <= 50; i++) {
      e2.publish("plant/7/temp", String(i));
      await whole.network.run(1);
    }
    assert.equal(e2.fabric.counters().published_direct! - sent, 50);
    assert.equal(whole.network.carried.get(Kind.DATA), 100, "copies that the switches made");
    assert.equal(e1.texts().length, 51);
    assert.deepEqual(e3.texts(), e1.texts());
    assert.equal(e4.fabric.counters().stream_received, 0);
    assert.equal(whole.astray, 0);
  });

  it("removes what the last subscriber alone needed within a second", async () => {
    const whole = await Whole.start(2);
    const [e1, e2, e3] = whole.agents as [SimAgent, SimAgent, SimAgent];
    await whole.network.until(Promise.all([e1.subscribe("t"), e3.subscribe("t")]));
    e2.publish("t", "0");
    await whole.network.run(100);
    assert.ok(whole.rules() > 0);
    e1.unsubscribe("t");
    e3.unsubscribe("t");
    await whole.network.run(1_000);
    assert.equal(whole.rules(), 0);
    assert.deepEqual(whole.topics(), []);
  });

  it("uses no rules for one receiver, who gets everything in order when a second comes and goes", async () => {
    const whole = await Whole.start(2);
    const [e1, e2, e3] = whole.agents as [SimAgent, SimAgent, SimAgent];
    const carriages = new Set<string>();
    await whole.network.until(e1.subscribe("t"));
    for (let i = 0; i < 900; i++) {
      if (i === 300) void e3.subscribe("t");
      if (i === 600) e3.unsubscribe("t");
      e2.publish("t", String(i));
      await whole.network.run(5);
      const [topic] = whole.topics();
      if (topic === undefined) continue;
      carriages.add(`${topic.edges} ${topic.carriage}`);
      if (i < 300 || i > 899) assert.equal(whole.rules(), 0, `after ${i}`);
    }
    assert.deepEqual([...carriages], ["e1 unicast", "e1,e3 openflow"]);
    assert.deepEqual(
      e1.texts(),
      Array.from({ length: 900 }, (_, i) => String(i)),
    );
  });

  it("gives topics with the same edges the same group", async () => {
    const whole = await Whole.start(3);
    const [e1, e2, e3, e4] = whole.agents as [SimAgent, SimAgent, SimAgent, SimAgent];
    await whole.network.until(Promise.all([e1.subscribe("#"), e3.subscribe("a/+"), e3.subscribe("b")]));
    for (const topic of ["a/1", "a/2", "b"]) e2.publish(topic, "x");
    e4.publish("a/3", "x");
    await whole.network.run(200);
    const groups = [...whole.forwarder.forwarder.topics()].map((t) => t.group);
    assert.deepEqual([groups.length, new Set(groups).size], [4, 1]);
    assert.equal(whole.forwarder.forwarder.dataplane.status().groups, 1);
  });

  it("gives rules to the ways of those who publish, and lets another publish to the group when it has its own", async () => {
    const whole = await Whole.start(3);
    const [e1, e2, e3] = whole.agents as [SimAgent, SimAgent, SimAgent];
    await whole.network.until(Promise.all([e1.subscribe("t"), e2.subscribe("t")]));
    e1.publish("t", "0");
    await whole.network.run(100);
    assert.equal(whole.rules(), 2 * 3, "a group and a flow on the way from e1 to e2");
    const sent = e3.fabric.counters().published_direct!;
    for (let i = 1; i <= 100; i++) {
      e3.publish("t", String(i));
      await whole.network.run(1);
    }
    assert.equal(whole.rules(), 2 * 6);
    assert.ok(e3.fabric.counters().published_direct! - sent > 80);
    assert.deepEqual(
      e1.texts().slice(-100),
      Array.from({ length: 100 }, (_, i) => String(i + 1)),
    );
    assert.deepEqual(e2.texts().slice(-100), e1.texts().slice(-100));
    assert.equal(whole.astray, 0);
  });

  it("a new forwarder adopts what the switches hold and touches none of it", async () => {
    const whole = await Whole.start(3);
    const [e1, e2, e3] = whole.agents as [SimAgent, SimAgent, SimAgent];
    await whole.network.until(Promise.all([e1.subscribe("a/#"), e3.subscribe("+/1")]));
    for (const topic of ["a/1", "a/2", "b/1"]) e2.publish(topic, "first");
    await whole.network.run(200);
    const before = whole.topics();
    whole.forwarder.kill();
    await whole.network.run(3_000, 5);
    whole.ryu.log.length = 0;
    whole.newForwarder();
    for (let i = 0; i < 700; i++) {
      e2.publish("a/1", String(i));
      await whole.network.run(10);
    }
    assert.deepEqual(whole.ryu.log, [], "no command to any switch");
    assert.deepEqual(whole.topics(), before);
    assert.deepEqual(e1.texts("a/1"), ["first", ...Array.from({ length: 700 }, (_, i) => String(i))]);
    assert.deepEqual(e3.texts("a/1"), e1.texts("a/1"));
  });

  it("goes by unicast while Ryu is dead, and back over the switches when it lives again", async () => {
    const whole = await Whole.start(4);
    const [e1, e2, e3] = whole.agents as [SimAgent, SimAgent, SimAgent];
    whole.ryu.up = false;
    await whole.network.run(2_000, 5);
    await whole.network.until(Promise.all([e1.subscribe("t"), e3.subscribe("t")]));
    const expected: string[] = [];
    const publish = async (count: number) => {
      for (let i = 0; i < count; i++) {
        expected.push(String(expected.length));
        e2.publish("t", expected.at(-1)!);
        await whole.network.run(5);
      }
    };
    await publish(300);
    assert.equal(whole.topics()[0]?.carriage, "unicast");
    whole.ryu.up = true;
    await publish(600);
    assert.equal(whole.topics()[0]?.carriage, "openflow");
    assert.deepEqual(e1.texts(), expected);
    assert.deepEqual(e3.texts(), expected);
  });

  it("keeps a group's rules until its last heartbeats are through, also when its set came back in between", async () => {
    const whole = await Whole.start(5);
    const { network } = whole;
    const [e1, e2, e3, e4] = whole.agents as [SimAgent, SimAgent, SimAgent, SimAgent];
    await network.until(Promise.all([e1.subscribe("t"), e3.subscribe("t")]));
    e2.publish("t", "0");
    await network.run(100);
    assert.equal(whole.topics()[0]?.carriage, "openflow");
    // Its last publisher goes to another set, back, and away again within the time that rules are kept.
    await network.until(e4.subscribe("t"));
    await network.run(300);
    e4.unsubscribe("t");
    await network.run(20);
    e2.publish("t", "1");
    network.lose = ({ kind }, to) => kind === Kind.DATA && to.address === e3.endpoint.address;
    e2.publish("t", "2");
    await network.until(e4.subscribe("t"));
    // Nothing tells of it but the last of the heartbeats to the former group.
    const lost = network.clock.now();
    network.lose = ({ kind }) => kind === Kind.HEARTBEAT && network.clock.now() < lost + 350;
    await network.run(600);
    assert.deepEqual(e3.texts(), ["0", "1", "2"]);
    await network.run(600);
    assert.equal(whole.forwarder.forwarder.dataplane.status().groups, 1, "the former group is gone");
  });

  const seeds = seedsToRun(60);
  it(`barrier, order and exactly-once hold under churn on a network that loses, reorders and repeats: ${seeds.length} seeds`, async () => {
    for (const seed of seeds) {
      const whole = await Whole.start(seed, { loss: 0.1, repeat: 0.1, delay: [0.1, 3] });
      const { network, agents } = whole;
      const rand = random(seed + 5_000);
      const topics = ["a/1", "a/2", "b/1"];
      const filters = ["a/#", "+/1", "a/2", "#"];
      /** For each agent: filter → [SUBACK at, unsubscribed at] of its periods. */
      const periods = agents.map(() => [] as Array<{ filter: string; from: number; to: number }>);
      const published: Array<{ at: number; from: number; topic: string; text: string }> = [];
      for (let n = 0; n < 250; n++) {
        const who = Math.floor(rand() * agents.length);
        const agent = agents[who]!;
        const filter = filters[Math.floor(rand() * filters.length)]!;
        const open = periods[who]!.find((p) => p.filter === filter && p.to === Number.POSITIVE_INFINITY);
        if (rand() < 0.1 && open === undefined) {
          const period = { filter, from: Number.POSITIVE_INFINITY, to: Number.POSITIVE_INFINITY };
          periods[who]!.push(period);
          void agent.subscribe(filter).then(() => {
            period.from = network.clock.now();
          });
        } else if (rand() < 0.1 && open !== undefined && open.from < network.clock.now()) {
          open.to = network.clock.now();
          agent.unsubscribe(filter);
        }
        const topic = topics[Math.floor(rand() * 3)]!;
        const text = `${who}:${n}`;
        published.push({ at: network.clock.now(), from: who, topic, text });
        agent.publish(topic, text);
        await network.run(rand() * 8);
      }
      await network.run(3_000);
      for (const [who, agent] of agents.entries()) {
        const got = agent.received.map((m) => m.payload.toString());
        assert.equal(new Set(got).size, got.length, `seed ${seed}: e${who + 1} got something twice`);
        for (const { at, from, topic, text } of published) {
          // A message is due when some subscription held from before it started until it had time to arrive.
          const due = periods[who]!.some(
            (p) => p.from < at && p.to > at + 1_000 && agentMatches(p.filter, topic),
          );
          if (!due || from === who) continue;
          assert.ok(got.includes(text), `seed ${seed}: e${who + 1} misses ${text} on ${topic}`);
        }
      }
      assert.deepEqual([whole.astray, whole.keptOff], [0, 0], `seed ${seed}`);
    }
  });
});

describe("transparent mode over the fabric", () => {
  const broker = { address: "10.9.9.9", port: 1883 };
  const client = 60;
  const mac = "02:99:00:00:00:99";

  /** Who answers a client of each edge's switch. */
  function answering({ ryu, agents }: Whole): (string | undefined)[] {
    return [4n, 5n, 6n, 7n].map((dpid) => {
      const frame = { mac, address: broker.address, service: broker.port };
      const actions = ryu.switches.get(dpid)!.steer(client, frame);
      return agents.find((a) => a.mac === actions?.mac)?.id;
    });
  }

  async function vacantSoon(whole: Whole, vacant: boolean): Promise<void> {
    for (let i = 0; i < 20 && intercept(whole)?.vacant !== vacant; i++) await whole.network.run(50);
    assert.equal(intercept(whole)?.vacant, vacant);
  }
  const intercept = (whole: Whole) => whole.forwarder.forwarder.dataplane.topology().intercepts[0];

  it("takes from registrations what agents answer for, and who has the address from what they see", async () => {
    const faults = { ...PERFECT, loss: 0.2, repeat: 0.1, delay: [1, 10] as const };
    const whole = await Whole.start(1, faults, [broker]);
    const { agents, network } = whole;
    assert.deepEqual(answering(whole), ["e1", "e2", "e3", "e4"]);
    assert.equal(intercept(whole)?.vacant, false, "nobody has said so yet");
    for (const agent of agents.slice(0, 3)) agent.fabric.setVacant([broker.address]);
    await network.run(500);
    assert.equal(intercept(whole)?.vacant, false, "one agent has not said so");
    agents[3]!.fabric.setVacant([broker.address]);
    await vacantSoon(whole, true);
    agents[1]!.fabric.setVacant([]);
    await vacantSoon(whole, false);
    agents[1]!.fabric.setVacant([broker.address]);
    await vacantSoon(whole, true);

    await network.run(2_000, 5);
    const told = () => agents.map((a) => a.fabric.steering?.map(({ endpoint }) => endpoint).join());
    assert.deepEqual(told(), ["", "", "", ""], "all are told that all is well");
    whole.ryu.switches.get(4n)!.refuseNext = Number.POSITIVE_INFINITY;
    whole.ryu.switches.get(4n)!.flows = [];
    await network.run(4_000, 5);
    const endpoint = formatEndpoint(broker);
    assert.deepEqual(told(), [endpoint, endpoint, endpoint, endpoint]);
    assert.match(
      agents[0]!.fabric.steering![0]!.problem,
      /flows are missing or wrong on switch 0000000000000004$/,
    );
    whole.ryu.switches.get(4n)!.refuseNext = 0;
    await network.run(8_000, 5);
    assert.deepEqual(told(), ["", "", "", ""]);

    whole.forwarder.kill();
    await network.run(1_000);
    assert.deepEqual(answering(whole), ["e1", "e2", "e3", "e4"], "without a forwarder");
    whole.newForwarder();
    await network.run(8_000, 5);
    assert.deepEqual(answering(whole), ["e1", "e2", "e3", "e4"]);
    await vacantSoon(whole, true);

    agents[0]!.kill();
    await network.run(7_000, 5);
    assert.deepEqual(answering(whole), ["e2", "e2", "e3", "e4"], "the next nearest");
    for (const agent of agents) agent.kill();
    await network.run(7_000, 5);
    assert.deepEqual(answering(whole), [undefined, undefined, undefined, undefined]);
  });
});

function agentMatches(filter: string, topic: string): boolean {
  if (filter === "#" || filter === topic) return true;
  return filter === "a/#" ? topic.startsWith("a/") : filter === "+/1" && topic.endsWith("/1");
}
