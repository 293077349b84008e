/**
 * From what Ryu's rest_topology says now to what is believed of the network. Ryu forgets: after its restart switches,
 * links and hosts come back one by one, and hosts may first be listed on a port whose link it does not know yet. So
 * belief has a memory with rules for letting go. Pure: snapshots and the time in, graph and places out.
 */
import type { EdgeAgent } from "./dataplane.js";
import { type Dpid, type Link, type Place, portKey, type SwitchPort } from "./tree.js";

/** One answer of rest_topology: everything it lists. */
export interface TopologySnapshot {
  readonly switches: readonly { readonly dpid: Dpid; readonly ports: readonly number[] }[];
  /** Each direction by itself. */
  readonly links: readonly { readonly from: SwitchPort; readonly to: SwitchPort }[];
  readonly hosts: readonly SeenHost[];
}

export interface SeenHost {
  readonly mac: string;
  readonly ipv4: readonly string[];
  readonly at: SwitchPort;
}

export interface TopologyTiming {
  /** Ms after a switch has (re)appeared during which missing links and moved hosts are not believed. */
  readonly settleMs: number;
  /** Ms that a switch may be missing from Ryu's list before it counts as gone. */
  readonly absenceMs: number;
  /** The same after Ryu itself was away: switches try again after up to 8 s (Open vSwitch's back-off). */
  readonly reconnectMs: number;
}

export const defaultTiming: TopologyTiming = { settleMs: 3_000, absenceMs: 3_000, reconnectMs: 15_000 };

interface KnownSwitch {
  ports: ReadonlySet<number>;
  /** When it (re)appeared. */
  since: number;
  /** Not listed now, and gone for good at this time; undefined while Ryu lists it. */
  missing: number | undefined;
}

interface Sighting extends SwitchPort {
  readonly mac: string;
}

export class TopologyModel {
  private readonly known = new Map<Dpid, KnownSwitch>();
  /** Directed links by the sending port: Ryu, too, knows one peer per port. */
  private readonly arcs = new Map<string, { from: SwitchPort; to: SwitchPort }>();
  private agents: readonly EdgeAgent[] = [];
  /** Per switch the ports that lead to no other switch, as last believed. */
  private readonly edges = new Map<Dpid, readonly number[]>();
  /** Last good sighting per agent id. */
  private readonly sightings = new Map<string, Sighting>();
  private snapshot: TopologySnapshot = { switches: [], links: [], hosts: [] };
  /** Ryu did not answer the last time. */
  private away = false;
  /** Switches missed before this time may still be trying to find the new Ryu. */
  private patientUntil = 0;
  private linkList: readonly Link[] = [];
  private joined = false;

  constructor(private readonly timing: TopologyTiming = defaultTiming) {}

  /** The registered agents; those already seen by the switches are located at once. */
  setAgents(agents: readonly EdgeAgent[], now: number): void {
    this.agents = agents;
    const ids = new Set(agents.map((a) => a.id));
    for (const id of this.sightings.keys()) if (!ids.has(id)) this.sightings.delete(id);
    this.locate(now);
  }

  /** Ryu does not answer: nothing is learnt, nothing forgotten. */
  lost(): void {
    this.away = true;
  }

  observe(snapshot: TopologySnapshot, now: number): void {
    this.snapshot = snapshot;
    const allGone =
      snapshot.switches.length === 0 && [...this.known.values()].some((k) => k.missing === undefined);
    if (this.away || allGone) this.patientUntil = now + this.timing.reconnectMs;
    this.away = false;
    this.observeSwitches(now);
    this.observeLinks(now);
    this.observeEdges(now);
    this.locate(now);
  }

  /** Believed switches; `connected` is false for those that Ryu does not list just now. */
  *switches(): Generator<{ dpid: Dpid; connected: boolean }> {
    for (const [dpid, { missing }] of this.known) yield { dpid, connected: missing === undefined };
  }

  isConnected(dpid: Dpid): boolean {
    const known = this.known.get(dpid);
    return known !== undefined && known.missing === undefined;
  }

  /** Links believed in both directions, each named once. */
  links(): readonly Link[] {
    return this.linkList;
  }

  /** Agents whose port is known. `mac` is what the switches see, which differs behind a bridge that rewrites it. */
  *places(): Generator<Place> {
    for (const { id, address } of this.agents) {
      const sighting = this.sightings.get(id);
      if (sighting !== undefined) yield { agent: id, address, ...sighting };
    }
  }

  /** The port of the one host with this address; undefined: none has been seen, or several. */
  seenAt(address: string): SwitchPort | undefined {
    const found = this.snapshot.hosts.filter(({ ipv4 }) => ipv4.includes(address));
    const [host] = found;
    return found.length === 1 && this.edges.get(host!.at.dpid)?.includes(host!.at.port)
      ? host!.at
      : undefined;
  }

  /** Per switch the ports behind which clients may be: those that lead to no other switch. */
  clientPorts(): ReadonlyMap<Dpid, readonly number[]> {
    return this.edges;
  }

  /** Ids of the agents whose port is not known. */
  unlocated(): string[] {
    return this.agents.filter((a) => !this.sightings.has(a.id)).map((a) => a.id);
  }

  private observeSwitches(now: number): void {
    const listed = new Map(this.snapshot.switches.map((s) => [s.dpid, new Set(s.ports)]));
    for (const [dpid, ports] of listed) {
      const known = this.known.get(dpid);
      if (known === undefined || known.missing !== undefined) {
        this.known.set(dpid, { ports, since: now, missing: undefined });
      } else {
        known.ports = ports;
      }
    }
    for (const [dpid, known] of this.known) {
      if (listed.has(dpid)) continue;
      known.missing ??= Math.max(now + this.timing.absenceMs, this.patientUntil);
      if (now >= known.missing) this.known.delete(dpid);
    }
  }

  private observeLinks(now: number): void {
    const listed = new Map(this.snapshot.links.map((arc) => [portKey(arc.from), arc]));
    const taken = new Set([...listed.values()].map((arc) => portKey(arc.to)));
    for (const [key, arc] of this.arcs) {
      if (listed.has(key)) continue;
      // Absence means something only when both switches have been there for a while.
      const calm = this.isCalm(arc.from.dpid, now) && this.isCalm(arc.to.dpid, now);
      if (calm || taken.has(portKey(arc.to)) || !this.hasEnds(arc)) this.arcs.delete(key);
    }
    for (const [key, arc] of listed) if (this.hasEnds(arc)) this.arcs.set(key, arc);
    this.linkList = [...this.arcs.values()]
      .filter(({ from, to }) => from.dpid < to.dpid && this.peerOf(to) === portKey(from))
      .map(({ from, to }) => ({ a: from, b: to }));
    this.joined = this.isJoined();
  }

  /** A port is believed to lead to no switch when no link can be still to be found; until then nothing new is. */
  private observeEdges(now: number): void {
    const between = this.linkPorts();
    for (const dpid of this.edges.keys()) if (!this.known.has(dpid)) this.edges.delete(dpid);
    for (const [dpid, { ports }] of this.known) {
      const believed = this.joined || this.isCalm(dpid, now) ? [...ports] : (this.edges.get(dpid) ?? []);
      this.edges.set(
        dpid,
        believed.filter((port) => !between.has(portKey({ dpid, port }))),
      );
    }
  }

  /** The ports that lead to other switches, one direction being enough. */
  private linkPorts(): ReadonlySet<string> {
    const between = new Set<string>();
    for (const { from, to } of [...this.arcs.values(), ...this.snapshot.links]) {
      between.add(portKey(from)).add(portKey(to));
    }
    return between;
  }

  private isCalm(dpid: Dpid, now: number): boolean {
    const known = this.known.get(dpid);
    return known !== undefined && known.missing === undefined && now - known.since >= this.timing.settleMs;
  }

  private hasEnds({ from, to }: { from: SwitchPort; to: SwitchPort }): boolean {
    return this.known.has(from.dpid) && this.known.has(to.dpid);
  }

  private peerOf(port: SwitchPort): string | undefined {
    const peer = this.arcs.get(portKey(port))?.to;
    return peer && portKey(peer);
  }

  /** True when the links join all listed switches: then none of a tree's links is still to be found. */
  private isJoined(): boolean {
    const neighbours = new Map<Dpid, Dpid[]>([...this.known.keys()].map((dpid) => [dpid, []]));
    for (const { a, b } of this.linkList) {
      neighbours.get(a.dpid)!.push(b.dpid);
      neighbours.get(b.dpid)!.push(a.dpid);
    }
    const [first] = neighbours.keys();
    const reached = new Set(first === undefined ? [] : [first]);
    for (const dpid of reached) for (const next of neighbours.get(dpid)!) reached.add(next);
    return reached.size === neighbours.size;
  }

  private locate(now: number): void {
    const between = this.linkPorts();
    const byMac = new Map<string, Sighting>();
    const byAddress = new Map<string, Sighting[]>();
    for (const { mac, ipv4, at } of this.snapshot.hosts) {
      const known = this.known.get(at.dpid);
      if (known === undefined || !known.ports.has(at.port) || between.has(portKey(at))) continue;
      const sighting = { ...at, mac };
      byMac.set(mac, sighting);
      for (const address of ipv4) {
        const list = byAddress.get(address);
        if (list === undefined) byAddress.set(address, [sighting]);
        else list.push(sighting);
      }
    }
    for (const { id, mac, address } of this.agents) {
      const old = this.sightings.get(id);
      const oldStands = old !== undefined && this.known.has(old.dpid) && !between.has(portKey(old));
      const candidates = byAddress.get(address) ?? [];
      const found =
        byMac.get(mac) ??
        candidates.find((c) => old !== undefined && portKey(c) === portKey(old)) ??
        candidates[0];
      if (found !== undefined && this.mayBelieve(found, oldStands ? old : undefined, now)) {
        this.sightings.set(id, found);
      } else if (!oldStands) {
        this.sightings.delete(id);
      }
    }
  }

  /**
   * A port may turn out to lead to another switch as long as links are still being found: a first sighting is
   * believed when all switches are joined or this one has been there for a while, a move only after that while.
   */
  private mayBelieve(found: Sighting, old: Sighting | undefined, now: number): boolean {
    if (old !== undefined && portKey(old) === portKey(found)) return true;
    return this.isCalm(found.dpid, now) || (old === undefined && this.joined);
  }
}
