import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Planner, spanningForest } from "@topicast/controller/dataplane/tree.js";
import { grow, INTERESTS } from "../../growth/growth.js";
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

  it("can be drawn", () => {
    const rows = INTERESTS.flatMap((interest) =>
      [10, 100].map((topics) => grow({ topology: "tree", interest, edges: 4, topics })),
    );
    const svg = picture(rows);
    assert.equal(svg.match(/<polyline/g)?.length, 2);
    assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
  });
});
