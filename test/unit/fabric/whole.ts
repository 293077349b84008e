import assert from "node:assert/strict";
import { noLimits, type SwitchLimits } from "@topicast/controller/dataplane/limits.js";
import { OpenFlowDataplane } from "@topicast/controller/dataplane/openflow.js";
import type { SwitchPort } from "@topicast/controller/dataplane/tree.js";
import type { Endpoint } from "@topicast/protocol";
import { follow } from "../controller/dataplane/model-network.js";
import { ModelRyu, range } from "../controller/dataplane/model-ryu.js";
import { build } from "../controller/dataplane/networks.js";
import { type Faults, FORWARDER, PERFECT, SimAgent, SimForwarder, SimNetwork } from "./sim.js";

const quiet = { debug: () => {}, info: () => {}, warn: () => {} };

/** The demo's tree with real agents, forwarder and data plane; switches and Ryu are models, time is virtual. */
export class Whole {
  readonly network: SimNetwork;
  readonly ryu: ModelRyu;
  readonly agents: SimAgent[];
  forwarder: SimForwarder;
  /** Copies that no agent of that address got, or that no rule took. */
  astray = 0;
  /** Datagrams of agents and the forwarder that a switch did not let in. */
  keptOff = 0;

  private constructor(
    seed: number,
    faults: Faults,
    intercepts: readonly Endpoint[],
    private readonly limits: Partial<SwitchLimits> | undefined,
  ) {
    const shape = build({ parents: [0, 0, 1, 1, 2, 2], extra: [], agents: [3, 4, 5, 6], descending: false });
    this.network = new SimNetwork(seed, faults);
    this.ryu = new ModelRyu(this.network.clock, shape);
    this.network.copies = (from, group) => {
      const place = shape.places.find((p) => p.address === from)!;
      const { received, onLinks, astray } = follow(
        this.ryu.switches,
        shape.links,
        shape.places,
        place,
        group,
      );
      this.astray += astray;
      for (const count of [...received.values(), ...onLinks.values()])
        assert.equal(count, 1, "the tree bound");
      return shape.places.filter((p) => received.has(p.agent)).map((p) => p.address);
    };
    const seat = { dpid: 1n, port: 60 };
    // Each port costs rules, and a run of thousands of seeds time.
    this.ryu.ports = [1, 2, 3, 4, 5, 6, 7, 8, seat.port];
    const seats = new Map<string, SwitchPort>(shape.places.map((p) => [p.address, p]));
    seats.set(FORWARDER.address, seat);
    const carry = this.network.carry.bind(this.network);
    this.network.carry = (bytes, from, to) => {
      const at = seats.get(from.address)!;
      if (this.ryu.switches.get(at.dpid)!.admits(at.port, from.address, to.address)) carry(bytes, from, to);
      else this.keptOff += 1;
    };
    this.forwarder = this.newForwarder();
    this.agents = shape.places.map((p) => new SimAgent(this.network, p.agent, p.address, 1883, intercepts));
    // The model's hosts have MAC addresses of their own: what counts is what agents say and Ryu has seen.
    const hosts = shape.places.map((p, i) => ({
      mac: this.agents[i]!.mac,
      ipv4: [p.address],
      at: { dpid: p.dpid, port: p.port },
    }));
    this.ryu.hosts = [...hosts, { mac: "02:00:00:00:00:64", ipv4: [FORWARDER.address], at: seat }];
  }

  /** @param limits of every switch */
  static async start(
    seed: number,
    faults = PERFECT,
    intercepts: readonly Endpoint[] = [],
    limits?: Partial<SwitchLimits>,
  ): Promise<Whole> {
    const whole = new Whole(seed, faults, intercepts, limits);
    await whole.network.run(5_000, 5);
    return whole;
  }

  newForwarder(): SimForwarder {
    const { clock } = this.network;
    const limits = this.limits && { limits: () => ({ ...noLimits, ...this.limits }) };
    const options = { access: this.ryu, clock, range, log: quiet, forwarder: FORWARDER };
    const dataplane = new OpenFlowDataplane({ ...options, ...limits });
    this.forwarder = new SimForwarder(this.network, { dataplane });
    return this.forwarder;
  }

  topics() {
    return [...this.forwarder.forwarder.topics()].map(({ topic, edges, carriage }) => ({
      topic,
      edges,
      carriage,
    }));
  }

  /** Groups and flows in all switches, without the guard flows. */
  rules(): number {
    let rules = 0;
    for (const s of this.ryu.switches.values()) {
      rules += s.groups.size + s.flows.filter((f) => typeof f.action === "number").length;
    }
    return rules;
  }
}
