import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Resource } from "@topicast/controller/dataplane/dataplane.js";
import { noLimits, type SwitchLimits } from "@topicast/controller/dataplane/limits.js";
import fc from "../../../property.js";
import { checkDelivery, tree } from "./bench.js";
import { Bench } from "./model-ryu.js";
import { networks } from "./networks.js";

const timing = { settleMs: 20, absenceMs: 20, reconnectMs: 50, pollMs: 20, readMs: 20, downMs: 20 };
const address = (n: number) => `239.192.0.${n + 1}`;

async function started(limits: Partial<SwitchLimits>, network = tree()): Promise<Bench> {
  const bench = new Bench(network, timing, () => ({ ...noLimits, ...limits }));
  bench.plane.start();
  bench.plane.settled();
  bench.plane.setAgents(bench.agents());
  await bench.pass(50);
  return bench;
}

/** No switch holds, or has been sent, more than it may. */
function checkBudgets(bench: Bench, { groups, flows, buckets, outputs }: SwitchLimits): void {
  for (const model of bench.ryu.switches.values()) {
    const ours = model.flows.filter((f) => f.priority === 30_000);
    assert.ok(model.groups.size <= groups, `${model.groups.size} groups of ${groups}`);
    assert.ok(ours.length <= flows, `${ours.length} flows of ${flows}`);
    for (const list of model.groups.values()) assert.ok(list!.length <= buckets);
    for (const { action } of ours) assert.ok(typeof action !== "object" || action.length <= outputs);
  }
}

describe("the data plane with switches that hold only so much", () => {
  it("lets the next group wait, says why, and lets it in when another one has gone", async () => {
    const bench = await started({ groups: 1 });
    const [first, second] = bench.network.places.map((p) => p.agent) as [string, string];
    const wish = { members: [first, second], publishers: [first] };
    const want = (n: number) => bench.timed(bench.plane.want({ address: address(n), ...wish }));
    assert.equal((await want(0)).value, "openflow");
    const late = await want(1);
    assert.equal(late.value, "unicast");
    assert.ok(late.ms < 5, "nobody waits for room");
    assert.match(
      bench.plane.group(address(1))!.reason!,
      /^switch [0-9a-f]{16} has no room for more groups \(its limit: 1\)$/,
    );
    await bench.timed(bench.plane.drop(address(0)));
    await bench.pass(20);
    assert.deepEqual(
      bench.events.filter((e) => e.endsWith("openflow")),
      [`${address(1)} openflow`],
    );
    checkDelivery(bench, address(1), wish.members, wish.publishers);
  });

  it("tells what a group would need, and that a switch would never take it", async () => {
    const bench = await started({ groups: 7, buckets: 2, outputs: 1 });
    const ids = bench.network.places.map((p) => p.agent);
    const needs = bench.plane.needs(ids.slice(0, 2), [ids[0]!])!;
    assert.ok(
      needs.length > 0 && needs.every((r) => r.limit === 7 && r.name.startsWith("groups of switch ")),
    );
    assert.deepEqual(bench.plane.needs(ids.slice(0, 2), [ids[0]!]), needs);
    assert.equal(bench.plane.needs(ids, ids), undefined, "more than two copies");
    assert.deepEqual(bench.plane.needs(["nobody", ids[0]!], []), [], "not located: nothing is known");
  });

  it("keeps serving the publishers of before where there is no room for another one", async () => {
    const bench = await started({ flows: 1 });
    // e1 and e2 are below s2, e3 and e4 below s3.
    await bench.timed(bench.plane.want({ address: address(0), members: ["e3", "e4"], publishers: ["e3"] }));
    const at = address(1);
    const want = (publishers: string[]) =>
      bench.timed(bench.plane.want({ address: at, members: ["e1", "e2"], publishers }));
    assert.equal((await want(["e1"])).value, "openflow");
    assert.equal((await want(["e1", "e3"])).value, "openflow");
    assert.deepEqual(
      ["e1", "e3"].map((id) => bench.plane.mayPublish(at, id)),
      [true, false],
    );
    checkDelivery(bench, at, ["e1", "e2"], ["e1"]);
    await bench.timed(bench.plane.drop(address(0)));
    await bench.pass(20);
    assert.equal(bench.plane.mayPublish(at, "e3"), true, "there is room now");
    checkDelivery(bench, at, ["e1", "e2"], ["e1", "e3"]);
  });

  it("never holds more than it may, and carries all that fits, whatever comes and goes", async () => {
    const bits = fc.nat({ max: 1023 });
    const step = fc.record({
      group: fc.nat({ max: 7 }),
      members: bits,
      publishers: bits,
      wait: fc.nat({ max: 8 }),
    });
    const budget = fc.record({
      groups: fc.nat({ max: 4 }),
      flows: fc.constantFrom(1, 3, Number.POSITIVE_INFINITY),
      buckets: fc.constantFrom(2, Number.POSITIVE_INFINITY),
      outputs: fc.nat({ max: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(
        networks(true),
        budget,
        fc.array(step, { minLength: 5, maxLength: 25 }),
        async (network, limits, steps) => {
          const bench = await started(limits, network);
          const ids = network.places.map((p) => p.agent);
          const some = (mask: number) => ids.filter((_, i) => (mask >> i) & 1);
          const wanted = new Map<string, { members: string[]; publishers: string[] }>();
          for (const { group, members, publishers, wait } of steps) {
            const at = address(group);
            const wish = { members: some(members), publishers: some(publishers) };
            if (wish.members.length < 2 || wish.publishers.length === 0) {
              wanted.delete(at);
              void bench.plane.drop(at);
            } else {
              wanted.set(at, wish);
              void bench.plane.want({ address: at, ...wish });
            }
            for (let i = 0; i < wait; i++) {
              await bench.pass(1);
              checkBudgets(bench, limits);
            }
          }
          await bench.pass(2_500);
          checkBudgets(bench, limits);
          for (const [at, { members, publishers }] of wanted) {
            const { carriage } = bench.plane.group(at)!;
            if (carriage !== "openflow") continue;
            const admitted = publishers.filter((id) => bench.plane.mayPublish(at, id));
            checkDelivery(bench, at, members, admitted);
          }
          // With room again, everything that is left finds it.
          const [last] = [...wanted.keys()];
          for (const at of wanted.keys()) if (at !== last) void bench.plane.drop(at);
          await bench.pass(2_500);
          if (last === undefined) return;
          const needs = bench.plane.needs(wanted.get(last)!.members, wanted.get(last)!.publishers);
          const count = new Map<Resource, number>();
          for (const resource of needs ?? []) count.set(resource, (count.get(resource) ?? 0) + 1);
          const fits = needs !== undefined && [...count].every(([{ limit }, n]) => n <= limit);
          if (fits) assert.equal(bench.plane.group(last)!.carriage, "openflow");
          await bench.plane.close();
        },
      ),
      { numRuns: 40, endOnFailure: true },
    );
  });
});
