import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SwitchLedger } from "@topicast/controller/dataplane/ledger.js";
import { Planner, portKey, spanningForest } from "@topicast/controller/dataplane/tree.js";
import fc from "../../../property.js";
import { follow, ModelSwitch } from "./model-network.js";
import { build, type Network, networks } from "./networks.js";

const address = "239.192.0.7";
const range = { base: 0xefc00000, size: 2 ** 18 };

const plannerOf = ({ links, places, ...rest }: Network) =>
  new Planner(spanningForest({ links, ...rest }), places, links);

/** Plans one group and writes the rules, and every guard, into model switches. */
function install(
  network: Network,
  members: readonly string[],
  publishers: readonly string[],
): Map<bigint, ModelSwitch> {
  const result = plannerOf(network).plan({ address, members, publishers });
  assert.ok(result.plan !== undefined);
  assert.deepEqual([...result.publishers.keys()], publishers);
  const switches = new Map<bigint, ModelSwitch>();
  for (const dpid of network.switches) {
    const model = new ModelSwitch();
    const ledger = new SwitchLedger(range);
    ledger.observe(model.state(), () => {});
    for (const rule of result.plan.get(dpid) ?? []) ledger.want(rule.id, rule);
    for (const command of ledger.commands(true)) model.apply(command);
    switches.set(dpid, model);
  }
  assert.equal(
    [...switches.values()].reduce((sum, s) => sum + s.refused, 0),
    0,
  );
  return switches;
}

/** Links from each switch to `from`, the shortest way. */
function distances({ links }: Network, from: bigint): Map<bigint, number> {
  const found = new Map([[from, 0]]);
  for (const [at, distance] of found) {
    for (const { a, b } of links) {
      for (const [near, far] of [
        [a, b],
        [b, a],
      ] as const) {
        if (near.dpid === at && !found.has(far.dpid)) found.set(far.dpid, distance + 1);
      }
    }
  }
  return found;
}

function checkEverySender(network: Network, members: readonly string[], publishers: readonly string[]): void {
  const switches = install(network, members, publishers);
  const passed = new Set<bigint>();
  for (const sender of network.places.filter((p) => publishers.includes(p.agent))) {
    const journey = follow(switches, network.links, network.places, sender, address);
    assert.equal(journey.astray, 0, "no copy goes where nobody wants it");
    for (const count of journey.onLinks.values()) assert.equal(count, 1);
    for (const { agent } of network.places) {
      const due = members.includes(agent) && agent !== sender.agent ? 1 : 0;
      assert.equal(journey.received.get(agent) ?? 0, due, `${agent} from ${sender.agent}`);
    }
    const away = distances(network, sender.dpid);
    for (const key of journey.onLinks.keys()) {
      const [dpid, port] = key.split(":") as [string, string];
      const link = network.links.find((l) => [l.a, l.b].some((e) => portKey(e) === `${dpid}:${port}`))!;
      const to = link.a.dpid === BigInt(dpid) ? link.b.dpid : link.a.dpid;
      assert.equal(away.get(to), away.get(BigInt(dpid))! + 1, "every link leads away from the sender");
    }
    for (const key of journey.onLinks.keys()) passed.add(BigInt(key.split(":")[0]!));
  }
  const last = new Set(network.places.filter((p) => members.includes(p.agent)).map((p) => p.dpid));
  for (const [dpid, { groups }] of switches)
    assert.ok(
      groups.size === 0 || passed.has(dpid) || last.has(dpid),
      `s${dpid} has rules that nobody needs`,
    );
}

const networkWithMembers = (loops: boolean) =>
  networks(loops).chain((network) => {
    const ids = network.places.map((p) => p.agent);
    return fc.record({
      network: fc.constant(network),
      members: fc.subarray(ids, { minLength: 1 }),
      publishers: fc.subarray(ids),
    });
  });

describe("trees", () => {
  for (const loops of [false, true]) {
    it(`carry one copy per link, one per member, from every publisher (${loops ? "graphs with loops" : "trees"})`, () => {
      fc.assert(
        fc.property(networkWithMembers(loops), ({ network, members, publishers }) =>
          checkEverySender(network, members, publishers),
        ),
        { numRuns: 300 },
      );
    });
  }

  it("take the low dpid as root and the lowest port of parallel links, whatever the order of the input", () => {
    fc.assert(
      fc.property(networks(true), fc.infiniteStream(fc.nat()), (network, order) => {
        const forest = spanningForest(network);
        assert.equal(forest.size, network.switches.length);
        assert.equal([...forest.values()].filter((n) => n.parent === null).length, 1);
        assert.equal([...forest.values()][0]!.dpid, 1n);
        const shuffled = {
          switches: network.switches.toReversed(),
          links: network.links
            .map((link) => ({ link, key: order.next().value }))
            .sort((x, y) => x.key - y.key)
            .map(({ link: { a, b }, key }) => (key % 2 === 0 ? { a, b } : { a: b, b: a })),
        };
        const again = spanningForest(shuffled);
        for (const [dpid, { parent, up, down }] of forest) {
          const other = again.get(dpid)!;
          assert.deepEqual([other.parent?.dpid, other.up, other.down], [parent?.dpid, up, down]);
        }
      }),
    );
  });

  it("give no rule to switches that lie on no way from a publisher to a member", () => {
    // s1 with children s2 (e1), s3 (e2), s4 (e3), and s5 (e4) below s2.
    const network = build({ parents: [0, 0, 0, 1], extra: [], agents: [1, 2, 3, 4], descending: false });
    const planner = plannerOf(network);
    const on = (members: string[], publishers: string[]) =>
      [...planner.plan({ address, members, publishers }).plan!.keys()].sort();
    assert.deepEqual(on(["e2"], ["e1"]), [1n, 2n, 3n]);
    assert.deepEqual(on(["e1", "e4"], ["e4"]), [2n, 5n]);
    assert.deepEqual(on(["e1", "e2", "e3", "e4"], []), [], "nobody publishes");
    assert.deepEqual(on(["e1"], ["e1"]), [], "what comes from the only member goes to nobody");
  });

  it("name the links of the spanning tree", () => {
    const network = build({ parents: [0, 0, 0], extra: [[1, 2]], agents: [1, 2], descending: false });
    const planner = plannerOf(network);
    assert.equal(planner.hasLoops, true);
    assert.deepEqual(
      network.links.map((link) => planner.usesLink(link)),
      [true, true, true, false],
    );
  });

  it("refuse a member that is not located, and leave out a publisher that shares a member's port", () => {
    const network = build({ parents: [0], extra: [], agents: [0, 1, 1], descending: false });
    const forest = spanningForest(network);
    const missing = new Planner(forest, network.places).plan({
      ...{ address, members: ["e1", "e9"], publishers: ["e1"] },
    });
    assert.deepEqual(missing, { plan: undefined, reason: "e9 is not located", missing: ["e9"] });
    const [e1, e2, e3] = network.places;
    const crowd = new Planner(forest, [e1!, e2!, { ...e3!, port: e2!.port }]);
    const served = (members: string[]) => {
      const result = crowd.plan({ address, members, publishers: ["e1", "e2", "e3"] });
      return result.plan === undefined ? undefined : [...result.publishers.keys()];
    };
    assert.deepEqual(served(["e2"]), ["e1", "e2"]);
    assert.deepEqual(served(["e2", "e3"]), ["e1"]);
    assert.deepEqual(served(["e1"]), ["e1", "e2", "e3"], "as senders they do no harm");
  });

  it("keep to the part of the network where most agents are", () => {
    const network = build({ parents: [0, 0], extra: [], agents: [0, 1, 2], descending: false });
    const split = { switches: network.switches, links: network.links.slice(0, 1) };
    const planner = new Planner(spanningForest(split), network.places);
    assert.deepEqual([...planner.places.keys()], ["e1", "e2"]);
    const even = new Planner(spanningForest({ ...split, links: [] }), network.places.toReversed());
    assert.deepEqual([...even.places.keys()], ["e1"], "of equal parts the one with the lowest dpid");
    const publishers = ["e1"];
    assert.ok(planner.plan({ address, members: ["e2"], publishers }).plan !== undefined);
    assert.equal(planner.plan({ address, members: ["e2", "e3"], publishers }).plan, undefined);
  });

  it("count every datagram once at the counting switch, from every sender", () => {
    fc.assert(
      fc.property(networkWithMembers(false), ({ network, members, publishers }) => {
        const switches = install(network, members, publishers);
        const result = plannerOf(network).plan({ address, members, publishers });
        assert.ok(result.plan !== undefined && result.counter !== undefined);
        for (const sender of network.places.filter((p) => publishers.includes(p.agent)))
          follow(switches, network.links, network.places, sender, address);
        const flow = switches.get(result.counter)!.flows.find((f) => f.destination === address);
        assert.equal(flow?.packets ?? 0, result.plan.size === 0 ? 0 : publishers.length);
      }),
    );
  });
});
