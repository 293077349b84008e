import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Carriage, GroupWish } from "@topicast/controller/dataplane/dataplane.js";
import { UnicastDataplane } from "@topicast/controller/dataplane/unicast.js";
import type { AgentClaim } from "@topicast/controller/forwarder/agents.js";
import { type Group, GroupTable, type Use } from "@topicast/controller/forwarder/groups.js";
import type { RoutedTopic } from "@topicast/controller/forwarder/topics.js";
import { SimClock } from "@topicast/protocol";
import { settle } from "../dataplane/model-ryu.js";

const claim = (n: number) => ({
  ...{ id: `e${n}`, address: `10.0.0.${n}`, port: 1883, dataEpoch: 1, stay: 1, mac: `02:00:00:00:00:0${n}` },
  intercepts: [],
});
const members = [claim(1), claim(2)];

/** A data plane that answers when it is told to. */
class Slow extends UnicastDataplane {
  readonly wishes: GroupWish[] = [];
  private readonly waiting: ((carriage: Carriage) => void)[] = [];

  override want(wish: GroupWish): Promise<Carriage> {
    this.wishes.push(wish);
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async answer(carriage: Carriage): Promise<void> {
    for (const resolve of this.waiting.splice(0)) resolve(carriage);
    await settle();
  }
}

function table() {
  const clock = new SimClock();
  const dataplane = new Slow();
  const range = { base: 0xefc00000, size: 2 ** 18 };
  const table = new GroupTable({
    ...{ clock, dataplane, range, port: 1883, onRetired: () => {}, onMoved: () => {} },
    claimOf: (id) => claim(Number(id.slice(1))),
    claimAt: () => undefined,
  });
  /** The topics that hold the group, by their publishers. */
  const users = new Map<string, { topic: RoutedTopic; use: Use }>();
  const groups = {
    acquire: (claims: readonly AgentClaim[], ids: readonly string[]) => {
      const topic = { topic: ids.join() } as RoutedTopic;
      const use = table.acquire(topic, claims, ids, undefined)!;
      users.set(ids.join(), { topic, use });
      return use.group;
    },
    release: (ids: readonly string[]) => {
      const { topic, use } = users.get(ids.join())!;
      table.release(topic, use, ids, undefined);
    },
    ready: (group: Group, ids: readonly string[]) => table.ready(group, ids),
  };
  const publishers = () => dataplane.wishes.map((w) => w.publishers.join());
  return { clock, dataplane, groups, publishers };
}

describe("a group's publishers", () => {
  it("are one wish when they come together, and one more for all that come while it is under way", async () => {
    const { dataplane, groups, publishers } = table();
    const group = groups.acquire(members, ["e3"]);
    groups.acquire(members, ["e2", "e3"]);
    await settle();
    assert.deepEqual(publishers(), ["e2,e3"]);
    for (const id of ["e4", "e5", "e6"]) groups.acquire(members, [id]);
    const isReady = { first: false, second: false };
    void groups.ready(group, ["e3"]).then(() => Object.assign(isReady, { first: true }));
    void groups.ready(group, ["e5"]).then(() => Object.assign(isReady, { second: true }));
    await dataplane.answer("openflow");
    assert.deepEqual(publishers(), ["e2,e3", "e2,e3,e4,e5,e6"]);
    assert.deepEqual([group.carriage, isReady.second], ["openflow", false]);
    await dataplane.answer("openflow");
    assert.deepEqual(isReady, { first: true, second: true });
    groups.acquire(members, ["e3", "e4"]);
    await groups.ready(group, ["e3", "e4"]);
    assert.equal(dataplane.wishes.length, 2, "these are known");
  });

  it("keep their rules for 30 s after they have left, and cost no wish when they come back", async () => {
    const { clock, dataplane, groups, publishers } = table();
    groups.acquire(members, ["e3"]);
    groups.acquire(members, ["e4"]);
    groups.acquire(members, ["e5"]);
    await settle();
    await dataplane.answer("openflow");
    groups.release(["e4"]);
    clock.advance(20_000);
    groups.release(["e5"]);
    groups.acquire(members, ["e4"]);
    await settle();
    clock.advance(29_000);
    await settle();
    assert.deepEqual(publishers(), ["e3,e4,e5"]);
    groups.release(["e4"]);
    clock.advance(12_000);
    await settle();
    await dataplane.answer("openflow");
    assert.deepEqual(publishers(), ["e3,e4,e5", "e3,e4"]);
    clock.advance(60_000);
    await settle();
    assert.deepEqual(publishers(), ["e3,e4,e5", "e3,e4", "e3"]);
  });

  it("need no wish where the group has one member", async () => {
    const { dataplane, groups } = table();
    const group = groups.acquire([claim(1)], ["e3"]);
    await groups.ready(group, ["e3"]);
    assert.deepEqual([dataplane.wishes.length, group.carriage], [0, "unicast"]);
  });
});
