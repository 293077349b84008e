import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { SharedAccess } from "@topicast/agent/fabric/fabric.js";
import { type AccessLists, accessDigest, NO_LISTS } from "@topicast/protocol";
import { type Faults, PERFECT, SimAgent, SimForwarder, SimNetwork } from "./sim.js";

/** Keeps what it gets, as an agent's access does. */
class Kept implements SharedAccess {
  readonly taken: AccessLists[] = [];
  refuse = false;

  get lists(): AccessLists {
    return this.taken.at(-1) ?? NO_LISTS;
  }

  get sharedDigest(): string | undefined {
    return accessDigest(this.lists);
  }

  setShared(lists: AccessLists): boolean {
    if (this.refuse) return false;
    this.taken.push(lists);
    return true;
  }
}

const FIRST: AccessLists = { passwords: "a:hash", acl: "topic read #" };
const SECOND: AccessLists = { passwords: null, acl: "topic #" };

function fabric(count: number, lists: AccessLists, faults: Faults = PERFECT) {
  const network = new SimNetwork(7, faults);
  const forwarder = new SimForwarder(network);
  forwarder.forwarder.setAccess(lists);
  const kept = Array.from({ length: count }, () => new Kept());
  const agents = kept.map((access, i) => new SimAgent(network, `e${i}`, `10.0.1.${i + 1}`, 1883, [], access));
  return { network, forwarder, kept, agents };
}

const sent = ({ forwarder }: SimForwarder) =>
  [...forwarder.metrics()].find(({ name }) => name === "forwarder_access_sent_total")?.value;

describe("users and rules of the forwarder", () => {
  it("reach every agent, those that come later, and again when they change", async () => {
    const { network, forwarder, kept } = fabric(40, FIRST);
    await network.run(500);
    for (const { taken } of kept) assert.deepEqual(taken, [FIRST]);
    forwarder.forwarder.setAccess(SECOND);
    await network.run(500);
    for (const { taken } of kept) assert.deepEqual(taken, [FIRST, SECOND]);
    const late = new Kept();
    new SimAgent(network, "late", "10.0.1.99", 1883, [], late);
    await network.run(500);
    assert.deepEqual(late.taken, [SECOND]);
    forwarder.forwarder.setAccess(SECOND);
    await network.run(500);
    assert.equal(sent(forwarder), 81, "what has not changed is not sent");
  });

  it("stay while the forwarder is away, and are not sent again by one that has the same", async () => {
    const { network, forwarder, kept } = fabric(2, FIRST);
    await network.run(500);
    forwarder.kill();
    await network.run(10_000, 10);
    for (const { lists } of kept) assert.deepEqual(lists, FIRST);
    const same = new SimForwarder(network);
    same.forwarder.setAccess(FIRST);
    await network.run(4_000, 10);
    assert.equal(same.forwarder.counts().agents, 2);
    assert.equal(sent(same), 0);
    for (const { taken } of kept) assert.deepEqual(taken, [FIRST]);
  });

  it("go when a forwarder comes that has none", async () => {
    const { network, forwarder, kept } = fabric(2, FIRST);
    await network.run(500);
    forwarder.kill();
    const none = new SimForwarder(network);
    await network.run(10_000, 10);
    for (const { lists } of kept) assert.deepEqual(lists, NO_LISTS);
    assert.equal(sent(none), 2);
  });

  it("are not spoken of where there are none", async () => {
    const { network, forwarder, kept } = fabric(1, NO_LISTS);
    await network.run(1_000);
    assert.deepEqual(kept[0]!.taken, []);
    assert.equal(sent(forwarder), 0);
  });

  it("arrive whole, however large, over a network that loses, repeats and reorders", async () => {
    const large = { passwords: "x".repeat(400_000), acl: "é\n".repeat(50_000) };
    const { network, kept, agents } = fabric(2, large, { loss: 0.05, repeat: 0.05, delay: [0.1, 2] });
    await network.run(15_000, 5);
    for (const { lists } of kept) assert.deepEqual(lists, large);
    for (const { fabric } of agents) assert.equal(fabric.state, "registered");
  });

  it("that an agent cannot use are counted, and change nothing", async () => {
    const { network, forwarder, kept, agents } = fabric(1, FIRST);
    await network.run(500);
    kept[0]!.refuse = true;
    forwarder.forwarder.setAccess(SECOND);
    await network.run(500);
    assert.deepEqual(kept[0]!.lists, FIRST);
    assert.equal(agents[0]!.fabric.counters().dropped_bad_access, 1);
  });
});
