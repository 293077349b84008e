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
    const first: Node = { dpid: root, root, parent: null, up: 0, down: 0 };
    forest.set(root, first);
    const queue = [first];
    for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
      for (const { from, to } of edges.get(node.dpid)!.sort(byPort)) {
        if (forest.has(to.dpid) || !edges.has(to.dpid)) continue;
        const child: Node = { dpid: to.dpid, root, parent: node, up: to.port, down: from.port };
        forest.set(child.dpid, child);
        queue.push(child);
      }
    }
  }
  return forest;
}

/** What one group needs of the switches. */
export type GroupPlan = ReadonlyMap<Dpid, Rule>;

export type PlanResult =
  | {
      readonly plan: GroupPlan;
      /** A member's own switch: its flow counts each datagram of the group exactly once. */
      readonly counter: Dpid | undefined;
    }
  /** `missing`: the members that are not located; with none, waiting does not help. */
  | { readonly plan: undefined; readonly reason: string; readonly missing: readonly string[] };

/**
 * Plans groups on one forest for one set of placed agents, any of which may send. Only the switches between agents
 * take part, and each sends copies only where members are: that is the tree bound.
 */
export class Planner {
  /** The agents that take part: those in the part of the network where most agents are. */
  readonly places: ReadonlyMap<string, Place>;
  /** Switches that a datagram from some agent to another can pass, parents before children. */
  private readonly active: Node[] = [];
  /** The ports at both ends of the links between active switches. */
  private readonly treePorts = new Set<string>();
  /** Agents that share their switch port with another agent. */
  private readonly crowded = new Set<string>();

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
    this.findActive(main);
    this.findCrowded(main);
  }

  /** True for a link on which groups' datagrams may travel. */
  usesLink({ a, b }: Link): boolean {
    return this.treePorts.has(portKey(a)) && this.treePorts.has(portKey(b));
  }

  plan(address: string, members: readonly string[]): PlanResult {
    const missing = members.filter((id) => !this.places.has(id));
    if (missing.length > 0) return { plan: undefined, reason: `${missing[0]} is not located`, missing };
    const crowded = members.find((id) => this.crowded.has(id));
    if (crowded !== undefined) {
      return { plan: undefined, reason: `${crowded} shares its switch port with another agent`, missing };
    }
    const locals = new Map<Dpid, Place[]>();
    for (const member of members) {
      const place = this.places.get(member)!;
      const here = locals.get(place.dpid);
      if (here === undefined) locals.set(place.dpid, [place]);
      else here.push(place);
    }
    // Members in the subtree of each switch; a parent sends down where it is not zero, a child up where it is not all.
    const below = this.countBelow((node) => locals.get(node.dpid)?.length ?? 0);
    const buckets = new Map<Dpid, Bucket[]>();
    const add = (dpid: Dpid, bucket: Bucket) => {
      const list = buckets.get(dpid);
      if (list === undefined) buckets.set(dpid, [bucket]);
      else list.push(bucket);
    };
    for (const node of this.active) {
      for (const { port, mac, address } of locals.get(node.dpid) ?? []) {
        add(node.dpid, { port, rewrite: { mac, address } });
      }
      if (node.parent === null || !below.has(node.parent)) continue;
      const count = below.get(node)!;
      if (count > 0) add(node.parent.dpid, { port: node.down });
      if (count < members.length) add(node.dpid, { port: node.up });
    }
    const plan = new Map([...buckets].map(([dpid, list]) => [dpid, copyRule(address, list)]));
    const counter = [...locals.keys()].reduce<Dpid | undefined>(
      (low, dpid) => (low === undefined || dpid < low ? dpid : low),
      undefined,
    );
    return { plan, counter };
  }

  /** Sums `weight` over the subtree of each active switch. */
  private countBelow(weight: (node: Node) => number): Map<Node, number> {
    const below = new Map<Node, number>(this.active.map((node) => [node, weight(node)]));
    for (const node of this.active.toReversed()) {
      const { parent } = node;
      if (parent !== null && below.has(parent)) below.set(parent, below.get(parent)! + below.get(node)!);
    }
    return below;
  }

  private findActive(main: readonly Place[]): void {
    const root = main[0] && this.forest.get(main[0].dpid)!.root;
    const at = new Map<Node, number>();
    for (const node of this.forest.values()) if (node.root === root) at.set(node, 0);
    for (const { dpid } of main) at.set(this.forest.get(dpid)!, at.get(this.forest.get(dpid)!)! + 1);
    const below = new Map(at);
    for (const node of [...at.keys()].reverse()) {
      if (node.parent !== null) below.set(node.parent, below.get(node.parent)! + below.get(node)!);
    }
    // Active: an agent here, or agents in at least two directions (each child, and the rest of the network).
    const directions = new Map<Node, number>();
    for (const node of at.keys()) {
      directions.set(node, main.length - below.get(node)! > 0 ? 1 : 0);
      if (node.parent !== null && below.get(node)! > 0) {
        directions.set(node.parent, directions.get(node.parent)! + 1);
      }
    }
    for (const node of at.keys()) if (at.get(node)! > 0 || directions.get(node)! >= 2) this.active.push(node);
    const active = new Set(this.active);
    for (const { dpid, parent, up, down } of this.active) {
      if (parent === null || !active.has(parent)) continue;
      this.treePorts.add(portKey({ dpid, port: up })).add(portKey({ dpid: parent.dpid, port: down }));
    }
  }

  private findCrowded(main: readonly Place[]): void {
    const first = new Map<string, Place>();
    for (const place of main) {
      const key = portKey(place);
      const other = first.get(key);
      if (other === undefined) first.set(key, place);
      else this.crowded.add(other.agent).add(place.agent);
    }
  }
}
