/**
 * From the wiring of the switches to the ports that copies go out by. Pure: a graph and places in, ports out.
 */
import { type Bucket, copyRule, type Rule } from "./rules.js";

/** A datapath id: 64 bits. */
export type Dpid = bigint;

export interface SwitchPort {
  readonly dpid: Dpid;
  readonly port: number;
}

/** A port's name as a map key. */
export function portKey({ dpid, port }: SwitchPort): string {
  return `${dpid}:${port}`;
}

/** A cable between two switches, named once, usable both ways. */
export interface Link {
  readonly a: SwitchPort;
  readonly b: SwitchPort;
}

/** The switches and the links among them; order does not matter. */
export interface Graph {
  readonly switches: Iterable<Dpid>;
  readonly links: Iterable<Link>;
}

/** Where an agent lives and what its last hop writes into the copies. */
export interface Place extends SwitchPort {
  readonly agent: string;
  readonly mac: string;
  readonly address: string;
}

interface Node {
  readonly dpid: Dpid;
  /** The lowest dpid of this part of the network. */
  readonly root: Dpid;
  readonly parent: Node | null;
  /** This switch's port to the parent, and the parent's port to here. */
  readonly up: number;
  readonly down: number;
  /** Links to the root. */
  readonly depth: number;
}

/** A loop-free choice of links that joins whatever the links can join; Map in breadth-first order. */
export type Forest = ReadonlyMap<Dpid, Node>;

const byPort = (x: { from: SwitchPort; to: SwitchPort }, y: { from: SwitchPort; to: SwitchPort }) =>
  x.to.dpid === y.to.dpid ? x.from.port - y.from.port : x.to.dpid < y.to.dpid ? -1 : 1;

/**
 * Breadth first from the lowest dpid of each part, neighbours in order of dpid and port: the same wiring always
 * gives the same forest, and every switch is as near to the root as can be.
 */
export function spanningForest(graph: Graph): Forest {
  const edges = new Map<Dpid, { from: SwitchPort; to: SwitchPort }[]>();
  for (const dpid of graph.switches) edges.set(dpid, []);
  for (const { a, b } of graph.links) {
    if (a.dpid === b.dpid) continue;
    edges.get(a.dpid)?.push({ from: a, to: b });
    edges.get(b.dpid)?.push({ from: b, to: a });
  }
  const forest = new Map<Dpid, Node>();
  for (const root of [...edges.keys()].sort((x, y) => (x < y ? -1 : 1))) {
    if (forest.has(root)) continue;
    const first: Node = { dpid: root, root, parent: null, up: 0, down: 0, depth: 0 };
    forest.set(root, first);
    const queue = [first];
    for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
      for (const { from, to } of edges.get(node.dpid)!.sort(byPort)) {
        if (forest.has(to.dpid) || !edges.has(to.dpid)) continue;
        const depth = node.depth + 1;
        const child: Node = { dpid: to.dpid, root, parent: node, up: to.port, down: from.port, depth };
        forest.set(child.dpid, child);
        queue.push(child);
      }
    }
  }
  return forest;
}

/** What one group needs of the switches: the rules of each, at least one. */
export type GroupPlan = ReadonlyMap<Dpid, readonly Rule[]>;

export type PlanResult =
  | {
      readonly plan: GroupPlan;
      /** The publishers that the plan serves, by the switch where each lives. */
      readonly publishers: ReadonlyMap<string, Dpid>;
      /** A member's own switch: its flow counts each datagram of the group exactly once. */
      readonly counter: Dpid | undefined;
    }
  /** `missing`: the members that are not located; with none, waiting does not help. */
  | { readonly plan: undefined; readonly reason: string; readonly missing: readonly string[] };

/** What is planned of a `GroupWish`. */
export interface GroupNeed {
  readonly address: string;
  readonly members: readonly string[];
  readonly publishers: readonly string[];
}

/** How many there are in a part of the tree. */
interface Count {
  members: number;
  publishers: number;
}

/**
 * Plans groups on one forest for one set of placed agents. Rules stand only on the ways from a group's publishers to its
 * members, and copies are sent only where members are: that is the tree bound.
 */
export class Planner {
  /** The agents that take part: those in the part of the network where most agents are. */
  readonly places: ReadonlyMap<string, Place>;

  constructor(
    private readonly forest: Forest,
    places: Iterable<Place>,
  ) {
    const inPart = new Map<Dpid, Place[]>();
    for (const place of places) {
      const root = forest.get(place.dpid)?.root;
      if (root === undefined) continue;
      const part = inPart.get(root);
      if (part === undefined) inPart.set(root, [place]);
      else part.push(place);
    }
    let main: Place[] = [];
    for (const root of [...inPart.keys()].sort((x, y) => (x < y ? -1 : 1))) {
      const part = inPart.get(root)!;
      if (part.length > main.length) main = part;
    }
    this.places = new Map(main.map((p) => [p.agent, p]));
  }

  /** True for a link of the spanning tree. */
  usesLink({ a, b }: Link): boolean {
    const joins = (child: SwitchPort, parent: SwitchPort) => {
      const node = this.forest.get(child.dpid);
      return node?.parent?.dpid === parent.dpid && node.up === child.port && node.down === parent.port;
    };
    return joins(a, b) || joins(b, a);
  }

  plan({ address, members, publishers }: GroupNeed): PlanResult {
    const missing = members.filter((id) => !this.places.has(id));
    if (missing.length > 0) return { plan: undefined, reason: `${missing[0]} is not located`, missing };
    const receivers = members.map((id) => this.places.get(id)!);
    const senders = this.admitted(publishers, receivers);
    const served = new Map(senders.map((p) => [p.agent, p.dpid]));
    const counter = receivers.reduce<Dpid | undefined>(
      (low, { dpid }) => (low === undefined || dpid < low ? dpid : low),
      undefined,
    );
    const plan = new Map<Dpid, readonly Rule[]>();
    const isForNobody = receivers.every((r) => senders.every((s) => s.agent === r.agent));
    if (isForNobody) return { plan, publishers: served, counter };
    for (const [dpid, buckets] of this.copies(receivers, senders))
      plan.set(dpid, [copyRule(address, buckets)]);
    return { plan, publishers: served, counter };
  }

  /**
   * The placed publishers, without those that share a switch port with a member: a switch does not send back by the port a
   * packet came in by.
   */
  private admitted(publishers: readonly string[], receivers: readonly Place[]): Place[] {
    const receiversAt = new Map<string, string[]>();
    for (const place of receivers) {
      const key = portKey(place);
      const others = receiversAt.get(key);
      if (others === undefined) receiversAt.set(key, [place.agent]);
      else others.push(place.agent);
    }
    return publishers.flatMap((id) => {
      const place = this.places.get(id);
      const shares = place !== undefined && receiversAt.get(portKey(place))?.some((other) => other !== id);
      return place === undefined || shares === true ? [] : [place];
    });
  }

  /** The copies that each switch between a sender and a receiver makes. */
  private copies(receivers: readonly Place[], senders: readonly Place[]): Map<Dpid, Bucket[]> {
    const below = this.countBelow(receivers, senders);
    const buckets = new Map<Dpid, Bucket[]>();
    const add = (dpid: Dpid, bucket: Bucket) => {
      const list = buckets.get(dpid);
      if (list === undefined) buckets.set(dpid, [bucket]);
      else list.push(bucket);
    };
    // Also where the receiver is the only sender: what the last hops rewrite to tells a later run who the members are.
    for (const { dpid, port, mac, address } of receivers) add(dpid, { port, rewrite: { mac, address } });
    for (const [node, count] of below) {
      if (node.parent === null) continue;
      const sentAbove = count.publishers < senders.length;
      const wantedAbove = count.members < receivers.length;
      if (count.members > 0 && sentAbove) add(node.parent.dpid, { port: node.down });
      if (count.publishers > 0 && wantedAbove) add(node.dpid, { port: node.up });
    }
    return buckets;
  }

  /** The switches from all of these to the root, each with how many of them are in its subtree. */
  private countBelow(receivers: readonly Place[], senders: readonly Place[]): Map<Node, Count> {
    const below = new Map<Node, Count>();
    const countAt = (dpid: Dpid): Count => {
      let node: Node | null = this.forest.get(dpid)!;
      for (; node !== null && !below.has(node); node = node.parent)
        below.set(node, { members: 0, publishers: 0 });
      return below.get(this.forest.get(dpid)!)!;
    };
    for (const { dpid } of receivers) countAt(dpid).members += 1;
    for (const { dpid } of senders) countAt(dpid).publishers += 1;
    for (const [node, count] of [...below].sort(([x], [y]) => y.depth - x.depth)) {
      const above = node.parent === null ? undefined : below.get(node.parent);
      if (above === undefined) continue;
      above.members += count.members;
      above.publishers += count.publishers;
    }
    return below;
  }
}
