import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { networkOf } from "@topicast/controller/dataplane/rules.js";
import { FABRIC_RULES_MAX, planSpoofing, type Resident } from "@topicast/controller/dataplane/spoofing.js";
import { type Dpid, portKey } from "@topicast/controller/dataplane/tree.js";
import fc from "../../../property.js";
import { type ModelFlow, ModelSwitch } from "./model-network.js";
import { Bench, range } from "./model-ryu.js";
import { build, type Network, networks } from "./networks.js";

const GROUP = "239.192.0.7";
const BROADCAST = "255.255.255.255";
const STRANGER = "10.0.9.9";
const FORWARDER = { address: "10.0.0.200", port: 1883 };

/** Ports 1 to 6 of each switch, but for those that lead to another one. */
function clientPortsOf({ switches, links }: Network): Map<Dpid, number[]> {
  const between = new Set(links.flatMap(({ a, b }) => [portKey(a), portKey(b)]));
  const all = [1, 2, 3, 4, 5, 6, 7, 8];
  return new Map(switches.map((dpid) => [dpid, all.filter((port) => !between.has(portKey({ dpid, port })))]));
}

function residentsOf({ places }: Network): Resident[] {
  return places.map((at) => ({ endpoint: { address: at.address, port: 1883 }, at }));
}

/** Switches that hold what is planned. */
function switchesWith(plan: ReturnType<typeof planSpoofing>["plan"]): Map<Dpid, ModelSwitch> {
  return new Map(
    [...plan].map(([dpid, rules]) => {
      const model = new ModelSwitch();
      for (const rule of rules.values()) model.apply({ op: "flow-put", rule });
      return [dpid, model];
    }),
  );
}

describe("fabric datagrams from where nobody lives who may send them", () => {
  it("are let in exactly where they should: any network, any port, any addresses", () => {
    fc.assert(
      fc.property(networks(true), fc.nat(1_000), fc.nat(1_000), (network, where, left) => {
        const clientPorts = clientPortsOf(network);
        const ports = [...clientPorts].flatMap(([dpid, list]) => list.map((port) => ({ dpid, port })));
        if (ports.length === 0) return;
        const agents = residentsOf(network);
        const forwarder = { endpoint: FORWARDER, at: ports[where % ports.length]! };
        const formerPort = portKey(ports[left % ports.length]!);
        const view = { range, clientPorts, forwarder, agents, former: new Set([formerPort]) };
        const switches = switchesWith(planSpoofing(view).plan);
        const everybody = [forwarder, ...agents];
        const addresses = everybody.map((r) => r.endpoint.address);
        for (const at of ports) {
          const here = everybody.filter((r) => portKey(r.at) === portKey(at)).map((r) => r.endpoint.address);
          const isResidents = here.length > 0 || portKey(at) === formerPort;
          for (const from of [...addresses, STRANGER]) {
            for (const to of [...addresses, GROUP, BROADCAST, STRANGER]) {
              const forged = from !== STRANGER && !here.includes(from);
              const intrudes =
                !isResidents && (to === GROUP || agents.some((a) => a.endpoint.address === to));
              const may = to === BROADCAST || (!forged && !intrudes);
              const admitted = switches.get(at.dpid)!.admits(at.port, from, to);
              assert.equal(admitted, may, `${from} to ${to} by ${portKey(at)}`);
            }
          }
          // What is no fabric datagram is nobody's business here.
          for (const to of addresses) assert.ok(switches.get(at.dpid)!.admits(at.port, STRANGER, to, 5_683));
        }
      }),
    );
  });

  it("cost each switch a bounded number of rules; groups are kept to agents in any case", () => {
    const dpid = 1n;
    const agents = Array.from({ length: 300 }, (_, i) => ({
      endpoint: { address: `10.1.${i >> 8}.${i & 255}`, port: 1883 },
      at: { dpid: 2n, port: i + 1 },
    }));
    const forwarder = { endpoint: FORWARDER, at: { dpid: 2n, port: 1_000 } };
    const ports = Array.from({ length: 48 }, (_, i) => i + 1);
    const clientPorts = new Map([[dpid, ports]]);
    const { plan, left } = planSpoofing({ range, clientPorts, forwarder, agents, former: new Set() });
    const rules = [...plan.get(dpid)!.values()];
    assert.deepEqual(
      rules.map((r) => ("fabric" in r.match ? r.match.address : "")),
      ports.map(() => networkOf(range)),
    );
    assert.equal(left, 48 * (1 + 301 + 300));
    assert.ok(left > FABRIC_RULES_MAX);
  });
});

describe("keeping fabric datagrams off", () => {
  const shape = { parents: [0, 0], extra: [], agents: [1, 2], descending: false };

  /** Three switches, an agent at the second and the third one, the forwarder at the first one's port 60. */
  async function benched(located = true): Promise<Bench> {
    const bench = new Bench(build(shape), {}, undefined, FORWARDER);
    const seat = { mac: "02:00:00:00:00:c8", ipv4: [FORWARDER.address], at: { dpid: 1n, port: 60 } };
    if (located) bench.ryu.hosts = [...bench.ryu.hosts, seat];
    bench.plane.start();
    bench.plane.setAgents(bench.agents());
    await bench.pass(4_000);
    bench.plane.settled();
    await bench.pass(2_000);
    return bench;
  }
  const [e1, e2] = ["10.0.0.1", "10.0.0.2"];
  const s2 = (bench: Bench) => bench.ryu.switches.get(2n)!;
  const portOf = (bench: Bench, agent: string) => bench.network.places.find((p) => p.agent === agent)!.port;

  it("shuts strangers out, counts them, says why at /rules, and lets everybody else go on", async () => {
    const bench = await benched();
    const at = portOf(bench, "e1");
    assert.ok(s2(bench).admits(at, e1, GROUP));
    assert.ok(s2(bench).admits(at, e1, e2));
    assert.ok(s2(bench).admits(40, STRANGER, FORWARDER.address), "who wants to register");
    assert.equal(bench.plane.status().counters.fabric_drops, 0);
    assert.ok(!s2(bench).admits(40, STRANGER, GROUP));
    assert.ok(!s2(bench).admits(40, STRANGER, e1));
    assert.ok(!s2(bench).admits(40, e1, FORWARDER.address));
    assert.ok(!s2(bench).admits(at, e2, GROUP), "an agent in another's name");
    await bench.pass(1_500);
    assert.equal(bench.plane.status().counters.fabric_drops, 4);
    const rules = [...bench.plane.rules("0000000000000002")].map((entry) => entry.status());
    const rule = rules.find((r) => r.name === `fabric to ${e1} 1883 by 40`);
    assert.equal(rule?.wanted?.flow, rule?.seen?.flow);
    assert.match(
      rule?.seen?.flow ?? "",
      /^priority=30500,in_port=40,.*ipv4_dst=10.0.0.1,udp_dst=1883 actions=drop$/,
    );
    assert.match(rule?.why ?? "", /where no agent lives$/);
    await bench.plane.close();
  });

  it("lets nothing of a quarantined source through, not even as an announcement", async () => {
    const bench = await benched();
    bench.plane.setQuarantine([STRANGER]);
    await bench.pass(1_500);
    const { flows } = s2(bench);
    const priority = (found: ModelFlow | undefined) => found?.priority ?? Number.NaN;
    const drop = flows.find(
      (f) =>
        f.steer !== undefined &&
        "service" in f.steer.match &&
        f.steer.match.service === "source" &&
        f.steer.match.inPort === 40,
    );
    const pass = flows.find((f) => f.steer?.match.address === BROADCAST && f.steer.match.inPort === 40);
    assert.ok(priority(drop) > priority(pass));
    await bench.plane.close();
  });

  it("follows an agent to another port, by its announcement", async () => {
    const bench = await benched();
    const at = portOf(bench, "e1");
    assert.ok(!s2(bench).admits(40, e1, FORWARDER.address));
    assert.ok(s2(bench).admits(40, e1, BROADCAST), "that is how it is found");
    bench.ryu.hosts = bench.ryu.hosts.map((h) =>
      h.ipv4.includes(e1) ? { ...h, at: { dpid: 2n, port: 40 } } : h,
    );
    await bench.pass(1_500);
    assert.ok(s2(bench).admits(40, e1, FORWARDER.address));
    assert.ok(s2(bench).admits(40, e1, GROUP));
    assert.ok(!s2(bench).admits(at, e1, GROUP), "not from where it was");
    await bench.plane.close();
  });

  it("waits a minute before a port without its agent is a stranger's", async () => {
    const bench = await benched();
    const at = portOf(bench, "e1");
    bench.plane.setAgents(bench.agents("e2"));
    await bench.pass(50_000);
    assert.ok(s2(bench).admits(at, e1, GROUP), "without its registration");
    await bench.pass(15_000);
    assert.ok(!s2(bench).admits(at, e1, GROUP));
    bench.plane.setAgents(bench.agents());
    await bench.pass(1_500);
    assert.ok(s2(bench).admits(at, e1, GROUP));
    await bench.plane.close();
  });

  it("shuts nobody out while an agent's port or the forwarder's is not to be found", async () => {
    const bench = await benched();
    const fabricRules = () => s2(bench).flows.filter((f) => f.steer !== undefined).length;
    assert.ok(fabricRules() > 0);
    bench.plane.setAgents([...bench.agents(), { id: "e9", mac: "", address: "10.0.0.9", port: 1883 }]);
    await bench.pass(2_000);
    assert.ok(fabricRules() > 0, "it may be found in a moment");
    await bench.pass(6_000);
    assert.equal(fabricRules(), 0);
    assert.ok(bench.events.includes("locate e9"));
    await bench.plane.close();

    const lost = await benched(false);
    await lost.pass(8_000);
    assert.equal(s2(lost).flows.filter((f) => f.steer !== undefined).length, 0);
    assert.ok(lost.events.includes("locate "), "the forwarder is asked to show itself");
    await lost.plane.close();
  });

  it("begins when recovery is over, and takes over what an earlier run left", async () => {
    const bench = await benched();
    await bench.plane.close();
    bench.ryu.closed = false;
    const before = s2(bench).flows.length;
    const again = bench.newPlane();
    again.start();
    again.setAgents([]);
    await bench.pass(4_000);
    assert.equal(s2(bench).flows.length, before);
    bench.ryu.log.length = 0;
    again.setAgents(bench.agents());
    await bench.pass(2_000);
    again.settled();
    await bench.pass(3_000);
    assert.deepEqual(bench.ryu.log, []);
    assert.equal(s2(bench).flows.length, before);
    await again.close();
  });
});
