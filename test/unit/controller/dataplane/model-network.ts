import {
  type Command,
  hasGroup,
  type SeenFlow,
  type SwitchState,
} from "@topicast/controller/dataplane/diff.js";
import {
  type Bucket,
  inOrder,
  isFabric,
  isOurGroup,
  isSource,
  isSteer,
  type SourceRule,
  type SteerActions,
  type SteerRule,
  sourceId,
  sourceMatchOf,
  steerId,
  steerMatchOf,
} from "@topicast/controller/dataplane/rules.js";
import type { Dpid, Link, Place, SwitchPort } from "@topicast/controller/dataplane/tree.js";
import { parseIPv4 } from "@topicast/protocol";

export interface ModelFlow extends SeenFlow {
  packets: number;
  readonly ours: boolean;
}

/** A frame of a client's, as far as steering looks at it. */
export interface Frame {
  /** Where it is sent to by its Ethernet header. */
  readonly mac: string;
  readonly address: string;
  /** TCP port, or "neighbour": a request for the address, "claim": one of who has it or will. */
  readonly service: number | "neighbour" | "claim";
}

/** What a switch did with one datagram. */
export interface Forwarded {
  readonly port: number;
  /** The destination it was rewritten to; undefined where it left as it came. */
  readonly address: string | undefined;
}

/**
 * A switch as OpenFlow 1.3.5 describes it, as far as Topicast uses it: one table, groups of type *all*. What a real
 * switch refuses with an error message is refused here without a word, because ofctl_rest passes none on.
 */
export class ModelSwitch {
  flows: ModelFlow[] = [];
  readonly groups = new Map<number, readonly Bucket[] | null>();
  refused = 0;
  /** The most groups it takes (OFPGMFC_OUT_OF_GROUPS). */
  maxGroups = Number.POSITIVE_INFINITY;
  /** How many further commands it refuses, whatever they are. */
  refuseNext = 0;

  apply(command: Command): void {
    if (this.refuseNext > 0) {
      this.refuseNext -= 1;
      this.refused += 1;
      return;
    }
    switch (command.op) {
      case "group-add":
        if (this.groups.has(command.id) || this.groups.size >= this.maxGroups) this.refused += 1;
        else this.groups.set(command.id, command.buckets);
        return;
      case "group-modify":
        if (!this.groups.has(command.id)) this.refused += 1;
        else this.groups.set(command.id, command.buckets);
        return;
      case "flow-put": {
        if (isSteer(command.rule)) {
          this.put(command.rule);
          return;
        }
        if (isSource(command.rule)) {
          this.putSource(command.rule);
          return;
        }
        const { priority, destination, buckets } = command.rule;
        if (hasGroup(command.rule) && !this.groups.has(command.rule.id)) {
          this.refused += 1;
          return;
        }
        const same = (f: ModelFlow) => f.priority === priority && f.destination === destination;
        const packets = this.flows.find(same)?.packets ?? 0;
        this.flows = this.flows.filter((f) => !same(f));
        const action = buckets === null ? "drop" : hasGroup(command.rule) ? command.rule.id : buckets;
        this.flows.push({
          table: 0,
          priority,
          destination,
          action,
          packets,
          match: { eth_type: 0x0800, ipv4_dst: destination },
          ours: true,
        });
        return;
      }
      case "flow-delete": {
        const { priority, match } = command.flow;
        this.flows = this.flows.filter(
          (f) => !(f.ours && f.priority === priority && JSON.stringify(f.match) === JSON.stringify(match)),
        );
        return;
      }
      case "group-delete":
        // Flows that point to the group go with it (6.7).
        this.groups.delete(command.id);
        this.flows = this.flows.filter((f) => f.action !== command.id);
    }
  }

  /** Takes a flow of one publisher's, likewise. */
  private putSource({ priority, match: source, buckets }: SourceRule): void {
    const same = (f: ModelFlow) =>
      f.priority === priority && f.source !== undefined && sourceId(f.source) === sourceId(source);
    const packets = this.flows.find(same)?.packets ?? 0;
    this.flows = this.flows.filter((f) => !same(f));
    this.flows.push({
      ...{ table: 0, priority, destination: null, action: buckets, source, packets, ours: true },
      match: sourceMatchOf(source),
    });
  }

  /** Takes a steering flow, in place of one with the same match and priority. */
  private put({ priority, match: steered, actions }: SteerRule): void {
    const match = steerMatchOf(steered);
    const same = (f: ModelFlow) =>
      f.priority === priority && f.steer !== undefined && steerId(f.steer.match) === steerId(steered);
    const packets = this.flows.find(same)?.packets ?? 0;
    this.flows = this.flows.filter((f) => !same(f));
    const steer = { match: steered, actions };
    this.flows.push({
      table: 0,
      priority,
      destination: null,
      action: "other",
      steer,
      packets,
      match,
      ours: true,
    });
  }

  /** What a steering flow does with a frame; undefined when none takes it (then the learning switch has it). */
  steer(inPort: number, frame: Frame): SteerActions | undefined {
    const hits = this.flows.filter(({ steer }) => {
      const m = steer?.match;
      if (m === undefined || isFabric(m)) return false;
      return (
        m.address === frame.address &&
        // Who claims an address asks for it, too.
        (m.service === frame.service || (m.service === "neighbour" && frame.service === "claim")) &&
        (m.inPort ?? inPort) === inPort &&
        (m.to ?? frame.mac) === frame.mac
      );
    });
    const flow = hits.sort((a, b) => b.priority - a.priority)[0];
    if (flow !== undefined) flow.packets += 1;
    return flow?.steer?.actions ?? undefined;
  }

  /** What Topicast reads back: flows by cookie, groups by id range. */
  state(): SwitchState {
    return {
      flows: this.flows.filter((f) => f.ours).map((f) => ({ ...f })),
      groups: [...this.groups]
        .filter(([id]) => isOurGroup(id))
        .map(([id, buckets]) => ({ id, buckets: buckets?.toSorted(inOrder) ?? null })),
    };
  }

  /** Flows that point to a group which is not there. */
  dangling(): number {
    return this.flows.filter((f) => typeof f.action === "number" && !this.groups.has(f.action)).length;
  }

  /** Whether a fabric datagram is let in here, to wherever it goes then; one that is not is counted. */
  admits(inPort: number, from: string, to: string, udp = 1883): boolean {
    const hits = this.flows.filter(({ steer }) => {
      const m = steer?.match;
      if (m === undefined || !isFabric(m) || m.inPort !== inPort || (m.udp ?? udp) !== udp) return false;
      return m.fabric === "from" ? m.address === from : covers(m.address, to);
    });
    const flow = hits.sort((a, b) => b.priority - a.priority)[0];
    if (flow !== undefined) flow.packets += 1;
    return flow?.steer?.actions?.ports.length !== 0;
  }

  /** Sends a datagram through; undefined when no flow of ours took it (then the learning switch floods it). */
  forward(inPort: number, destination: string, from: string): Forwarded[] | undefined {
    const hits = this.flows.filter(
      ({ source, destination: to }) =>
        (source?.destination === destination && source.source === from && source.inPort === inPort) ||
        (to !== null && covers(to, destination)),
    );
    const flow = hits.sort((a, b) => b.priority - a.priority)[0];
    if (flow === undefined) return undefined;
    flow.packets += 1;
    const { action } = flow;
    const copies = typeof action === "number" ? this.groups.get(action) : action;
    if (typeof copies !== "object") return [];
    // A clone whose output is the port it came in by is dropped (5.6.1, 7.2.5).
    return (copies ?? [])
      .filter((b) => b.port !== inPort)
      .map((b) => ({ port: b.port, address: b.rewrite?.address }));
  }
}

function covers(destination: string, address: string): boolean {
  const [network = "", length = "32"] = destination.split("/");
  const size = 2 ** (32 - Number(length));
  return Math.floor(parseIPv4(network)! / size) === Math.floor(parseIPv4(address)! / size);
}

/** Where copies of one datagram went. */
export interface Journey {
  /** Copies per direction of each link, keyed "dpid:port" of the sending side. */
  readonly onLinks: ReadonlyMap<string, number>;
  /** Copies that reached each agent, rewritten to its own address. */
  readonly received: ReadonlyMap<string, number>;
  /** Copies that left by a port where nobody of that address lives, or that no rule took. */
  readonly astray: number;
}

/** Follows a datagram from an agent through the switches; throws when it circles. */
export function follow(
  switches: ReadonlyMap<Dpid, ModelSwitch>,
  links: readonly Link[],
  places: readonly Place[],
  from: Place,
  address: string,
): Journey {
  const peers = new Map<string, SwitchPort>();
  for (const { a, b } of links) {
    peers.set(`${a.dpid}:${a.port}`, b);
    peers.set(`${b.dpid}:${b.port}`, a);
  }
  const onLinks = new Map<string, number>();
  const received = new Map<string, number>();
  let astray = 0;
  const admitted = switches.get(from.dpid)!.admits(from.port, from.address, address);
  const queue: SwitchPort[] = admitted ? [from] : [];
  for (let steps = 0, at = queue.shift(); at !== undefined; at = queue.shift(), steps++) {
    if (steps > 10_000) throw new Error("the datagram circles");
    const copies = switches.get(at.dpid)!.forward(at.port, address, from.address);
    if (copies === undefined) astray += 1;
    for (const copy of copies ?? []) {
      const key = `${at.dpid}:${copy.port}`;
      const peer = peers.get(key);
      if (peer !== undefined && copy.address === undefined) {
        onLinks.set(key, (onLinks.get(key) ?? 0) + 1);
        queue.push(peer);
        continue;
      }
      const agent = places.find(
        (p) => p.dpid === at.dpid && p.port === copy.port && p.address === copy.address,
      )?.agent;
      if (agent === undefined) astray += 1;
      else received.set(agent, (received.get(agent) ?? 0) + 1);
    }
  }
  return { onLinks, received, astray };
}

/** Throws when a datagram of this agent's, wherever it is, could come to a port twice by the rules of this moment. */
export function checkCirculation(
  switches: ReadonlyMap<Dpid, ModelSwitch>,
  links: readonly Link[],
  from: string,
  address: string,
): void {
  const peers = new Map(
    links.flatMap(({ a, b }) => [[`${a.dpid}:${a.port}`, b] as const, [`${b.dpid}:${b.port}`, a]]),
  );
  const state = new Map<string, "open" | "done">();
  const visit = (at: SwitchPort) => {
    const key = `${at.dpid}:${at.port}`;
    if (state.get(key) === "done") return;
    if (state.get(key) === "open") throw new Error(`a datagram from ${from} to ${address} circles by ${key}`);
    state.set(key, "open");
    for (const copy of switches.get(at.dpid)!.forward(at.port, address, from) ?? []) {
      const peer = copy.address === undefined ? peers.get(`${at.dpid}:${copy.port}`) : undefined;
      if (peer !== undefined) visit(peer);
    }
    state.set(key, "done");
  };
  for (const { a, b } of links) {
    visit(a);
    visit(b);
  }
}
