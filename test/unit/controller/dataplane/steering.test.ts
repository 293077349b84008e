/** Transparent mode on model switches: who answers the clients of an intercepted address. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { EdgeAgent } from "@topicast/controller/dataplane/dataplane.js";
import { CONTROLLER, type SteerActions } from "@topicast/controller/dataplane/rules.js";
import { SERVICES_MAX, servicesOf } from "@topicast/controller/dataplane/steering.js";
import { type Dpid, portKey, type SwitchPort } from "@topicast/controller/dataplane/tree.js";
import fc from "../../../property.js";
import type { Frame, ModelFlow } from "./model-network.js";
import { Bench } from "./model-ryu.js";
import { build, type Network, networks } from "./networks.js";

const broker = "10.9.9.9";
const brokers = [broker, "fd00::9"];
const brokerMac = "02:99:00:00:00:99";
/** The model's switches have these ports; those beyond the links and agents are clients'. */
const clientPort = 60;

const syn = (mac = brokerMac, service = 1883, address = broker): Frame => ({ mac, address, service });

/** Where a frame ends: the agent that gets it, or "elsewhere" with what a learning switch gets to see. */
interface End {
  readonly agent: string | undefined;
  readonly mac: string;
  readonly hops: number;
  readonly toController: boolean;
}

/** Follows one frame from a port; what no steering flow takes ends there. */
function follow({ ryu, network }: Pick<Bench, "ryu" | "network">, from: SwitchPort, frame: Frame): End {
  const peers = new Map<string, SwitchPort>();
  for (const { a, b } of network.links) peers.set(portKey(a), b).set(portKey(b), a);
  let at = from;
  let { mac } = frame;
  let toController = false;
  for (let hops = 0; ; hops++) {
    assert.ok(hops < 100, "the frame circles");
    const actions: SteerActions | undefined = ryu.switches.get(at.dpid)!.steer(at.port, { ...frame, mac });
    if (actions === undefined) return { agent: undefined, mac, hops, toController };
    mac = actions.mac ?? mac;
    toController ||= actions.ports.includes(CONTROLLER);
    const out = actions.ports.filter((p) => p !== CONTROLLER);
    if (out.length === 0) return { agent: undefined, mac, hops, toController };
    assert.equal(out.length, 1, "one copy");
    assert.notEqual(out[0], at.port, "a switch does not send back by the port a frame came in by");
    const next = { dpid: at.dpid, port: out[0]! };
    const peer = peers.get(portKey(next));
    if (peer === undefined) {
      const place = network.places.find((p) => portKey(p) === portKey(next) && p.mac === mac);
      assert.ok(place, `it left by ${portKey(next)}, where nobody of ${mac} lives`);
      return { agent: place.agent, mac, hops, toController };
    }
    at = peer;
  }
}

/** Links from each switch to every other, on a tree. */
function distances({ switches, links }: Network): Map<Dpid, Map<Dpid, number>> {
  return new Map(
    switches.map((start) => {
      const found = new Map([[start, 0]]);
      for (const [here, steps] of found) {
        for (const { a, b } of links) {
          const next = a.dpid === here ? b.dpid : b.dpid === here ? a.dpid : undefined;
          if (next !== undefined && !found.has(next)) found.set(next, steps + 1);
        }
      }
      return [start, found];
    }),
  );
}

function withIntercepts(
  agents: EdgeAgent[],
  who: readonly string[],
  vacant: boolean,
  addresses = [broker],
): EdgeAgent[] {
  return agents.map((agent) => {
    if (!who.includes(agent.id)) return agent;
    const intercepts = addresses.map((address) => ({ address, port: 1883 }));
    return { ...agent, intercepts, vacant: vacant ? addresses : [] };
  });
}

async function steered(
  network: Network,
  who: readonly string[],
  vacant: boolean,
  addresses = [broker],
): Promise<Bench> {
  const bench = new Bench(network);
  bench.plane.start();
  bench.plane.setAgents(withIntercepts(bench.agents(), who, vacant, addresses));
  bench.plane.settled();
  await whole(bench);
  return bench;
}

/** Lets time pass until the switches hold what they should. */
async function whole(bench: Bench): Promise<void> {
  for (let ms = 0; ms < 500; ms += 10) {
    await bench.pass(10);
    if (bench.plane.topology().switches.every((s) => s.differing === 0) && ms > 0) return;
  }
  assert.fail("the switches do not hold what they should");
}

/** Who should answer the clients of a switch. */
function expected(network: Network, who: readonly string[], far: Map<Dpid, Map<Dpid, number>>, dpid: Dpid) {
  return network.places
    .filter((p) => who.includes(p.agent))
    .map((p) => ({ agent: p.agent, hops: far.get(dpid)!.get(p.dpid)! }))
    .sort((a, b) => a.hops - b.hops || (a.agent < b.agent ? -1 : 1))[0];
}

describe("steering", () => {
  it("brings every client's SYN to exactly one agent, the nearest, and leaves everything else alone", async () => {
    await fc.assert(
      fc.asyncProperty(
        networks(false),
        fc.array(fc.nat({ max: 9 }), { minLength: 1, maxLength: 6 }),
        fc.boolean(),
        fc.subarray(brokers, { minLength: 1 }),
        async (network, choice, vacant, addresses) => {
          const { places } = network;
          const who = [...new Set(choice.map((n) => places[n % places.length]!.agent))];
          const bench = await steered(network, who, vacant, addresses);
          const far = distances(network);
          const everywhere = network.switches.flatMap((dpid) =>
            addresses.map((address) => ({ dpid, address })),
          );
          for (const { dpid, address } of everywhere) {
            const client = { dpid, port: clientPort };
            const nearest = expected(network, who, far, dpid)!;
            const end = follow(bench, client, syn(brokerMac, 1883, address));
            assert.deepEqual([end.agent, end.hops], [nearest.agent, nearest.hops]);
            // To all stations, or the group of the address.
            const mac = "ff:ff:ff:ff:ff:ff";
            const request = follow(bench, client, { mac, address, service: "neighbour" });
            const place = places.find((p) => p.agent === nearest.agent)!;
            if (!vacant) assert.deepEqual([request.hops, request.mac], [0, mac], "the owner answers");
            else {
              assert.equal(request.toController, true, "the learning switch sees the client");
              assert.equal(request.mac, place.mac);
              if (nearest.hops === 0)
                assert.equal(request.agent, nearest.agent, "without the controller, too");
            }
            // A machine that takes the address is heard by all, as it would be without steering.
            const claim = follow(bench, client, { mac, address, service: "claim" });
            assert.deepEqual(claim, { agent: undefined, mac, hops: 0, toController: vacant });
            // Other ports of the broker, other addresses.
            for (const frame of [syn(brokerMac, 80, address), syn(brokerMac, 1883, `${address}9`)]) {
              assert.deepEqual(follow(bench, client, frame), {
                agent: undefined,
                mac: frame.mac,
                hops: 0,
                toController: false,
              });
            }
          }
          for (const { dpid, port } of places) {
            assert.equal(follow(bench, { dpid, port }, syn()).hops, 0, "an agent's host reaches the broker");
            assert.equal(follow(bench, { dpid, port }, syn()).agent, undefined);
          }
          for (const { a, b } of network.links) {
            for (const port of [a, b]) {
              const end = follow(bench, port, syn());
              assert.deepEqual(
                [end.agent, end.mac, end.hops],
                [undefined, brokerMac, 0],
                "not steered twice",
              );
            }
          }
          await bench.plane.close();
        },
      ),
      { numRuns: 150 },
    );
  });

  it("circles in no network with loops", async () => {
    await fc.assert(
      fc.asyncProperty(networks(true), async (network) => {
        const bench = await steered(network, ["e1", "e2"], true);
        for (const dpid of network.switches) {
          assert.match(follow(bench, { dpid, port: clientPort }, syn()).agent ?? "", /^e[12]$/);
        }
        await bench.plane.close();
      }),
      { numRuns: 60 },
    );
  });

  const line = () => build({ parents: [0, 1, 2], extra: [], agents: [0, 2, 2], descending: false });
  const answers = (bench: Bench) =>
    bench.network.switches.map((dpid) => follow(bench, { dpid, port: clientPort }, syn()).agent);

  it("goes to the lowest id among equally near agents, the same whoever registers first", async () => {
    const bench = await steered(line(), ["e1", "e2", "e3"], false);
    assert.deepEqual(answers(bench), ["e1", "e1", "e2", "e2"]);
    bench.plane.setAgents(withIntercepts(bench.agents(), ["e1", "e2", "e3"], false).reverse());
    const { commands } = bench.plane.status().counters;
    await bench.pass(50);
    assert.deepEqual(answers(bench), ["e1", "e1", "e2", "e2"]);
    assert.equal(bench.plane.status().counters.commands, commands, "nothing to do");
    await bench.plane.close();
  });

  it("leads clients to the next agent when theirs is gone, and to nobody after the last", async () => {
    const bench = await steered(line(), ["e1", "e2", "e3"], true);
    bench.plane.setAgents(withIntercepts(bench.agents("e1", "e3"), ["e1", "e3"], true));
    await whole(bench);
    assert.deepEqual(answers(bench), ["e1", "e1", "e3", "e3"]);
    bench.plane.setAgents(withIntercepts(bench.agents("e1"), ["e1"], true));
    await whole(bench);
    assert.deepEqual(answers(bench), ["e1", "e1", "e1", "e1"]);
    bench.plane.setAgents(withIntercepts(bench.agents("e1"), [], true));
    await whole(bench);
    assert.deepEqual(answers(bench), [undefined, undefined, undefined, undefined]);
    assert.deepEqual(bench.plane.topology().intercepts, []);
    for (const { flows } of bench.ryu.switches.values())
      assert.deepEqual(
        flows.map((f) => f.destination),
        ["239.192.0.0/14"],
        "only the guard is left",
      );
    await bench.plane.close();
  });

  it("stops answering ARP as soon as one agent sees the address's owner", async () => {
    const bench = await steered(line(), ["e1", "e2"], true);
    const arp = { mac: "ff:ff:ff:ff:ff:ff", address: broker, service: "neighbour" } as const;
    const at = { dpid: 1n, port: clientPort };
    assert.equal(follow(bench, at, arp).agent, "e1");
    const agents = withIntercepts(bench.agents(), ["e1", "e2"], true);
    bench.plane.setAgents(agents.map((a) => (a.id === "e2" ? { ...a, vacant: [] } : a)));
    await whole(bench);
    assert.deepEqual([follow(bench, at, arp).hops, follow(bench, at, syn()).agent], [0, "e1"]);
    assert.equal(bench.plane.topology().intercepts[0]?.vacant, false);
    await bench.plane.close();
  });

  it("puts back what somebody deleted or changed, removes leftovers, and shows how far it is", async () => {
    const bench = await steered(line(), ["e1"], true);
    const status = () => bench.plane.topology().intercepts[0]!;
    const { wanted } = status();
    assert.deepEqual(status(), {
      address: broker,
      port: 1883,
      agents: ["e1"],
      vacant: true,
      wanted,
      seen: wanted,
    });
    assert.deepEqual(bench.plane.unsteered(), []);
    const model = bench.ryu.switches.get(3n)!;
    const flow = model.flows.find((f) => f.steer?.match.inPort === clientPort && serviceOf(f) === 1883)!;
    model.flows = [
      { ...flow, steer: { match: flow.steer!.match, actions: null } },
      {
        ...flow,
        steer: { match: { ...flow.steer!.match, service: 99 }, actions: null },
        match: { in_port: 99 },
      },
    ];
    await bench.pass(1100);
    await whole(bench);
    assert.deepEqual(answers(bench), ["e1", "e1", "e1", "e1"]);
    assert.equal(status().seen, wanted);
    assert.equal(model.flows.filter((f) => serviceOf(f) === 99).length, 0, "a leftover");
    assert.deepEqual(bench.plane.unsteered(), []);
    await bench.plane.close();
  });

  it("tells what is not steered, and why", async () => {
    const bench = await steered(line(), ["e1", "e2"], false, brokers);
    assert.deepEqual(bench.plane.unsteered(), []);
    const gaps = () => bench.plane.unsteered().map((g) => [g.address, g.agents.join(), g.reason]);
    // Switches that take nothing any more, and have lost what they had.
    for (const dpid of [2n, 3n]) {
      const model = bench.ryu.switches.get(dpid)!;
      model.flows = [];
      model.refuseNext = Number.POSITIVE_INFINITY;
    }
    await bench.pass(1_500);
    // Of 64 ports two lead to switches, on s3 two more to agents; what comes from s4 passes s3.
    const missing = `${62 + 60 + 1} flows are missing or wrong on switch 0000000000000002 and 1 more`;
    assert.deepEqual(
      gaps(),
      brokers.map((address) => [address, "e1,e2", missing]),
    );
    for (const model of bench.ryu.switches.values()) model.refuseNext = 0;
    await bench.pass(8_000);
    assert.deepEqual(gaps(), []);
    bench.ryu.hosts = [];
    const nowhere = { id: "e9", address: "10.0.0.99", mac: "02:00:00:00:00:99", port: 1883 };
    bench.plane.setAgents([{ ...nowhere, intercepts: [{ address: broker, port: 1883 }], vacant: [] }]);
    await bench.pass(50);
    assert.deepEqual(gaps(), [[broker, "e9", "the switches see none of its agents"]]);
    await bench.plane.close();
  });

  it("takes the agents of one address and port together, and leaves out what is too much, always the same", () => {
    const agent = (id: string, ...ports: number[]): EdgeAgent => ({
      id,
      address: "10.0.0.1",
      mac: "",
      port: 1883,
      intercepts: ports.map((port) => ({ address: broker, port })),
      vacant: id === "e1" ? [broker] : [],
    });
    assert.deepEqual(servicesOf([agent("e2", 1883), agent("e1", 8883, 1883, 1883)]), {
      services: [
        { address: broker, port: 1883, agents: ["e1", "e2"], vacant: false },
        { address: broker, port: 8883, agents: ["e1"], vacant: false },
      ],
      refused: [],
    });
    assert.equal(servicesOf([agent("e1", 1)]).services[0]?.vacant, true);
    const both = servicesOf([
      { ...agent("e1"), intercepts: [...brokers.toReversed().map((address) => ({ address, port: 1883 }))] },
    ]);
    assert.deepEqual(
      both.services.map((s) => s.address),
      brokers,
      "IPv4 first",
    );
    const many = Array.from({ length: SERVICES_MAX + 5 }, (_, i) => i + 1);
    const forth = servicesOf([agent("e1", ...many)]);
    const back = servicesOf([agent("e1", ...many.toReversed())]);
    assert.deepEqual(forth, back);
    assert.deepEqual([forth.services.length, forth.refused.length], [SERVICES_MAX, 5]);
    assert.deepEqual(
      forth.refused.map((s) => s.port),
      many.slice(SERVICES_MAX),
    );
  });

  it("steers nothing at a port that may still turn out to lead to a switch", async () => {
    const network = build({ parents: [0], extra: [], agents: [0, 1], descending: false });
    const bench = new Bench(network);
    const { links } = bench.ryu;
    bench.ryu.links = [];
    bench.plane.start();
    bench.plane.setAgents(withIntercepts(bench.agents(), ["e1"], false));
    bench.plane.settled();
    await bench.pass(1500);
    const steersAt = (dpid: Dpid) => bench.ryu.switches.get(dpid)!.flows.some((f) => f.steer !== undefined);
    assert.deepEqual([steersAt(1n), steersAt(2n)], [false, false]);
    bench.ryu.links = links;
    await bench.pass(1100);
    await whole(bench);
    assert.deepEqual([steersAt(1n), steersAt(2n)], [true, true]);
    for (const { a, b } of network.links) {
      for (const port of [a, b]) assert.equal(follow(bench, port, syn()).hops, 0);
    }
    await bench.plane.close();
  });
});

function serviceOf({ steer }: ModelFlow): unknown {
  return steer !== undefined && "service" in steer.match ? steer.match.service : undefined;
}
