import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Command, stages } from "@topicast/controller/dataplane/diff.js";
import { SwitchLedger } from "@topicast/controller/dataplane/ledger.js";
import { noLimits } from "@topicast/controller/dataplane/limits.js";
import {
  type Bucket,
  copyRule,
  groupId,
  inRange,
  isOurGroup,
  networkOf,
  type RuleId,
  rulePriority,
} from "@topicast/controller/dataplane/rules.js";
import fc from "../../../property.js";
import { type ModelFlow, ModelSwitch } from "./model-network.js";

const range = { base: 0xefc00000, size: 2 ** 18 };
const addresses = ["239.192.0.1", "239.192.0.2", "239.193.7.7", "239.195.255.255"];

const bucket: fc.Arbitrary<Bucket> = fc.oneof(
  fc.integer({ min: 1, max: 4 }).map((port) => ({ port })),
  fc.integer({ min: 1, max: 4 }).map((n) => ({
    port: n,
    rewrite: { mac: `02:00:00:00:00:0${n}`, address: `10.0.0.${n}` },
  })),
);
const buckets = fc.uniqueArray(bucket, { selector: (b) => JSON.stringify(b), minLength: 1, maxLength: 5 });
const table = fc.uniqueArray(fc.tuple(fc.constantFrom(...addresses), buckets), { selector: ([a]) => a });

/** How many copies a flow may make by itself, in an earlier run and now. */
const copies = fc.tuple(fc.nat({ max: 5 }), fc.nat({ max: 5 }));

/** What may be found under our cookie and ids besides proper rules. */
const strange = fc.record({
  stray: fc.boolean(),
  wrongPriority: fc.boolean(),
  wrongAction: fc.boolean(),
  groupWithoutFlow: fc.boolean(),
  strangeGroup: fc.boolean(),
});

function flow(destination: string | null, more: Partial<ModelFlow>): ModelFlow {
  return {
    table: 0,
    priority: rulePriority,
    destination,
    action: "drop",
    packets: 0,
    match: destination === null ? {} : { eth_type: 0x0800, ipv4_dst: destination },
    ours: true,
    ...more,
  };
}

function ledgerFor(
  model: ModelSwitch,
  wanted: readonly (readonly [string, readonly Bucket[]])[],
  outputs = 0,
): SwitchLedger {
  const ledger = new SwitchLedger(range, { ...noLimits, outputs });
  for (const [address, list] of wanted) ledger.want(groupId(address), copyRule(address, list));
  ledger.observe(model.state(), () => {});
  return ledger;
}

/** In the order of the stages; within a stage in the order that `shuffle` gives. */
function inStages(commands: readonly Command[], shuffle: (c: Command[]) => Command[]): Command[] {
  return stages.flatMap((ops) => shuffle(commands.filter((c) => ops.includes(c.op))));
}

function strangers(model: ModelSwitch): string {
  const flows = model.flows.filter((f) => !f.ours);
  return JSON.stringify([flows, [...model.groups].filter(([id]) => !isOurGroup(id))]);
}

describe("a switch's ledger", () => {
  it("turns any state into the wanted one, with no flow without its group and no one else's touched", () => {
    fc.assert(
      fc.property(
        table,
        table,
        strange,
        fc.infiniteStream(fc.nat()),
        copies,
        (old, wanted, odd, order, copies) => {
          const model = new ModelSwitch();
          const former = ledgerFor(model, old, copies[0]);
          for (const command of inStages(former.commands(true), (c) => c)) model.apply(command);
          if (odd.stray) model.flows.push(flow(null, { match: { tcp_dst: 5 } }));
          if (odd.wrongPriority) model.flows.push(flow(addresses[0]!, { priority: 7 }));
          if (odd.wrongAction) {
            model.flows = model.flows.filter((f) => f.destination !== addresses[1]);
            model.flows.push(flow(addresses[1]!, { action: "other" }));
          }
          if (odd.groupWithoutFlow) model.groups.set(groupId("239.194.1.1"), [{ port: 9 }]);
          if (odd.strangeGroup) model.groups.set(groupId(addresses[2]!), null);
          model.groups.set(77, [{ port: 1 }]);
          model.flows.push(flow(addresses[3]!, { ours: false, priority: 1, action: 77 }));
          const before = strangers(model);

          const ledger = ledgerFor(model, wanted, copies[1]);
          const shuffle = (c: Command[]) =>
            c
              .map((command) => ({ command, key: order.next().value }))
              .sort((a, b) => a.key - b.key)
              .map((k) => k.command);
          const inUse = wanted.filter(([, list]) => list.length > copies[1]);
          const groups = new Set(inUse.map(([address]) => groupId(address)));
          const served = new Set<string>();
          for (let look = 1; look <= 2; look++) {
            for (const command of inStages(ledger.commands(true), shuffle)) {
              assert.ok(
                !(command.op === "group-delete" && groups.has(command.id)),
                "a wanted group is never deleted",
              );
              const before = model.flows.map((f) => f.destination);
              model.apply(command);
              assert.equal(model.dangling(), 0);
              for (const at of before)
                if (at !== null && !model.flows.some((f) => f.destination === at)) served.add(at);
            }
            ledger.observe(model.state(), () => {});
            assert.equal(
              ledger.differences().size,
              0,
              "what is wanted takes one look, spare groups go with the second",
            );
          }
          for (const [address] of wanted) assert.ok(!served.has(address), "a wanted flow is never away");
          assert.equal(model.refused, 0);
          assert.equal(strangers(model), before);

          ledger.observe(model.state(), () => {});
          assert.deepEqual(ledger.commands(true), [], "a further look finds nothing to do");
          assert.equal(ledger.differences().size, 0);
          assert.equal(ledger.counts().differing, 0);
          assert.equal(
            ledger.counts().seen,
            wanted.length + inUse.length + 1,
            "flows, groups, and the guard",
          );
          assert.deepEqual(ledger.held, { flows: wanted.length, groups: inUse.length });
          for (const [address, list] of wanted) {
            const sorted = copyRule(address, list).buckets;
            const action = model.state().flows.find((f) => f.destination === address)?.action;
            const group = model.state().groups.find((g) => g.id === action);
            assert.deepEqual(list.length <= copies[1] ? action : group?.buckets, sorted);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it("removes nothing while it must not, yet adds and changes", () => {
    fc.assert(
      fc.property(table, table, (old, wanted) => {
        const model = new ModelSwitch();
        for (const command of inStages(ledgerFor(model, old).commands(true), (c) => c)) model.apply(command);
        const ledger = ledgerFor(model, wanted);
        for (const command of inStages(ledger.commands(false), (c) => c)) model.apply(command);
        const expected = new Set([...old, ...wanted].map(([address]) => address));
        const flows = model.state().flows.filter((f) => f.destination !== networkOf(range));
        assert.deepEqual(new Set(flows.map((f) => f.destination)), expected);
        ledger.observe(model.state(), () => {});
        assert.equal(ledger.differences().size, 0);
      }),
    );
  });

  it("proposes nothing before the first read-back", () => {
    const ledger = new SwitchLedger(range);
    assert.equal(ledger.want(groupId("239.192.0.1"), copyRule("239.192.0.1", [{ port: 1 }])), true);
    assert.equal(ledger.known, false);
    assert.deepEqual(ledger.commands(true), []);
  });

  it("tells which rules came right and which went wrong, once each", () => {
    const model = new ModelSwitch();
    const id = groupId("239.192.0.1");
    const ledger = ledgerFor(model, [["239.192.0.1", [{ port: 1 }]]]);
    for (const command of inStages(ledger.commands(true), (c) => c)) model.apply(command);
    const flips: [RuleId, boolean][] = [];
    const look = () => ledger.observe(model.state(), (rule, differs) => flips.push([rule, differs]));
    look();
    look();
    assert.deepEqual(
      flips.sort(([a], [b]) => Number(a) - Number(b)),
      [
        [0, false],
        [id, false],
      ],
    );
    model.groups.set(id, [{ port: 2 }]);
    flips.length = 0;
    look();
    look();
    assert.deepEqual(flips, [[id, true]]);
    assert.equal(ledger.differs(id), true);
    assert.equal(
      ledger.want(id, copyRule("239.192.0.1", [{ port: 2 }])),
      false,
      "wanting what is there is no work",
    );
  });

  it("reads the members of leftover groups from their last-hop rewrites", () => {
    const model = new ModelSwitch();
    const list: Bucket[] = [
      { port: 1 },
      { port: 2, rewrite: { mac: "02:00:00:00:00:02", address: "10.0.0.2" } },
      { port: 3, rewrite: { mac: "02:00:00:00:00:03", address: "10.0.0.3" } },
    ];
    for (const command of inStages(ledgerFor(model, [["239.192.0.9", list]]).commands(true), (c) => c)) {
      model.apply(command);
    }
    assert.deepEqual([...ledgerFor(model, []).members()], [["239.192.0.9", ["10.0.0.2", "10.0.0.3"]]]);
    for (const command of ledgerFor(model, [["239.192.0.9", list]], 3).commands(true)) model.apply(command);
    model.groups.clear();
    assert.deepEqual([...ledgerFor(model, []).members()], [["239.192.0.9", ["10.0.0.2", "10.0.0.3"]]]);
  });
});

describe("group ids", () => {
  it("are one to one within a /14 and inside our range", () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 18 - 1 }), (n) => {
        const address = `239.${192 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
        assert.ok(inRange(range, address));
        assert.equal(groupId(address), 0x54400000 + n);
        assert.ok(isOurGroup(groupId(address)));
      }),
    );
    assert.ok(!isOurGroup(0x5443ffff + 1) && !isOurGroup(0x543fffff) && isOurGroup(0x5443ffff));
  });

  it("need a multicast range that they can tell apart", () => {
    assert.equal(networkOf(range), "239.192.0.0/14");
    assert.equal(networkOf({ base: 0xef000100, size: 1 }), "239.0.1.0/32");
    const bad = [
      { base: 0xefc00000, size: 2 ** 19 },
      { base: 0xefc00001, size: 2 ** 18 },
      { base: 0xefc00000, size: 1000 },
      { base: 0x0a000000, size: 256 },
    ];
    for (const range of bad) assert.throws(() => networkOf(range), RangeError, JSON.stringify(range));
    assert.ok(!inRange({ base: 0xefc00000, size: 256 }, "239.192.1.0"));
  });
});
