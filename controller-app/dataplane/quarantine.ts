/**
 * Quarantine: from "nothing of these sources shall enter" to flows at the ports where it would. Pure: sources, ports and
 * sightings in, rules out.
 */
import { formatDpid } from "node-ryu-rest-client";
import type { PortRef, QuarantineStatus } from "./dataplane.js";
import { type SteerRule, steerRule } from "./rules.js";
import { type PortRuleChange, type PortRules, tellChanges } from "./steering.js";
import { type Dpid, type Place, portKey, type SwitchPort } from "./tree.js";

/** Sources whose frames switches drop; what agents refuse by themselves may be more. */
export const QUARANTINED_MAX = 256;

/** What is known of the network that the rules depend on. */
export interface Wiring {
  /** Per switch the ports that lead to no other switch. */
  readonly clientPorts: ReadonlyMap<Dpid, readonly number[]>;
  readonly places: readonly Place[];
  /** Where the switches have seen an address; undefined: nowhere. */
  readonly seenAt: (address: string) => SwitchPort | undefined;
}

const DROP = { mac: null, ports: [] };

/**
 * A source is dropped at its own port where the switches have seen it at one, otherwise at all ports of clients. The ports
 * of agents stay open whatever comes in there, and so do those between switches.
 */
export function planQuarantine(
  sources: readonly string[],
  { clientPorts, places, seenAt }: Wiring,
): PortRules {
  const plan = new Map<Dpid, Map<string, SteerRule>>();
  const ofAgents = new Set(places.map(portKey));
  for (const address of sources) {
    const own = seenAt(address);
    for (const [dpid, ports] of clientPorts) {
      for (const inPort of ports) {
        const key = portKey({ dpid, port: inPort });
        if (ofAgents.has(key) || (own !== undefined && portKey(own) !== key)) continue;
        const rule = steerRule({ inPort, address, service: "source" }, DROP);
        const rules = plan.get(dpid) ?? new Map<string, SteerRule>();
        plan.set(dpid, rules.set(rule.id, rule));
      }
    }
  }
  return plan;
}

/** Keeps the plan, and tells what a new one changes. */
export class QuarantineRules {
  private sources: readonly string[] = [];
  private plan: PortRules = new Map();
  private inputs = "";
  private seenAt: Wiring["seenAt"] = () => undefined;

  /** @param sources the latest last; where there are too many, the earliest are left to the agents */
  set(sources: readonly string[]): void {
    this.sources = sources.slice(-QUARANTINED_MAX);
  }

  /** Plans anew where anything has changed; `change` hears of each rule, undefined where it is to go. */
  update(wiring: Wiring, change: PortRuleChange): void {
    if (this.sources.length === 0 && this.plan.size === 0) return;
    this.seenAt = wiring.seenAt;
    const inputs = JSON.stringify([
      [...wiring.clientPorts].map(([dpid, ports]) => `${dpid}:${ports}`).sort(),
      wiring.places.map(portKey).sort(),
      this.sources.map((source) => {
        const at = wiring.seenAt(source);
        return `${source} ${at === undefined ? "" : portKey(at)}`;
      }),
    ]);
    if (inputs === this.inputs) return;
    this.inputs = inputs;
    const before = this.plan;
    this.plan = planQuarantine(this.sources, wiring);
    tellChanges(before, this.plan, change);
  }

  /** What has become of each source's rules. @param holds whether a switch was read back to hold a rule */
  *status(
    holds: (dpid: Dpid, id: string) => boolean,
    packets: (dpid: Dpid, id: string) => number,
  ): Generator<QuarantineStatus> {
    const counts = new Map(this.sources.map((source) => [source, { wanted: 0, seen: 0, packets: 0 }]));
    for (const [dpid, rules] of this.plan) {
      for (const [id, { match }] of rules) {
        const count = counts.get(match.address);
        if (count === undefined) continue;
        count.wanted += 1;
        if (holds(dpid, id)) count.seen += 1;
        count.packets += packets(dpid, id);
      }
    }
    for (const [source, count] of counts) {
      const own = this.seenAt(source);
      const at: PortRef | null = own === undefined ? null : { dpid: formatDpid(own.dpid), port: own.port };
      yield { source, at, ...count };
    }
  }
}
