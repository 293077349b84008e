import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  type Action,
  actionsKey,
  FlowFlag,
  type FlowStats,
  Group,
  groupKey,
  Port,
  type RyuClient,
  sameMatch,
  Table,
} from "node-ryu-rest-client";
import { eventually, Lab, Ryu, udpFrame } from "./support.js";

const DPID = 0xfedcba9876543211n;
const BRIDGE = "tcry4";
const COOKIE = 0x8000_0000_0000_0001n;
const ALL_BITS = (1n << 64n) - 1n;
const H1 = "02:00:00:00:00:01";
const H2 = "02:00:00:00:00:02";

describe("flows, groups and meters of a real switch through a real Ryu", () => {
  let lab: Lab;
  let ryu: Ryu;
  let client: RyuClient;

  before(async () => {
    lab = await Lab.open();
    await lab.addSwitch({ name: BRIDGE, dpid: DPID, hosts: 3 });
    ryu = await Ryu.start();
    client = ryu.client;
    await lab.connect(BRIDGE, ryu);
    await eventually(async () => assert.deepEqual(await client.switches(), [DPID]));
  });

  after(async () => {
    await ryu?.stop();
    await lab?.close();
  });

  const ours = () => client.flows(DPID, { cookie: COOKIE, cookieMask: ALL_BITS });

  describe("flows", () => {
    it("come back as they were sent, with all kinds of matches and actions", async () => {
      const flows = [
        {
          match: { in_port: 1, eth_dst: "01:00:5E:00:00:00/ff:ff:ff:80:00:00" },
          actions: [out(Port.CONTROLLER)],
        },
        {
          match: { in_port: Port.LOCAL, vlan_vid: 100, vlan_pcp: 3 },
          actions: [{ type: "POP_VLAN" }, out(2)],
        },
        { match: { vlan_vid: "any" as const }, actions: [out(Port.IN_PORT)] },
        { match: { vlan_vid: "none" as const }, actions: [out(Port.FLOOD)] },
        {
          match: { eth_type: 0x0800, ipv4_dst: "239.192.0.1", ipv4_src: "10.0.0.0/8", ip_dscp: 46 },
          actions: [
            { type: "SET_FIELD", field: "eth_dst", value: H1 },
            { type: "SET_FIELD", field: "ipv4_dst", value: "10.0.0.1" },
            out(1),
          ],
        },
        {
          match: { eth_type: 0x0800, ip_proto: 17, udp_dst: 1883 },
          actions: [{ type: "SET_QUEUE", queueId: 3 }, out(2)],
        },
        {
          match: { eth_type: 0x0800, ip_proto: 6, tcp_src: 1883 },
          actions: [{ type: "DEC_NW_TTL" }, out(Port.NORMAL)],
        },
        {
          match: { eth_type: 0x0800, ip_proto: 1, icmpv4_type: 8, icmpv4_code: 0 },
          actions: [{ type: "SET_NW_TTL", ttl: 9 }, out(3)],
        },
        {
          match: { eth_type: 0x0806, arp_op: 1, arp_tpa: "10.0.0.1", arp_sha: H1 },
          actions: [out(Port.ALL)],
        },
        { match: { eth_type: 0x86dd, ipv6_dst: "FF02:0::1:ff00:0/104", ipv6_flabel: 7 }, actions: [out(3)] },
        {
          match: { eth_type: 0x86dd, ip_proto: 58, icmpv6_type: 135, ipv6_nd_target: "2001:db8::1" },
          actions: [out(1)],
        },
        {
          match: { eth_type: 0x8847, mpls_label: 77, mpls_bos: 1 },
          actions: [{ type: "POP_MPLS", ethertype: 0x0800 }, { type: "DEC_NW_TTL" }, out(1)],
        },
        { match: { metadata: 0xffffffffffffffffn }, actions: [out(1)] },
        { match: { metadata: { value: 0x8000000000000000n, mask: 0xf000000000000000n } }, actions: [out(1)] },
        { match: { tunnel_id: 0x123456789abcdef0n }, actions: [out(1)] },
        {
          match: { in_port: 3 },
          actions: [
            { type: "PUSH_VLAN", ethertype: 0x8100 },
            { type: "SET_FIELD", field: "vlan_vid", value: 200 },
            out(1),
            { type: "WRITE_METADATA", metadata: 0x8000000000000001n, mask: 0xf00000000000000fn },
            { type: "GOTO_TABLE", tableId: 9 },
          ],
        },
        {
          match: { in_port: 2 },
          actions: [
            { type: "CLEAR_ACTIONS" },
            { type: "WRITE_ACTIONS", actions: [out(3)] },
            { type: "GOTO_TABLE", tableId: 1 },
          ],
        },
      ] as { match: FlowStats["match"]; actions: FlowStats["actions"] }[];
      for (const [i, flow] of flows.entries()) {
        const priority = 1000 + i;
        await client.addFlow(DPID, { ...flow, priority, cookie: COOKIE });
        const [seen] = await client.flows(DPID, { cookie: COOKIE, cookieMask: ALL_BITS, priority });
        assert.ok(seen !== undefined, `flow ${JSON.stringify(flow.match, big)} was refused`);
        assert.ok(
          sameMatch(seen.match, flow.match),
          `${JSON.stringify(seen.match, big)} is not ${JSON.stringify(flow.match, big)}`,
        );
        assert.equal(actionsKey(seen.actions), actionsKey(flow.actions));
        assert.equal(seen.cookie, COOKIE);
      }
      assert.equal((await ours()).length, flows.length);
      await client.deleteFlow(DPID, { tableId: Table.ALL, cookie: COOKIE, cookieMask: ALL_BITS });
      assert.deepEqual(await ours(), []);
      assert.ok((await client.flows(DPID)).length > 0, "simple_switch_13's flows are still there");
    });

    it("add, modify, modify_strict, delete and delete_strict do as OpenFlow says", async () => {
      const match = { eth_type: 0x0800, ipv4_dst: "239.192.0.1" };
      const base = { match, cookie: COOKIE, priority: 30000 };
      await client.addFlow(DPID, {
        ...base,
        actions: [out(1)],
        flags: FlowFlag.SEND_FLOW_REM,
        idleTimeout: 600,
        hardTimeout: 6000,
      });
      const [added] = await ours();
      assert.equal(added?.priority, 30000);
      assert.equal(added.tableId, 0);
      assert.equal(added.flags, FlowFlag.SEND_FLOW_REM);
      assert.deepEqual([added.idleTimeout, added.hardTimeout], [600, 6000]);
      assert.equal(added.packetCount, 0n);
      await client.addFlow(DPID, { ...base, priority: 30001, actions: [out(1)] });

      await client.modifyFlowStrict(DPID, { ...base, actions: [out(2)] });
      assert.deepEqual(await outputs(), [2, 1]);
      await client.modifyFlow(DPID, {
        ...base,
        match: { eth_type: 0x0800 },
        cookieMask: ALL_BITS,
        actions: [out(3)],
      });
      assert.deepEqual(await outputs(), [3, 3]);
      await client.modifyFlowStrict(DPID, { ...base, priority: 7, actions: [out(1)] });
      assert.deepEqual(await outputs(), [3, 3]);

      await client.deleteFlowStrict(DPID, { match, priority: 1 });
      assert.equal((await ours()).length, 2);
      await client.deleteFlowStrict(DPID, { match, priority: 30000 });
      assert.deepEqual(
        (await ours()).map((f) => f.priority),
        [30001],
      );
      await client.deleteFlow(DPID, { match: { eth_type: 0x0800 }, outPort: 1 });
      assert.equal((await ours()).length, 1);
      await client.deleteFlow(DPID, { match: { eth_type: 0x0800 }, outPort: 3 });
      assert.deepEqual(await ours(), []);

      async function outputs(): Promise<number[]> {
        const flows = (await ours()).sort((a, b) => a.priority - b.priority);
        return flows.map((f) => (f.actions[0]?.type === "OUTPUT" ? f.actions[0].port : -1));
      }
    });

    it("a match without what it needs is refused; modify keeps the cookie, add replaces it", async () => {
      await client.addFlow(DPID, { cookie: COOKIE, match: { ipv4_dst: "10.0.0.1" }, actions: [out(1)] });
      assert.deepEqual(await ours(), []);
      const log = () => ryu.child.stderrLines.join("\n");
      await eventually(async () => assert.match(log(), /refuses: OFPT_FLOW_MOD.*OFPBMC_BAD_PREREQ/));

      const flow = { cookie: COOKIE, priority: 9, match: { in_port: 1 } };
      await client.addFlow(DPID, { ...flow, actions: [out(1)] });
      await client.modifyFlowStrict(DPID, { ...flow, cookie: 5n, actions: [out(2)] });
      const [modified] = await client.flows(DPID, { priority: 9 });
      assert.deepEqual([modified?.cookie, modified?.actions], [COOKIE, [out(2)]]);
      await client.addFlow(DPID, { ...flow, cookie: 5n, actions: [out(3)] });
      const [added] = await client.flows(DPID, { priority: 9 });
      assert.deepEqual([added?.cookie, added?.actions], [5n, [out(3)]]);
      await client.deleteFlowStrict(DPID, { priority: 9, match: { in_port: 1 } });
    });

    it("filters select by cookie bits, table, match, priority, out_port and out_group", async () => {
      const cookies = [COOKIE, COOKIE + 1n, 0x7fffn];
      for (const [i, cookie] of cookies.entries()) {
        await client.addFlow(DPID, {
          cookie,
          priority: 100 + i,
          tableId: 10 + i,
          match: { in_port: i + 1 },
          actions: [out(i + 1)],
        });
      }
      const of = async (filter: Parameters<RyuClient["flows"]>[1]) =>
        (await client.flows(DPID, filter)).map((f) => f.cookie).filter((c) => cookies.includes(c));
      assert.deepEqual(await of({ cookie: COOKIE, cookieMask: ALL_BITS }), [COOKIE]);
      assert.deepEqual((await of({ cookie: COOKIE, cookieMask: 1n << 63n })).length, 2);
      assert.deepEqual(await of({ tableId: 11 }), [COOKIE + 1n]);
      assert.deepEqual(await of({ match: { in_port: 3 } }), [0x7fffn]);
      assert.deepEqual(await of({ priority: 101 }), [COOKIE + 1n]);
      assert.deepEqual(await of({ outPort: 1 }), [COOKIE]);
      assert.deepEqual(await of({ outGroup: 99 }), []);
      assert.deepEqual(await client.flowDesc(DPID, { tableId: 11 }).then((f) => f.map((x) => x.cookie)), [
        COOKIE + 1n,
      ]);
      const sum = await client.aggregateFlow(DPID, { cookie: COOKIE, cookieMask: 1n << 63n });
      assert.equal(sum.flowCount, 2);
      assert.equal(sum.packetCount, 0n);
      assert.equal((await client.aggregateFlow(DPID)).flowCount, (await client.flows(DPID)).length);
      for (const tableId of [10, 11, 12]) await client.deleteFlow(DPID, { tableId });
    });

    it("clearFlows empties all tables, and simple_switch_13's table-miss comes back with the switch", async () => {
      await client.addFlow(DPID, { cookie: COOKIE, tableId: 5 });
      await client.clearFlows(DPID);
      assert.deepEqual(await client.flows(DPID), []);
      await lab.disconnect(BRIDGE);
      await eventually(async () => assert.deepEqual(await client.switches(), []));
      await lab.connect(BRIDGE, ryu);
      await eventually(async () => assert.ok((await client.flows(DPID, { priority: 0 })).length === 1));
    });
  });

  describe("groups", () => {
    const first: Action[] = [
      { type: "SET_FIELD", field: "eth_dst", value: H1 },
      { type: "SET_FIELD", field: "ipv4_dst", value: "10.0.0.1" },
      out(1),
    ];

    it("are added, changed, described, counted and deleted", async () => {
      const id = 0x54400001;
      const buckets = [{ actions: first }, { actions: [out(2)] }];
      await client.addGroup(DPID, { groupId: id, type: "ALL", buckets });
      const [desc] = await client.groupDesc(DPID);
      assert.equal(desc?.groupId, id);
      assert.equal(groupKey(desc.type, desc.buckets), groupKey("ALL", buckets));
      assert.deepEqual(desc.buckets[0], {
        weight: 0,
        watchPort: Port.ANY,
        watchGroup: Group.ANY,
        actions: first,
      });
      const changed = [{ actions: [out(3)] }];
      await client.modifyGroup(DPID, { groupId: id, type: "ALL", buckets: changed });
      const [after] = await client.groupDesc(DPID, id);
      assert.equal(groupKey("ALL", after!.buckets), groupKey("ALL", changed));
      assert.deepEqual(await client.groupDesc(DPID, id + 1), []);
      const [stats] = await client.groups(DPID, id);
      assert.equal(stats?.groupId, id);
      assert.deepEqual(stats.buckets, [{ packetCount: 0n, byteCount: 0n }]);
      await client.deleteGroup(DPID, id);
      assert.deepEqual(await client.groups(DPID), []);
    });

    it("of the other types come back as sent, too", async () => {
      const select = [
        { weight: 3, actions: [out(1)] },
        { weight: 1, actions: [out(2)] },
      ];
      await client.addGroup(DPID, { groupId: 1, type: "SELECT", buckets: select });
      await client.addGroup(DPID, { groupId: 2, type: "INDIRECT", buckets: [{ actions: [out(1)] }] });
      const failover = [
        { watchPort: 1, actions: [out(1)] },
        { watchGroup: 2, actions: [{ type: "GROUP", groupId: 2 } as const] },
      ];
      await client.addGroup(DPID, { groupId: 3, type: "FF", buckets: failover });
      const seen = new Map(
        (await client.groupDesc(DPID)).map((g) => [g.groupId, groupKey(g.type, g.buckets)]),
      );
      assert.equal(seen.get(1), groupKey("SELECT", select));
      assert.equal(seen.get(2), groupKey("INDIRECT", [{ actions: [out(1)] }]));
      assert.equal(seen.get(3), groupKey("FF", failover));
      await client.deleteGroup(DPID, Group.ALL);
      assert.deepEqual(await client.groupDesc(DPID), []);
    });

    it("refused by the switch: Ryu says 200, the read-back and Ryu's log tell", async () => {
      const id = 77;
      const old = [{ actions: [out(1)] }];
      await client.addGroup(DPID, { groupId: id, type: "ALL", buckets: old });
      await client.addGroup(DPID, { groupId: id, type: "ALL", buckets: [{ actions: [out(2)] }] });
      await client.modifyGroup(DPID, { groupId: 78, type: "ALL", buckets: old });
      await client.deleteGroup(DPID, 79);
      const seen = await client.groupDesc(DPID);
      assert.deepEqual(
        seen.map((g) => [g.groupId, groupKey(g.type, g.buckets)]),
        [[id, groupKey("ALL", old)]],
      );
      const log = ryu.child.stderrLines.join("\n");
      assert.match(log, /switch fedcba9876543211 refuses: OFPT_GROUP_MOD.*GROUP_EXISTS/);
      assert.match(log, /switch fedcba9876543211 refuses: OFPT_GROUP_MOD.*UNKNOWN_GROUP/);
      await client.deleteGroup(DPID, id);
    });

    it("take their flows with them when they are deleted, and a flow to a missing group is refused", async () => {
      const flow = {
        cookie: COOKIE,
        match: { in_port: 2 },
        actions: [{ type: "GROUP", groupId: 5 } as const],
      };
      await client.addFlow(DPID, flow);
      assert.deepEqual(await ours(), []);
      await client.addGroup(DPID, { groupId: 5, type: "ALL", buckets: [] });
      await client.addFlow(DPID, flow);
      assert.equal((await ours()).length, 1);
      assert.equal((await client.flows(DPID, { outGroup: 5 })).length, 1);
      await client.deleteGroup(DPID, 5);
      assert.deepEqual(await ours(), []);
    });

    it("copy to all buckets but the packet's own port, and count it there all the same", async () => {
      const id = 0x54400002;
      const buckets = [
        { actions: [out(1)] },
        { actions: [{ type: "SET_FIELD", field: "eth_dst", value: H2 }, out(2)] as Action[] },
      ];
      await client.addGroup(DPID, { groupId: id, type: "ALL", buckets });
      const flow = {
        cookie: COOKIE,
        priority: 30000,
        match: { eth_type: 0x0800, ipv4_dst: "239.192.0.9" },
        actions: [{ type: "GROUP", groupId: id } as const],
      };
      await client.addFlow(DPID, flow);
      const before = await sent();
      await lab.send(`${BRIDGE}h1`, udpFrame("01:00:5e:40:00:09", H1, "239.192.0.9", "10.0.0.1"), 100);
      await eventually(async () => {
        const [flow] = await ours();
        assert.equal(flow?.packetCount, 100n);
      });
      const [stats] = await client.groups(DPID, id);
      assert.equal(stats?.packetCount, 100n);
      assert.deepEqual(
        stats.buckets.map((b) => b.packetCount),
        [100n, 100n],
      );
      const after = await sent();
      // Besides, an LLDP frame leaves each port every 0.9 s.
      const more = [1, 2, 3].map((port) => Math.floor((after.get(port)! - before.get(port)!) / 100));
      assert.deepEqual(more, [0, 1, 0], "nothing goes back by the port it came from");

      // What becomes of the counts when the same is commanded once more.
      await client.addFlow(DPID, flow);
      assert.equal((await ours())[0]?.packetCount, 100n);
      await client.addFlow(DPID, { ...flow, flags: FlowFlag.RESET_COUNTS });
      assert.equal((await ours())[0]?.packetCount, 0n);
      await client.modifyGroup(DPID, { groupId: id, type: "ALL", buckets });
      const [again] = await client.groups(DPID, id);
      assert.deepEqual([again?.packetCount, ...again!.buckets.map((b) => b.packetCount)], [0n, 0n, 0n]);
      await client.deleteGroup(DPID, id);

      async function sent(): Promise<Map<number, number>> {
        return new Map((await client.ports(DPID)).map((p) => [p.portNo, Number(p.txPackets)]));
      }
    });
  });

  describe("meters", () => {
    it("are added, changed, described, counted and deleted", async () => {
      await client.addMeter(DPID, {
        meterId: 4,
        flags: ["KBPS", "BURST", "STATS"],
        bands: [{ type: "DROP", rate: 1000, burstSize: 100 }],
      });
      assert.deepEqual(await client.meterConfig(DPID, 4), [
        {
          meterId: 4,
          flags: ["KBPS", "BURST", "STATS"],
          bands: [{ type: "DROP", rate: 1000, burstSize: 100 }],
        },
      ]);
      await client.modifyMeter(DPID, { meterId: 4, flags: ["PKTPS"], bands: [{ type: "DROP", rate: 50 }] });
      const [config] = await client.meterConfig(DPID);
      assert.deepEqual(config?.flags, ["PKTPS"]);
      assert.equal(config.bands[0]?.rate, 50);
      const [stats] = await client.meters(DPID, 4);
      assert.equal(stats?.meterId, 4);
      assert.equal(stats.flowCount, 0);
      assert.deepEqual(stats.bands, [{ packetCount: 0n, byteCount: 0n }]);
      assert.equal((await client.meters(DPID)).length, 1);
      await client.addFlow(DPID, {
        cookie: COOKIE,
        match: { in_port: 3 },
        actions: [{ type: "METER", meterId: 4 }, out(1)],
      });
      const [flow] = await ours();
      assert.equal(actionsKey(flow!.actions), actionsKey([{ type: "METER", meterId: 4 }, out(1)]));
      await client.deleteMeter(DPID, 4);
      assert.deepEqual(await client.meters(DPID), []);
      assert.deepEqual(await ours(), []);
    });
  });
});

function out(port: number): { readonly type: "OUTPUT"; readonly port: number } {
  return { type: "OUTPUT", port };
}

function big(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}n` : value;
}
