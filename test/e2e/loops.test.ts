import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Testbed } from "topicast/testbed/testbed";
import { numbered, sleep } from "./support.js";

/** Five switches in a ring, and a 4-ary fat-tree: 4 core, 8 upper, 8 lower switches, 16 hosts (Al-Fares et al., 2008). */
const NETWORKS = {
  ring: { fanouts: [2, 1, 2], joins: [["s4", "s5"]] },
  "fat-tree": { fanouts: [4, 2, 2], joins: fatTreeJoins() },
} as const;

/** s1 is one core switch, s2 to s5 one upper switch of each pod, s6 to s13 the lower ones; the others are s14 to s20. */
function fatTreeJoins(): [string, string][] {
  const pods = [0, 1, 2, 3];
  return [
    ...pods.map((pod): [string, string] => [`s${2 + pod}`, "s14"]),
    ...pods.flatMap((pod): [string, string][] => [
      [`s${6 + 2 * pod}`, `s${15 + pod}`],
      [`s${7 + 2 * pod}`, `s${15 + pod}`],
    ]),
    ...pods.flatMap((pod): [string, string][] => [
      [`s${15 + pod}`, "s19"],
      [`s${15 + pod}`, "s20"],
    ]),
  ];
}

interface Topology {
  readonly switches: { readonly dpid: string; readonly differing: number }[];
  readonly links: { readonly tree: boolean }[];
}

for (const [name, { fanouts, joins }] of Object.entries(NETWORKS)) {
  describe(`a ${name} with simple_switch_13`, () => {
    let testbed: Testbed;
    before(async () => {
      testbed = await Testbed.start({ fanouts, joins });
    });
    after(() => testbed?.stop());

    const switchNames = () => {
      const last = Math.max(testbed.tree.switches.length, ...joins.flat().map((s) => Number(s.slice(1))));
      return Array.from({ length: last }, (_, i) => `s${i + 1}`);
    };

    /** Packets a second that leave any port of any switch. */
    async function rate(ms: number): Promise<number> {
      const sum = async () => {
        let packets = 0;
        for (const s of switchNames())
          for (const { tx } of (await testbed.switches.ports(s)).values()) packets += tx;
        return packets;
      };
      const [before, start] = [await sum(), performance.now()];
      await sleep(ms);
      return ((await sum()) - before) / ((performance.now() - start) / 1000);
    }

    it("lets every host ping every other, and no frame goes round", async () => {
      const said = (await testbed.network.command("pingall 2", 240_000)).join("\n");
      assert.match(said, /Results: 0% dropped/);
      // Link discovery sends a frame a second by each port; a single frame that circled would make thousands.
      const ports = joins.length * 2 + testbed.tree.links.length * 2;
      const idle = await rate(3_000);
      console.log(`${name}: ${idle.toFixed(0)} packets a second while idle, ${ports} ports`);
      assert.ok(idle < 4 * ports, `${idle.toFixed(0)} packets a second while idle`);
    });

    it("carries messages once over each link that is needed, the shortest way", async () => {
      await testbed.startForwarder();
      const [near, far] = ["h1", "h3"] as const;
      await testbed.startAgent(near, "near");
      await testbed.startAgent(far, "far");
      const subscribers = [
        await testbed.subscribe("h2", { agent: near, filter: "plant/#" }),
        await testbed.subscribe("h4", { agent: far, filter: "plant/#" }),
      ];
      const publishers = [
        await testbed.publisher("h2", { agent: near, topic: "plant/near" }),
        await testbed.publisher("h4", { agent: far, topic: "plant/far" }),
      ];
      for (const [i, publisher] of publishers.entries()) {
        publisher.publish("first");
        for (const s of subscribers) assert.ok(await s.has(i + 1, 10_000), `${s.child.name} has the first`);
      }
      const had = subscribers.map((s) => s.received.length);
      const payloads = numbered(500);
      await Promise.all(publishers.map((p) => p.publishAll(payloads, 200)));
      for (const [i, subscriber] of subscribers.entries()) {
        assert.ok(await subscriber.has(had[i]! + 1_000, 10_000), `${subscriber.received.length} came`);
        for (const topic of ["plant/near", "plant/far"]) {
          const got = subscriber.received.slice(had[i]).filter((r) => r.topic === topic);
          assert.deepEqual(
            got.map((r) => r.payload),
            payloads,
            "all, once, in order",
          );
        }
      }
      const { groups } = (await testbed.get("/groups")) as {
        groups: { admitted: string[]; packets: number }[];
      };
      assert.deepEqual(
        groups.map((g) => g.admitted),
        [["far", "near"]],
      );
      const { links, switches } = (await testbed.get("/topology")) as Topology;
      assert.equal(links.filter((l) => !l.tree).length, links.length - (switches.length - 1));
      assert.ok(switches.every((s) => s.differing === 0));
      assert.ok((await rate(2_000)) < 2_000);
    });
  });
}
