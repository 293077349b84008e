import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { groupId } from "@topicast/controller/dataplane/rules.js";
import { checkDelivery, group, started } from "./bench.js";
import { follow } from "./model-network.js";

describe("want", () => {
  it("answers openflow only when every switch holds its rules, and datagrams then go where they should", async () => {
    const bench = await started();
    const { value, ms } = await bench.timed(bench.want(group, ["e2", "e3"]));
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
    await bench.timed(bench.want(group, ["e2", "e3"]));
    await bench.timed(bench.plane.drop(group));
    const asked = bench.plane.status().counters;
    assert.deepEqual([asked.probes - before.probes, asked.reads - before.reads], [14, 0]);
    bench.ryu.countsReferences = false;
    const { value } = await bench.timed(bench.want(group, ["e2", "e3"]));
    assert.equal(value, "openflow");
    assert.ok(bench.plane.status().counters.reads - asked.reads >= 7);
    checkDelivery(bench, group, ["e2", "e3"]);
  });

  it("makes one pass of many wishes that come together", async () => {
    const bench = await started();
    const reads = bench.plane.status().counters.reads;
    const answers = Array.from({ length: 40 }, (_, i) => bench.want(`239.192.1.${i}`, ["e1", "e4"]));
    const { value } = await bench.timed(Promise.all(answers));
    assert.deepEqual(new Set(value), new Set(["openflow"]));
    assert.equal(bench.plane.status().counters.reads - reads, 7, "one read-back per switch");
    for (let i = 0; i < 40; i++) checkDelivery(bench, `239.192.1.${i}`, ["e1", "e4"]);
  });

  it("modifies a group in use, and never deletes it", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1"]));
    bench.ryu.log.length = 0;
    const { value } = await bench.timed(bench.want(group, ["e1", "e3"]));
    assert.equal(value, "openflow");
    checkDelivery(bench, group, ["e1", "e3"]);
    assert.deepEqual(new Set(bench.ryu.log.map((l) => l.split(" ")[1])), new Set(["group-modify"]));
    assert.deepEqual(bench.events, []);
  });

  it("answers a wish that is overtaken by the next together with it", async () => {
    const bench = await started();
    const first = bench.want(group, ["e1"]);
    await bench.pass(1);
    const second = bench.want(group, ["e4"]);
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
    const soon = bench.want(group, ["e3"]);
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
    const late = await bench.timed(bench.want("239.192.0.2", ["e3"]));
    assert.deepEqual(late, { value: "unicast", ms: 1000 });
    assert.equal(bench.plane.group("239.192.0.2")?.reason, "e3 is not located");
    await bench.pass(5000);
    const hopeless = await bench.timed(bench.want("239.192.0.3", ["e3"]));
    assert.deepEqual(hopeless, { value: "unicast", ms: 0 }, "nobody waits for an agent that is nowhere");
    const asked = bench.events.filter((e) => e === "locate e3").length;
    await bench.pass(60_000);
    const more = bench.events.filter((e) => e === "locate e3").length - asked;
    assert.ok(more >= 3 && more <= 6, `asked ${more} times in a minute`);
    bench.events.length = 0;
    bench.ryu.hosts = [...hosts, { mac: "02:00:00:00:00:03", ipv4: [], at: { dpid: 6n, port: 2 } }];
    await bench.pass(1100);
    const whole = ["239.192.0.1 openflow", "239.192.0.2 openflow", "239.192.0.3 openflow"];
    assert.deepEqual(bench.events.toSorted(), whole);
  });

  it("answers unicast at once for addresses out of range and after close", async () => {
    const bench = await started();
    assert.equal(await bench.want("239.196.0.1", ["e1"]), "unicast");
    await bench.plane.close();
    assert.equal(await bench.want(group, ["e1"]), "unicast");
    assert.equal(bench.ryu.closed, true);
    await bench.plane.close();
  });
});

describe("a switch that refuses", () => {
  it("sends its groups by unicast without waiting for the deadline, and takes them when it can", async () => {
    const bench = await started();
    const full = bench.ryu.switches.get(5n)!;
    full.maxGroups = 1;
    await bench.timed(bench.want(group, ["e2", "e3"]));
    const second = bench.want("239.192.0.2", ["e1", "e2"]);
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
    const { value, ms } = await bench.timed(bench.want(group, ["e1", "e2"]));
    assert.equal(value, "openflow");
    assert.ok(ms > 20 && ms < 100, `after a pause, took ${ms} ms`);
    assert.equal(bench.plane.status().counters.refused, 1);
  });

  it("shows also where a group keeps its number of buckets", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1"]));
    bench.ryu.switches.get(1n)!.refuseNext = 1000;
    assert.equal((await bench.timed(bench.want(group, ["e3"]))).value, "unicast");
    bench.ryu.switches.get(1n)!.refuseNext = 0;
    await bench.pass(6000);
    assert.deepEqual(bench.events, ["239.192.0.1 unicast", "239.192.0.1 openflow"]);
    checkDelivery(bench, group, ["e3"]);
  });

  it("shows where an unknown group was in the way", async () => {
    const bench = await started();
    bench.ryu.switches.get(2n)!.groups.set(groupId(group), [{ port: 60 }, { port: 61 }, { port: 62 }]);
    assert.equal((await bench.timed(bench.want(group, ["e1", "e2"]))).value, "openflow");
    checkDelivery(bench, group, ["e1", "e2"]);
  });

  it("keeps a dropped address from being used again", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1"]));
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
    await bench.timed(bench.want(group, ["e1"]));
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
    await bench.timed(bench.want(group, ["e1"]));
    await bench.timed(bench.want("239.192.0.2", ["e2"]));
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
    await bench.timed(bench.want(group, ["e1"]));
    const drop = bench.timed(bench.plane.drop(group));
    const { value } = await bench.timed(bench.want(group, ["e3"]));
    assert.equal(value, "openflow");
    assert.ok((await drop).ms < 10);
    await bench.pass(1400);
    checkDelivery(bench, group, ["e3"]);
  });

  it("answers by the deadline when Ryu is away; the address is held until it is free", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1"]));
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
    await bench.timed(bench.want(group, ["e1", "e4"]));
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
    await bench.timed(bench.want(group, ["e1"]));
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
    await bench.timed(bench.want(group, ["e1", "e4"]));
    await bench.timed(bench.plane.drop(group));
    await bench.pass(3000);
    assert.deepEqual(model.groups.get(7), [{ port: 1 }]);
    assert.deepEqual(
      model.flows.find((f) => !f.ours),
      theirs,
    );
  });
});
