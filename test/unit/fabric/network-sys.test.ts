import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isSysCounter, SYS_VALUES } from "@topicast/protocol";
import { type EdgeClient, pass, SimEdge } from "./edges.js";
import { SimForwarder, SimNetwork } from "./sim.js";

const INTERVAL_MS = 10_000;

function edge(network: SimNetwork, id: string): SimEdge {
  const sys = { intervalMs: INTERVAL_MS, version: "test" };
  return new SimEdge(network, id, `10.0.0.10${id.slice(1)}`, undefined, sys).start();
}

async function three(seed: number) {
  const network = new SimNetwork(seed);
  const forwarder = new SimForwarder(network);
  const edges = ["e1", "e2", "e3"].map((id) => edge(network, id)) as [SimEdge, SimEdge, SimEdge];
  await pass(network, 6_000, 10);
  return { network, forwarder, edges };
}

/** Long enough for every edge to have reported, and to have been told what the others reported. */
const twice = (network: SimNetwork) => pass(network, 2 * INTERVAL_MS + 500, 20);

async function watcher(network: SimNetwork, at: SimEdge, filter: string): Promise<EdgeClient> {
  const client = at.client(`watcher of ${filter} at ${at.id}`);
  await pass(network, 50);
  client.subscribe(filter, 0);
  await pass(network, 200);
  return client;
}

const value = (client: EdgeClient, topic: string) => client.last.get(`$SYS/${topic}`);

describe("$SYS of the whole network", () => {
  it("sums over all edges, the same at each, beside the edge's own", async () => {
    const { network, edges } = await three(1);
    const [e1, e2] = edges;
    const watchers = [await watcher(network, e1, "$SYS/#"), await watcher(network, e2, "$SYS/#")];
    const [p] = edges.map((at, i) => at.client(`p${i}`));
    await pass(network, 50);
    for (let i = 0; i < 7; i++) p!.publish("t", "five!", 1);
    await twice(network);
    for (const client of watchers) {
      assert.equal(value(client, "network/state"), "1");
      assert.equal(value(client, "network/edges"), "3");
      assert.equal(value(client, "network/clients/connected"), "5");
      assert.equal(value(client, "network/clients/maximum"), "5");
      assert.equal(value(client, "network/publish/messages/received"), "7");
      assert.equal(value(client, "network/publish/bytes/received"), "35");
      assert.equal(value(client, "network/subscriptions/count"), "2");
    }
    const [first, second] = watchers;
    assert.equal(value(first!, "broker/publish/messages/received"), "7");
    assert.equal(value(second!, "broker/publish/messages/received"), "0");
    assert.equal(value(second!, "edges/e1/publish/messages/received"), "7");
    assert.equal(value(second!, "edges/e3/clients/connected"), "1");
    const load = Number(value(first!, "network/load/publish/received/1min"));
    assert.ok(load > 0, `${load} a minute`);
  });

  it("counts a dead edge's clients out, keeps what it counted, and goes on from there in its next life", async () => {
    const { network, edges } = await three(2);
    const [e1, , e3] = edges;
    const client = await watcher(network, e3, "$SYS/+/#");
    const p = e1.client("p");
    await pass(network, 50);
    for (let i = 0; i < 7; i++) p.publish("t", "x", 1);
    await twice(network);
    assert.equal(value(client, "network/clients/connected"), "2");
    e1.kill();
    await twice(network);
    assert.equal(value(client, "network/edges"), "2");
    assert.equal(value(client, "network/clients/connected"), "1");
    assert.equal(value(client, "network/clients/maximum"), "2");
    assert.equal(value(client, "network/publish/messages/received"), "7");
    assert.deepEqual(
      ["state", "clients/connected", "publish/messages/received"].map((name) =>
        value(client, `edges/e1/${name}`),
      ),
      ["0", "0", "7"],
    );
    const again = edge(network, "e1");
    await pass(network, 6_000, 10);
    const q = again.client("q");
    await pass(network, 50);
    for (let i = 0; i < 3; i++) q.publish("t", "x", 1);
    await twice(network);
    assert.equal(value(client, "edges/e1/state"), "1");
    assert.equal(value(client, "edges/e1/publish/messages/received"), "10");
    assert.equal(value(client, "network/publish/messages/received"), "10");
    assert.equal(value(client, "network/clients/connected"), "2");
  });

  it("does not count an edge twice that was only cut off, and says while the forwarder is away", async () => {
    const { network, forwarder, edges } = await three(3);
    const [e1, e2] = edges;
    const client = await watcher(network, e2, "$SYS/#");
    const p = e1.client("p");
    await pass(network, 50);
    for (let i = 0; i < 7; i++) p.publish("t", "x", 1);
    await twice(network);
    network.cut.add(e1.address);
    await twice(network);
    assert.equal(value(client, "edges/e1/state"), "0");
    network.cut.delete(e1.address);
    await twice(network);
    assert.equal(value(client, "edges/e1/state"), "1");
    assert.equal(value(client, "network/publish/messages/received"), "7");
    forwarder.kill();
    await pass(network, 6_000, 10);
    assert.equal(value(client, "network/state"), "0");
    new SimForwarder(network);
    await twice(network);
    assert.equal(value(client, "network/state"), "1");
    assert.equal(value(client, "network/edges"), "3");
    assert.equal(value(client, "network/publish/messages/received"), "7");
  });

  it("tells of single edges only where somebody wants to know, and forgets them after", async () => {
    const { network, edges } = await three(4);
    const [e1, e2] = edges;
    const sums = await watcher(network, e1, "$SYS/network/#");
    await twice(network);
    const size = e1.broker.stat("retained_messages");
    const each = await watcher(network, e1, "$SYS/edges/+/clients/#");
    await pass(network, 100);
    assert.equal(value(each, "edges/e2/clients/connected"), "0");
    const kept =
      SYS_VALUES.filter((topic, place) => isSysCounter(place) || !topic.startsWith("load/")).length + 1;
    assert.equal(e1.broker.stat("retained_messages"), size + 3 * kept);
    e2.client("c");
    await twice(network);
    assert.equal(value(each, "edges/e2/clients/connected"), "1");
    each.unsubscribe("$SYS/edges/+/clients/#");
    await pass(network, 100);
    assert.equal(e1.broker.stat("retained_messages"), size);
    assert.equal(
      [...sums.last.keys()].some((topic) => topic.startsWith("$SYS/edges")),
      false,
    );
  });

  it("holds while edges come and go, over many seeds: the sums are those of the edges", async () => {
    for (let seed = 10; seed < 30; seed++) {
      const { network, edges } = await three(seed);
      network.faults = { loss: 0.1, repeat: 0.1, delay: [0.1, 8] };
      const client = await watcher(network, edges[0], "$SYS/#");
      for (let step = 0; step < 5; step++) {
        const at = 1 + Math.floor(network.rand() * 2);
        const p = edges[at]!.client(`p${step}`);
        await pass(network, 200);
        for (let i = 0; i < 3; i++) p.publish("t", "x", 1);
        await pass(network, network.rand() * 15_000, 20);
        if (network.rand() < 0.5) continue;
        edges[at]!.kill();
        await pass(network, network.rand() * 8_000, 20);
        edges[at] = edge(network, `e${at + 1}`);
        await pass(network, 8_000, 20);
      }
      network.faults = { loss: 0, repeat: 0, delay: [0.1, 1] };
      await twice(network);
      await twice(network);
      for (const topic of SYS_VALUES) {
        if (topic.startsWith("load/")) continue;
        const sum = ["e1", "e2", "e3"].reduce(
          (all, id) => all + Number(value(client, `edges/${id}/${topic}`)),
          0,
        );
        assert.equal(Number(value(client, `network/${topic}`)), sum, `${seed} ${topic}`);
      }
      assert.equal(value(client, "network/edges"), "3", `${seed}`);
    }
  });
});
