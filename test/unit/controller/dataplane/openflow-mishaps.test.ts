import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { noLimits } from "@topicast/controller/dataplane/limits.js";
import { copyRule, groupId } from "@topicast/controller/dataplane/rules.js";
import fc from "../../../property.js";
import { checkDelivery, group, started, tree } from "./bench.js";
import { follow } from "./model-network.js";
import { Bench } from "./model-ryu.js";
import { build, networks } from "./networks.js";

describe("Ryu away", () => {
  it("answers unicast at once, keeps what is known to stand, and makes up for it on return", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1"]));
    bench.ryu.up = false;
    const waiting = bench.want("239.192.0.2", ["e2"]);
    assert.ok((await bench.timed(waiting)).ms < 20, "whoever waits hears of it");
    assert.equal(bench.plane.status().ryu?.state, "unreachable");
    assert.match(bench.plane.status().ryu?.lastError ?? "", /connection refused/);
    assert.deepEqual(await bench.timed(bench.want("239.192.0.3", ["e3"])), {
      value: "unicast",
      ms: 0,
    });
    assert.equal((await bench.timed(bench.want(group, ["e1"]))).value, "openflow");
    await bench.pass(5000);
    assert.deepEqual(bench.events, []);
    bench.ryu.up = true;
    await bench.pass(600);
    assert.deepEqual(bench.events.toSorted(), ["239.192.0.2 openflow", "239.192.0.3 openflow"]);
    checkDelivery(bench, "239.192.0.3", ["e3"]);
  });

  it("outlives a restart in which Ryu forgets everything and learns it again bit by bit", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1", "e4"]));
    await bench.pass(4000);
    const commands = bench.plane.status().counters.commands;
    bench.ryu.up = false;
    await bench.pass(2000);
    bench.ryu.restart();
    // e1's frames are first seen where they come in from another switch, which is not there yet.
    bench.ryu.hosts = [{ mac: "02:00:00:00:00:01", ipv4: ["10.0.0.1"], at: { dpid: 1n, port: 1 } }];
    for (const dpid of bench.network.switches) {
      bench.ryu.connected.add(dpid);
      await bench.pass(800);
    }
    await bench.pass(10_000);
    assert.deepEqual(bench.events, []);
    assert.equal(bench.plane.status().counters.commands, commands, "no rule that was right has been touched");
    assert.equal(bench.plane.status().located, 4);
    checkDelivery(bench, group, ["e1", "e4"]);
  });

  it("counts as unreachable also before it was ever there", async () => {
    const bench = new Bench(tree());
    bench.ryu.up = false;
    bench.plane.start();
    bench.plane.setAgents(bench.agents());
    assert.equal(bench.plane.status().ryu?.state, "starting");
    const { value, ms } = await bench.timed(bench.want(group, ["e1"]));
    assert.equal(value, "unicast");
    assert.ok(ms < 5);
    const nowhere = await bench.timed(bench.want("239.192.0.2", ["e9"]));
    assert.deepEqual(nowhere, { value: "unicast", ms: 0 });
    bench.ryu.up = true;
    await bench.pass(600);
    assert.deepEqual(bench.events, ["239.192.0.1 openflow"]);
  });
});

describe("a change of the network", () => {
  it("moves a group to unicast when a member's switch is gone, and back when it returns", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1", "e4"]));
    await bench.timed(bench.want("239.192.0.2", ["e1", "e2"]));
    await bench.pass(4000);
    bench.ryu.connected.delete(7n);
    await bench.pass(3000);
    assert.equal(bench.events.length, 0, "it may be only its connection");
    await bench.pass(2000);
    const told = bench.events.filter((e) => !e.startsWith("locate"));
    assert.deepEqual(told, ["239.192.0.1 unicast", "239.192.0.2 e4 may not"]);
    assert.ok(bench.events.includes("locate e4"), "it may have moved");
    checkDelivery(
      { ...bench, network: { ...bench.network, places: bench.network.places.slice(0, 3) } },
      "239.192.0.2",
      ["e1", "e2"],
    );
    bench.events.length = 0;
    bench.ryu.switches.get(7n)!.flows = [];
    bench.ryu.switches.get(7n)!.groups.clear();
    bench.ryu.connected.add(7n);
    await bench.pass(1400);
    assert.deepEqual(bench.events.toSorted(), ["239.192.0.1 openflow", "239.192.0.2 e4 may"]);
    checkDelivery(bench, group, ["e1", "e4"]);
  });

  it("moves the tree to another way round when a link fails", async () => {
    const bench = await started(
      build({ parents: [0, 0], extra: [[1, 2]], agents: [1, 2], descending: false }),
    );
    await bench.timed(bench.want(group, ["e1", "e2"]));
    assert.equal(bench.ryu.switches.get(1n)!.groups.size, 0, "e1 and e2 have a link of their own");
    await bench.pass(4000);
    const failed = bench.network.links[2]!;
    const alive = ({ from }: { from: { dpid: bigint; port: number } }) =>
      ![failed.a, failed.b].some((end) => end.dpid === from.dpid && end.port === from.port);
    bench.ryu.links = bench.ryu.links.filter(alive);
    await bench.pass(1100);
    assert.deepEqual([...bench.ryu.switches.get(1n)!.groups.keys()], [groupId(group)]);
    const network = { ...bench.network, links: bench.network.links.filter((l) => l !== failed) };
    checkDelivery({ ...bench, network }, group, ["e1", "e2"]);
    assert.deepEqual(bench.events, []);
  });

  it("acts at once where Ryu tells of changes", async () => {
    const bench = new Bench(build({ parents: [0, 0], extra: [[1, 2]], agents: [1, 2], descending: false }));
    bench.ryu.tells = true;
    bench.plane.start();
    bench.plane.setAgents(bench.agents());
    bench.plane.settled();
    await bench.pass(4000);
    await bench.timed(bench.want(group, ["e1", "e2"]));
    const failed = bench.network.links[2]!;
    bench.ryu.links = bench.ryu.links.filter(({ from, to }) => ![from, to].includes(failed.a));
    bench.ryu.tell();
    await bench.pass(30);
    const network = { ...bench.network, links: bench.network.links.filter((l) => l !== failed) };
    checkDelivery({ ...bench, network }, group, ["e1", "e2"]);
    const { polls } = bench.plane.status().counters;
    await bench.pass(10_000);
    assert.ok(bench.plane.status().counters.polls - polls <= 11, "nothing is asked more often");
  });

  it("follows an agent to another port", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1", "e4"]));
    await bench.pass(4000);
    const moved = bench.network.places.map((p) => (p.agent === "e4" ? { ...p, dpid: 4n, port: 9 } : p));
    bench.ryu.hosts = moved.map(({ mac, address, dpid, port }) => ({
      mac,
      ipv4: [address],
      at: { dpid, port },
    }));
    await bench.pass(1100);
    checkDelivery({ ...bench, network: { ...bench.network, places: moved } }, group, ["e1", "e4"]);
  });
});

describe("who may publish", () => {
  const all = ["e1", "e2", "e3", "e4"];
  const allowed = (bench: Bench) => all.filter((id) => bench.plane.mayPublish(group, id));

  it("is a publisher for whom the switches are read back to hold the rules; others have none", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1", "e2"], ["e1"]));
    assert.deepEqual(allowed(bench), ["e1"]);
    const holding = () => [...bench.ryu.switches].filter(([, s]) => s.groups.size > 0).map(([dpid]) => dpid);
    assert.deepEqual(holding(), [2n, 4n, 5n], "the way from e1 to e2, and no further");
    checkDelivery(bench, group, ["e1", "e2"], ["e1"]);
    bench.ryu.log.length = 0;
    const more = bench.want(group, ["e1", "e2"], ["e1", "e3"]);
    await bench.pass(1);
    assert.deepEqual(allowed(bench), ["e1"], "e1 goes on, e3 waits");
    assert.equal((await bench.timed(more)).value, "openflow");
    assert.deepEqual(allowed(bench), ["e1", "e3"]);
    assert.deepEqual(holding(), [1n, 2n, 3n, 4n, 5n, 6n]);
    checkDelivery(bench, group, ["e1", "e2"], ["e1", "e3"]);
    await bench.timed(bench.want(group, ["e1", "e2"], ["e3"]));
    assert.deepEqual(allowed(bench), ["e3"]);
    checkDelivery(bench, group, ["e1", "e2"], ["e3"]);
    assert.deepEqual(bench.events, [], "whoever wished for it knows");
  });

  it("changes only the switches that a new publisher needs", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1", "e2"], ["e1", "e2"]));
    bench.ryu.log.length = 0;
    await bench.timed(bench.want(group, ["e1", "e2"], ["e1", "e2", "e3"]));
    const touched = new Set(bench.ryu.log.map((line) => line.split(" ")[0]));
    assert.deepEqual([...touched].sort(), ["s1", "s3", "s6"]);
  });

  it("is nobody new where a switch refuses, and everybody from before", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e1", "e2"], ["e1"]));
    const full = bench.ryu.switches.get(6n)!;
    full.maxGroups = 0;
    const { value, ms } = await bench.timed(bench.want(group, ["e1", "e2"], ["e1", "e3"]));
    assert.equal(value, "openflow");
    assert.ok(ms < 100, `took ${ms} ms`);
    assert.deepEqual(allowed(bench), ["e1"]);
    full.maxGroups = 9;
    await bench.pass(6_000);
    assert.deepEqual(bench.events, [`${group} e3 may`]);
    assert.deepEqual(allowed(bench), ["e1", "e3"]);
  });

  it("is an agent that has been located, and not on while it moves", async () => {
    const bench = await started();
    await bench.pass(4000);
    bench.plane.setAgents(bench.agents("e1", "e2"));
    await bench.pass(20);
    await bench.timed(bench.want(group, ["e1", "e2"], ["e1", "e3"]));
    assert.deepEqual(allowed(bench), ["e1"]);
    bench.plane.setAgents(bench.agents());
    await bench.pass(20);
    assert.deepEqual(bench.events, [`${group} e3 may`]);
    checkDelivery(bench, group, ["e1", "e2"], ["e1", "e3"]);
    bench.events.length = 0;
    bench.ryu.hosts = bench.ryu.hosts.map((h) =>
      h.ipv4[0] === "10.0.0.3" ? { ...h, at: { dpid: 7n, port: 9 } } : h,
    );
    await bench.pass(1100);
    assert.deepEqual(bench.events, [`${group} e3 may not`, `${group} e3 may`]);
    const places = bench.network.places.map((p) => (p.agent === "e3" ? { ...p, dpid: 7n, port: 9 } : p));
    checkDelivery({ ...bench, network: { ...bench.network, places } }, group, ["e1", "e2"], ["e1", "e3"]);
  });

  it("is nobody who shares its switch port with a member: a switch does not send back by the port of entry", async () => {
    const bench = await started();
    const [e1] = bench.network.places;
    bench.ryu.hosts = bench.ryu.hosts.map((h) =>
      h.ipv4[0] === "10.0.0.2" ? { ...h, at: { dpid: e1!.dpid, port: e1!.port } } : h,
    );
    await bench.pass(5000);
    assert.equal((await bench.timed(bench.want(group, ["e1", "e4"], ["e2", "e3"]))).value, "openflow");
    assert.deepEqual(allowed(bench), ["e3"]);
  });
});

describe("leftovers of an earlier run", () => {
  it("are told, kept until recovery is over, taken over where wished for again, and removed otherwise", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e2", "e3"]));
    await bench.timed(bench.want("239.192.0.9", ["e1", "e4"]));
    checkDelivery(bench, group, ["e2", "e3"]);
    await bench.plane.close();
    bench.ryu.switches.get(1n)!.apply({
      op: "flow-put",
      rule: { ...copyRule("239.196.0.9", [{ port: 1 }]), id: groupId(group) },
    });
    const plane = bench.newPlane();
    const publishers = bench.network.places.map((p) => p.agent);
    plane.start();
    const { value } = await bench.timed(plane.adopt());
    assert.deepEqual([...(value ?? [])].sort(), [
      ["239.192.0.1", ["10.0.0.2", "10.0.0.3"]],
      ["239.192.0.9", ["10.0.0.1", "10.0.0.4"]],
    ]);
    bench.ryu.log.length = 0;
    await bench.pass(3000);
    plane.setAgents(bench.agents());
    assert.equal(
      (await bench.timed(plane.want({ address: group, members: ["e2", "e3"], publishers }))).value,
      "openflow",
    );
    assert.deepEqual(bench.ryu.log, [], "what stood was right");
    checkDelivery(bench, "239.192.0.9", ["e1", "e4"]);
    assert.equal(plane.holds("239.192.0.9"), true);
    assert.equal(plane.group(group)?.packets, 4, "what the earlier run has sent counts too");
    plane.want({ address: "239.192.0.3", members: ["e1"], publishers });
    await bench.pass(20);
    assert.equal((await bench.timed(plane.drop("239.192.0.3"))).ms, 0, "not removed before recovery is over");
    plane.settled();
    await bench.pass(50);
    assert.equal(plane.status().counters.refused, 0);
    assert.ok(
      bench.ryu.switches.get(1n)!.flows.every((f) => f.destination !== "239.196.0.9"),
      "strays go, too",
    );
    assert.equal(plane.holds("239.192.0.9"), false);
    for (const model of bench.ryu.switches.values()) assert.equal(model.groups.size, 1);
    checkDelivery(bench, group, ["e2", "e3"]);
  });

  it("are null when Ryu cannot be reached, empty when there are none", async () => {
    const bench = new Bench(tree());
    bench.ryu.up = false;
    bench.plane.start();
    assert.deepEqual(await bench.timed(bench.plane.adopt()), { value: null, ms: 3000 });
    const fresh = new Bench(tree());
    fresh.plane.start();
    const { value, ms } = await fresh.timed(fresh.plane.adopt());
    assert.equal(value?.size, 0);
    assert.ok(ms < 10);
  });
});

describe("packets", () => {
  it("count each datagram once, through a change of members and of the counting switch", async () => {
    const bench = await started();
    await bench.timed(bench.want(group, ["e2", "e3"]));
    const send = (from: number) =>
      follow(
        bench.ryu.switches,
        bench.network.links,
        bench.network.places,
        bench.network.places[from]!,
        group,
      );
    for (const from of [0, 1, 2, 3, 0]) send(from);
    await bench.pass(1400);
    assert.equal(bench.plane.group(group)?.packets, 5);
    await bench.timed(bench.want(group, ["e3", "e4"]));
    await bench.pass(1400);
    assert.equal(bench.plane.group(group)?.packets, 5);
    for (const from of [0, 1]) send(from);
    await bench.pass(1400);
    assert.equal(bench.plane.group(group)?.packets, 7);
    const counting = bench.ryu.switches.get(6n)!;
    counting.flows = counting.flows.filter((f) => f.destination !== group);
    await bench.pass(1400);
    send(0);
    await bench.pass(1400);
    assert.equal(bench.plane.group(group)?.packets, 8, "a new flow begins at zero");
  });
});

describe("whatever happens", () => {
  type Step =
    | {
        readonly kind: "want";
        readonly group: number;
        readonly members: number;
        readonly publishers: number;
      }
    | { readonly kind: "drop"; readonly group: number }
    | { readonly kind: "agents"; readonly which: number }
    | { readonly kind: "tamper"; readonly at: number; readonly group: number; readonly how: number }
    | { readonly kind: "ryu"; readonly up: boolean }
    | { readonly kind: "cut"; readonly at: number; readonly connected: boolean };
  const small = fc.nat({ max: 1023 });
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({
      kind: fc.constant("want" as const),
      group: fc.nat({ max: 3 }),
      members: small,
      publishers: small,
    }),
    fc.record({ kind: fc.constant("drop" as const), group: fc.nat({ max: 3 }) }),
    fc.record({ kind: fc.constant("agents" as const), which: small }),
    fc.record({
      kind: fc.constant("tamper" as const),
      at: small,
      group: fc.nat({ max: 3 }),
      how: fc.nat({ max: 3 }),
    }),
    fc.record({ kind: fc.constant("ryu" as const), up: fc.boolean() }),
    fc.record({ kind: fc.constant("cut" as const), at: small, connected: fc.boolean() }),
  );
  const address = (n: number) => `239.192.0.${n + 1}`;

  it("ends, when all is well again, with exactly the wanted rules in every switch", async () => {
    await fc.assert(
      fc.asyncProperty(
        networks(true),
        fc.array(fc.tuple(step, fc.nat({ max: 8 })), { minLength: 1, maxLength: 14 }),
        fc.boolean(),
        fc.nat({ max: 4 }),
        async (network, steps, countsReferences, outputs) => {
          const timing = {
            settleMs: 20,
            absenceMs: 20,
            reconnectMs: 50,
            pollMs: 20,
            readMs: 20,
            downMs: 20,
          };
          const bench = new Bench(network, timing, () => ({ ...noLimits, outputs }));
          bench.ryu.countsReferences = countsReferences;
          const ids = network.places.map((p) => p.agent);
          const wanted = new Map<string, { members: string[]; publishers: string[] }>();
          bench.plane.start();
          bench.plane.settled();
          bench.plane.setAgents(bench.agents());
          for (const [action, wait] of steps) {
            const dpid = "at" in action ? network.switches[action.at % network.switches.length]! : 0n;
            switch (action.kind) {
              case "want": {
                const members = ids.filter((_, i) => (action.members >> i) & 1);
                if (members.length === 0) break;
                const publishers = ids.filter((_, i) => (action.publishers >> i) & 1);
                wanted.set(address(action.group), { members, publishers });
                void bench.want(address(action.group), members, publishers);
                break;
              }
              case "drop":
                wanted.delete(address(action.group));
                void bench.plane.drop(address(action.group));
                break;
              case "agents":
                bench.plane.setAgents(
                  bench.agents(...ids.filter((_, i) => (action.which >> i) & 1), "nobody"),
                );
                break;
              case "ryu":
                bench.ryu.up = action.up;
                break;
              case "cut":
                if (action.connected) bench.ryu.connected.add(dpid);
                else bench.ryu.connected.delete(dpid);
                break;
              case "tamper": {
                const model = bench.ryu.switches.get(dpid)!;
                const id = groupId(address(action.group));
                if (action.how === 0) model.groups.set(id, [{ port: 60 }]);
                if (action.how === 1) model.flows = [];
                if (action.how === 2) model.apply({ op: "group-delete", id });
                if (action.how === 3) {
                  model.groups.set(groupId("239.192.0.77"), [{ port: 1 }]);
                  model.apply({ op: "flow-put", rule: copyRule("239.192.0.77", [{ port: 1 }]) });
                }
              }
            }
            await bench.pass(wait);
          }
          bench.ryu.up = true;
          for (const dpid of network.switches) bench.ryu.connected.add(dpid);
          bench.plane.setAgents(bench.agents());
          await bench.pass(400);

          for (const [at, { members, publishers }] of wanted) {
            const status = bench.plane.group(at)!;
            assert.equal(status.carriage, "openflow", `${at}: ${status.reason}`);
            assert.deepEqual(status.admitted, publishers.toSorted(), `who may publish to ${at}`);
            checkDelivery(bench, at, members, publishers);
          }
          for (const model of bench.ryu.switches.values()) {
            for (const flow of model.flows.filter((f) => f.priority === 30000)) {
              assert.ok(wanted.has(flow.destination!), `${flow.destination} is left over`);
            }
            assert.equal(model.dangling(), 0);
            const pointing = model.flows.filter((f) => typeof f.action === "number");
            assert.equal(model.groups.size, pointing.length, "no group is left over");
            for (const { action, source } of model.flows) {
              if (typeof action === "object") assert.ok(source !== undefined || action.length <= outputs);
              if (typeof action === "number") assert.ok(model.groups.get(action)!.length > outputs);
            }
            assert.equal(model.flows.filter((f) => f.priority === 29000).length, 1, "the guard");
          }
          const idle = bench.plane.status().counters.commands;
          await bench.pass(100);
          assert.equal(bench.plane.status().counters.commands, idle, "nothing is left to do");
          await bench.plane.close();
        },
      ),
      { numRuns: 100 },
    );
  });
});
