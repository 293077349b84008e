/** The data plane on real switches behind the real Ryu. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { OpenFlowDataplane } from "@topicast/controller/dataplane/openflow.js";
import { groupId } from "@topicast/controller/dataplane/rules.js";
import { RyuAccess } from "@topicast/controller/dataplane/ryu-access.js";
import { systemClock } from "@topicast/protocol";
import { Lab, type LabHost } from "./lab.js";

const range = { base: 0xefc00000, size: 2 ** 18 };
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const host = (n: number, at: number): LabHost => ({
  id: `e${n}`,
  address: `10.77.0.${n}`,
  mac: `02:77:00:00:00:0${n}`,
  at,
});
/** s1 above s2 and s3; s3's datapath id needs all 64 bits. e1 on s2, e2 and e4 on s3, e3 on s1. */
const hosts = [host(1, 1), host(2, 2), host(3, 0), host(4, 2)];
const lab = new Lab([0x77001n, 0x77002n, 0xf123456789abcdefn], [0, 0], hosts);
const group = "239.192.7.1";
const publishers = ["e1", "e2", "e3", "e4"];
const events: string[] = [];
let plane: OpenFlowDataplane;

function newPlane(): OpenFlowDataplane {
  const quiet = { debug: () => {}, info: () => {}, warn: () => {} };
  const created = new OpenFlowDataplane({
    access: new RyuAccess(lab.url),
    clock: systemClock,
    range,
    log: quiet,
  });
  created.onCarriage = (address, carriage) => events.push(`${address} ${carriage}`);
  created.onPublisher = (address, id) => events.push(`${address} ${id} may or may not`);
  created.onLocate = (id) => void lab.broadcast(id);
  return created;
}

async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 10_000): Promise<number> {
  const start = performance.now();
  while (!(await holds())) {
    if (performance.now() - start > ms)
      assert.fail(`not within ${ms} ms: ${what}; status ${JSON.stringify(plane.status())}`);
    await sleep(5);
  }
  return performance.now() - start;
}

/** The flows and groups of a switch without what changes by itself. */
async function table(at: number): Promise<string[]> {
  const flows = (await lab.ofctl("dump-flows", at)).split("\n");
  const groups = (await lab.ofctl("dump-groups", at)).split("\n");
  return [...flows, ...groups]
    .filter((line) => /cookie=|group_id=/.test(line))
    .map((line) => line.replace(/ (duration|n_packets|n_bytes|idle_age)=[^,]*,/g, "").trim())
    .sort();
}

async function oursAt(at: number): Promise<string[]> {
  return (await table(at)).filter(
    (line) => line.includes("cookie=0x746f706963617374") || line.includes("group_id=14"),
  );
}

before(async () => {
  await lab.start();
  await lab.startRyu();
  plane = newPlane();
  plane.start();
});

after(async () => {
  await plane.close();
  await lab.stop();
});

describe("the data plane on Open vSwitch and Ryu", { timeout: 120_000 }, () => {
  it("finds switches, links and agents by itself, asking agents that it does not see", async () => {
    assert.deepEqual(await plane.adopt(), new Map());
    plane.settled();
    plane.setAgents(hosts.map(({ id, address, mac }) => ({ id, address, mac, port: 1883 })));
    await until("two links and four agents", () => {
      const { links, located, switches } = plane.status();
      return links === 2 && located === 4 && switches === 3;
    });
    assert.ok(plane.status().counters.locate_requests >= 1);
    assert.deepEqual(
      plane.topology().agents.map((a) => `${a.id} ${a.at?.dpid}:${a.at?.port}`),
      [
        "e1 0000000000077002:11",
        "e2 f123456789abcdef:12",
        "e3 0000000000077001:13",
        "e4 f123456789abcdef:14",
      ],
    );
  });

  it("answers want when the switches hold the rules, and the switches then copy as they should", async () => {
    await lab.ofctl("add-flow", 0, "cookie=0x1,priority=5,ip,nw_dst=10.99.0.1,actions=drop");
    assert.equal(await plane.want({ address: group, members: ["e1", "e2"], publishers }), "openflow");
    const listeners = await Promise.all(hosts.map((h) => lab.listen(h)));
    try {
      await lab.send("e3", group, 200);
      await lab.send("e1", group, 100);
      await lab.arrived(listeners, [200, 300, 0, 0]);
      assert.deepEqual(
        listeners[0]!.received,
        Array.from({ length: 200 }, (_, i) => String(i)),
      );
    } finally {
      await Promise.all(listeners.map((l) => l.stop()));
    }
    const ms = await until("the flows' count of datagrams", () => plane.group(group)?.packets === 300);
    console.log(`300 datagrams counted ${Math.round(ms)} ms later`);
  });

  it("answers want quickly", async () => {
    const times: number[] = [];
    for (let i = 0; i < 40; i++) {
      const start = performance.now();
      const address = `239.192.8.${i}`;
      assert.equal(
        await plane.want({ address, members: i % 2 === 0 ? ["e1", "e2"] : ["e2", "e3"], publishers }),
        "openflow",
      );
      times.push(performance.now() - start);
    }
    const drops: number[] = [];
    for (let i = 0; i < 40; i++) {
      const start = performance.now();
      await plane.drop(`239.192.8.${i}`);
      assert.equal(plane.holds(`239.192.8.${i}`), false);
      drops.push(performance.now() - start);
    }
    const at = (list: number[], q: number) =>
      list.toSorted((a, b) => a - b)[Math.floor(list.length * q)]!.toFixed(1);
    console.log(`want: p50 ${at(times, 0.5)} ms, p95 ${at(times, 0.95)} ms on 3 switches`);
    console.log(`drop: p50 ${at(drops, 0.5)} ms, p95 ${at(drops, 0.95)} ms`);
    assert.ok(Number(at(times, 0.5)) < 100);
  });

  it("makes few passes of many wishes at a time", async () => {
    const start = performance.now();
    const reads = plane.status().counters.reads;
    const wishes = Array.from({ length: 200 }, (_, i) =>
      plane.want({ address: `239.192.9.${i}`, members: ["e1", "e2"], publishers }),
    );
    await Promise.all(wishes);
    // On a busy machine the last of them may take longer than want's deadline.
    await until("all groups are whole", () => plane.status().whole === 201);
    const ms = performance.now() - start;
    console.log(
      `200 groups on 3 switches: ${Math.round(ms)} ms, ${plane.status().counters.reads - reads} read-backs`,
    );
    const dropped = performance.now();
    await Promise.all(Array.from({ length: 200 }, (_, i) => plane.drop(`239.192.9.${i}`)));
    await until("200 groups gone", async () => {
      const left = (await Promise.all([0, 1, 2].map(oursAt))).flat();
      return left.every((l) => !l.includes("239.192.9.")) && left.length === 3 + 6;
    });
    console.log(`gone again: ${Math.round(performance.now() - dropped)} ms`);
  });

  it("repairs what someone deletes or changes, and touches nothing of anybody else's", async () => {
    const right = await Promise.all([0, 1, 2].map(oursAt));
    await lab.ofctl("del-groups", 0, `group_id=${groupId(group)}`);
    await lab.ofctl("mod-group", 1, `group_id=${groupId(group)},type=select,bucket=output:9`);
    await lab.ofctl("add-flow", 2, "cookie=0x746f706963617374,priority=77,tcp,tp_dst=77,actions=output:1");
    const ms = await until("the rules as they were", async () => {
      const now = await Promise.all([0, 1, 2].map(oursAt));
      return JSON.stringify(now) === JSON.stringify(right);
    });
    console.log(`repaired after ${Math.round(ms)} ms`);
    assert.ok(
      events.every((e) => !e.startsWith(group)),
      "no change of carriage for a repair",
    );
    const foreign = (await table(0)).filter((l) => l.startsWith("cookie=0x1,"));
    assert.equal(foreign.length, 1);
  });

  it("falls back to unicast when a switch refuses, and takes the group back when it no longer does", async () => {
    const flows = (await table(1)).filter((l) => l.startsWith("cookie")).length;
    await lab.vsctl(1, `flow_tables:0=@t`, "--", "--id=@t", "create", "flow_table", `flow_limit=${flows}`);
    const address = "239.192.7.2";
    assert.equal(await plane.want({ address, members: ["e1", "e3"], publishers }), "unicast");
    assert.match(plane.group(address)?.reason ?? "", /switch 0000000000077002 does not take its rules/);
    await lab.vsctl(1, "flow_tables={}");
    await until("the group is taken after all", () => events.includes(`${address} openflow`));
    await plane.drop(address);
  });

  it("keeps every rule while Ryu is killed and comes back, and answers unicast meanwhile", async () => {
    // Packets must be counted by flows that are never replaced: durations only grow.
    const before = await lab.ofctl("dump-flows", 2, `ip,nw_dst=${group}`);
    const commands = plane.status().counters.commands;
    await lab.killRyu();
    await until("Ryu's absence is noticed", () => plane.status().ryu?.state === "unreachable");
    const carriage = plane.want({ address: "239.192.7.3", members: ["e2"], publishers });
    assert.equal(await Promise.race([carriage, sleep(50)]), "unicast", "at once");
    const listener = await lab.listen(hosts[1]!);
    await lab.send("e3", group, 50);
    await lab.arrived([listener], [50]);
    await lab.startRyu();
    const ms = await until(
      "the group of the meantime",
      () => events.includes("239.192.7.3 openflow"),
      30_000,
    );
    console.log(`whole again ${Math.round(ms)} ms after Ryu`);
    await until("all agents are located", () => plane.status().located === 4);
    await sleep(2500);
    await lab.send("e1", group, 50);
    await lab.arrived([listener], [100]);
    await listener.stop();
    assert.ok(events.every((e) => !e.startsWith(`${group} `)));
    const added = plane.status().counters.commands - commands;
    assert.equal(added, 6, "a group and a flow on three switches: only what is new was sent");
    const duration = (text: string) => Number(/duration=([\d.]+)s/.exec(text)?.[1]);
    assert.ok(duration(await lab.ofctl("dump-flows", 2, `ip,nw_dst=${group}`)) > duration(before));
  });

  it("moves a group to unicast when a link is gone, and back when it returns", async () => {
    await lab.unplug(1);
    const down = await until("unicast", () => events.includes(`${group} unicast`));
    await lab.plug(1);
    const up = await until("openflow", () => events.includes(`${group} openflow`));
    console.log(
      `link down noticed after ${Math.round(down)} ms, whole ${Math.round(up)} ms after it returned`,
    );
  });

  it("hands over to the next forwarder what stands, and removes what is not wished for again", async () => {
    await plane.close();
    const right = await Promise.all([0, 1, 2].map(oursAt));
    plane = newPlane();
    plane.start();
    const found = await plane.adopt();
    assert.deepEqual([...(found ?? [])].sort(), [
      ["239.192.7.1", ["10.77.0.1", "10.77.0.2"]],
      ["239.192.7.3", ["10.77.0.2"]],
    ]);
    plane.setAgents(hosts.map(({ id, address, mac }) => ({ id, address, mac, port: 1883 })));
    assert.equal(await plane.want({ address: group, members: ["e1", "e2"], publishers }), "openflow");
    assert.deepEqual(await Promise.all([0, 1, 2].map(oursAt)), right);
    assert.equal(plane.status().counters.commands, 0);
    plane.settled();
    await until("leftovers gone", () => !plane.holds("239.192.7.3"));
    assert.equal(plane.holds(group), true);
  });
});
