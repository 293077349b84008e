import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EdgeClient, pass, SimEdge } from "./edges.js";
import { type Faults, PERFECT, pair, random, SimForwarder, SimNetwork } from "./sim.js";

const TROUBLE: Faults = { loss: 0.1, repeat: 0.1, delay: [0.1, 8] };

async function edges(seed: number, count: number, faults = PERFECT) {
  const network = new SimNetwork(seed, faults);
  const forwarder = new SimForwarder(network);
  const all = Array.from({ length: count }, (_, i) =>
    new SimEdge(network, `e${i + 1}`, `10.0.0.10${i + 1}`).start(),
  );
  await pass(network, 6_000, 10);
  return { network, forwarder, edges: all as [SimEdge, SimEdge, SimEdge] };
}

function metric({ forwarder }: SimForwarder, name: string): number {
  return [...forwarder.metrics()].find((m) => m.name === `forwarder_${name}`)?.value ?? Number.NaN;
}

describe("one session per client over all edges", () => {
  it("connecting elsewhere closes the first connection with 0x8E, clean or not", async () => {
    const {
      network,
      forwarder,
      edges: [e1, e2],
    } = await edges(1, 2);
    for (const clean of [true, false]) {
      const properties = { sessionExpiryInterval: clean ? 0 : 1_000 };
      const first = e1.client(`c ${clean}`, { clean, properties });
      await pass(network, 50);
      assert.equal(first.connack?.reasonCode, 0);
      const second = e2.client(`c ${clean}`, { clean, properties });
      await pass(network, 500);
      assert.equal(first.disconnect, 0x8e);
      assert.equal(second.connack?.reasonCode, 0);
      assert.equal(second.isPresent, !clean);
      assert.equal(e1.broker.stat("sessions"), 0);
      second.leave();
    }
    await pass(network, 100);
    assert.equal(metric(forwarder, "clients"), 1, "the clean one's session has ended");
  });

  it("takes subscriptions and waiting messages along, those of QoS 2 once", async () => {
    const {
      network,
      edges: [e1, e2, e3],
    } = await edges(2, 3);
    const first = e1.client("c");
    await pass(network, 50);
    first.subscribe("t/#", 2);
    await pass(network, 100);
    first.leave();
    const p = e3.client("p");
    await pass(network, 50);
    for (let i = 0; i < 5; i++) p.publish(`t/${i}`, `${i}`, i % 2 === 0 ? 2 : 1);
    await pass(network, 500);
    assert.equal(p.acknowledged.length, 5);
    const second = e2.client("c");
    await pass(network, 1_000);
    assert.equal(second.isPresent, true);
    assert.deepEqual(second.got, ["0", "1", "2", "3", "4"]);
    p.publish("t/new", "live", 1);
    await pass(network, 200);
    assert.equal(second.got.at(-1), "live");
    assert.deepEqual([e1.broker.stat("sessions"), e1.broker.stat("subscriptions")], [0, 0]);
    // And back again.
    second.leave();
    await pass(network, 50);
    p.publish("t/back", "back", 2);
    await pass(network, 200);
    const third = e1.client("c");
    await pass(network, 1_000);
    assert.deepEqual([third.isPresent, third.got], [true, ["back"]]);
  });

  it("goes on with what was on its way under its identifiers, and knows what it has received", async () => {
    const {
      network,
      edges: [e1, e2, e3],
    } = await edges(3, 3);
    const unreleased = new Set<number>();
    const first = new EdgeClient(e1, "c", { unreleased, silent: true });
    await pass(network, 50);
    first.subscribe("t", 2);
    const p = e3.client("p");
    await pass(network, 100);
    for (let i = 0; i < 3; i++) p.publish("t", `${i}`, 2);
    await pass(network, 200);
    assert.deepEqual(first.got, ["0", "1", "2"]);
    const second = new EdgeClient(e2, "c", { unreleased });
    await pass(network, 1_000);
    assert.deepEqual([second.isPresent, second.got], [true, []], "it had them before");
    p.publish("t", "3", 2);
    await pass(network, 200);
    assert.deepEqual(second.got, ["3"]);
  });

  it("begins anew with Clean Start, wherever the session was", async () => {
    const {
      network,
      edges: [e1, e2],
    } = await edges(4, 2);
    const first = e1.client("c");
    await pass(network, 50);
    first.subscribe("t", 1);
    await pass(network, 50);
    const second = e2.client("c", { clean: true });
    await pass(network, 200);
    assert.equal(second.isPresent, false);
    assert.equal(e1.broker.stat("subscriptions"), 0);
  });

  it("knows where a client is that has begun anew where it was", async () => {
    const {
      network,
      edges: [e1, e2],
    } = await edges(9, 2);
    e1.client("c");
    await pass(network, 50);
    const second = e1.client("c", { clean: true });
    await pass(network, 50);
    const third = e2.client("c");
    await pass(network, 500);
    assert.deepEqual([second.disconnect, third.isPresent], [0x8e, true]);
    assert.equal(e1.broker.stat("sessions"), 0);
  });

  it("lets the last of many that connect at once have it", async () => {
    const { network, forwarder, edges: all } = await edges(5, 3, TROUBLE);
    const clients = [0, 1, 2, 0, 1, 2, 0].map((i) => all[i]!.client("c"));
    await pass(network, 8_000, 2);
    const connected = clients.filter(({ isConnected }) => isConnected);
    assert.equal(
      all.reduce((sum, { broker }) => sum + broker.stat("clients"), 0),
      1,
    );
    assert.equal(connected.length, 1);
    for (const client of clients) {
      // As one server would have it: each is let in, and taken over by the next one.
      assert.equal(client.connack?.reasonCode, 0);
      if (client !== connected[0]) assert.equal(client.disconnect, 0x8e);
    }
    assert.equal(
      all.reduce((sum, { broker }) => sum + broker.stat("sessions"), 0),
      1,
    );
    assert.equal(metric(forwarder, "clients"), 1);
  });

  it("answers without a forwarder what the edge has, and settles when it is back: the newest stays", async () => {
    const {
      network,
      forwarder,
      edges: [e1, e2, e3],
    } = await edges(6, 3);
    const first = e1.client("c");
    await pass(network, 50);
    first.subscribe("t", 2);
    const p = e3.client("p");
    await pass(network, 100);
    p.publish("t", "known route", 1);
    await pass(network, 100);
    forwarder.kill();
    await pass(network, 6_000, 10);
    const second = e2.client("c");
    await pass(network, 100);
    assert.deepEqual([second.connack?.reasonCode, second.isPresent], [0, false]);
    p.publish("t", "to the old session", 1);
    await pass(network, 100);
    assert.deepEqual(first.got, ["known route", "to the old session"]);
    first.drop();
    await pass(network, 500);
    p.publish("t", "while nobody is there", 1);
    await pass(network, 500);
    new SimForwarder(network);
    await pass(network, 12_000, 10);
    assert.equal(e1.broker.stat("sessions"), 0);
    assert.equal(second.disconnect, undefined);
    assert.deepEqual(second.got, ["while nobody is there"], "its queue has come along");
  });

  it("does not wait for an edge that does not answer for longer than 3 s", async () => {
    const {
      network,
      edges: [e1, e2],
    } = await edges(7, 2);
    e1.client("c");
    await pass(network, 50);
    network.cut.add(e1.address);
    const second = e2.client("c");
    await pass(network, 2_900);
    assert.deepEqual([second.isConnected, second.isPresent], [false, false]);
    await pass(network, 300);
    assert.deepEqual([second.isConnected, second.isPresent], [true, false]);
    // It is back, and yields.
    network.cut.delete(e1.address);
    await pass(network, 12_000, 10);
    assert.equal(e1.broker.stat("sessions"), 0);
    assert.equal(second.disconnect, undefined);
  });

  for (const [pace, rest] of [
    ["now and then", 3_000],
    ["faster than its session", 60],
  ] as const) {
    it(`loses nothing and doubles nothing of QoS 2 while a client wanders ${pace} under load`, () =>
      wander(rest));
  }

  async function wander(rest: number): Promise<void> {
    for (let seed = 1; seed <= 12; seed++) {
      const { network, edges: all } = await edges(seed, 3, TROUBLE);
      const rand = random(seed);
      const unreleased = new Set<number>();
      const got: string[] = [];
      const gone: EdgeClient[] = [];
      let client = new EdgeClient(all[0], "c", { unreleased });
      await pass(network, 300);
      client.subscribe("t/#", 2);
      const publishers = all.map((edge, i) => edge.client(`p${i}`));
      await pass(network, 1_000);
      let count = 0;
      for (let step = 0; step < 6; step++) {
        const publish = async (ms: number) => {
          for (let i = 0; i < 6; i++) {
            const publisher = publishers[Math.floor(rand() * 3)]!;
            publisher.publish(`t/${Math.floor(rand() * 2)}`, `${count++}`, 2);
            await pass(network, rand() * ms);
          }
        };
        await publish(20);
        if (rand() < 0.7) client.drop();
        await publish(20);
        const before = client;
        client = new EdgeClient(all[Math.floor(rand() * 3)]!, "c", { unreleased });
        await publish(60);
        await pass(network, rand() * rest, 2);
        if (rest > 1_000) await pass(network, 2_000, 2);
        gone.push(before);
        if (rest > 1_000) assert.equal(client.isPresent, true, `seed ${seed}`);
      }
      await pass(network, 15_000, 5);
      assert.equal(client.isConnected, true, `seed ${seed}`);
      for (const before of gone) got.push(...before.got);
      got.push(...client.got);
      const wanted = Array.from({ length: count }, (_, i) => i);
      assert.deepEqual(
        got.map(Number).sort((a, b) => a - b),
        wanted,
        `seed ${seed}`,
      );
    }
  }
});

describe("what arrives late at the edge that a session leaves", () => {
  for (const ms of [150, 600, 2_500, 6_000]) {
    it(`goes along, also ${ms} ms late`, async () => {
      for (const qos of [1, 2] as const) {
        const {
          network,
          edges: [e1, e2, e3],
        } = await edges(8, 3);
        const first = e1.client("c");
        const p = e3.client("p");
        await pass(network, 50);
        first.subscribe("t", 2);
        await pass(network, 100);
        p.publish("t", "0", qos);
        await pass(network, 300);
        // Nothing of its streams gets from the publisher's edge to the first one, only what the forwarder says.
        network.parted.add(pair(e1.address, e3.address));
        network.clock.setTimer(ms, () => network.parted.clear());
        p.publish("t", "late", qos);
        await pass(network, 1);
        const second = e2.client("c");
        await pass(network, 12_000, 2);
        assert.equal(p.acknowledged.length, 2, `QoS ${qos}`);
        assert.deepEqual([first.got, second.got], [["0"], ["late"]], `QoS ${qos}`);
        assert.equal(e1.broker.stat("sessions"), 0);
      }
    });
  }
});
