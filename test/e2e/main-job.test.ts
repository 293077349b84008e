import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { COOKIE, type PortCounters } from "topicast/testbed/switches";
import { eventually, type Testbed } from "topicast/testbed/testbed";
import type { TreeLink } from "topicast/testbed/tree";
import { AGENTS, numbered, publisherAt, sleep, startSevenSwitches, subscribeAt, topics } from "./support.js";

/** The forwarder's group id for a multicast address: controller-app/dataplane/README.md. */
const groupId = (address: string) => {
  const [, b, c, d] = address.split(".").map(Number);
  return 0x54400000 + (((b! << 16) | (c! << 8) | d!) & 0x3ffff);
};

describe("the main job on seven switches", () => {
  let testbed: Testbed;
  before(async () => {
    testbed = await startSevenSwitches();
  });
  after(() => testbed?.stop());

  type Ports = ReadonlyMap<string, ReadonlyMap<number, PortCounters>>;

  async function allPorts(): Promise<Ports> {
    const ports = new Map<string, ReadonlyMap<number, PortCounters>>();
    for (const name of testbed.tree.switches) ports.set(name, await testbed.switches.ports(name));
    return ports;
  }

  /** Packets in both directions that the parent's port of a link has seen since `earlier`. */
  function carried(earlier: Ports, now: Ports, link: TreeLink): number {
    const a = earlier.get(link.from)!.get(link.port)!;
    const b = now.get(link.from)!.get(link.port)!;
    return b.rx - a.rx + (b.tx - a.tx);
  }

  /**
   * What everything else (LLDP, the agents' control datagrams) puts on a link: the packets on it while nobody publishes,
   * and how long that was watched.
   */
  async function idle(ms: number): Promise<(link: TreeLink, duringMs: number) => number> {
    const earlier = await allPorts();
    await sleep(ms);
    const now = await allPorts();
    return (link, duringMs) => 20 + 2 * (carried(earlier, now, link) / ms) * duringMs;
  }

  /** Packets by switch on the flow that leads datagrams for `address` into their group. */
  async function flowPackets(address: string): Promise<Map<string, number>> {
    await testbed.switches.settle();
    const packets = new Map<string, number>();
    for (const name of testbed.tree.switches) {
      for (const flow of await testbed.switches.groupFlows(name)) {
        if (flow.match.includes(`nw_dst=${address}`)) packets.set(name, flow.packets);
      }
    }
    return packets;
  }

  it("brings 1,000 messages to both edges in order, over each link once, by every counter", async () => {
    const { tree } = testbed;
    const subscribers = [
      await subscribeAt(testbed, "e1", "plant/+/temp"),
      await subscribeAt(testbed, "e5", "plant/+/temp"),
    ];
    const publisher = await publisherAt(testbed, "e3", "plant/7/temp");
    await testbed.openRoute(AGENTS.e3, publisher, subscribers);
    const routed = (await topics(testbed)).topics.find((t) => t.topic === "plant/7/temp");
    assert.deepEqual(routed?.edges, ["e1", "e5"]);
    const group = routed.group!;

    const noise = await idle(2000);
    const had = subscribers.map((s) => s.received.length);
    const linksBefore = await testbed.links.snapshot();
    const flowsBefore = await flowPackets(group);
    const portsBefore = await allPorts();
    const started = performance.now();

    const payloads = numbered(1000);
    await publisher.publishAll(payloads, 200);
    for (const [i, subscriber] of subscribers.entries()) {
      await subscriber.has(had[i]! + 1000, 5000);
      assert.deepEqual(
        subscriber.received.slice(had[i]).map((m) => m.payload),
        payloads,
        subscriber.child.name,
      );
    }
    const portsAfter = await allPorts();
    const duration = performance.now() - started;
    const flowsAfter = await flowPackets(group);

    const least = (link: TreeLink) => 1000 * tree.least(link, AGENTS.e3, [AGENTS.e1, AGENTS.e5]);
    for (const { link, datagrams } of await testbed.links.since(linksBefore)) {
      assert.equal(datagrams, least(link), `${link.from}-${link.to}, counted on the link`);
    }
    for (const link of tree.links.filter((l) => tree.isInner(l))) {
      const packets = carried(portsBefore, portsAfter, link);
      const most = least(link) + noise(link, duration);
      assert.ok(
        packets >= least(link) && packets <= most,
        `${link.from}-${link.to}, by its port: ${packets}, should be ${least(link)} to ${most}`,
      );
    }
    // An edge without subscribers: nothing but noise reaches its host.
    const toE7 = tree.links.find((l) => l.to === AGENTS.e7)!;
    assert.ok(carried(portsBefore, portsAfter, toE7) <= noise(toE7, duration), "e7's port");
    for (const name of tree.switches) {
      const touched = tree.links.some((l) => (l.from === name || l.to === name) && least(l) > 0);
      const packets = (flowsAfter.get(name) ?? 0) - (flowsBefore.get(name) ?? 0);
      // Heartbeats go the same way, each after 30 ms or more in which nothing was published.
      const [fewest, most] = touched ? [1000, 1000 + duration / 30] : [0, 0];
      assert.ok(packets >= fewest && packets <= most, `${name}, by its flow: ${packets}`);
    }
    await publisher.stop();
    for (const subscriber of subscribers) await subscriber.stop();
  });

  it("puts nothing on the network for messages that nobody elsewhere wants", async () => {
    const { tree } = testbed;
    // One subscriber beside the publisher, at the same agent, and none anywhere else.
    const local = await subscribeAt(testbed, "e3", "lonely/#");
    const publisher = await publisherAt(testbed, "e3", "lonely/7");
    publisher.publish("first 1");
    assert.ok(await local.has(1, 5000));
    // The first one asks for the way; then it is known that there is none to go.
    await sleep(500);
    assert.equal((await topics(testbed)).topics.filter((t) => t.topic === "lonely/7").length, 0);

    const noise = await idle(2000);
    const linksBefore = await testbed.links.snapshot();
    const portsBefore = await allPorts();
    const started = performance.now();
    await publisher.publishAll(numbered(400), 200);
    assert.ok(await local.has(401, 5000));
    const duration = performance.now() - started;
    const portsAfter = await allPorts();
    for (const { link, datagrams } of await testbed.links.since(linksBefore)) {
      assert.equal(datagrams, 0, `${link.from}-${link.to}`);
    }
    for (const link of tree.links.filter((l) => tree.isInner(l))) {
      const packets = carried(portsBefore, portsAfter, link);
      assert.ok(packets <= noise(link, duration), `${link.from}-${link.to}, by its port: ${packets}`);
    }
    await publisher.stop();
    await local.stop();
  });

  it("reaches the subscriber behind the publisher's own agent and those elsewhere, each once", async () => {
    const here = await subscribeAt(testbed, "e3", "both/x");
    const there = await subscribeAt(testbed, "e7", "both/x");
    const publisher = await publisherAt(testbed, "e3", "both/x");
    await testbed.openRoute(AGENTS.e3, publisher, [here, there]);
    const before = await testbed.links.snapshot();
    const had = [here.received.length, there.received.length];
    await publisher.publishAll(numbered(100), 100);
    for (const [i, subscriber] of [here, there].entries()) {
      await subscriber.has(had[i]! + 100, 5000);
      assert.deepEqual(
        subscriber.received.slice(had[i]).map((m) => m.payload),
        numbered(100),
      );
    }
    for (const { link, datagrams } of await testbed.links.since(before)) {
      assert.equal(
        datagrams,
        100 * testbed.tree.least(link, AGENTS.e3, [AGENTS.e7]),
        `${link.from}-${link.to}`,
      );
    }
    await publisher.stop();
    await here.stop();
    await there.stop();
  });

  it("removes what a topic alone needed within a second of its last subscriber, and nothing else", async () => {
    const { switches, tree } = testbed;
    const handMade = "cookie=0x99,priority=77,ip,nw_dst=10.9.9.9,actions=drop";
    await switches.addFlow("s4", handMade);
    const subscribers = [
      await subscribeAt(testbed, "e1", "leaving/+"),
      await subscribeAt(testbed, "e7", "leaving/+"),
    ];
    const publisher = await publisherAt(testbed, "e5", "leaving/1");
    await testbed.openRoute(AGENTS.e5, publisher, subscribers);
    const group = (await topics(testbed)).topics.find((t) => t.topic === "leaving/1")!.group!;
    const id = groupId(group);
    assert.ok((await flowPackets(group)).size >= 5, "its flows are there");
    assert.ok((await switches.groupIds("s1")).includes(id), "its groups are there");

    const foreign = async () => {
      const found = new Map<string, string[]>();
      for (const name of tree.switches) {
        const flows = (await switches.flows(name)).filter((f) => f.cookie !== COOKIE);
        found.set(
          name,
          flows.map((f) => `${f.cookie} ${f.priority} ${f.match} ${f.actions}`),
        );
      }
      return found;
    };
    const before = await foreign();
    assert.ok(before.get("s4")!.some((f) => f.includes("10.9.9.9")));
    assert.ok(before.get("s1")!.length > 1, "simple_switch_13 has flows");

    await Promise.all(subscribers.map((s) => s.stop()));
    await eventually("flows, groups and REST entries are gone", 1000, async () => {
      const told = await topics(testbed);
      const { groups } = (await testbed.get("/groups")) as { groups: { group: string }[] };
      if (told.filters.some((f) => f.filter === "leaving/+")) throw new Error("the filter is still there");
      if (told.topics.some((t) => t.topic === "leaving/1")) throw new Error("the topic is still there");
      if (groups.some((g) => g.group === group)) throw new Error(`/groups still has ${group}`);
      for (const name of tree.switches) {
        const flows = await switches.groupFlows(name);
        if (flows.some((f) => f.match.includes(group))) throw new Error(`${name} still has the flow`);
        if ((await switches.groupIds(name)).includes(id)) throw new Error(`${name} still has the group`);
      }
      return true;
    });

    const now = await foreign();
    for (const [name, flows] of before) {
      for (const flow of flows) assert.ok(now.get(name)!.includes(flow), `${name} has lost ${flow}`);
    }
    await switches.deleteFlows("s4", "cookie=0x99/-1");
    await publisher.stop();
  });
});
