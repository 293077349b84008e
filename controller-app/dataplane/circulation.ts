/**
 * Whether a datagram could go round in circles, whichever of some rules the switches hold at a time. Pure; asked before a
 * rule is wished for in a network with loops, about what is wished for together with whatever may still stand.
 */
import { isSource, isSteer, type Rule } from "./rules.js";
import { type Dpid, portKey, type SwitchPort } from "./tree.js";

/** What a switch does, or may still do, with a group's datagrams. */
export interface Hop {
  /** The publisher's IPv4 address, the port they come in by; undefined: any. */
  readonly source: string | undefined;
  readonly inPort: number | undefined;
  /** Where they leave as they came; what is rewritten for an agent is no datagram of the group any more. */
  readonly ports: readonly number[];
}

export type Hops = ReadonlyMap<Dpid, readonly Hop[]>;

/** What a rule does with a group's datagrams; none for a rule that is no group's. */
export function hopOf(rule: Rule): Hop[] {
  if (isSteer(rule) || rule.buckets === null) return [];
  const ports = rule.buckets.flatMap((b) => (b.rewrite === undefined ? b.port : []));
  return [isSource(rule) ? { ...rule.match, ports } : { source: undefined, inPort: undefined, ports }];
}

/** Where each switch port leads; a port that leads to no switch is absent. */
export type Wires = ReadonlyMap<string, SwitchPort>;

/**
 * True when a datagram from `source` that is somewhere in the network could come twice to the same port. A switch never
 * sends back by the port of entry (OpenFlow 1.3.5, 5.10).
 */
export function mayCircle(hops: Hops, source: string, wires: Wires): boolean {
  const state = new Map<string, "open" | "done">();
  const circles = (at: SwitchPort): boolean => {
    const key = portKey(at);
    const known = state.get(key);
    if (known !== undefined) return known === "open";
    state.set(key, "open");
    for (const next of onward(hops, source, at, wires)) if (circles(next)) return true;
    state.set(key, "done");
    return false;
  };
  for (const [dpid, list] of hops) {
    for (const hop of list) {
      if (!isFor(hop, source)) continue;
      for (const port of hop.ports) {
        const next = wires.get(portKey({ dpid, port }));
        if (next !== undefined && circles(next)) return true;
      }
    }
  }
  return false;
}

/** Where a datagram that has come in there may come in next. */
function* onward(hops: Hops, source: string, at: SwitchPort, wires: Wires): Generator<SwitchPort> {
  for (const hop of hops.get(at.dpid) ?? []) {
    if (!isFor(hop, source) || (hop.inPort ?? at.port) !== at.port) continue;
    for (const port of hop.ports) {
      const next = port === at.port ? undefined : wires.get(portKey({ dpid: at.dpid, port }));
      if (next !== undefined) yield next;
    }
  }
}

function isFor(hop: Hop, source: string): boolean {
  return (hop.source ?? source) === source;
}

/** True where there is more than one way between two switches. */
export function hasLoops(wires: Wires): boolean {
  const above = new Map<Dpid, Dpid>();
  const top = (dpid: Dpid): Dpid => {
    let at = dpid;
    for (let next = above.get(at); next !== undefined; next = above.get(at)) at = next;
    if (at !== dpid) above.set(dpid, at);
    return at;
  };
  const seen = new Set<string>();
  for (const [port, peer] of wires) {
    const other = portKey(peer);
    const cable = port < other ? `${port}-${other}` : `${other}-${port}`;
    if (seen.has(cable)) continue;
    seen.add(cable);
    const [a, b] = [top(BigInt(port.slice(0, port.indexOf(":")))), top(peer.dpid)];
    if (a === b) return true;
    above.set(a, b);
  }
  return false;
}
