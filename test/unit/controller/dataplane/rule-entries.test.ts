import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { RuleStatus } from "@topicast/controller/dataplane/dataplane.js";
import { groupId } from "@topicast/controller/dataplane/rules.js";
import { group, started } from "./bench.js";
import type { Bench } from "./model-ryu.js";

const name = `group 0x${groupId(group).toString(16)}`;

/** The rules of a switch, without dpid and name where `named` picks one. */
function rulesOf(bench: Bench, dpid: string): RuleStatus[] {
  return [...bench.plane.rules(dpid)].map((entry) => {
    const status = entry.status();
    assert.equal(entry.differs, status.difference !== "none");
    return status;
  });
}

function ruleOf(bench: Bench, dpid: string, named: string): RuleStatus | undefined {
  return rulesOf(bench, dpid).find((r) => r.name === named);
}

const s4 = "0000000000000004";

describe("rules", () => {
  it("say what is wanted, what is there, and whom it serves", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1", "e3"]));
    await bench.pass(1100);
    const parts = {
      flow: `priority=30000,eth_type=0x800,ipv4_dst=${group} actions=group:${groupId(group)}`,
      group:
        "type=all,bucket=output:1,bucket=set_field:02:00:00:00:00:01->eth_dst," +
        "set_field:10.0.0.1->ipv4_dst,output:2",
    };
    assert.deepEqual(ruleOf(bench, s4, name), {
      ...{ dpid: s4, name, wanted: parts, seen: parts, difference: "none" },
      why: `group ${group}: copies for e1, e3`,
    });
    const drop = {
      flow: "priority=29000,eth_type=0x800,ipv4_dst=239.192.0.0/14 actions=drop",
      group: null,
    };
    assert.deepEqual(ruleOf(bench, s4, "guard"), {
      ...{ dpid: s4, name: "guard", wanted: drop, seen: drop, difference: "none" },
      why: "keeps datagrams of groups that are not there from being flooded",
    });
    assert.deepEqual(
      [...new Set([...bench.plane.rules()].map((r) => r.name))].sort(),
      [name, "guard"].sort(),
    );
    assert.equal([...bench.plane.rules()].length, 14, "guard and group on each of 7 switches");
  });

  it("tell what steering is for, and to which agent it leads", async () => {
    const bench = await started();
    const intercepts = [{ address: "10.9.9.9", port: 1883 }];
    const [e1, ...others] = bench.agents();
    bench.plane.setAgents([{ ...e1!, intercepts, vacant: ["10.9.9.9"] }, ...others]);
    await bench.pass(1100);
    const why = rulesOf(bench, s4).map((r) => r.why);
    for (const line of [
      "leads clients of 10.9.9.9:1883 by port 3 to e1",
      "leads clients of 10.9.9.9:1883 on their way to e1",
      "leads requests for 10.9.9.9's MAC address by port 3 to e1",
      "lets all agents hear, by port 3, of a machine that takes 10.9.9.9",
    ])
      assert.ok(why.includes(line), `${line} among\n${why.join("\n")}`);
  });

  it("tell a rule that is missing, changed, too much, or not yet read, and where that comes from", async () => {
    const bench = await started();
    assert.equal(ruleOf(bench, s4, "guard")?.difference, "none");
    const full = bench.ryu.switches.get(4n)!;
    full.refuseNext = Number.POSITIVE_INFINITY;
    const wish = bench.want(group, ["e1", "e3"]);
    assert.equal((await bench.timed(wish)).value, "unicast");
    const missing = ruleOf(bench, s4, name);
    assert.deepEqual([missing?.difference, missing?.seen], ["missing", null]);
    assert.equal(missing?.why, `group ${group}: copies for e1, e3; it is newly wanted`);

    full.refuseNext = 0;
    await bench.pass(6000);
    assert.equal(ruleOf(bench, s4, name)?.difference, "none");
    full.groups.set(groupId(group), [{ port: 9 }]);
    full.refuseNext = Number.POSITIVE_INFINITY;
    await bench.pass(1500);
    const changed = ruleOf(bench, s4, name);
    assert.deepEqual([changed?.difference, changed?.seen?.group], ["different", "type=all,bucket=output:9"]);
    assert.equal(changed?.why, `group ${group}: copies for e1, e3; it was there and somebody changed it`);

    void bench.plane.drop(group);
    full.groups.set(groupId("239.192.0.77"), [{ port: 1 }]);
    await bench.pass(1500);
    const dropped = ruleOf(bench, s4, name);
    assert.deepEqual([dropped?.difference, dropped?.wanted], ["surplus", null]);
    assert.equal(dropped?.why, `group ${group}, which is not wanted here; it is not wanted any more`);
    const leftover = ruleOf(bench, s4, `group 0x${groupId("239.192.0.77").toString(16)}`);
    assert.equal(
      leftover?.why,
      "group 239.192.0.77, which is not wanted here; it was found there and nobody wants it",
    );

    const plane = bench.newPlane();
    bench.ryu.mute.add(4n);
    plane.start();
    await bench.pass(20);
    const unread = [...plane.rules(s4)].map((r) => r.status());
    assert.deepEqual(
      unread.map((r) => [r.name, r.difference, r.seen]),
      [["guard", "unread", null]],
    );
    await plane.close();
  });

  it("show flows with our cookie that are none of ours", async () => {
    const bench = await started();
    const s = bench.ryu.switches.get(4n)!;
    const guard = s.flows[0]!;
    const match = { eth_type: 0x0800, ipv4_dst: "10.1.1.1" };
    s.flows.push({ ...guard, priority: 7, destination: "10.1.1.1", match });
    s.refuseNext = Number.POSITIVE_INFINITY;
    await bench.pass(1100);
    const stray = rulesOf(bench, s4).find((r) => r.name.startsWith("stray"));
    assert.equal(stray?.name, "stray table=0 priority=7 eth_type=0x800,ipv4_dst=10.1.1.1");
    assert.equal(stray?.difference, "surplus");
    s.refuseNext = 0;
    await bench.pass(6000);
    assert.equal(rulesOf(bench, s4).length, 1, "removed");
  });
});

describe("the log of changes", () => {
  it("has a line for each change, with what it is for and why", async () => {
    const bench = await started();
    bench.said.length = 0;
    await bench.timed(bench.want(group, ["e1", "e2"]));
    await bench.pass(1100);
    const purpose = `group ${group}: copies for e1, e2`;
    const added = bench.said.filter((l) => l === `adds a group, as it is newly wanted: ${purpose}`);
    const written = bench.said.filter((l) => l === `writes a flow, as it is newly wanted: ${purpose}`);
    assert.deepEqual([added.length, written.length, bench.said.length], [7, 7, 14], bench.said.join("\n"));
    bench.said.length = 0;
    bench.ryu.switches.get(2n)!.groups.clear();
    bench.ryu.switches.get(2n)!.flows.length = 0;
    await bench.pass(1500);
    const lost = "as it was there and somebody changed it";
    assert.deepEqual(bench.said.toSorted(), [
      `adds a group, ${lost}: ${purpose}`,
      `writes a flow, ${lost}: ${purpose}`,
      `writes a flow, ${lost}: keeps datagrams of groups that are not there from being flooded`,
    ]);
  });

  it("counts what it does not list in a burst", async () => {
    const bench = await started();
    await bench.pass(10_000);
    bench.said.length = 0;
    bench.ryu.log.length = 0;
    for (let i = 1; i <= 200; i++) void bench.want(`239.192.1.${i}`, ["e1", "e4"]);
    await bench.pass(3000);
    const listed = bench.said.filter((l) => l.includes("newly wanted")).length;
    const untold = bench.said.filter((l) => l.startsWith("further changes")).length;
    assert.equal(bench.ryu.log.length, 200 * 7 * 2);
    assert.ok(listed >= 100 && listed <= 160, `${listed} lines`);
    assert.ok(untold >= 1 && untold <= 3, `${untold} summaries`);
  });
});
