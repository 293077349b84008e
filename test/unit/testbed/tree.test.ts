import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { describe, it } from "node:test";
import { parseTree, Tree } from "topicast/testbed/tree";
import fc from "../../property.js";

const MININET = resolve(import.meta.dirname, "../../../../mininet");

/** The seven-switch tree as the topology script tells it. */
const SEVEN = [
  "*** 7 switches, 8 hosts (Open vSwitch, userspace datapath)",
  "*** s1: s2 s3 fwd",
  "*** s2: s4 s5",
  "*** s3: s6 s7",
  "*** s4: h1 h2",
  "*** s5: h3 h4",
  "*** s6: h5 h6",
  "*** s7: h7 h8",
  "*** ready",
];

describe("the testbed's tree", () => {
  it("is read from the topology script's lines, ports included", () => {
    const tree = parseTree(SEVEN);
    assert.deepEqual(tree.switches, ["s1", "s2", "s3", "s4", "s5", "s6", "s7"]);
    assert.deepEqual(tree.hosts, ["fwd", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8"]);
    assert.equal(tree.parent("h3"), "s5");
    assert.equal(tree.parent("s1"), undefined);
    // Port 1 of a switch below the root leads up.
    assert.deepEqual(
      tree.links.filter((l) => l.from === "s1").map((l) => [l.to, l.port]),
      [
        ["s2", 1],
        ["s3", 2],
        ["fwd", 3],
      ],
    );
    assert.deepEqual(
      tree.links.find((l) => l.to === "h4"),
      { from: "s5", to: "h4", port: 3 },
    );
    assert.throws(() => parseTree(["*** ready"]), /has not told its switches/);
  });

  it("bounds each link for a publisher behind s5 and members behind s4 and s6", () => {
    const tree = parseTree(SEVEN);
    const used = tree.links.filter((l) => tree.least(l, "h3", ["h1", "h5"]) === 1).map((l) => l.to);
    assert.deepEqual(used.sort(), ["h1", "h3", "h5", "s2", "s3", "s4", "s5", "s6"].sort());
  });

  it("asks nothing of any link where only the publisher itself is a member", () => {
    const tree = parseTree(SEVEN);
    assert.ok(tree.links.every((l) => tree.least(l, "h3", ["h3"]) === 0));
    assert.ok(tree.links.every((l) => tree.least(l, "h3", []) === 0));
  });

  it("bounds with exactly the links on the paths from the publisher to the members, on any tree", () => {
    const parents = fc.array(fc.nat(), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(
        parents,
        fc.array(fc.nat(), { maxLength: 8 }),
        fc.nat(),
        (picks, memberPicks, publisherPick) => {
          // Node i + 1 hangs from a switch before it; afterwards every switch gets one host.
          const children = new Map<string, string[]>([["s0", []]]);
          const up = new Map<string, string>();
          picks.forEach((pick, i) => {
            const parent = `s${pick % (i + 1)}`;
            children.get(parent)!.push(`s${i + 1}`);
            children.set(`s${i + 1}`, []);
            up.set(`s${i + 1}`, parent);
          });
          for (const [name, list] of children) {
            list.push(`h${name.slice(1)}`);
            up.set(`h${name.slice(1)}`, name);
          }
          const tree = new Tree(children);
          const host = (n: number) => `h${n % (picks.length + 1)}`;
          const publisher = host(publisherPick);
          const members = memberPicks.map(host);

          const toRoot = (node: string) => {
            const path = [];
            for (let at: string | undefined = node; at !== undefined; at = up.get(at)) path.push(at);
            return path;
          };
          const wanted = new Set<string>();
          for (const member of members) {
            const a = toRoot(publisher);
            const b = toRoot(member);
            // A link, named by its lower end, is on the path when it is on one way to the root but not on both.
            for (const node of a) if (!b.includes(node)) wanted.add(node);
            for (const node of b) if (!a.includes(node)) wanted.add(node);
          }
          for (const link of tree.links) {
            assert.equal(tree.least(link, publisher, members), wanted.has(link.to) ? 1 : 0, link.to);
          }
        },
      ),
    );
  });
});

describe("mininet/tree.py", () => {
  function plan(...fanouts: number[]): string {
    const script = [
      "import sys; sys.dont_write_bytecode = True",
      `sys.path.insert(0, ${JSON.stringify(MININET)})`,
      "import json, tree",
      "try:",
      `    p = tree.plan_tree(${JSON.stringify(fanouts)})`,
      "    print(json.dumps({'switches': [[s.name, s.dpid] for s in p.switches],",
      "        'hosts': [[h.name, h.address, h.mac] for h in p.hosts],",
      "        'links': [[l.parent, l.port, l.child, l.to_host] for l in p.links]}))",
      "except tree.PlanError as e:",
      "    print('error: %s' % e)",
    ].join("\n");
    return execFileSync("python3", ["-c", script], { encoding: "utf8" }).trim();
  }

  it("numbers switches breadth-first and hosts from left to right, fwd last on the root", () => {
    const planned = JSON.parse(plan(2, 2, 2)) as {
      switches: [string, number][];
      hosts: [string, string, string][];
      links: [string, number, string, boolean][];
    };
    const told = parseTree(SEVEN);
    assert.deepEqual(
      planned.links.map(([from, port, to]) => `${from}.${port} ${to}`).sort(),
      told.links.map((l) => `${l.from}.${l.port} ${l.to}`).sort(),
    );
    assert.deepEqual(planned.switches.at(-1), ["s7", 7]);
    assert.deepEqual(planned.hosts[0], ["h1", "192.168.1.101", "02:00:c0:a8:01:65"]);
    assert.deepEqual(planned.hosts.at(-1), ["fwd", "192.168.1.100", "02:00:c0:a8:01:64"]);
    assert.equal(planned.hosts.length, 9);
  });

  it("has one switch for one level, and room for 154 hosts", () => {
    assert.equal((JSON.parse(plan(154)) as { hosts: unknown[] }).hosts.length, 155);
    assert.match(plan(155), /^error: these fan-outs need 155 hosts; .* has room for 154$/);
    assert.match(plan(14, 11, 2), /^error: these fan-outs need 308 hosts/);
  });

  it("refuses what cannot be built", () => {
    assert.match(plan(), /^error: a tree needs at least one fan-out/);
    assert.match(plan(2, 0), /^error: fan-out 0 is not possible/);
    assert.match(plan(2, -1), /^error: fan-out -1 is not possible/);
    assert.match(plan(1000, 1000, 1), /^error: these fan-outs need more than 200 switches/);
  });
});
