import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { copyRule, groupId } from "@topicast/controller/dataplane/rules.js";
import fc from "fast-check";
import { follow } from "./model-network.js";
import { Bench } from "./model-ryu.js";
import { build, type Network, networks } from "./networks.js";

/** The demo's tree: s1 above s2, s3; s4, s5 below s2, s6, s7 below s3; e1 to e4 on s4 to s7. */
const tree = () => build({ parents: [0, 0, 1, 1, 2, 2], extra: [], agents: [3, 4, 5, 6], descending: false });
const group = "239.192.0.1";

async function started(network: Network = tree()): Promise<Bench> {
  const bench = new Bench(network);
  bench.plane.start();
  bench.plane.setAgents(bench.agents());
  bench.plane.settled();
  await bench.pass(20);
  bench.events.length = 0;
  return bench;
}

/** Sends one datagram from each agent and checks who gets it. */
function checkDelivery(
  bench: Pick<Bench, "ryu" | "network">,
  address: string,
  members: readonly string[],
): void {
  const { links, places } = bench.network;
  for (const sender of places) {
    const journey = follow(bench.ryu.switches, links, places, sender, address);
    assert.equal(journey.astray, 0);
    const expected = members.filter((m) => m !== sender.agent);
    assert.deepEqual([...journey.received.keys()].sort(), expected.toSorted(), `from ${sender.agent}`);
    for (const count of [...journey.received.values(), ...journey.onLinks.values()]) assert.equal(count, 1);
  }
}

describe("want", () => {
  it("answers openflow only when every switch holds its rules, and datagrams then go where they should", async () => {
    const bench = await started();
    const { value, ms } = await bench.timed(bench.plane.want({ address: group, members: ["e2", "e3"] }));
    assert.equal(value, "openflow");
    assert.ok(ms <= 5, `group, flow, read-back: three calls of 1 ms each, took ${ms} ms`);
    checkDelivery(bench, group, ["e2", "e3"]);
    const status = bench.plane.group(group);
    assert.deepEqual(
      [status?.wanted, status?.seen, status?.carriage, status?.reason],
      [7, 7, "openflow", null],
    );
  });

  it("asks the switches for that group alone, and reads everything where they keep no count of references", async () => {
    const bench = await started();
    const before = bench.plane.status().counters;
    await bench.timed(bench.plane.want({ address: group, members: ["e2", "e3"] }));
    await bench.timed(bench.plane.drop(group));
    const asked = bench.plane.status().counters;
    assert.deepEqual([asked.probes - before.probes, asked.reads - before.reads], [14, 0]);
    bench.ryu.countsReferences = false;
    const { value } = await bench.timed(bench.plane.want({ address: group, members: ["e2", "e3"] }));
    assert.equal(value, "openflow");
    assert.ok(bench.plane.status().counters.reads - asked.reads >= 7);
    checkDelivery(bench, group, ["e2", "e3"]);
  });

  it("makes one pass of many wishes that come together", async () => {
    const bench = await started();
    const reads = bench.plane.status().counters.reads;
    const answers = Array.from({ length: 40 }, (_, i) =>
      bench.plane.want({ address: `239.192.1.${i}`, members: ["e1", "e4"] }),
    );
    const { value } = await bench.timed(Promise.all(answers));
    assert.deepEqual(new Set(value), new Set(["openflow"]));
    assert.equal(bench.plane.status().counters.reads - reads, 7, "one read-back per switch");
    for (let i = 0; i < 40; i++) checkDelivery(bench, `239.192.1.${i}`, ["e1", "e4"]);
  });

  it("modifies a group in use, and never deletes it", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    bench.ryu.log.length = 0;
    const { value } = await bench.timed(bench.plane.want({ address: group, members: ["e1", "e3"] }));
    assert.equal(value, "openflow");
    checkDelivery(bench, group, ["e1", "e3"]);
    assert.deepEqual(new Set(bench.ryu.log.map((l) => l.split(" ")[1])), new Set(["group-modify"]));
    assert.deepEqual(bench.events, []);
  });

  it("answers a wish that is overtaken by the next together with it", async () => {
    const bench = await started();
    const first = bench.plane.want({ address: group, members: ["e1"] });
    await bench.pass(1);
    const second = bench.plane.want({ address: group, members: ["e4"] });
    assert.deepEqual((await bench.timed(Promise.all([first, second]))).value, ["openflow", "openflow"]);
    assert.equal(bench.plane.status().counters.refused, 0, "to be overtaken is not to be refused");
    checkDelivery(bench, group, ["e4"]);
  });

  it("waits for an agent to be located, asks it to show itself, and answers by the deadline", async () => {
    const bench = await started();
    bench.ryu.hosts = bench.ryu.hosts.filter((h) => h.ipv4[0] !== "10.0.0.3");
    bench.plane.setAgents(bench.agents("e1", "e2"));
    await bench.pass(1100);
    bench.plane.setAgents(bench.agents());
    const hosts = bench.ryu.hosts;
    const soon = bench.plane.want({ address: group, members: ["e3"] });
    await bench.pass(50);
    assert.ok(bench.events.includes("locate e3"));
    bench.ryu.hosts = [...hosts, { mac: "02:00:00:00:00:03", ipv4: [], at: { dpid: 6n, port: 2 } }];
    const { value, ms } = await bench.timed(soon);
    assert.equal(value, "openflow");
    assert.ok(ms < 250, `looked again soon, took ${ms} ms`);

    bench.plane.setAgents(bench.agents("e1", "e2"));
    bench.ryu.hosts = hosts;
    await bench.pass(1100);
    bench.plane.setAgents(bench.agents());
    await bench.pass(20);
    const late = await bench.timed(bench.plane.want({ address: "239.192.0.2", members: ["e3"] }));
    assert.deepEqual(late, { value: "unicast", ms: 1000 });
    assert.equal(bench.plane.group("239.192.0.2")?.reason, "e3 is not located");
    await bench.pass(5000);
    const hopeless = await bench.timed(bench.plane.want({ address: "239.192.0.3", members: ["e3"] }));
    assert.deepEqual(hopeless, { value: "unicast", ms: 0 }, "nobody waits for an agent that is nowhere");
    const asked = bench.events.filter((e) => e === "locate e3").length;
    await bench.pass(60_000);
    const more = bench.events.filter((e) => e === "locate e3").length - asked;
    assert.ok(more >= 3 && more <= 6, `asked ${more} times in a minute`);
    bench.events.length = 0;
    bench.ryu.hosts = [...hosts, { mac: "02:00:00:00:00:03", ipv4: [], at: { dpid: 6n, port: 2 } }];
    await bench.pass(1100);
    const whole = ["239.192.0.1 openflow", "239.192.0.2 openflow", "239.192.0.3 openflow"];
    assert.deepEqual(bench.events.toSorted(), [...whole, "e3 may"]);
  });

  it("answers unicast at once for addresses out of range and after close", async () => {
    const bench = await started();
    assert.equal(await bench.plane.want({ address: "239.196.0.1", members: ["e1"] }), "unicast");
    await bench.plane.close();
    assert.equal(await bench.plane.want({ address: group, members: ["e1"] }), "unicast");
    assert.equal(bench.ryu.closed, true);
    await bench.plane.close();
  });
});

describe("a switch that refuses", () => {
  it("sends its groups by unicast without waiting for the deadline, and takes them when it can", async () => {
    const bench = await started();
    const full = bench.ryu.switches.get(5n)!;
    full.maxGroups = 1;
    await bench.timed(bench.plane.want({ address: group, members: ["e2", "e3"] }));
    const second = bench.plane.want({ address: "239.192.0.2", members: ["e1", "e2"] });
    const { value, ms } = await bench.timed(second);
    assert.equal(value, "unicast");
    assert.ok(ms < 100, `two refusals are enough, took ${ms} ms`);
    assert.match(
      bench.plane.group("239.192.0.2")?.reason ?? "",
      /switch 0000000000000005 does not take its rules/,
    );
    assert.equal(bench.plane.status().counters.refused > 0, true);
    assert.deepEqual([bench.plane.status().groups, bench.plane.status().whole], [2, 1]);
    const before = bench.plane.status().counters.commands;
    await bench.pass(60_000);
    const tries = bench.plane.status().counters.commands - before;
    assert.ok(tries >= 10 && tries <= 60, `tried ${tries} commands in a minute: backing off`);
    full.maxGroups = 2;
    await bench.pass(6000);
    assert.deepEqual(bench.events, ["239.192.0.2 openflow"]);
    checkDelivery(bench, "239.192.0.2", ["e1", "e2"]);
  });
});

describe("a command that comes to nothing", () => {
  it("is sent again before anybody hears of it", async () => {
    const bench = await started();
    bench.ryu.switches.get(4n)!.refuseNext = 2;
    const { value, ms } = await bench.timed(bench.plane.want({ address: group, members: ["e1", "e2"] }));
    assert.equal(value, "openflow");
    assert.ok(ms > 20 && ms < 100, `after a pause, took ${ms} ms`);
    assert.equal(bench.plane.status().counters.refused, 1);
  });

  it("shows also where a group keeps its number of buckets", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    bench.ryu.switches.get(1n)!.refuseNext = 1000;
    assert.equal((await bench.timed(bench.plane.want({ address: group, members: ["e3"] }))).value, "unicast");
    bench.ryu.switches.get(1n)!.refuseNext = 0;
    await bench.pass(6000);
    assert.deepEqual(bench.events, ["239.192.0.1 openflow"]);
    checkDelivery(bench, group, ["e3"]);
  });

  it("shows where an unknown group was in the way", async () => {
    const bench = await started();
    bench.ryu.switches.get(2n)!.groups.set(groupId(group), [{ port: 60 }, { port: 61 }, { port: 62 }]);
    assert.equal(
      (await bench.timed(bench.plane.want({ address: group, members: ["e1", "e2"] }))).value,
      "openflow",
    );
    checkDelivery(bench, group, ["e1", "e2"]);
  });

  it("keeps a dropped address from being used again", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    bench.ryu.switches.get(4n)!.refuseNext = 1000;
    assert.equal((await bench.timed(bench.plane.drop(group))).ms, 1000);
    assert.equal(bench.plane.holds(group), true);
    bench.ryu.switches.get(4n)!.refuseNext = 0;
    await bench.pass(6000);
    assert.equal(bench.plane.holds(group), false);
  });

  it("is sent at once to a switch that connects again", async () => {
    const bench = await started();
    const model = bench.ryu.switches.get(4n)!;
    model.refuseNext = 1000;
    await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    await bench.pass(31_000);
    bench.ryu.connected.delete(4n);
    await bench.pass(1100);
    model.refuseNext = 0;
    bench.ryu.connected.add(4n);
    await bench.pass(1100);
    assert.equal(bench.plane.group(group)?.carriage, "openflow");
  });
});

describe("drop", () => {
  it("removes flows and groups, tells when they are gone, and leaves the others alone", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    await bench.timed(bench.plane.want({ address: "239.192.0.2", members: ["e2"] }));
    assert.equal(bench.plane.holds(group), true);
    const { ms } = await bench.timed(bench.plane.drop(group));
    assert.ok(ms <= 5, `took ${ms} ms`);
    assert.equal(bench.plane.holds(group), false);
    assert.equal(bench.plane.group(group), undefined);
    for (const model of bench.ryu.switches.values()) {
      assert.ok(!model.groups.has(groupId(group)) && model.flows.every((f) => f.destination !== group));
    }
    checkDelivery(bench, "239.192.0.2", ["e2"]);
    const { links, places } = bench.network;
    const late = follow(bench.ryu.switches, links, places, places[0]!, group);
    assert.deepEqual([late.astray, late.received.size], [0, 0], "the guard takes what is still under way");
  });

  it("is overtaken by a new wish for the same address", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    const drop = bench.timed(bench.plane.drop(group));
    const { value } = await bench.timed(bench.plane.want({ address: group, members: ["e3"] }));
    assert.equal(value, "openflow");
    assert.ok((await drop).ms < 10);
    await bench.pass(1400);
    checkDelivery(bench, group, ["e3"]);
  });

  it("answers by the deadline when Ryu is away; the address is held until it is free", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    bench.ryu.up = false;
    await bench.pass(1100);
    const { ms } = await bench.timed(bench.plane.drop(group));
    assert.equal(ms, 1000);
    assert.equal(bench.plane.holds(group), true);
    bench.ryu.up = true;
    await bench.pass(1100);
    assert.equal(bench.plane.holds(group), false);
  });
});

describe("what someone else changes", () => {
  it("is repaired at the next read-back without a change of carriage", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1", "e4"] }));
    const model = bench.ryu.switches.get(1n)!;
    model.apply({ op: "group-delete", id: groupId(group) });
    bench.ryu.switches.get(7n)!.groups.set(groupId(group), [{ port: 9 }]);
    await bench.pass(1400);
    checkDelivery(bench, group, ["e1", "e4"]);
    assert.equal(bench.plane.status().counters.repairs, 2);
    assert.deepEqual(bench.events, []);
  });

  it("is not believed when the switch did not tell everything", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    bench.ryu.mute.add(4n);
    const commands = bench.plane.status().counters.commands;
    await bench.pass(5000);
    assert.equal(bench.plane.status().counters.commands, commands);
    assert.ok(bench.plane.status().counters.reads_incomplete > 2);
    assert.deepEqual(bench.events, []);
  });

  it("leaves flows and groups of others untouched", async () => {
    const bench = await started();
    const model = bench.ryu.switches.get(1n)!;
    model.groups.set(7, [{ port: 1 }]);
    const theirs = {
      table: 0,
      priority: 1,
      destination: "10.1.1.1",
      action: 7,
      packets: 3,
      match: { ipv4_dst: "10.1.1.1" },
      ours: false,
    } as const;
    model.flows.push({ ...theirs });
    await bench.timed(bench.plane.want({ address: group, members: ["e1", "e4"] }));
    await bench.timed(bench.plane.drop(group));
    await bench.pass(3000);
    assert.deepEqual(model.groups.get(7), [{ port: 1 }]);
    assert.deepEqual(
      model.flows.find((f) => !f.ours),
      theirs,
    );
  });
});

describe("Ryu away", () => {
  it("answers unicast at once, keeps what is known to stand, and makes up for it on return", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    bench.ryu.up = false;
    const waiting = bench.plane.want({ address: "239.192.0.2", members: ["e2"] });
    assert.ok((await bench.timed(waiting)).ms < 20, "whoever waits hears of it");
    assert.equal(bench.plane.status().ryu?.state, "unreachable");
    assert.match(bench.plane.status().ryu?.lastError ?? "", /connection refused/);
    assert.deepEqual(await bench.timed(bench.plane.want({ address: "239.192.0.3", members: ["e3"] })), {
      value: "unicast",
      ms: 0,
    });
    assert.equal(
      (await bench.timed(bench.plane.want({ address: group, members: ["e1"] }))).value,
      "openflow",
    );
    await bench.pass(5000);
    assert.deepEqual(bench.events, []);
    bench.ryu.up = true;
    await bench.pass(600);
    assert.deepEqual(bench.events.toSorted(), ["239.192.0.2 openflow", "239.192.0.3 openflow"]);
    checkDelivery(bench, "239.192.0.3", ["e3"]);
  });

  it("outlives a restart in which Ryu forgets everything and learns it again bit by bit", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1", "e4"] }));
    await bench.pass(4000);
    const commands = bench.plane.status().counters.commands;
    bench.ryu.up = false;
    await bench.pass(2000);
    bench.ryu.restart();
    // e1's frames are first seen where they come in from another switch, which is not there yet.
    bench.ryu.hosts = [{ mac: "02:00:00:00:00:01", ipv4: ["10.0.0.1"], at: { dpid: 1n, port: 1 } }];
    for (const dpid of bench.network.switches) {
      bench.ryu.connected.add(dpid);
      await bench.pass(800);
    }
    await bench.pass(10_000);
    assert.deepEqual(bench.events, []);
    assert.equal(bench.plane.status().counters.commands, commands, "no rule that was right has been touched");
    assert.equal(bench.plane.status().located, 4);
    checkDelivery(bench, group, ["e1", "e4"]);
  });

  it("counts as unreachable also before it was ever there", async () => {
    const bench = new Bench(tree());
    bench.ryu.up = false;
    bench.plane.start();
    bench.plane.setAgents(bench.agents());
    assert.equal(bench.plane.status().ryu?.state, "starting");
    const { value, ms } = await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    assert.equal(value, "unicast");
    assert.ok(ms < 5);
    const nowhere = await bench.timed(bench.plane.want({ address: "239.192.0.2", members: ["e9"] }));
    assert.deepEqual(nowhere, { value: "unicast", ms: 0 });
    bench.ryu.up = true;
    await bench.pass(600);
    assert.deepEqual(bench.events.toSorted(), [
      "239.192.0.1 openflow",
      "e1 may",
      "e2 may",
      "e3 may",
      "e4 may",
    ]);
  });
});

describe("a change of the network", () => {
  it("moves a group to unicast when a member's switch is gone, and back when it returns", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1", "e4"] }));
    await bench.timed(bench.plane.want({ address: "239.192.0.2", members: ["e1", "e2"] }));
    await bench.pass(4000);
    bench.ryu.connected.delete(7n);
    await bench.pass(3000);
    assert.equal(bench.events.length, 0, "it may be only its connection");
    await bench.pass(2000);
    const told = bench.events.filter((e) => !e.startsWith("locate"));
    assert.deepEqual(told, ["239.192.0.1 unicast", "e4 may not"]);
    assert.ok(bench.events.includes("locate e4"), "it may have moved");
    checkDelivery(
      { ...bench, network: { ...bench.network, places: bench.network.places.slice(0, 3) } },
      "239.192.0.2",
      ["e1", "e2"],
    );
    bench.events.length = 0;
    bench.ryu.switches.get(7n)!.flows = [];
    bench.ryu.switches.get(7n)!.groups.clear();
    bench.ryu.connected.add(7n);
    await bench.pass(1400);
    assert.deepEqual(bench.events.toSorted(), ["239.192.0.1 openflow", "e4 may"]);
    checkDelivery(bench, group, ["e1", "e4"]);
  });

  it("moves the tree to another way round when a link fails", async () => {
    const bench = await started(
      build({ parents: [0, 0], extra: [[1, 2]], agents: [1, 2], descending: false }),
    );
    await bench.timed(bench.plane.want({ address: group, members: ["e1", "e2"] }));
    assert.deepEqual([...bench.ryu.switches.get(1n)!.groups.keys()], [groupId(group)]);
    await bench.pass(4000);
    const failed = bench.network.links[1]!;
    const alive = ({ from }: { from: { dpid: bigint; port: number } }) =>
      ![failed.a, failed.b].some((end) => end.dpid === from.dpid && end.port === from.port);
    bench.ryu.links = bench.ryu.links.filter(alive);
    await bench.pass(1100);
    assert.equal(bench.ryu.switches.get(1n)!.groups.size, 0, "e1 and e2 meet below s1");
    const network = { ...bench.network, links: bench.network.links.filter((l) => l !== failed) };
    checkDelivery({ ...bench, network }, group, ["e1", "e2"]);
    assert.deepEqual(bench.events, []);
  });

  it("follows an agent to another port", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e1", "e4"] }));
    await bench.pass(4000);
    const moved = bench.network.places.map((p) => (p.agent === "e4" ? { ...p, dpid: 4n, port: 9 } : p));
    bench.ryu.hosts = moved.map(({ mac, address, dpid, port }) => ({
      mac,
      ipv4: [address],
      at: { dpid, port },
    }));
    await bench.pass(1100);
    checkDelivery({ ...bench, network: { ...bench.network, places: moved } }, group, ["e1", "e4"]);
  });
});

describe("who may publish", () => {
  it("is an agent whose switch is read back to hold the rules of all groups in use", async () => {
    const bench = new Bench(tree());
    bench.plane.start();
    bench.plane.setAgents(bench.agents("e1", "e2"));
    await bench.pass(20);
    assert.deepEqual(bench.events, ["e1 may", "e2 may"]);
    assert.equal(bench.plane.mayPublish("e3"), false);
    await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    assert.ok(!bench.ryu.switches.get(6n)!.groups.has(groupId(group)), "no agent known there");
    bench.events.length = 0;
    bench.plane.setAgents(bench.agents());
    await bench.pass(1);
    assert.equal(bench.plane.mayPublish("e3"), false);
    await bench.pass(20);
    assert.deepEqual(bench.events, ["e3 may", "e4 may"]);
    checkDelivery(bench, group, ["e1"]);
  });

  it("does not wait for groups that begin to change later", async () => {
    const bench = new Bench(tree());
    bench.plane.start();
    bench.plane.setAgents(bench.agents("e1", "e2"));
    await bench.pass(20);
    await bench.timed(bench.plane.want({ address: group, members: ["e1"] }));
    bench.plane.setAgents(bench.agents("e1", "e2", "e3"));
    let turns = 0;
    for (; !bench.plane.mayPublish("e3") && turns < 20; turns++) {
      void bench.plane.want({ address: `239.192.2.${turns}`, members: ["e1", "e2"] });
      await bench.pass(3);
    }
    assert.ok(turns < 10, `admitted after ${turns} turns of steady change`);
  });
});

describe("leftovers of an earlier run", () => {
  it("are told, kept until recovery is over, taken over where wished for again, and removed otherwise", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e2", "e3"] }));
    await bench.timed(bench.plane.want({ address: "239.192.0.9", members: ["e1", "e4"] }));
    checkDelivery(bench, group, ["e2", "e3"]);
    await bench.plane.close();
    bench.ryu.switches.get(1n)!.apply({
      op: "flow-put",
      rule: { ...copyRule("239.196.0.9", [{ port: 1 }]), id: groupId(group) },
    });
    const plane = bench.newPlane();
    plane.start();
    const { value } = await bench.timed(plane.adopt());
    assert.deepEqual([...(value ?? [])].sort(), [
      ["239.192.0.1", ["10.0.0.2", "10.0.0.3"]],
      ["239.192.0.9", ["10.0.0.1", "10.0.0.4"]],
    ]);
    bench.ryu.log.length = 0;
    await bench.pass(3000);
    plane.setAgents(bench.agents());
    assert.equal(
      (await bench.timed(plane.want({ address: group, members: ["e2", "e3"] }))).value,
      "openflow",
    );
    assert.deepEqual(bench.ryu.log, [], "what stood was right");
    checkDelivery(bench, "239.192.0.9", ["e1", "e4"]);
    assert.equal(plane.holds("239.192.0.9"), true);
    assert.equal(plane.group(group)?.packets, 4, "what the earlier run has sent counts too");
    plane.want({ address: "239.192.0.3", members: ["e1"] });
    await bench.pass(20);
    assert.equal((await bench.timed(plane.drop("239.192.0.3"))).ms, 0, "not removed before recovery is over");
    plane.settled();
    await bench.pass(50);
    assert.equal(plane.status().counters.refused, 0);
    assert.ok(
      bench.ryu.switches.get(1n)!.flows.every((f) => f.destination !== "239.196.0.9"),
      "strays go, too",
    );
    assert.equal(plane.holds("239.192.0.9"), false);
    for (const model of bench.ryu.switches.values()) assert.equal(model.groups.size, 1);
    checkDelivery(bench, group, ["e2", "e3"]);
  });

  it("are null when Ryu cannot be reached, empty when there are none", async () => {
    const bench = new Bench(tree());
    bench.ryu.up = false;
    bench.plane.start();
    assert.deepEqual(await bench.timed(bench.plane.adopt()), { value: null, ms: 3000 });
    const fresh = new Bench(tree());
    fresh.plane.start();
    const { value, ms } = await fresh.timed(fresh.plane.adopt());
    assert.equal(value?.size, 0);
    assert.ok(ms < 10);
  });
});

describe("packets", () => {
  it("count each datagram once, through a change of members and of the counting switch", async () => {
    const bench = await started();
    await bench.timed(bench.plane.want({ address: group, members: ["e2", "e3"] }));
    const send = (from: number) =>
      follow(
        bench.ryu.switches,
        bench.network.links,
        bench.network.places,
        bench.network.places[from]!,
        group,
      );
    for (const from of [0, 1, 2, 3, 0]) send(from);
    await bench.pass(1400);
    assert.equal(bench.plane.group(group)?.packets, 5);
    await bench.timed(bench.plane.want({ address: group, members: ["e3", "e4"] }));
    await bench.pass(1400);
    assert.equal(bench.plane.group(group)?.packets, 5);
    for (const from of [0, 1]) send(from);
    await bench.pass(1400);
    assert.equal(bench.plane.group(group)?.packets, 7);
    const counting = bench.ryu.switches.get(6n)!;
    counting.flows = counting.flows.filter((f) => f.destination !== group);
    await bench.pass(1400);
    send(0);
    await bench.pass(1400);
    assert.equal(bench.plane.group(group)?.packets, 8, "a new flow begins at zero");
  });
});

describe("whatever happens", () => {
  type Step =
    | { readonly kind: "want"; readonly group: number; readonly members: number }
    | { readonly kind: "drop"; readonly group: number }
    | { readonly kind: "agents"; readonly which: number }
    | { readonly kind: "tamper"; readonly at: number; readonly group: number; readonly how: number }
    | { readonly kind: "ryu"; readonly up: boolean }
    | { readonly kind: "cut"; readonly at: number; readonly connected: boolean };
  const small = fc.nat({ max: 1023 });
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ kind: fc.constant("want" as const), group: fc.nat({ max: 3 }), members: small }),
    fc.record({ kind: fc.constant("drop" as const), group: fc.nat({ max: 3 }) }),
    fc.record({ kind: fc.constant("agents" as const), which: small }),
    fc.record({
      kind: fc.constant("tamper" as const),
      at: small,
      group: fc.nat({ max: 3 }),
      how: fc.nat({ max: 3 }),
    }),
    fc.record({ kind: fc.constant("ryu" as const), up: fc.boolean() }),
    fc.record({ kind: fc.constant("cut" as const), at: small, connected: fc.boolean() }),
  );
  const address = (n: number) => `239.192.0.${n + 1}`;

  it("ends, when all is well again, with exactly the wanted rules in every switch", async () => {
    await fc.assert(
      fc.asyncProperty(
        networks(true),
        fc.array(fc.tuple(step, fc.nat({ max: 8 })), { minLength: 1, maxLength: 14 }),
        fc.boolean(),
        async (network, steps, countsReferences) => {
          const bench = new Bench(network, {
            settleMs: 20,
            absenceMs: 20,
            reconnectMs: 50,
            pollMs: 20,
            readMs: 20,
            downMs: 20,
          });
          bench.ryu.countsReferences = countsReferences;
          const ids = network.places.map((p) => p.agent);
          const wanted = new Map<string, string[]>();
          bench.plane.start();
          bench.plane.settled();
          bench.plane.setAgents(bench.agents());
          for (const [action, wait] of steps) {
            const dpid = "at" in action ? network.switches[action.at % network.switches.length]! : 0n;
            switch (action.kind) {
              case "want": {
                const members = ids.filter((_, i) => (action.members >> i) & 1);
                if (members.length === 0) break;
                wanted.set(address(action.group), members);
                void bench.plane.want({ address: address(action.group), members });
                break;
              }
              case "drop":
                wanted.delete(address(action.group));
                void bench.plane.drop(address(action.group));
                break;
              case "agents":
                bench.plane.setAgents(
                  bench.agents(...ids.filter((_, i) => (action.which >> i) & 1), "nobody"),
                );
                break;
              case "ryu":
                bench.ryu.up = action.up;
                break;
              case "cut":
                if (action.connected) bench.ryu.connected.add(dpid);
                else bench.ryu.connected.delete(dpid);
                break;
              case "tamper": {
                const model = bench.ryu.switches.get(dpid)!;
                const id = groupId(address(action.group));
                if (action.how === 0) model.groups.set(id, [{ port: 60 }]);
                if (action.how === 1) model.flows = [];
                if (action.how === 2) model.apply({ op: "group-delete", id });
                if (action.how === 3) {
                  model.groups.set(groupId("239.192.0.77"), [{ port: 1 }]);
                  model.apply({ op: "flow-put", rule: copyRule("239.192.0.77", [{ port: 1 }]) });
                }
              }
            }
            await bench.pass(wait);
          }
          bench.ryu.up = true;
          for (const dpid of network.switches) bench.ryu.connected.add(dpid);
          bench.plane.setAgents(bench.agents());
          await bench.pass(400);

          for (const [at, members] of wanted) {
            const status = bench.plane.group(at)!;
            assert.equal(status.carriage, "openflow", `${at}: ${status.reason}`);
            checkDelivery(bench, at, members);
          }
          for (const model of bench.ryu.switches.values()) {
            for (const flow of model.flows.filter((f) => f.priority === 30000)) {
              assert.ok(wanted.has(flow.destination!), `${flow.destination} is left over`);
            }
            assert.equal(model.dangling(), 0);
            assert.ok(model.groups.size <= wanted.size);
            assert.equal(model.flows.filter((f) => f.priority === 29000).length, 1, "the guard");
          }
          for (const id of ids) assert.ok(bench.plane.mayPublish(id), `${id} may publish`);
          const idle = bench.plane.status().counters.commands;
          await bench.pass(100);
          assert.equal(bench.plane.status().counters.commands, idle, "nothing is left to do");
          await bench.plane.close();
        },
      ),
      { numRuns: 100 },
    );
  });
});
