/** What the rules engine may rely on in Ryu, link discovery and Open vSwitch together; ryu/README.md lists it. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { RyuClient } from "node-ryu-rest-client";
import { eventually, Lab, Ryu, udpFrame } from "./support.js";

const S1 = 0x11n;
const S2 = 0xffffffffffffff22n;
const H1 = "02:00:00:00:01:01";
const H2 = "02:00:00:00:02:01";
const BROADCAST = "ff:ff:ff:ff:ff:ff";

describe("two real switches with a link", () => {
  let lab: Lab;
  let ryu: Ryu;
  let client: RyuClient;

  before(async () => {
    lab = await Lab.open();
    await lab.addSwitch({ name: "tcry1", dpid: S1, hosts: 1 });
    await lab.addSwitch({ name: "tcry2", dpid: S2, hosts: 1 });
    await lab.join("tcry1", 5, "tcry2", 6);
    ryu = await Ryu.start();
    client = ryu.client;
    await connectBoth();
  });
  after(async () => {
    await ryu?.stop();
    await lab?.close();
  });

  async function connectBoth(): Promise<void> {
    await lab.connect("tcry1", ryu);
    await lab.connect("tcry2", ryu);
  }

  const ends = async () =>
    (await client.topologyLinks())
      .map((l) => [l.src.dpid, l.src.portNo, l.dst.dpid, l.dst.portNo].join(" "))
      .sort();
  const both = [`${S1} 5 ${S2} 6`, `${S2} 6 ${S1} 5`].sort();

  async function sayHello(host: string, mac: string, ip: string): Promise<void> {
    await lab.send(host, udpFrame(BROADCAST, mac, "10.255.255.255", ip));
  }

  const place = async (mac: string) => {
    const host = (await client.topologyHosts()).find((h) => h.mac === mac);
    return host && [host.port.dpid, host.port.portNo, ...host.ipv4];
  };

  it("the link is there within three seconds, in both directions, and from either end", async () => {
    await eventually(async () => assert.deepEqual(await ends(), both), 3000);
    const [link, ...others] = await client.topologyLinks(S2);
    assert.deepEqual(others, []);
    assert.deepEqual([link?.src.portNo, link?.dst.dpid, link?.dst.portNo], [6, S1, 5]);
  });

  it("hosts are at their own switch, though their floods cross the other one", async () => {
    await sayHello("tcry1h1", H1, "10.0.1.1");
    await sayHello("tcry2h1", H2, "10.0.2.1");
    await eventually(async () => {
      assert.deepEqual(await place(H1), [S1, 1, "10.0.1.1"]);
      assert.deepEqual(await place(H2), [S2, 1, "10.0.2.1"]);
    });
  });

  it("a link that fails is gone within a second, and is back within three after its repair", async () => {
    await lab.run.output(["ip", "link", "set", "tcry1x5", "down"]);
    await eventually(async () => assert.deepEqual(await ends(), []), 1000);
    await lab.run.output(["ip", "link", "set", "tcry1x5", "up"]);
    await eventually(async () => assert.deepEqual(await ends(), both), 3000);
  });

  it("after a restart of Ryu the flows are still there, and a host is listed from its next broadcast on", async () => {
    await learn();
    const flows = (await client.flows(S1, { priority: 1 })).length;
    assert.ok(flows >= 2, `${flows} flows by simple_switch_13`);
    await ryu.stop();
    assert.match(await lab.ofctl("dump-flows", "tcry1"), /priority=1,in_port=1/);

    ryu = await Ryu.start();
    client = ryu.client;
    await connectBoth();
    await eventually(async () => assert.deepEqual(await ends(), both));
    assert.equal((await client.flows(S1, { priority: 1 })).length, flows);
    // What a flow takes, Ryu never sees.
    await lab.send("tcry1h1", udpFrame(H2, H1, "10.0.2.1", "10.0.1.1"), 5);
    await lab.send("tcry2h1", udpFrame(H1, H2, "10.0.1.1", "10.0.2.1"), 5);
    await eventually(async () => {
      const counts = (await client.flows(S1, { priority: 1 })).map((f) => f.packetCount);
      assert.ok(
        counts.every((n) => n >= 5n),
        counts.join(),
      );
    });
    assert.equal(await place(H1), undefined);
    assert.equal(await place(H2), undefined);
    await sayHello("tcry1h1", H1, "10.0.1.1");
    await eventually(async () => assert.deepEqual(await place(H1), [S1, 1, "10.0.1.1"]));
  });

  /** Lets simple_switch_13 install its flows for H1 and H2 in both directions. */
  async function learn(): Promise<void> {
    await sayHello("tcry1h1", H1, "10.0.1.1");
    await sayHello("tcry2h1", H2, "10.0.2.1");
    await eventually(async () => {
      await lab.send("tcry1h1", udpFrame(H2, H1, "10.0.2.1", "10.0.1.1"));
      await lab.send("tcry2h1", udpFrame(H1, H2, "10.0.1.1", "10.0.2.1"));
      for (const dpid of [S1, S2]) assert.equal((await client.flows(dpid, { priority: 1 })).length, 2);
    });
  }
});

describe("the order of commands and statistics", () => {
  const DPID = 0x8000000000000003n;
  const COOKIE = 0x746f706963617374n;
  const mine = { cookie: COOKIE, cookieMask: (1n << 64n) - 1n };
  let lab: Lab;
  let ryu: Ryu;
  let client: RyuClient;

  before(async () => {
    lab = await Lab.open();
    await lab.addSwitch({ name: "tcry3", dpid: DPID, hosts: 1 });
    ryu = await Ryu.start();
    client = ryu.client;
    await lab.connect("tcry3", ryu);
    await eventually(async () => assert.deepEqual(await client.switches(), [DPID]));
  });
  after(async () => {
    await ryu?.stop();
    await lab?.close();
  });

  it("a read-back that starts after a command's answer reflects it: 300 times, on whatever connection", async () => {
    for (let i = 0; i < 300; i++) {
      const groupId = 0x54400000 + i;
      const actions = [{ type: "OUTPUT" as const, port: 1 }];
      await client.addGroup(DPID, { groupId, type: "ALL", buckets: [{ actions }] });
      await client.addFlow(DPID, {
        ...{
          cookie: COOKIE,
          priority: 30000,
          match: { eth_type: 0x0800, ipv4_dst: `239.192.${i >> 8}.${i & 255}` },
        },
        actions: [{ type: "GROUP", groupId }],
      });
      // Several at once, so that the read uses another connection than the commands did.
      const [flows, groups] = await Promise.all([
        client.flows(DPID, { ...mine, outGroup: groupId }),
        client.groupDesc(DPID, groupId),
        client.desc(DPID),
      ]);
      assert.deepEqual([flows.length, groups.length], [1, 1], `round ${i}`);
    }
  });

  it("concurrent commands all arrive: 2,000 flows, whose read-back is complete", async () => {
    const count = 2000;
    const flow = (i: number) => ({
      ...{
        cookie: COOKIE,
        priority: 100,
        match: { eth_type: 0x0800, ipv4_dst: `10.1.${i >> 8}.${i & 255}` },
      },
      actions: [{ type: "OUTPUT" as const, port: 1 }],
    });
    const start = performance.now();
    await Promise.all(Array.from({ length: count }, (_, i) => client.addFlow(DPID, flow(i))));
    const seconds = (performance.now() - start) / 1000;
    const seen = await client.flows(DPID, { ...mine, priority: 100 });
    assert.equal(new Set(seen.map((f) => f.match.ipv4_dst)).size, count);
    assert.equal((await client.aggregateFlow(DPID, mine)).flowCount, count + 300);
    console.log(`${Math.round(count / seconds)} flow additions per second`);
  });

  it("every call is quick on an idle switch", async () => {
    await client.deleteFlow(DPID, { ...mine });
    const group = { groupId: 1, type: "ALL", buckets: [] } as const;
    const calls: Record<string, () => Promise<unknown>> = {
      switches: () => client.switches(),
      "flow (by cookie)": () => client.flows(DPID, mine),
      aggregateflow: () => client.aggregateFlow(DPID, mine),
      group: () => client.groups(DPID),
      "groupdesc (300 groups)": () => client.groupDesc(DPID),
      port: () => client.ports(DPID),
      portdesc: () => client.portDesc(DPID),
      "flowentry/add": () => client.addFlow(DPID, { cookie: COOKIE, priority: 1, match: { in_port: 1 } }),
      "flowentry/delete_strict": () => client.deleteFlowStrict(DPID, { priority: 1, match: { in_port: 1 } }),
      "groupentry/add": () => client.addGroup(DPID, group),
      "groupentry/modify": () => client.modifyGroup(DPID, group),
      "groupentry/delete": () => client.deleteGroup(DPID, 1),
      "topology/switches": () => client.topologySwitches(),
      "topology/links": () => client.topologyLinks(),
      "topology/hosts": () => client.topologyHosts(),
    };
    for (const [name, call] of Object.entries(calls)) {
      const times: number[] = [];
      for (let i = 0; i < 100; i++) {
        const start = performance.now();
        await call();
        times.push(performance.now() - start);
      }
      times.sort((a, b) => a - b);
      console.log(`${name}: p50 ${times[50]!.toFixed(2)} ms, p99 ${times[99]!.toFixed(2)} ms`);
      // Forty milliseconds would be Nagle's algorithm waiting for a delayed acknowledgement.
      assert.ok(times[50]! < 30, `${name} takes ${times[50]} ms`);
    }
  });
});
