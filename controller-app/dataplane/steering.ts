/**
 * Transparent mode: from "these agents answer for that broker's address" to the flows that lead its clients to the
 * nearest of them. Pure: forest, places and ports in, rules out.
 */
import { compareAddresses, formatEndpoint } from "@topicast/protocol";
import { formatDpid } from "node-ryu-rest-client";
import type { EdgeAgent, Intercept, SteeringGap } from "./dataplane.js";
import { CONTROLLER, isFabric, type RuleId, type SteerMatch, type SteerRule, steerRule } from "./rules.js";
import { type Dpid, type Forest, type Place, portKey } from "./tree.js";

/** Rules for single frames of each switch, by `SteerRule.id`. */
export type PortRules = ReadonlyMap<Dpid, ReadonlyMap<string, SteerRule>>;

/** One intercepted address and port, and who answers there. */
export interface Service extends Intercept {
  /** Ids of the agents, sorted. */
  readonly agents: readonly string[];
  /** No machine has the address, say all of its agents: requests for its MAC address go to an agent, too. */
  readonly vacant: boolean;
}

/** The most intercepted address-port pairs of a network; a rule for each stands at every client's port. */
export const SERVICES_MAX = 64;

/**
 * The services of all agents, by address and port; those beyond `SERVICES_MAX` are left out, the same ones whoever
 * registers first.
 */
export function servicesOf(agents: readonly EdgeAgent[]): { services: Service[]; refused: Service[] } {
  const found = new Map<string, { address: string; port: number; agents: string[] }>();
  const occupied = new Set<string>();
  for (const { id, intercepts = [], vacant = [] } of agents) {
    for (const { address, port } of intercepts) {
      const key = formatEndpoint({ address, port });
      const service = found.get(key) ?? { address, port, agents: [] };
      found.set(key, service);
      if (!service.agents.includes(id)) service.agents.push(id);
      if (!vacant.includes(address)) occupied.add(address);
    }
  }
  const sorted = [...found.values()]
    .sort((a, b) => compareAddresses(a.address, b.address) || a.port - b.port)
    .map((s) => ({ ...s, agents: s.agents.sort(), vacant: !occupied.has(s.address) }));
  return { services: sorted.slice(0, SERVICES_MAX), refused: sorted.slice(SERVICES_MAX) };
}

/** Where a switch sends what an agent answers. */
interface Way {
  readonly agent: Place;
  /** Towards the agent: its own port on its own switch. */
  readonly port: number;
  /** The switch behind that port; undefined where the agent is. */
  readonly next: Dpid | undefined;
}

/**
 * The rules of every switch. A client's frame is given the nearest agent's MAC address at the port where it comes in
 * (the lowest id among equally near ones), and every switch on the way knows that address together with the
 * intercepted one. So a frame is steered once, and what comes in by a link or from an agent's own port is left alone
 * unless it has been steered: that is how an agent's host still reaches the real broker.
 *
 * @param clientPorts per switch the ports that lead to no other switch
 */
export function planSteering(
  forest: Forest,
  places: readonly Place[],
  clientPorts: ReadonlyMap<Dpid, readonly number[]>,
  services: readonly Service[],
): PortRules {
  const plan = new Map<Dpid, Map<string, SteerRule>>();
  const add = (dpid: Dpid, rule: SteerRule) => {
    const rules = plan.get(dpid);
    if (rules === undefined) plan.set(dpid, new Map([[rule.id, rule]]));
    else rules.set(rule.id, rule);
  };
  const ofAgents = new Set(places.map(portKey));
  const clients = new Map(
    [...clientPorts].map(([dpid, ports]) => [
      dpid,
      ports.filter((port) => !ofAgents.has(portKey({ dpid, port }))),
    ]),
  );
  for (const { address, port, agents } of services) {
    const ways = nearest(forest, inOrder(places, agents));
    const passed = new Set<Dpid>();
    // Farthest first, so that a switch is known to be passed before its turn comes.
    for (const [dpid, { agent, port: out, next }] of [...ways].reverse()) {
      const here = clients.get(dpid) ?? [];
      for (const inPort of here) {
        add(dpid, steerRule({ inPort, address, service: port }, { mac: agent.mac, ports: [out] }));
      }
      if (passed.has(dpid)) {
        add(dpid, steerRule({ to: agent.mac, address, service: port }, { mac: null, ports: [out] }));
      }
      if (next !== undefined && (here.length > 0 || passed.has(dpid))) passed.add(next);
    }
  }
  for (const [address, agents] of vacancies(services)) {
    for (const [dpid, { agent, port: out, next }] of nearest(forest, inOrder(places, agents))) {
      for (const inPort of clients.get(dpid) ?? []) {
        // The controller's learning switch must see the client, or it floods every answer; it sends on what it gets. The
        // agent beside the client is told directly, too, so that it is reached while the controller is away.
        const ports = next === undefined ? [out, CONTROLLER] : [CONTROLLER];
        add(dpid, steerRule({ inPort, address, service: "neighbour" }, { mac: agent.mac, ports }));
        // All agents must hear of a machine that takes the address: as it would go without us.
        add(dpid, steerRule({ inPort, address, service: "claim" }, { mac: null, ports: [CONTROLLER] }));
      }
    }
  }
  return plan;
}

/** The vacant addresses with all agents that answer for them at any port. */
function vacancies(services: readonly Service[]): Map<string, string[]> {
  const agentsOf = new Map<string, string[]>();
  for (const { address, agents, vacant } of services) {
    if (vacant) agentsOf.set(address, [...(agentsOf.get(address) ?? []), ...agents]);
  }
  return agentsOf;
}

function inOrder(places: readonly Place[], agents: readonly string[]): Place[] {
  const wanted = new Set(agents);
  return places.filter((p) => wanted.has(p.agent)).sort((a, b) => (a.agent < b.agent ? -1 : 1));
}

/**
 * From each switch the way to the nearest of `agents`, nearest switches first. Breadth first from all of them at once:
 * as they start in order of their ids, whoever comes first to a switch has the lowest id among the nearest.
 */
function nearest(forest: Forest, agents: readonly Place[]): Map<Dpid, Way> {
  const neighbours = new Map<Dpid, { dpid: Dpid; port: number }[]>();
  for (const { dpid } of forest.values()) neighbours.set(dpid, []);
  for (const { dpid, parent, up, down } of forest.values()) {
    if (parent === null) continue;
    // By which port the neighbour sends back to here.
    neighbours.get(dpid)!.push({ dpid: parent.dpid, port: down });
    neighbours.get(parent.dpid)!.push({ dpid, port: up });
  }
  const ways = new Map<Dpid, Way>();
  for (const agent of agents) {
    if (forest.has(agent.dpid) && !ways.has(agent.dpid)) {
      ways.set(agent.dpid, { agent, port: agent.port, next: undefined });
    }
  }
  for (const [here, { agent }] of ways) {
    for (const { dpid, port } of neighbours.get(here)!) {
      if (!ways.has(dpid)) ways.set(dpid, { agent, port, next: here });
    }
  }
  return ways;
}

/** Hears of each rule that a switch should hold from now on, or (undefined) not hold any more. */
export type PortRuleChange = (dpid: Dpid, id: string, rule: SteerRule | undefined) => void;

export function tellChanges(before: PortRules, after: PortRules, change: PortRuleChange): void {
  for (const [dpid, rules] of before) {
    for (const id of rules.keys()) if (!after.get(dpid)?.has(id)) change(dpid, id, undefined);
  }
  for (const [dpid, rules] of after) {
    for (const [id, rule] of rules) change(dpid, id, rule);
  }
}

/** Keeps the plan, and tells what a new one changes. */
export class Steering {
  private inputs = "";
  plan: PortRules = new Map();
  services: readonly Service[] = [];
  /** Services left out of the plan now. */
  refused: readonly Service[] = [];
  private byAddress: ReadonlyMap<string, readonly Service[]> = new Map();
  /** Ids of the agents whose place is known. */
  private located: ReadonlySet<string> = new Set();

  /** Plans anew where anything has changed. */
  update(
    forest: Forest,
    places: readonly Place[],
    clientPorts: ReadonlyMap<Dpid, readonly number[]>,
    agents: readonly EdgeAgent[],
    change: PortRuleChange,
  ): void {
    const { services, refused } = servicesOf(agents);
    this.services = services;
    this.refused = refused;
    this.located = new Set(places.map((p) => p.agent));
    const byAddress = new Map<string, Service[]>();
    for (const service of services) {
      byAddress.set(service.address, [...(byAddress.get(service.address) ?? []), service]);
    }
    this.byAddress = byAddress;
    if (services.length === 0 && this.plan.size === 0) return;
    const inputs = [
      [...forest.values()].map((n) => `${n.dpid} ${n.parent?.dpid} ${n.up} ${n.down}`),
      places.map((p) => `${p.agent} ${portKey(p)} ${p.mac}`).sort(),
      [...clientPorts].map(([dpid, ports]) => `${dpid}:${ports}`).sort(),
      services.map((s) => `${formatEndpoint(s)} ${s.agents} ${s.vacant}`),
    ]
      .map((lines) => lines.join("\n"))
      .join("\n\n");
    if (inputs === this.inputs) return;
    this.inputs = inputs;
    const before = this.plan;
    this.plan = planSteering(forest, places, clientPorts, services);
    tellChanges(before, this.plan, change);
  }

  /** How many rules a service has in the plan, and how many of them `holds` says are there. */
  count(service: Intercept, holds: (dpid: Dpid, id: string) => boolean): { wanted: number; seen: number } {
    let wanted = 0;
    let seen = 0;
    for (const [dpid, rules] of this.plan) {
      for (const { id, match } of rules.values()) {
        if (!serves(match, service)) continue;
        wanted += 1;
        if (holds(dpid, id)) seen += 1;
      }
    }
    return { wanted, seen };
  }

  /**
   * The services whose clients are not, or not all, led to agents, and why. Costs by the number of differences.
   *
   * @param differing per switch the rules that it was not read back to hold
   */
  gaps(differing: (dpid: Dpid) => Iterable<RuleId>): SteeringGap[] {
    const missing = new Map<Service, { rules: number; switches: Set<Dpid> }>();
    for (const [dpid, rules] of this.plan) {
      for (const id of differing(dpid)) {
        const match = typeof id === "string" ? rules.get(id)?.match : undefined;
        if (match === undefined) continue;
        for (const service of this.byAddress.get(match.address) ?? []) {
          if (!serves(match, service)) continue;
          const found = missing.get(service) ?? { rules: 0, switches: new Set() };
          missing.set(service, found);
          found.rules += 1;
          found.switches.add(dpid);
        }
      }
    }
    const gaps: SteeringGap[] = [];
    for (const service of this.services) {
      const found = missing.get(service);
      if (found !== undefined) {
        const [first, ...others] = [...found.switches].sort().map(formatDpid);
        const where = others.length === 0 ? `switch ${first}` : `switch ${first} and ${others.length} more`;
        gaps.push(gap(service, `${found.rules} flows are missing or wrong on ${where}`));
      } else if (!service.agents.some((id) => this.located.has(id))) {
        gaps.push(gap(service, "the switches see none of its agents"));
      }
    }
    for (const service of this.refused)
      gaps.push(gap(service, `more than ${SERVICES_MAX} are intercepted in this network`));
    return gaps;
  }
}

function gap({ address, port, agents }: Service, reason: string): SteeringGap {
  return { address, port, agents, reason };
}

/** Whether a rule with this match is one of the service's. */
function serves(match: SteerMatch, { address: wanted, port }: Intercept): boolean {
  if (isFabric(match)) return false;
  const { address, service } = match;
  return address === wanted && (service === port || typeof service !== "number");
}
