import type { Clock } from "@topicast/protocol";
import {
  type DataplaneCounter,
  type EdgeAgent,
  type QuarantineStatus,
  type SteeringGap,
  THE_FORWARDER,
} from "./dataplane.js";
import type { SwitchLedger } from "./ledger.js";
import type { Locator } from "./locator.js";
import type { OpenFlowOptions } from "./options.js";
import { QuarantineRules } from "./quarantine.js";
import { Spoofing } from "./spoofing.js";
import { type PortRuleChange, Steering } from "./steering.js";
import type { TopologyModel } from "./topology.js";
import type { Dpid, Forest, Place } from "./tree.js";

/** What is known of the network when the rules are chosen. */
interface Network {
  readonly model: TopologyModel;
  readonly forest: Forest;
  readonly agents: readonly EdgeAgent[];
  readonly locator: Locator;
  /** Every agent has had the time to come back: who is none may be kept off. */
  readonly isSettled: boolean;
}

interface EntryOptions extends Pick<OpenFlowOptions, "range" | "forwarder" | "log"> {
  readonly clock: Clock;
  readonly counters: Record<DataplaneCounter, number>;
  readonly ledgerOf: (dpid: Dpid) => SwitchLedger | undefined;
}

/** What becomes of frames at the ports where they enter: clients' are steered, strangers' and quarantined ones dropped. */
export class EntryRules {
  readonly steering = new Steering();
  private readonly quarantined = new QuarantineRules();
  private readonly spoofing: Spoofing;

  constructor(private readonly options: EntryOptions) {
    this.spoofing = new Spoofing(options.range, options.forwarder);
  }

  setQuarantine(sources: readonly string[]): void {
    this.quarantined.set(sources);
  }

  /** Chooses the rules anew; `change` hears of those that may differ. */
  update(network: Network, change: PortRuleChange): void {
    this.steer(network, change);
    // Agents that have not come back yet after a start would be shut out.
    if (network.isSettled) this.keepOff(network, change);
  }

  /** A rule of these was read with so many packets. */
  count(dpid: Dpid, id: string, packets: number): void {
    this.spoofing.count(dpid, id, packets);
    this.options.counters.fabric_drops = this.spoofing.dropped;
  }

  unsteered(): SteeringGap[] {
    return this.steering.gaps((dpid) => this.options.ledgerOf(dpid)?.differences().keys() ?? []);
  }

  quarantine(): Iterable<QuarantineStatus> {
    const { ledgerOf } = this.options;
    return this.quarantined.status(
      (dpid, id) => ledgerOf(dpid)?.differs(id) === false,
      (dpid, id) => ledgerOf(dpid)?.packets(id) ?? 0,
    );
  }

  /** Leads the clients of intercepted addresses to the agents nearest to them, and drops what is quarantined. */
  private steer({ model, forest, agents }: Network, change: PortRuleChange): void {
    const { steering, options } = this;
    const before = steering.refused.length;
    const [places, clientPorts] = [agentPlaces(model), model.clientPorts()];
    steering.update(forest, places, clientPorts, agents, change);
    this.quarantined.update({ places, clientPorts, seenAt: (address) => model.seenAt(address) }, change);
    const refused = steering.refused.length;
    if (refused === before) return;
    options.counters.intercepts_refused += Math.max(refused - before, 0);
    options.log.warn({ refused }, "too many intercepted addresses; these are not steered");
  }

  /** Keeps off fabric datagrams from where nobody lives who may send them. */
  private keepOff({ model, agents, locator }: Network, change: PortRuleChange): void {
    const { spoofing, options } = this;
    const before = spoofing.lost.length;
    const changed = spoofing.update({ model, agents, locator }, options.clock.now(), change);
    if (changed) options.counters.fabric_rules_refused += spoofing.left;
    const { lost } = spoofing;
    if (lost.length > before)
      options.log.warn({ lost }, "strangers' fabric datagrams pass: the ports of these are not known");
  }
}

/** Where agents live, the forwarder left out. */
export function agentPlaces(model: TopologyModel): Place[] {
  return [...model.places()].filter((place) => place.agent !== THE_FORWARDER);
}
