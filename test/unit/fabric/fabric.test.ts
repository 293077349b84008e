import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Kind } from "@topicast/protocol";
import { FORWARDER, PORT, random, SimAgent, SimForwarder, SimNetwork, simFabric } from "./sim.js";

const BAD = { loss: 0.1, repeat: 0.1, delay: [0.1, 3] as const };

describe("registration", () => {
  it("registers, keeps alive, and is withdrawn after 5 s of silence", async () => {
    const { network, forwarder, agents } = await simFabric(1, 2);
    await network.until(agents[0]!.subscribe("a/#"));
    assert.deepEqual([...forwarder.forwarder.agents()].map((a) => a.id).sort(), ["e1", "e2"]);
    await network.run(30_000, 10);
    assert.equal(forwarder.forwarder.counts().agents, 2);
    agents[0]!.kill();
    await network.run(4_000, 10);
    assert.equal(forwarder.forwarder.counts().agents, 2);
    await network.run(2_100, 10);
    assert.deepEqual(
      [...forwarder.forwarder.agents()].map((a) => a.id),
      ["e2"],
    );
    assert.equal(forwarder.forwarder.counts().filters, 0);
  });

  it("leaves at once with DISCONNECT", async () => {
    const { network, forwarder, agents } = await simFabric(1, 2);
    agents[0]!.fabric.close();
    await network.run(5);
    assert.equal(forwarder.forwarder.counts().agents, 1);
  });

  it("reports an unreachable forwarder, and registers as soon as it is there", async () => {
    const network = new SimNetwork(1);
    const agent = new SimAgent(network, "e1", "10.0.0.101");
    await network.run(6_000, 10);
    assert.equal(agent.fabric.state, "unreachable");
    new SimForwarder(network);
    await network.run(2_500, 10);
    assert.equal(agent.fabric.state, "registered");
  });

  it("registers anew where a forwarder has taken the CONNECT and died before its answer arrived", async () => {
    const { network, forwarder } = await simFabric(1, 0);
    network.lose = (header, to) => header.kind === Kind.CONTROL && to.address !== FORWARDER.address;
    const agent = new SimAgent(network, "e1", "10.0.0.101");
    await network.run(1_000, 5);
    assert.equal(forwarder.forwarder.counts().agents, 1);
    assert.equal(agent.fabric.state, "connecting");
    forwarder.kill();
    network.lose = () => false;
    new SimForwarder(network);
    await network.run(7_000, 10);
    assert.equal(agent.fabric.state, "registered");
  });

  it("refuses an id that a living agent has at another address, and takes it when that one is dead", async () => {
    const { network, forwarder, agents } = await simFabric(1, 1);
    const twin = new SimAgent(network, "e1", "10.0.0.200");
    await network.run(1_000, 10);
    assert.equal(twin.fabric.state, "refused");
    assert.equal(agents[0]!.fabric.state, "registered");
    agents[0]!.kill();
    await network.run(12_000, 10);
    assert.equal(twin.fabric.state, "registered");
    assert.deepEqual(
      [...forwarder.forwarder.agents()].map((a) => a.address),
      ["10.0.0.200"],
    );
  });

  it("answers a stranger's datagram with RESET, and garbage with nothing", async () => {
    const { network, forwarder } = await simFabric(1, 0);
    network.carried.clear();
    const stranger = { address: "10.0.0.66", port: PORT };
    network.send(
      { kind: Kind.CONTROL, flags: 3, source: 5, epoch: 9, stream: 77, number: 4 },
      Buffer.from([0xc0, 0]),
      stranger,
      FORWARDER,
    );
    for (let i = 0; i < 50; i++) {
      forwarder.forwarder.onDatagram(
        Buffer.from(Array.from({ length: i }, (_, k) => (k * 31 + i) & 255)),
        stranger,
      );
    }
    await network.run(10);
    assert.equal(network.carried.get(Kind.RESET), 1);
    assert.equal(forwarder.forwarder.counts().agents, 0);
  });
});

describe("publishing", () => {
  it("relays the first message, then sends straight, to subscribers elsewhere only", async () => {
    const { network, agents } = await simFabric(1, 4);
    const [e1, e2, e3, e4] = agents as [SimAgent, SimAgent, SimAgent, SimAgent];
    await network.until(Promise.all([e1.subscribe("plant/+/temp"), e2.subscribe("plant/7/#")]));
    e3.publish("plant/7/temp", "0");
    await network.run(20);
    assert.equal(e3.fabric.counters().published_relayed, 1);
    network.carried.clear();
    for (let i = 1; i <= 100; i++) {
      e3.publish("plant/7/temp", String(i));
      await network.run(1);
    }
    assert.equal(e3.fabric.counters().published_relayed, 1);
    assert.equal(network.carried.get(Kind.DATA), 200, "one copy for each of two members");
    const all = Array.from({ length: 101 }, (_, i) => String(i));
    assert.deepEqual(e1.texts(), all);
    assert.deepEqual(e2.texts(), all);
    assert.equal(e4.fabric.counters().stream_received, 0);
    assert.equal(e4.fabric.stats.delivered_relayed, 0);
  });

  it("puts nothing on the network for a topic that nobody elsewhere wants", async () => {
    const { network, agents, forwarder } = await simFabric(1, 2);
    const [e1] = agents as [SimAgent];
    await network.until(e1.subscribe("mine"));
    e1.publish("mine", "0");
    await network.run(50);
    network.carried.clear();
    for (let i = 0; i < 100; i++) e1.publish("mine", "x");
    await network.run(3);
    assert.equal(network.carried.get(Kind.DATA), undefined);
    assert.equal(e1.fabric.counters().published_nowhere, 100);
    assert.deepEqual([...forwarder.forwarder.topics()], []);
    assert.equal(forwarder.forwarder.counts().idle, 1);
  });

  it("keeps order while the route arrives in the middle of a burst", async () => {
    const { network, agents } = await simFabric(3, 3, { loss: 0, repeat: 0, delay: [0.5, 2] });
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(Promise.all([e1.subscribe("t"), e2.subscribe("t")]));
    for (let i = 0; i < 200; i++) {
      e3.publish("t", String(i));
      await network.run(0.25, 0.25);
    }
    await network.run(200);
    const all = Array.from({ length: 200 }, (_, i) => String(i));
    assert.deepEqual(e1.texts(), all);
    assert.deepEqual(e2.texts(), all);
    assert.ok(e3.fabric.counters().published_direct! > 100);
  });

  it("acknowledges QoS 1 relays when every edge has the message", async () => {
    const { network, agents } = await simFabric(1, 3);
    const [e1, , e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(e1.subscribe("t"));
    let acknowledged = false;
    e3.publish("t", "x", 1)!.then(() => {
      acknowledged = true;
    });
    network.cut.add(e1.endpoint.address);
    await network.run(1_000);
    assert.equal(acknowledged, false);
    network.cut.delete(e1.endpoint.address);
    await network.run(2_500);
    assert.deepEqual(e1.texts(), ["x"]);
    assert.equal(acknowledged, true);
  });

  it("carries a message of many datagrams, relayed and straight", async () => {
    const { network, agents } = await simFabric(1, 2);
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e1.subscribe("big"));
    const text = "0123456789".repeat(20_000);
    e2.publish("big", text);
    await network.run(500);
    e2.publish("big", `${text}!`);
    await network.run(100);
    assert.equal(e2.fabric.counters().published_direct, 1);
    assert.deepEqual(e1.texts(), [text, `${text}!`]);
  });
});

describe("subscribe barrier", () => {
  it("holds whatever the network does: 100 seeds", async () => {
    for (let seed = 1; seed <= 100; seed++) {
      const { network, agents } = await simFabric(seed, 4, BAD);
      const rand = random(seed + 1000);
      const [e1, e2, , e4] = agents as [SimAgent, SimAgent, SimAgent, SimAgent];
      await network.until(e1.subscribe("t/+"));
      for (let i = 0; i < 5; i++) {
        e4.publish("t/1", `early ${i}`);
        await network.run(rand() * 20);
      }
      let ready = false;
      const barrier = e2.subscribe("t/#").then(() => {
        ready = true;
      });
      const sentAfter: string[] = [];
      for (let i = 0; sentAfter.length < 20; i++) {
        const text = `m${i}`;
        if (ready) sentAfter.push(text);
        // From here on the network loses nothing of the data streams: QoS 0 is not repaired.
        if (ready) network.faults = { loss: 0, repeat: 0.1, delay: [0.1, 3] };
        e4.publish("t/1", text);
        await network.run(5);
        assert.ok(i < 2_000, `seed ${seed}: no SUBACK`);
      }
      await barrier;
      await network.run(1_000);
      const texts = e2.texts();
      for (const text of sentAfter) assert.ok(texts.includes(text), `seed ${seed}: ${text} is missing`);
      assert.equal(new Set(texts).size, texts.length, `seed ${seed}: doubled`);
    }
  });

  it("waits no longer than 8 s for a forwarder that is away, and is made good when it is back", async () => {
    const { network, agents, forwarder } = await simFabric(1, 2);
    const [e1, e2] = agents as [SimAgent, SimAgent];
    forwarder.kill();
    let ready = false;
    void e1.subscribe("late").then(() => {
      ready = true;
    });
    await network.run(7_900, 10);
    assert.equal(ready, false);
    await network.run(200, 10);
    assert.equal(ready, true);
    new SimForwarder(network);
    await network.run(6_000, 10);
    e2.publish("late", "x");
    await network.run(100);
    assert.deepEqual(e1.texts(), ["x"]);
  });
});

describe("leaving and failing", () => {
  it("takes the last subscriber's group away, and stops the publisher", async () => {
    const { network, agents, forwarder } = await simFabric(1, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(Promise.all([e1.subscribe("t"), e2.subscribe("other")]));
    e3.publish("t", "0");
    await network.run(50);
    assert.deepEqual(
      [...forwarder.forwarder.topics()].map((t) => [t.topic, t.edges]),
      [["t", ["e1"]]],
    );
    e1.unsubscribe("t");
    await network.run(50);
    assert.deepEqual([...forwarder.forwarder.topics()], []);
    assert.deepEqual([...forwarder.forwarder.filters()], [{ filter: "other", edges: ["e2"] }]);
    network.carried.clear();
    e3.publish("t", "1");
    await network.run(5);
    assert.equal(network.carried.get(Kind.DATA), undefined);
  });

  it("known routes deliver on while the forwarder is dead; a new one disturbs nothing and takes over", async () => {
    const { network, agents, forwarder } = await simFabric(1, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(e1.subscribe("t"));
    e3.publish("t", "first");
    await network.run(50);
    const group = [...forwarder.forwarder.topics()][0]!.group;
    forwarder.kill();
    const expected = ["first"];
    const publish = async (count: number) => {
      for (let i = 0; i < count; i++) {
        expected.push(String(expected.length));
        e3.publish("t", expected.at(-1)!);
        await network.run(10);
      }
    };
    await publish(800);
    const next = new SimForwarder(network);
    await publish(1_000);
    assert.deepEqual(e1.texts(), expected);
    assert.deepEqual(
      [...next.forwarder.topics()].map((t) => [t.topic, t.edges, t.group]),
      [["t", ["e1"], group]],
      "the same group as before",
    );
    await network.until(e2.subscribe("t"));
    e3.publish("t", "last");
    await network.run(50);
    assert.deepEqual(e2.texts(), ["last"]);
  });

  it("messages of unknown topics wait for the forwarder, within a bound", async () => {
    const { network, agents, forwarder } = await simFabric(1, 2);
    const [e1, e2] = agents as [SimAgent, SimAgent];
    await network.until(e1.subscribe("new/#"));
    forwarder.kill();
    await network.run(6_000, 10);
    for (let i = 0; i < 2_000; i++) e2.publish(`new/${i % 3}`, String(i));
    assert.equal(e2.fabric.counters().backlog, 1_024);
    assert.equal(e2.fabric.counters().published_dropped, 976);
    new SimForwarder(network);
    await network.run(8_000, 10);
    assert.equal(e1.texts().length, 1_024);
    assert.deepEqual(
      e1.texts("new/1"),
      e1.texts("new/1").toSorted((a, b) => Number(a) - Number(b)),
    );
  });

  it("an agent that restarts loses nothing but its own clients' subscriptions", async () => {
    const { network, agents, forwarder } = await simFabric(1, 3);
    const [e1, e2, e3] = agents as [SimAgent, SimAgent, SimAgent];
    await network.until(Promise.all([e1.subscribe("t"), e2.subscribe("t")]));
    e3.publish("t", "a");
    await network.run(50);
    e1.kill();
    await network.run(500, 10);
    const again = new SimAgent(network, "e1", e1.endpoint.address);
    await network.run(200);
    assert.deepEqual([...forwarder.forwarder.filters()], [{ filter: "t", edges: ["e2"] }]);
    await network.until(again.subscribe("t"));
    e3.publish("t", "b");
    await network.run(50);
    assert.deepEqual(again.texts(), ["b"]);
    assert.deepEqual(e2.texts(), ["a", "b"]);
    again.publish("t", "from the new life");
    await network.run(50);
    assert.equal(e2.texts().at(-1), "from the new life");
  });

  it("subscriptions, routes and order survive random cuts and restarts of the forwarder: 40 seeds", async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const fabric = await simFabric(seed, 4, { loss: 0.05, repeat: 0.05, delay: [0.1, 2] });
      const { network, agents } = fabric;
      const rand = random(seed * 7);
      const topics = ["a/1", "a/2", "b/1"];
      for (const agent of agents) void agent.subscribe(rand() < 0.5 ? "a/#" : "+/1");
      let n = 0;
      for (let round = 0; round < 60; round++) {
        const agent = agents[Math.floor(rand() * agents.length)]!;
        agent.publish(topics[Math.floor(rand() * 3)]!, `${agent.id} ${n++}`);
        if (rand() < 0.05) {
          fabric.forwarder.kill();
          fabric.forwarder = new SimForwarder(network);
        }
        if (rand() < 0.05) network.cut.add(agent.endpoint.address);
        if (rand() < 0.2) network.cut.clear();
        await network.run(rand() * 300, 10);
      }
      network.cut.clear();
      network.faults = { loss: 0, repeat: 0, delay: [0.1, 2] };
      await network.run(15_000, 10);
      for (const publisher of agents) {
        for (const topic of topics) publisher.publish(topic, `final ${publisher.id}`);
      }
      await network.run(1_000, 5);
      for (const agent of agents) {
        for (const topic of topics) {
          const texts = agent.texts(topic);
          for (const from of agents) {
            const numbers = texts
              .filter((t) => t.startsWith(`${from.id} `))
              .map((t) => Number(t.split(" ")[1]));
            for (let i = 1; i < numbers.length; i++) {
              assert.ok(numbers[i]! > numbers[i - 1]!, `seed ${seed}: ${agent.id} ${topic} ${numbers}`);
            }
            const wanted = agent.local.match(topic).length > 0 && from !== agent ? 1 : 0;
            const finals = texts.filter((t) => t === `final ${from.id}`).length;
            assert.equal(finals, wanted, `seed ${seed}: final of ${from.id} on ${topic} at ${agent.id}`);
          }
        }
      }
    }
  });
});
