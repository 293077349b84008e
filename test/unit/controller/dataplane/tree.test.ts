import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SwitchLedger } from "@topicast/controller/dataplane/ledger.js";
import { groupId } from "@topicast/controller/dataplane/rules.js";
import { Planner, spanningForest } from "@topicast/controller/dataplane/tree.js";
import fc from "fast-check";
import { follow, ModelSwitch } from "./model-network.js";
import { build, type Network, networks } from "./networks.js";

const address = "239.192.0.7";
const range = { base: 0xefc00000, size: 2 ** 18 };

/** Plans one group and writes the rules, and every guard, into model switches. */
function install(network: Network, members: readonly string[]): Map<bigint, ModelSwitch> {
  const result = new Planner(spanningForest(network), network.places).plan(address, members);
  assert.ok(result.plan !== undefined);
  const switches = new Map<bigint, ModelSwitch>();
  for (const dpid of network.switches) {
    const model = new ModelSwitch();
    const ledger = new SwitchLedger(range);
    ledger.observe(model.state(), () => {});
    ledger.want(groupId(address), result.plan.get(dpid));
    for (const command of ledger.commands(true)) model.apply(command);
    switches.set(dpid, model);
  }
  assert.equal(
    [...switches.values()].reduce((sum, s) => sum + s.refused, 0),
    0,
  );
  return switches;
}

/** The links that lead from the sender to some member on the forest: what cannot be spared. */
function leastLinks(network: Network, from: string, members: readonly string[]): number {
  const forest = spanningForest(network);
  const path = (dpid: bigint) => {
    const up: bigint[] = [];
    for (let node = forest.get(dpid)!; node.parent !== null; node = node.parent) up.push(node.dpid);
    return up;
  };
  const place = (id: string) => network.places.find((p) => p.agent === id)!;
  const needed = new Set<bigint>();
  const mine = new Set(path(place(from).dpid));
  for (const member of members) {
    const theirs = new Set(path(place(member).dpid));
    for (const dpid of [...mine, ...theirs]) if (mine.has(dpid) !== theirs.has(dpid)) needed.add(dpid);
  }
  return needed.size;
}

function checkEverySender(network: Network, members: readonly string[]): void {
  const switches = install(network, members);
  for (const sender of network.places) {
    const journey = follow(switches, network.links, network.places, sender, address);
    assert.equal(journey.astray, 0, "no copy goes where nobody wants it");
    for (const count of journey.onLinks.values()) assert.equal(count, 1);
    for (const { agent } of network.places) {
      const due = members.includes(agent) && agent !== sender.agent ? 1 : 0;
      assert.equal(journey.received.get(agent) ?? 0, due, `${agent} from ${sender.agent}`);
    }
    assert.equal(journey.onLinks.size, leastLinks(network, sender.agent, members));
  }
}

const networkWithMembers = (loops: boolean) =>
  networks(loops).chain((network) =>
    fc.record({
      network: fc.constant(network),
      members: fc.subarray(
        network.places.map((p) => p.agent),
        { minLength: 1 },
      ),
    }),
  );

describe("trees", () => {
  for (const loops of [false, true]) {
    it(`carry one copy per link, one per member, from every sender (${loops ? "graphs with loops" : "trees"})`, () => {
      fc.assert(
        fc.property(networkWithMembers(loops), ({ network, members }) => checkEverySender(network, members)),
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

  it("give no rule to switches that lie between no two agents", () => {
    // s1 with children s2 (e1), s3 (e2), s4 (nobody), and s5 (nobody) below s2.
    const network = build({ parents: [0, 0, 0, 1], extra: [], agents: [1, 2], descending: false });
    const { plan } = new Planner(spanningForest(network), network.places).plan(address, ["e2"]);
    assert.deepEqual([...plan!.keys()].sort(), [1n, 2n, 3n]);
    const alone = new Planner(spanningForest(network), network.places.slice(0, 1)).plan(address, ["e1"]);
    assert.deepEqual([...alone.plan!.keys()], [2n], "with one agent the path to the root needs nothing");
  });

  it("name the links that groups travel on", () => {
    const network = build({ parents: [0, 0, 0], extra: [[1, 2]], agents: [1, 2], descending: false });
    const planner = new Planner(spanningForest(network), network.places);
    assert.deepEqual(
      network.links.map((link) => planner.usesLink(link)),
      [true, true, false, false],
    );
  });

  it("refuse a member that is not located, and a member that shares its port", () => {
    const network = build({ parents: [0], extra: [], agents: [0, 1, 1], descending: false });
    const forest = spanningForest(network);
    const missing = new Planner(forest, network.places).plan(address, ["e1", "e9"]);
    assert.deepEqual(missing, { plan: undefined, reason: "e9 is not located", missing: ["e9"] });
    const [e1, e2, e3] = network.places;
    const crowd = new Planner(forest, [e1!, e2!, { ...e3!, port: e2!.port }]);
    const refused = crowd.plan(address, ["e2"]);
    assert.ok(
      refused.plan === undefined && refused.missing.length === 0 && refused.reason.includes("shares"),
    );
    assert.ok(crowd.plan(address, ["e1"]).plan !== undefined, "as senders they do no harm");
  });

  it("keep to the part of the network where most agents are", () => {
    const network = build({ parents: [0, 0], extra: [], agents: [0, 1, 2], descending: false });
    const split = { switches: network.switches, links: network.links.slice(0, 1) };
    const planner = new Planner(spanningForest(split), network.places);
    assert.deepEqual([...planner.places.keys()], ["e1", "e2"]);
    const even = new Planner(spanningForest({ ...split, links: [] }), network.places.toReversed());
    assert.deepEqual([...even.places.keys()], ["e1"], "of equal parts the one with the lowest dpid");
    assert.ok(planner.plan(address, ["e2"]).plan !== undefined);
    assert.equal(planner.plan(address, ["e2", "e3"]).plan, undefined);
  });

  it("count every datagram once at the counting switch, from every sender", () => {
    fc.assert(
      fc.property(networkWithMembers(false), ({ network, members }) => {
        const switches = install(network, members);
        const result = new Planner(spanningForest(network), network.places).plan(address, members);
        assert.ok(result.plan !== undefined && result.counter !== undefined);
        for (const sender of network.places) follow(switches, network.links, network.places, sender, address);
        const flow = switches.get(result.counter)!.flows.find((f) => f.destination === address);
        assert.equal(flow?.packets, network.places.length);
      }),
    );
  });
});
