/** Quarantine on model switches: whose frames are dropped, and where. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { QUARANTINED_MAX } from "@topicast/controller/dataplane/quarantine.js";
import { quarantinePriority, type SteerMatch } from "@topicast/controller/dataplane/rules.js";
import { seenFlow } from "@topicast/controller/dataplane/ryu-access.js";
import type { Dpid } from "@topicast/controller/dataplane/tree.js";
import type { FlowStats, Match } from "node-ryu-rest-client";
import { Bench } from "./model-ryu.js";
import { build } from "./networks.js";

const attacker = "10.0.0.66";

function serviceOf(match: SteerMatch | undefined) {
  return match !== undefined && "service" in match ? match.service : undefined;
}

async function started(): Promise<Bench> {
  const bench = new Bench(build({ parents: [0, 1], extra: [], agents: [0, 2], descending: false }));
  bench.plane.start();
  bench.plane.setAgents(bench.agents());
  bench.plane.settled();
  await bench.pass(1_100);
  return bench;
}

/** The ports of a switch where a source is dropped. */
function dropsAt({ ryu }: Bench, dpid: Dpid, source = attacker): number[] {
  return ryu.switches
    .get(dpid)!
    .flows.filter(({ priority, steer }) => {
      const isDrop = steer?.actions?.ports.length === 0 && steer.actions.mac === null;
      return isDrop && priority === quarantinePriority && steer.match.address === source;
    })
    .flatMap(({ steer }) => steer?.match.inPort ?? [])
    .sort((a, b) => a - b);
}

describe("quarantine", () => {
  it("drops a source at its own port where the switches have seen it at one", async () => {
    const bench = await started();
    const at = { dpid: 2n, port: 40 };
    bench.ryu.hosts = [...bench.ryu.hosts, { mac: "02:00:00:00:00:66", ipv4: [attacker], at }];
    await bench.pass(1_100);
    bench.plane.setQuarantine([attacker]);
    await bench.pass(200);
    assert.deepEqual(
      [1n, 2n, 3n].map((dpid) => dropsAt(bench, dpid)),
      [[], [40], []],
    );
    assert.deepEqual(
      [...bench.plane.quarantine()],
      [{ source: attacker, at: { dpid: "0000000000000002", port: 40 }, wanted: 1, seen: 1, packets: 0 }],
    );
    assert.deepEqual(bench.plane.seenAt(attacker), { dpid: "0000000000000002", port: 40 });
    assert.equal(bench.plane.seenAt("10.9.9.9"), null);
    const [flow] = bench.ryu.switches.get(2n)!.flows.filter((f) => serviceOf(f.steer?.match) === "source");
    flow!.packets = 12;
    await bench.pass(3_500);
    assert.equal([...bench.plane.quarantine()][0]!.packets, 12);
    // It has moved.
    bench.ryu.hosts = bench.ryu.hosts.map((host) =>
      host.ipv4[0] === attacker ? { ...host, at: { ...at, port: 41 } } : host,
    );
    await bench.pass(1_500);
    assert.deepEqual(dropsAt(bench, 2n), [41]);
    bench.plane.setQuarantine([]);
    await bench.pass(200);
    assert.deepEqual(
      [1n, 2n, 3n].map((dpid) => dropsAt(bench, dpid)),
      [[], [], []],
    );
    assert.deepEqual([...bench.plane.quarantine()], []);
  });

  it("drops it at all ports of clients where it has not been seen, never at agents' or between switches", async () => {
    const bench = await started();
    const { links, places } = bench.network;
    bench.plane.setQuarantine([attacker, "2001:db8::/64"]);
    await bench.pass(300);
    for (const dpid of bench.network.switches) {
      const taken = [...links.flatMap(({ a, b }) => [a, b]), ...places]
        .filter((port) => port.dpid === dpid)
        .map(({ port }) => port);
      const expected = Array.from({ length: 64 }, (_, i) => i + 1).filter((port) => !taken.includes(port));
      for (const source of [attacker, "2001:db8::/64"]) {
        assert.deepEqual(dropsAt(bench, dpid, source), expected, `${source} at ${dpid}`);
      }
    }
  });

  it("puts back what somebody removes, and says so in /rules", async () => {
    const bench = await started();
    const at = { dpid: 1n, port: 40 };
    bench.ryu.hosts = [...bench.ryu.hosts, { mac: "02:00:00:00:00:66", ipv4: [attacker], at }];
    await bench.pass(1_100);
    bench.plane.setQuarantine([attacker]);
    await bench.pass(200);
    const model = bench.ryu.switches.get(1n)!;
    model.flows = model.flows.filter(({ steer }) => serviceOf(steer?.match) !== "source");
    await bench.pass(3_500);
    assert.deepEqual(dropsAt(bench, 1n), [40]);
    const entry = [...bench.plane.rules()].find(({ name }) => name.startsWith("quarantine"))!.status();
    assert.deepEqual(
      [entry.name, entry.wanted?.flow, entry.difference, entry.why],
      [
        `quarantine ${attacker} source from 40`,
        `priority=31000,in_port=40,eth_type=0x800,ipv4_src=${attacker} actions=drop`,
        "none",
        `drops what comes from ${attacker} by port 40: it is quarantined`,
      ],
    );
  });

  it("is bounded in the switches: the latest are dropped there", async () => {
    const bench = await started();
    const sources = Array.from({ length: QUARANTINED_MAX + 1 }, (_, n) => `10.1.${n >> 8}.${n & 255}`);
    bench.ryu.hosts = [
      ...bench.ryu.hosts,
      ...sources.map((address, n) => ({
        mac: `02:00:00:01:00:${n}`,
        ipv4: [address],
        at: { dpid: 1n, port: 40 },
      })),
    ];
    await bench.pass(1_100);
    bench.plane.setQuarantine(sources);
    await bench.pass(1_500);
    assert.deepEqual(dropsAt(bench, 1n, sources[0]), []);
    assert.deepEqual(dropsAt(bench, 1n, sources[1]), [40]);
    assert.equal([...bench.plane.quarantine()].length, QUARANTINED_MAX);
  });

  it("is told from other flows when it is read back, whatever form Ryu gives it", () => {
    const read = (match: Match, actions: FlowStats["actions"] = []) => {
      const flow = {
        tableId: 0,
        priority: 31_000,
        match,
        actions,
        packetCount: 0n,
        idleTimeout: 0,
        hardTimeout: 0,
      };
      const { steer } = seenFlow(flow as unknown as FlowStats);
      return steer && `${steer.match.address} ${serviceOf(steer.match)} ${JSON.stringify(steer.actions)}`;
    };
    const drop = '{"mac":null,"ports":[]}';
    assert.equal(read({ in_port: 3, eth_type: 0x0800, ipv4_src: attacker }), `${attacker} source ${drop}`);
    assert.equal(
      read({ in_port: 3, eth_type: 0x86dd, ipv6_src: "2001:db8::/ffff:ffff:ffff:ffff::" }),
      `2001:db8::/64 source ${drop}`,
    );
    assert.equal(read({ in_port: 3, eth_type: 0x86dd, ipv6_src: "fe80::1" }), `fe80::1 source ${drop}`);
    assert.equal(read({ eth_type: 0x0800, ipv4_src: attacker }), undefined);
    assert.equal(read({ in_port: 3, eth_type: 0x0800, ipv4_src: attacker, ip_proto: 6 }), undefined);
  });
});
