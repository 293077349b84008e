import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { EdgeAgent } from "@topicast/controller/dataplane/dataplane.js";
import { TopologyModel, type TopologySnapshot } from "@topicast/controller/dataplane/topology.js";

const timing = { settleMs: 1000, absenceMs: 500, reconnectMs: 5000 };
const mac = (n: number) => `02:00:00:00:00:0${n}`;
const agent = (n: number): EdgeAgent => ({ id: `e${n}`, address: `10.0.0.${n}`, mac: mac(n), port: 1883 });
const host = (n: number, dpid: bigint, port: number) => ({
  mac: mac(n),
  ipv4: [`10.0.0.${n}`],
  at: { dpid, port },
});
const arc = (from: [bigint, number], to: [bigint, number]) => ({
  from: { dpid: from[0], port: from[1] },
  to: { dpid: to[0], port: to[1] },
});

/** s1 above s2 and s3; port 1 of s2 and s3 leads up, ports 1 and 2 of s1 lead down; hosts on port 3. */
const whole: TopologySnapshot = {
  switches: [1n, 2n, 3n].map((dpid) => ({ dpid, ports: [1, 2, 3] })),
  links: [arc([1n, 1], [2n, 1]), arc([2n, 1], [1n, 1]), arc([1n, 2], [3n, 1]), arc([3n, 1], [1n, 2])],
  hosts: [host(1, 2n, 3), host(2, 3n, 3)],
};

function started(snapshot: TopologySnapshot = whole, now = 0): TopologyModel {
  const model = new TopologyModel(timing);
  model.setAgents([agent(1), agent(2)], now);
  model.observe(snapshot, now);
  return model;
}

function located(model: TopologyModel): string[] {
  return [...model.places()].map((p) => `${p.agent}@s${p.dpid}:${p.port}`);
}

describe("what is believed of the network", () => {
  it("uses a link only when both directions are listed, and finds agents by MAC", () => {
    const model = started({ ...whole, links: whole.links.slice(0, 3) });
    assert.deepEqual(model.links(), [{ a: { dpid: 1n, port: 1 }, b: { dpid: 2n, port: 1 } }]);
    model.observe(whole, 10);
    assert.equal(model.links().length, 2);
    assert.deepEqual(located(model), ["e1@s2:3", "e2@s3:3"]);
    assert.deepEqual(model.unlocated(), []);
  });

  it("finds an agent by IPv4 where the switches see another MAC, and takes that MAC for the last hop", () => {
    const model = started({
      ...whole,
      hosts: [{ mac: "02:ff:00:00:00:01", ipv4: ["10.0.0.1"], at: { dpid: 2n, port: 3 } }],
    });
    assert.deepEqual(
      [...model.places()],
      [{ agent: "e1", address: "10.0.0.1", dpid: 2n, port: 3, mac: "02:ff:00:00:00:01" }],
    );
    assert.deepEqual(model.unlocated(), ["e2"]);
  });

  it("ignores hosts listed between switches, on ports and switches that are not there", () => {
    for (const bad of [host(1, 1n, 1), host(1, 2n, 1), host(1, 2n, 9), host(1, 9n, 3)]) {
      assert.deepEqual(located(started({ ...whole, hosts: [bad] })), [], JSON.stringify(bad.at.port));
    }
    const oneWay = started({ ...whole, links: whole.links.slice(0, 1), hosts: [host(1, 2n, 1)] });
    assert.deepEqual(located(oneWay), [], "one direction is enough to know that no host lives there");
  });

  it("does not believe a first sighting while links are still being found", () => {
    const early: TopologySnapshot = { ...whole, links: [], hosts: [host(1, 1n, 1)] };
    const model = started(early);
    assert.deepEqual(located(model), []);
    model.observe(early, 999);
    assert.deepEqual(located(model), []);
    model.observe({ ...whole, hosts: early.hosts }, 1000);
    assert.deepEqual(located(model), [], "the link has shown what the port is");
    model.observe(whole, 1001);
    assert.deepEqual(located(model), ["e1@s2:3", "e2@s3:3"]);
  });

  it("believes a host on an unjoined switch after a while", () => {
    const island: TopologySnapshot = { ...whole, links: [], hosts: [host(1, 2n, 3)] };
    const model = started(island);
    assert.deepEqual(located(model), []);
    model.observe(island, 1000);
    assert.deepEqual(located(model), ["e1@s2:3"]);
  });

  it("keeps what it knew while Ryu restarts and finds everything again", () => {
    const model = started(whole);
    model.observe(whole, 2000);
    model.lost();
    model.observe({ switches: [], links: [], hosts: [] }, 3000);
    assert.deepEqual(
      [...model.switches()].map((s) => s.connected),
      [false, false, false],
    );
    assert.equal(model.links().length, 2);
    assert.deepEqual(located(model), ["e1@s2:3", "e2@s3:3"]);
    // Switches come back one by one, hosts first on ports whose links are not known again.
    model.observe({ switches: whole.switches.slice(0, 1), links: [], hosts: [host(2, 1n, 2)] }, 4000);
    assert.deepEqual(located(model), ["e1@s2:3", "e2@s3:3"]);
    assert.equal(model.links().length, 2);
    model.observe({ ...whole, links: whole.links.slice(0, 2), hosts: [host(2, 1n, 2)] }, 4900);
    assert.equal(model.links().length, 2);
    model.observe({ ...whole, hosts: [host(2, 1n, 2)] }, 5900);
    assert.deepEqual(located(model), ["e1@s2:3", "e2@s3:3"], "also while Ryu lists a host wrongly for good");
  });

  it("lets a switch go that stays away, sooner when Ryu was there all the time", () => {
    const without: TopologySnapshot = {
      ...whole,
      switches: whole.switches.slice(0, 2),
      links: whole.links.slice(0, 2),
    };
    const model = started(whole);
    model.observe(without, 2000);
    assert.deepEqual(located(model), ["e1@s2:3", "e2@s3:3"]);
    assert.equal(model.isConnected(3n), false);
    model.observe(without, 2500);
    assert.deepEqual(located(model), ["e1@s2:3"]);
    assert.equal(model.links().length, 1);

    const restarted = started(whole);
    restarted.lost();
    restarted.observe(without, 2000);
    restarted.observe(without, 6999);
    assert.equal(located(restarted).length, 2);
    restarted.observe(without, 7000);
    assert.deepEqual(located(restarted), ["e1@s2:3"]);

    const dark = started(whole);
    for (const now of [2000, 4000, 6000, 7000]) dark.observe({ switches: [], links: [], hosts: [] }, now);
    assert.equal([...dark.switches()].length, 0, "the patience ends although Ryu goes on listing nothing");
  });

  it("drops a link at once when calm switches stop seeing it, or its port leads elsewhere", () => {
    const model = started(whole);
    model.observe(whole, 1000);
    model.observe({ ...whole, links: whole.links.slice(0, 2) }, 1100);
    assert.equal(model.links().length, 1);

    const moved = started({ ...whole, hosts: [] });
    moved.observe(
      {
        ...whole,
        hosts: [host(1, 2n, 3), host(2, 1n, 2)],
        links: [arc([1n, 3], [3n, 1]), arc([3n, 1], [1n, 3]), ...whole.links.slice(0, 2)],
      },
      100,
    );
    assert.deepEqual(
      moved.links().map(({ a, b }) => [a.port, b.dpid]),
      [
        [1, 2n],
        [3, 3n],
      ],
    );
    assert.deepEqual(located(moved), ["e1@s2:3", "e2@s1:2"], "where the cable was there may be a host now");
  });

  it("follows an agent to another port once the switch is calm, and forgets agents that leave", () => {
    const model = started(whole);
    const moved = { ...whole, hosts: [host(1, 3n, 2), host(2, 3n, 3)] };
    model.observe(moved, 900);
    assert.deepEqual(located(model), ["e1@s2:3", "e2@s3:3"]);
    model.observe(moved, 1000);
    assert.deepEqual(located(model), ["e1@s3:2", "e2@s3:3"]);
    model.observe({ ...whole, hosts: [] }, 1100);
    assert.deepEqual(located(model), ["e1@s3:2", "e2@s3:3"], "Ryu forgot, the agents are where they were");
    model.setAgents([agent(2)], 1200);
    model.setAgents([agent(1), agent(2)], 1300);
    assert.deepEqual(located(model), ["e2@s3:3"]);
    assert.deepEqual(model.unlocated(), ["e1"]);
  });

  it("lets a place go whose port turns out to lead to another switch", () => {
    const model = started({
      ...whole,
      switches: whole.switches.slice(0, 1),
      links: [],
      hosts: [host(1, 1n, 2)],
    });
    assert.deepEqual(located(model), ["e1@s1:2"], "a single switch is joined");
    model.observe({ ...whole, hosts: [host(1, 1n, 2)] }, 100);
    assert.deepEqual(located(model), []);
  });

  it("locates an agent that registers later from what was listed before", () => {
    const model = new TopologyModel(timing);
    model.observe(whole, 0);
    model.setAgents([agent(2)], 1);
    assert.deepEqual(located(model), ["e2@s3:3"]);
  });
});
