/** Limits of switches, and copies that flows make by themselves, on Open vSwitch behind Ryu. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { noLimits } from "@topicast/controller/dataplane/limits.js";
import { OpenFlowDataplane } from "@topicast/controller/dataplane/openflow.js";
import { groupId } from "@topicast/controller/dataplane/rules.js";
import { RyuAccess } from "@topicast/controller/dataplane/ryu-access.js";
import { systemClock } from "@topicast/protocol";
import { Lab, type LabHost } from "./lab.js";

const range = { base: 0xefc00000, size: 2 ** 18 };
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const host = (n: number, at: number): LabHost => ({
  ...{ id: `e${n}`, address: `10.77.0.${n}`, mac: `02:77:00:00:00:0${n}`, at },
});
/** s1 above s2 and s3; e1 on s2, e2 and e4 on s3, e3 on s1. */
const hosts = [host(1, 1), host(2, 2), host(3, 0), host(4, 2)];
const lab = new Lab([0x77001n, 0x77002n, 0x77003n], [0, 0], hosts);
const publishers = ["e1", "e2", "e3", "e4"];
const group = (n: number) => `239.192.7.${n}`;
const limits = { ...noLimits, groups: 2, outputs: 2 };
let plane: OpenFlowDataplane;

before(async () => {
  await lab.start();
  await lab.startRyu();
  const log = { debug: () => {}, info: () => {}, warn: () => {} };
  const access = new RyuAccess(lab.url);
  plane = new OpenFlowDataplane({ access, clock: systemClock, range, log, limits: () => limits });
  plane.onLocate = (id) => void lab.broadcast(id);
  plane.start();
  plane.settled();
  plane.setAgents(hosts.map(({ id, address, mac }) => ({ id, address, mac, port: 1883 })));
  const end = performance.now() + 20_000;
  while (plane.status().located < hosts.length || plane.status().links < 2) {
    assert.ok(performance.now() < end, `not located: ${JSON.stringify(plane.status())}`);
    await sleep(20);
  }
});

after(async () => {
  await plane.close();
  await lab.stop();
});

async function groupsAt(at: number): Promise<number[]> {
  const text = await lab.ofctl("dump-groups", at);
  return [...text.matchAll(/group_id=(\d+)/g)].map((m) => Number(m[1])).sort();
}

async function flowAt(at: number, address: string): Promise<string | undefined> {
  const lines = (await lab.ofctl("dump-flows", at)).split("\n");
  return lines.find((line) => line.includes(`nw_dst=${address} `))?.replace(/.* actions=/, "");
}

/** Sends from an agent to the group, and checks how many datagrams each host gets. */
async function deliver(
  from: string,
  address: string,
  count: number,
  counts: readonly number[],
): Promise<void> {
  const listeners = await Promise.all(hosts.map((h) => lab.listen(h)));
  await lab.send(from, address, count);
  await lab.arrived(listeners, counts);
  await Promise.all(listeners.map((l) => l.stop()));
}

describe("a switch with limits, on Open vSwitch and Ryu", { timeout: 120_000 }, () => {
  it("makes up to so many copies without a group", async () => {
    assert.equal(await plane.want({ address: group(1), members: ["e1", "e2"], publishers }), "openflow");
    for (const at of [0, 1, 2]) assert.deepEqual(await groupsAt(at), []);
    assert.match(
      (await flowAt(1, group(1)))!,
      /^output:1,set_field:02:77:00:00:00:01->eth_dst,set_field:10.77.0.1->ip_dst,output:11$/,
    );
    await deliver("e3", group(1), 50, [50, 50, 0, 0]);
    // Nothing back to the port it came by.
    await deliver("e1", group(1), 50, [0, 50, 0, 0]);
  });

  it("confirms each by asking for its flow alone", async () => {
    const { reads } = plane.status().counters;
    const start = performance.now();
    const times: number[] = [];
    for (let n = 10; n < 50; n++) {
      const before = performance.now();
      assert.equal(await plane.want({ address: group(n), members: ["e1", "e2"], publishers }), "openflow");
      times.push(performance.now() - before);
    }
    // The patrol reads three switches a second.
    const patrol = ((performance.now() - start) / 1_000) * 3 + 3;
    assert.ok(plane.status().counters.reads - reads <= patrol, "no wish needs a read-back");
    const p50 = times.toSorted((a, b) => a - b)[20]!;
    console.log(`want of a flow that copies: p50 ${p50.toFixed(1)} ms on 3 switches`);
    for (let n = 10; n < 50; n++) await plane.drop(group(n));
    for (let n = 10; n < 50; n++) assert.equal(plane.holds(group(n)), false);
    for (const at of [0, 1, 2]) assert.equal(await flowAt(at, group(30)), undefined);
  });

  it("goes over to a group and back as members come and go, without a datagram lost", async () => {
    const listeners = await Promise.all(hosts.map((h) => lab.listen(h)));
    const sending = lab.send("e4", group(1), 1_000);
    assert.equal(
      await plane.want({ address: group(1), members: ["e1", "e2", "e3", "e4"], publishers }),
      "openflow",
    );
    assert.deepEqual(await groupsAt(0), [groupId(group(1))]);
    assert.equal(await flowAt(0, group(1)), `group:${groupId(group(1))}`);
    await sleep(200);
    assert.equal(await plane.want({ address: group(1), members: ["e1", "e2"], publishers }), "openflow");
    await sending;
    await lab.arrived(listeners.slice(0, 2), [1_000, 1_000]);
    await Promise.all(listeners.map((l) => l.stop()));
    assert.deepEqual(await groupsAt(0), [], "the spare group is gone");
  });

  it("takes no more groups than it may, and the next one when there is room", async () => {
    const all = ["e1", "e2", "e3", "e4"];
    const want = (n: number) => plane.want({ address: group(n), members: all, publishers });
    assert.deepEqual([await want(2), await want(3), await want(4)], ["openflow", "openflow", "unicast"]);
    assert.match(plane.group(group(4))!.reason!, /has no room for more groups \(its limit: 2\)/);
    for (const at of [0, 1, 2]) assert.ok((await groupsAt(at)).length <= 2);
    await plane.drop(group(2));
    const end = performance.now() + 5_000;
    while (plane.group(group(4))!.carriage !== "openflow" && performance.now() < end) await sleep(10);
    assert.equal(plane.group(group(4))!.carriage, "openflow");
    assert.deepEqual(await groupsAt(0), [groupId(group(3)), groupId(group(4))]);
    await deliver("e3", group(4), 20, [20, 20, 0, 20]);
  });
});
