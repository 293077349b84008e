import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFAULT_RULES } from "@topicast/agent/firewall/default-rules.js";
import { Firewall } from "@topicast/agent/firewall/firewall.js";
import type { Connect } from "@topicast/agent/mqtt/codec/connect.js";
import { UnicastDataplane } from "@topicast/controller/dataplane/unicast.js";
import { type Faults, PERFECT, SimAgent, SimDisk, SimForwarder, SimNetwork } from "./sim.js";

const LOSSY: Faults = { ...PERFECT, loss: 0.2, repeat: 0.1 };

/** Keeps what it is told to drop. */
class Switches extends UnicastDataplane {
  sources: readonly string[] = [];

  override setQuarantine(sources: readonly string[] = []): void {
    this.sources = sources;
  }
}

class Network {
  readonly network: SimNetwork;
  readonly disk: SimDisk;
  readonly walls: Firewall[];
  readonly agents: SimAgent[] = [];
  dataplane = new Switches();
  forwarder: SimForwarder;

  constructor(count: number, faults: Faults = PERFECT) {
    this.network = new SimNetwork(5, faults);
    this.disk = new SimDisk(this.network);
    this.forwarder = this.start();
    this.walls = Array.from({ length: count }, (_, i) => this.join(i));
  }

  start(disk = this.disk): SimForwarder {
    this.dataplane = new Switches();
    const isSafe = (source: string) => source === "10.0.0.77";
    const { dataplane } = this;
    this.forwarder = new SimForwarder(this.network, { dataplane, quarantine: { disk, isSafe } });
    return this.forwarder;
  }

  private join(index: number): Firewall {
    const wall: Firewall = new Firewall({
      clock: this.network.clock,
      rules: { ...DEFAULT_RULES, quarantineMs: 60_000 },
      modes: new Map([["tcp", "block"]]),
      onEvent: () => {},
      onQuarantine: (entry) => this.agents[index]!.fabric.quarantine.report(entry),
      onGuess: (whose, limit) => this.agents[index]!.fabric.quarantine.guessed(whose, limit),
    });
    const [id, address] = [`e${index + 1}`, `10.0.1.${index + 1}`];
    this.agents[index] = new SimAgent(this.network, id, address, 1883, [], undefined, wall);
    return wall;
  }

  /** A client that does not stop breaking the protocol, until an agent has had enough. */
  attack(wall: Firewall, address: string): void {
    for (let n = 0; n < 30; n++) {
      const guard = wall.open({ peer: `${address}:5000`, listener: "tcp" }, () => {});
      if (typeof guard === "object") guard.closed("malformed", "nonsense");
    }
  }

  /** Whether each edge lets the address in. */
  admits(address: string): boolean[] {
    return this.walls.map((wall) => {
      const guard = wall.open({ peer: `${address}:5001`, listener: "tcp" }, () => {});
      if (typeof guard === "object") guard.closed("peer_closed", undefined);
      return guard !== "refused";
    });
  }

  get list() {
    return [...this.forwarder.forwarder.quarantine.list()].map(
      ({ source, rule, by }) => `${source} ${rule} ${by}`,
    );
  }
}

describe("quarantine over several edges", () => {
  for (const [name, faults, patience] of [
    ["a perfect network", PERFECT, 500],
    ["one that loses and doubles", LOSSY, 8_000],
  ] as const) {
    it(`begins and ends everywhere, over ${name}`, async () => {
      const net = new Network(3, faults);
      await net.network.run(8_000, 10);
      net.attack(net.walls[0]!, "10.0.0.66");
      assert.deepEqual(net.admits("10.0.0.66"), [false, true, true]);
      await net.network.run(patience, 5);
      assert.deepEqual(net.admits("10.0.0.66"), [false, false, false]);
      assert.deepEqual(net.list, ["10.0.0.66 protocol e1"]);
      assert.deepEqual(net.dataplane.sources, ["10.0.0.66"]);
      assert.deepEqual(net.admits("10.0.0.67"), [true, true, true]);
      await net.network.run(62_000, 50);
      assert.deepEqual(
        [net.admits("10.0.0.66"), net.list, net.dataplane.sources],
        [[true, true, true], [], []],
      );
    });
  }

  it("outlives the forwarder, by its store and by what agents know", async () => {
    const net = new Network(2);
    await net.network.run(5_000, 10);
    net.attack(net.walls[0]!, "10.0.0.66");
    await net.network.run(500, 5);
    net.forwarder.kill();
    net.start();
    await net.network.run(200, 5);
    assert.deepEqual([net.list, net.dataplane.sources], [["10.0.0.66 protocol e1"], ["10.0.0.66"]]);
    net.forwarder.kill();
    // Attacked while there is none, and one that has forgotten.
    net.attack(net.walls[1]!, "10.0.0.68");
    net.start(new SimDisk(net.network));
    await net.network.run(8_000, 10);
    assert.deepEqual(net.dataplane.sources.toSorted(), ["10.0.0.66", "10.0.0.68"]);
    assert.deepEqual(net.admits("10.0.0.68"), [false, false]);
  });

  it("is ended by hand for good, whatever agents remember", async () => {
    const net = new Network(2);
    await net.network.run(5_000, 10);
    const { quarantine } = net.forwarder.forwarder;
    assert.equal(quarantine.add("10.0.0.70", "by hand", 50, ""), true);
    await net.network.run(500, 5);
    assert.deepEqual(net.admits("10.0.0.70"), [false, false]);
    net.network.detach("10.0.1.2");
    assert.equal(quarantine.remove("10.0.0.70"), true);
    assert.equal(quarantine.remove("10.0.0.70"), false);
    await net.network.run(10_000, 10);
    assert.deepEqual(net.admits("10.0.0.70"), [true, false]);
    net.network.attach("10.0.1.2", (bytes, from) => net.agents[1]!.fabric.onDatagram(bytes, from));
    await net.network.run(15_000, 10);
    assert.deepEqual([net.admits("10.0.0.70"), net.list], [[true, true], []]);
    // What has just happened counts.
    net.attack(net.walls[0]!, "10.0.0.70");
    await net.network.run(500, 5);
    assert.deepEqual(net.admits("10.0.0.70"), [false, false]);
  });

  it("never comes over agents and what is listed as safe, and agents are told so", async () => {
    const net = new Network(2);
    await net.network.run(5_000, 10);
    const { quarantine } = net.forwarder.forwarder;
    for (const address of ["10.0.1.2", "10.0.0.77"]) {
      assert.equal(quarantine.add(address, "by hand", 50, ""), false);
      net.attack(net.walls[0]!, address);
      assert.deepEqual(net.admits(address), [false, true]);
      await net.network.run(500, 5);
      assert.deepEqual(net.admits(address), [true, true]);
    }
    assert.deepEqual([net.list, net.dataplane.sources], [[], []]);
    assert.equal(quarantine.stats.quarantine_protected, 4);
    // An agent that comes later.
    quarantine.add("10.0.1.3", "by hand", 50, "");
    new SimAgent(net.network, "e3", "10.0.1.3");
    await net.network.run(2_000, 10);
    assert.deepEqual(net.list, []);
  });

  it("comes over who guesses a little at each of many edges", async () => {
    const net = new Network(5);
    await net.network.run(5_000, 10);
    const guess = (wall: Firewall, address: string) => {
      const guard = wall.open({ peer: `${address}:5000`, listener: "tcp" }, () => {});
      if (typeof guard !== "object") return;
      guard.rejected("bad_credentials");
      guard.closed("refused", undefined);
    };
    // The built-in limit is 20 a minute.
    for (let n = 0; n < 4; n++) for (const wall of net.walls) guess(wall, "10.0.0.66");
    await net.network.run(1_000, 5);
    assert.equal(net.list.length, 0);
    for (const wall of net.walls) guess(wall, "10.0.0.66");
    guess(net.walls[0]!, "10.0.0.67");
    await net.network.run(1_000, 5);
    assert.deepEqual(
      net.list.map((entry) => entry.slice(0, -2)),
      ["10.0.0.66 guessing.address "],
    );
    assert.deepEqual(net.admits("10.0.0.66"), [false, false, false, false, false]);
    assert.deepEqual(net.admits("10.0.0.67"), [true, true, true, true, true]);
  });

  it("has a lock beside it: guesses at one user's password, a few from each of many addresses at many edges", async () => {
    const net = new Network(5);
    await net.network.run(5_000, 10);
    const connect = (wall: Firewall, address: string, username: string) => {
      const guard = wall.open({ peer: `${address}:5000`, listener: "tcp" }, () => {});
      assert.ok(typeof guard === "object");
      const packet = { version: 5, username, will: undefined } as Connect;
      return { guard, verdict: guard.connect(packet, "c") };
    };
    const known = connect(net.walls[0]!, "10.1.0.1", "plant").guard;
    known.admitted({ clientId: "c", username: "plant" }, undefined);
    known.closed("peer_closed", undefined);
    let n = 0;
    const guess = (times: number) => {
      for (let i = 0; i < times; i++) {
        for (const wall of net.walls) {
          const { guard } = connect(wall, `10.2.0.${++n}`, "plant");
          guard.rejected("bad_credentials");
          guard.closed("refused", undefined);
        }
      }
    };
    const lets = (address: string, user = "plant") =>
      net.walls.map((wall) => connect(wall, address, user).verdict === undefined);
    // The built-in limit is 50 a minute.
    guess(9);
    await net.network.run(1_000, 5);
    assert.deepEqual(lets("10.3.0.1"), [true, true, true, true, true]);
    guess(2);
    await net.network.run(1_000, 5);
    assert.deepEqual(lets("10.3.0.1"), [false, false, false, false, false]);
    assert.deepEqual(lets("10.3.0.1", "other"), [true, true, true, true, true]);
    assert.deepEqual(lets("10.1.0.1"), [true, false, false, false, false], "where he has logged in before");
    assert.equal(net.list.length, 0, "no address is shut out");
    await net.network.run(310_000, 100);
    assert.deepEqual(lets("10.3.0.1"), [true, true, true, true, true]);
  });

  it("is bounded: the one that ends first ends early, and many are told in parts", async () => {
    const net = new Network(1);
    await net.network.run(5_000, 10);
    const { quarantine } = net.forwarder.forwarder;
    for (let n = 0; n < 4_097; n++) quarantine.add(`10.2.${n >> 8}.${n & 255}`, "by hand", 1_000 + n, "");
    assert.deepEqual([quarantine.size, quarantine.stats.quarantine_forgotten], [4_096, 1]);
    await net.network.run(3_000, 5);
    assert.equal(net.walls[0]!.shutOuts().length, 4_096);
    assert.deepEqual(net.admits("10.2.0.0"), [true]);
    assert.deepEqual(net.admits("10.2.16.0"), [false]);
  });
});
