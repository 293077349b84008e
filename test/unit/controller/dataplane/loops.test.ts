import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sourcePriority } from "@topicast/controller/dataplane/rules.js";
import fc from "../../../property.js";
import { checkDelivery, group, started } from "./bench.js";
import { checkCirculation } from "./model-network.js";
import { Bench } from "./model-ryu.js";
import { build, networks } from "./networks.js";

/** s1 to s4 in a ring, e1 to e4 on them. */
const ring = () => build({ parents: [0, 1, 2], extra: [[3, 0]], agents: [0, 1, 2, 3], descending: false });

const ownRules = (bench: Bench) =>
  [...bench.ryu.switches.values()].flatMap((s) => s.flows).filter((f) => f.priority === sourcePriority);

describe("on a ring", () => {
  it("publishers whose ways make no loop share their rules; another gets its own, and so do they", async () => {
    const bench = await started(ring());
    await bench.timed(bench.want(group, ["e1", "e2", "e3"], ["e1", "e2"]));
    assert.equal(ownRules(bench).length, 0);
    checkDelivery(bench, group, ["e1", "e2", "e3"], ["e1", "e2"]);
    const members = ["e1", "e2", "e3", "e4"];
    await bench.timed(bench.want(group, members, ["e1", "e2", "e3"]));
    await bench.pass(100);
    assert.deepEqual(bench.plane.group(group)?.admitted, ["e1", "e2", "e3"]);
    assert.ok(ownRules(bench).length > 0);
    for (const { groups } of bench.ryu.switches.values()) assert.equal(groups.size, 0);
    checkDelivery(bench, group, members, ["e1", "e2", "e3"]);
    const counted = bench.plane.group(group)!.packets;
    checkDelivery(bench, group, members, ["e1", "e2", "e3"]);
    await bench.pass(1400);
    assert.equal(bench.plane.group(group)!.packets - counted, 6);
  });

  it("rules of an earlier run are told, and removed", async () => {
    const bench = await started(ring());
    await bench.timed(bench.want(group, ["e1", "e2", "e3", "e4"]));
    await bench.pass(100);
    await bench.plane.close();
    const plane = bench.newPlane();
    plane.start();
    const { value } = await bench.timed(plane.adopt());
    assert.deepEqual([...(value ?? [])], [[group, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]]]);
    assert.equal(plane.holds(group), true);
    bench.ryu.log.length = 0;
    plane.setAgents(bench.agents());
    const ids = ["e1", "e2", "e3", "e4"];
    await bench.timed(plane.want({ address: group, members: ids, publishers: ids }));
    assert.deepEqual(bench.ryu.log, [], "what stood was right");
    void plane.drop(group);
    plane.settled();
    await bench.pass(100);
    assert.equal(plane.holds(group), false);
    assert.equal(ownRules(bench).length, 0);
  });
});

describe("whatever changes in a network with loops", () => {
  const small = fc.nat({ max: 1023 });
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("want" as const),
      group: fc.nat({ max: 1 }),
      members: small,
      publishers: small,
    }),
    fc.record({ kind: fc.constant("link" as const), at: small, up: fc.boolean() }),
    fc.record({ kind: fc.constant("cut" as const), at: small, up: fc.boolean() }),
    fc.record({ kind: fc.constant("wipe" as const), at: small }),
    fc.record({ kind: fc.constant("move" as const), at: small, agent: small }),
    fc.record({ kind: fc.constant("ryu" as const), up: fc.boolean() }),
    fc.record({ kind: fc.constant("restart" as const) }),
  );
  const address = (n: number) => `239.192.0.${n + 1}`;
  const timing = { settleMs: 5, absenceMs: 5, reconnectMs: 10, pollMs: 5, readMs: 20, downMs: 5 };

  it("no datagram circles at any moment, and in the end each takes a shortest way to every member", async () => {
    await fc.assert(
      fc.asyncProperty(
        networks(true),
        fc.array(fc.tuple(step, fc.nat({ max: 12 })), { minLength: 1, maxLength: 16 }),
        async (network, steps) => {
          const bench = new Bench(network, timing);
          const ids = network.places.map((p) => p.agent);
          const sources = network.places.map((p) => p.address);
          let circle: unknown;
          let cables = network.links;
          const apply = bench.ryu.apply.bind(bench.ryu);
          bench.ryu.apply = async (dpid, command) => {
            const done = apply(dpid, command);
            try {
              // Over all cables that this run has seen: one that is down may come up at any time.
              for (const source of sources)
                for (const n of [0, 1]) checkCirculation(bench.ryu.switches, cables, source, address(n));
            } catch (error) {
              circle ??= error;
            }
            return done;
          };
          const all = bench.ryu.links;
          const down = new Set<number>();
          let { plane } = bench;
          let places = network.places;
          const wanted = new Map<string, { members: string[]; publishers: string[] }>();
          const wish = () => {
            for (const [at, w] of wanted) void plane.want({ address: at, ...w });
          };
          const begin = () => {
            plane.start();
            plane.setAgents(bench.agents());
            plane.settled();
          };
          begin();
          for (const [action, wait] of steps) {
            const dpid = "at" in action ? network.switches[action.at % network.switches.length]! : 0n;
            const chosen = (bits: number) => ids.filter((_, i) => (bits >> i) & 1);
            switch (action.kind) {
              case "want":
                wanted.set(address(action.group), {
                  members: chosen(action.members | 1),
                  publishers: chosen(action.publishers),
                });
                wish();
                break;
              case "link":
                if (network.links.length === 0) break;
                if (action.up) down.clear();
                else down.add(action.at % network.links.length);
                bench.ryu.links = all.filter((_, i) => !down.has(i >> 1));
                break;
              case "cut":
                if (action.up) bench.ryu.connected.add(dpid);
                else bench.ryu.connected.delete(dpid);
                break;
              case "wipe":
                bench.ryu.switches.get(dpid)!.flows = [];
                break;
              case "move": {
                const moved = ids[action.agent % ids.length]!;
                const port = 50 + ids.indexOf(moved);
                places = places.map((p) => (p.agent === moved ? { ...p, dpid, port } : p));
                bench.ryu.hosts = places.map((p) => ({
                  mac: p.mac,
                  ipv4: [p.address],
                  at: { dpid: p.dpid, port: p.port },
                }));
                break;
              }
              case "ryu":
                bench.ryu.up = action.up;
                break;
              case "restart":
                await plane.close();
                bench.ryu.up = true;
                cables = network.links.filter((_, i) => !down.has(i));
                plane = bench.newPlane(timing);
                begin();
                wish();
            }
            await bench.pass(wait);
            if (circle !== undefined) throw circle;
          }
          bench.ryu.up = true;
          bench.ryu.links = all;
          for (const dpid of network.switches) bench.ryu.connected.add(dpid);
          await bench.pass(300);
          if (circle !== undefined) throw circle;
          for (const [at, { members, publishers }] of wanted) {
            const status = plane.group(at)!;
            assert.equal(status.carriage, "openflow", `${at}: ${status.reason}`);
            assert.deepEqual(status.admitted, publishers.toSorted(), `who may publish to ${at}`);
            checkDelivery({ ...bench, network: { ...network, places } }, at, members, publishers);
          }
          await plane.close();
        },
      ),
      { numRuns: Number(process.env.TOPICAST_RUNS ?? 200) },
    );
  });
});
