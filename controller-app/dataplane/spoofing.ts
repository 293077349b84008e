/**
 * Keeps fabric datagrams off the network that come from where no agent lives, or from an address that lives elsewhere. Pure:
 * places and ports in, rules out.
 */
import { type Endpoint, formatEndpoint } from "@topicast/protocol";
import { type EdgeAgent, THE_FORWARDER } from "./dataplane.js";
import type { Locator } from "./locator.js";
import {
  BROADCAST,
  CONTROLLER,
  type FabricMatch,
  type GroupRange,
  isFabric,
  networkOf,
  type SteerRule,
  steerRule,
} from "./rules.js";
import { type PortRuleChange, type PortRules, tellChanges } from "./steering.js";
import type { TopologyModel } from "./topology.js";
import { type Dpid, type Place, portKey, type SwitchPort } from "./tree.js";

/** Somebody who speaks on the fabric, agent or forwarder, and the port behind which it is. */
export interface Resident {
  /** IPv4 address and UDP port of its fabric socket. */
  readonly endpoint: Endpoint;
  readonly at: SwitchPort;
}

export interface FabricView {
  readonly range: GroupRange;
  /** Per switch the ports that lead to no other switch. */
  readonly clientPorts: ReadonlyMap<Dpid, readonly number[]>;
  readonly forwarder: Resident;
  readonly agents: readonly Resident[];
  /** Ports (`portKey`) behind which an agent was until a short while ago: it may be there still, without its registration. */
  readonly former: ReadonlySet<string>;
}

/** Rules of this kind in one switch; beyond it the switch only keeps strangers off the groups. */
export const FABRIC_RULES_MAX = 4_096;
/** For so long (ms) a port counts as an agent's after the agent has gone. */
export const FORMER_MS = 60_000;
/** Ports that are remembered for that; beyond it the one that was left first is forgotten. */
const FORMER_MAX = 4_096;

/**
 * The rules of every switch, each for one port that leads to no other switch. Where no agent lives nothing may be sent to
 * the groups or to agents' fabric sockets; the forwarder may be spoken to, or no agent could ever register. Nowhere may
 * the address of one who lives elsewhere be used, but to announce itself: that is how one who has moved is found.
 */
export function planSpoofing(view: FabricView): { plan: PortRules; left: number } {
  const { clientPorts, forwarder, agents } = view;
  const residents = [forwarder, ...agents];
  const sockets = unique(residents.map((r) => r.endpoint.port));
  const livesAt = new Map<string, Set<string>>();
  for (const { at, endpoint } of residents) {
    const key = portKey(at);
    livesAt.set(key, (livesAt.get(key) ?? new Set()).add(endpoint.address));
  }
  const addresses = unique(residents.map((r) => r.endpoint.address));
  const plan = new Map<Dpid, Map<string, SteerRule>>();
  let left = 0;
  for (const [dpid, ports] of clientPorts) {
    const groups: SteerRule[] = [];
    const others: SteerRule[] = [];
    for (const inPort of ports) {
      const key = portKey({ dpid, port: inPort });
      const here = livesAt.get(key) ?? new Set();
      for (const udp of sockets) {
        others.push(pass({ inPort, fabric: "to", address: BROADCAST, udp }));
        for (const address of addresses) {
          if (!here.has(address)) others.push(drop({ inPort, fabric: "from", address, udp }));
        }
      }
      if (here.size > 0 || view.former.has(key)) continue;
      groups.push(drop({ inPort, fabric: "group", address: networkOf(view.range) }));
      for (const { endpoint } of agents) {
        others.push(drop({ inPort, fabric: "to", address: endpoint.address, udp: endpoint.port }));
      }
    }
    const fits = groups.length + others.length <= FABRIC_RULES_MAX;
    if (!fits) left += others.length;
    plan.set(dpid, new Map((fits ? [...groups, ...others] : groups).map((rule) => [rule.id, rule])));
  }
  return { plan, left };
}

function drop(match: FabricMatch): SteerRule {
  return steerRule(match, { mac: null, ports: [] });
}

/** As a frame goes that no rule is for. */
function pass(match: FabricMatch): SteerRule {
  return steerRule(match, { mac: null, ports: [CONTROLLER] });
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}

/** What is known of the network. */
export interface Known {
  /** Its places are those of agents and, as `THE_FORWARDER`, of the forwarder. */
  readonly model: Pick<TopologyModel, "clientPorts" | "places" | "unlocated">;
  readonly agents: readonly EdgeAgent[];
  readonly locator: Pick<Locator, "gaveUp">;
}

/** Keeps the plan, tells what a new one changes, and counts what its rules have dropped. */
export class Spoofing {
  plan: PortRules = new Map();
  /** Rules that found no room in their switches. */
  left = 0;
  /** Ids of those whose port was looked for in vain: nothing is kept off, or they would be shut out. */
  lost: readonly string[] = [];
  /** Datagrams that were kept off. */
  dropped = 0;
  private inputs = "";
  /** Ports (`portKey`) of agents, and until when they count as such; the first one was left first. */
  private readonly residence = new Map<string, number>();
  /** By switch and rule what was counted last. */
  private readonly counted = new Map<Dpid, Map<string, number>>();

  /** @param forwarder its fabric socket; where it is not told nothing is ever kept off */
  constructor(
    private readonly range: GroupRange,
    private readonly forwarder: Endpoint | undefined,
  ) {}

  /** Plans anew, and answers true, where anything has changed. */
  update({ model, agents, locator }: Known, now: number, change: PortRuleChange): boolean {
    const unlocated = model.unlocated();
    const lost = unlocated.filter((id) => locator.gaveUp(id));
    // Who is being looked for will be found in a moment: until then things stay as they are.
    if (this.forwarder === undefined || (unlocated.length > 0 && lost.length === 0)) return false;
    this.lost = lost;
    const places = [...model.places()];
    const view = this.view(this.forwarder, places, agents, model.clientPorts(), now);
    const inputs = lost.length > 0 || view === undefined ? "" : textOf(view);
    if (inputs === this.inputs) return false;
    this.inputs = inputs;
    const { plan: before } = this;
    const next = inputs === "" ? { plan: new Map(), left: 0 } : planSpoofing(view!);
    this.plan = next.plan;
    this.left = next.left;
    tellChanges(before, next.plan, change);
    for (const [dpid, counts] of this.counted) {
      for (const id of counts.keys()) if (!next.plan.get(dpid)?.has(id)) counts.delete(id);
      if (counts.size === 0) this.counted.delete(dpid);
    }
    return true;
  }

  /** A switch was read back to have dropped so many datagrams by this rule since it is there. */
  count(dpid: Dpid, id: string, packets: number): void {
    const rule = this.plan.get(dpid)?.get(id);
    if (rule === undefined || !isFabric(rule.match) || rule.actions.ports.length > 0) return;
    const counts = this.counted.get(dpid) ?? new Map<string, number>();
    const before = counts.get(id) ?? 0;
    // Less than before: it was put anew.
    this.dropped += packets >= before ? packets - before : packets;
    this.counted.set(dpid, counts.set(id, packets));
  }

  private view(
    forwarder: Endpoint,
    places: readonly Place[],
    agents: readonly EdgeAgent[],
    clientPorts: FabricView["clientPorts"],
    now: number,
  ): FabricView | undefined {
    const itself = places.find((p) => p.agent === THE_FORWARDER);
    if (itself === undefined) return undefined;
    const sockets = new Map(agents.map(({ id, port }) => [id, port]));
    const residents = places
      .filter((p) => p !== itself)
      .map((at) => ({ endpoint: { address: at.address, port: sockets.get(at.agent)! }, at }));
    return {
      ...{ range: this.range, clientPorts, agents: residents },
      forwarder: { endpoint: forwarder, at: itself },
      former: this.formerPorts(residents, now),
    };
  }

  private formerPorts(agents: readonly Resident[], now: number): ReadonlySet<string> {
    const ports = new Set(agents.map((a) => portKey(a.at)));
    for (const key of ports) {
      this.residence.delete(key);
      this.residence.set(key, now + FORMER_MS);
    }
    for (const [key, until] of this.residence) {
      if (until > now && this.residence.size <= FORMER_MAX) break;
      this.residence.delete(key);
    }
    return new Set([...this.residence.keys()].filter((key) => !ports.has(key)));
  }
}

/** The same for the same plan. */
function textOf({ clientPorts, forwarder, agents, former }: FabricView): string {
  const ports = [...clientPorts].map(([dpid, numbers]) => `${dpid}:${numbers}`);
  const lives = [forwarder, ...agents].map(
    ({ endpoint, at }) => `${formatEndpoint(endpoint)} ${portKey(at)}`,
  );
  return [ports, lives, [...former]].map((lines) => lines.sort().join("\n")).join("\n\n");
}
