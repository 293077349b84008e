import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Planner, spanningForest } from "@topicast/controller/dataplane/tree.js";
import { grow, INTERESTS } from "../../growth/growth.js";
import { growLimited } from "../../growth/limited.js";
import { networkOf, TOPOLOGIES } from "../../growth/networks.js";
import { picture } from "../../growth/picture.js";

describe("the growth of flows and groups", () => {
  for (const topology of TOPOLOGIES) {
    it(`is of networks in which every edge reaches every other: ${topology}`, () => {
      for (const edges of [4, 5, 33]) {
        const network = networkOf(topology, edges);
        const { places } = new Planner(spanningForest(network), network.places);
        assert.equal(places.size, edges);
        const ports = [...network.links.flatMap((l) => [l.a, l.b]), ...network.places];
        assert.equal(new Set(ports.map((p) => `${p.dpid}:${p.port}`)).size, ports.length);
      }
    });

    for (const interest of INTERESTS) {
      it(`counts every topic once, and shares what is equal: ${topology}, ${interest}`, () => {
        const few = grow({ topology, interest, edges: 4, topics: 1_000 });
        assert.ok(few.idle + few.direct + few.groups <= 1_000);
        assert.ok(few.groups <= 2 ** 4 - 4 - 1, `${few.groups} sets of two and more among four edges`);
        // Where links make loops each publisher may need rules of its own.
        const most = topology === "tree" ? few.groups : few.groups * 4;
        assert.ok(few.rulesMost <= most && few.rulesMean <= few.rulesMost);
        assert.ok(few.told < few.filters, "what plant/P/# contains is not told");
        const many = grow({ topology, interest, edges: 64, topics: 1_000 });
        assert.ok(many.groups > few.groups && many.groups <= 1_000);
        assert.equal(many.routes, 1_000 - many.idle + many.groups);
      });
    }
  }

  it("is less where interest is skewed: equal sets are more likely", () => {
    const [uniform, skewed] = INTERESTS.map((interest) =>
      grow({ topology: "tree", interest, edges: 64, topics: 5_000 }),
    );
    assert.ok(skewed!.groups < uniform!.groups);
  });

  it("stays within limits where switches have them, and a bound of waste gains something", () => {
    for (const topology of TOPOLOGIES) {
      const question = {
        topology,
        interest: "skewed",
        edges: 24,
        topics: 800,
        limits: { groups: 64 },
      } as const;
      const [none, some] = [0, 20].map((waste) => growLimited({ ...question, waste }));
      for (const { most, sets, groups, waiting } of [none!, some!]) {
        assert.ok(most <= 64);
        assert.ok(groups < sets && waiting > 0 && waiting < sets);
      }
      assert.equal(none!.wasted, 0);
      assert.ok(some!.wasted > 0 && some!.wasted <= 0.2);
      assert.ok(some!.carried > none!.carried, topology);
    }
  });

  it("can be drawn", () => {
    const rows = INTERESTS.flatMap((interest) =>
      [10, 100].map((topics) => grow({ topology: "tree", interest, edges: 4, topics })),
    );
    const limited = [0, 1].map((outputs) =>
      growLimited({
        topology: "tree",
        interest: "skewed",
        edges: 4,
        topics: 100,
        limits: { groups: 2, outputs },
        waste: 10,
      }),
    );
    const svg = picture(rows, limited);
    assert.equal(svg.match(/<polyline/g)?.length, 2 + 2 * 2);
    assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
  });
});
