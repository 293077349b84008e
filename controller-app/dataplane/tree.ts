/**
 * From the wiring of the switches to the ports that copies go out by. Pure: a graph and places in, ports out.
 */
import { type Hops, hasLoops, hopOf, mayCircle, type Wires } from "./circulation.js";
import { type Bucket, copyRule, type Rule, sourceRule } from "./rules.js";

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

type Arcs = ReadonlyMap<Dpid, readonly { from: SwitchPort; to: SwitchPort }[]>;

/** From each switch the links to its neighbours, in order of dpid and port. */
function arcsOf(graph: Graph): Arcs {
  const arcs = new Map<Dpid, { from: SwitchPort; to: SwitchPort }[]>();
  for (const dpid of graph.switches) arcs.set(dpid, []);
  for (const { a, b } of graph.links) {
    if (a.dpid === b.dpid || !arcs.has(a.dpid) || !arcs.has(b.dpid)) continue;
    arcs.get(a.dpid)!.push({ from: a, to: b });
    arcs.get(b.dpid)!.push({ from: b, to: a });
  }
  for (const list of arcs.values()) list.sort(byPort);
  return arcs;
}

/** Adds to `forest` the shortest ways from `root` to whatever is not in it: the same links always give the same ways. */
function grow(forest: Map<Dpid, Node>, root: Dpid, arcs: Arcs): void {
  const first: Node = { dpid: root, root, parent: null, up: 0, down: 0, depth: 0 };
  forest.set(root, first);
  const queue = [first];
  for (const node of queue) {
    for (const { from, to } of arcs.get(node.dpid) ?? []) {
      if (forest.has(to.dpid)) continue;
      const depth = node.depth + 1;
      const child: Node = { dpid: to.dpid, root, parent: node, up: to.port, down: from.port, depth };
      forest.set(child.dpid, child);
      queue.push(child);
    }
  }
}

/** A tree for each part of the network, from its lowest dpid: every switch is as near to that root as can be. */
export function spanningForest(graph: Graph): Forest {
  const arcs = arcsOf(graph);
  const forest = new Map<Dpid, Node>();
  for (const root of [...arcs.keys()].sort((x, y) => (x < y ? -1 : 1))) {
    if (!forest.has(root)) grow(forest, root, arcs);
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
      /** Fewer rules would do, or more publishers be served, but for rules that still stand: datagrams could circle. */
      readonly isHeld: boolean;
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
 * Plans groups for one set of placed agents. Rules stand only on the ways from a group's publishers to its members, and
 * copies are sent only where members are: that is the tree bound. Without loops the ways are the spanning tree's. Where
 * links make loops each publisher's datagrams go the shortest ways from its switch: by rules that all publishers share
 * where their ways together make no loop, otherwise by rules of their own.
 */
export class Planner {
  /** The agents that take part: those in the part of the network where most agents are. */
  readonly places: ReadonlyMap<string, Place>;
  /** There is, or was when last seen, more than one way between two switches. */
  readonly hasLoops: boolean;
  private readonly arcs: Arcs;
  private readonly trees = new Map<Dpid, Forest>();

  /**
   * @param links all links of the network; without them those of the forest are all
   * @param wires where ports lead, or led when last seen: rules that still stand may use them
   */
  constructor(
    private readonly forest: Forest,
    places: Iterable<Place>,
    links: readonly Link[] = [],
    private readonly wires: Wires = wiresOf(links),
  ) {
    this.arcs = arcsOf({ switches: forest.keys(), links });
    this.hasLoops = hasLoops(wires);
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

  /** @param standing asked only where there are loops: what the switches do, or may still do, with the group's datagrams */
  plan({ address, members, publishers }: GroupNeed, standing: () => Hops = () => new Map()): PlanResult {
    const missing = members.filter((id) => !this.places.has(id));
    if (missing.length > 0) return { plan: undefined, reason: `${missing[0]} is not located`, missing };
    const receivers = members.map((id) => this.places.get(id)!);
    const senders = this.admitted(publishers, receivers);
    const counter = receivers.reduce<Dpid | undefined>(
      (low, { dpid }) => (low === undefined || dpid < low ? dpid : low),
      undefined,
    );
    const result = (plan: GroupPlan, served = senders, isHeld = false) => {
      const homes = new Map(served.map((p) => [p.agent, p.dpid]));
      return { plan, publishers: homes, isHeld, counter };
    };
    const isForNobody = receivers.every((r) => senders.every((s) => s.agent === r.agent));
    if (isForNobody) return result(new Map());
    if (!this.hasLoops) return result(sharedPlan(address, this.forest, receivers, senders));
    const stand = standing();
    const tree = this.sharedTree(receivers, senders);
    if (tree !== undefined) {
      const plan = sharedPlan(address, tree, receivers, senders);
      const sources = new Set(senders.map((s) => s.address));
      for (const hops of stand.values())
        for (const { source } of hops) if (source !== undefined) sources.add(source);
      const all = together(stand, plan);
      if (![...sources].some((source) => mayCircle(all, source, this.wires))) return result(plan);
    }
    const plan = new Map<Dpid, Rule[]>();
    const served = senders.filter((sender) => {
      const own = sourcePlan(address, this.treeFrom(sender.dpid), receivers, sender);
      if (mayCircle(together(stand, own), sender.address, this.wires)) return false;
      for (const [dpid, rules] of own) plan.set(dpid, [...(plan.get(dpid) ?? []), ...rules]);
      return true;
    });
    return result(plan, served, tree !== undefined || served.length < senders.length);
  }

  /** The shortest ways from a switch. */
  private treeFrom(root: Dpid): Forest {
    let tree = this.trees.get(root);
    if (tree === undefined) {
      const grown = new Map<Dpid, Node>();
      grow(grown, root, this.arcs);
      this.trees.set(root, grown);
      tree = grown;
    }
    return tree;
  }

  /** The shortest ways of all senders to all receivers as one tree; undefined where they make a loop. */
  private sharedTree(receivers: readonly Place[], senders: readonly Place[]): Forest | undefined {
    const links = new Map<string, Link>();
    const switches = new Set<Dpid>();
    for (const root of new Set(senders.map((s) => s.dpid))) {
      const tree = this.treeFrom(root);
      const passed = new Set<Node>();
      for (const { dpid } of receivers) {
        for (let node = tree.get(dpid)!; !passed.has(node); node = node.parent) {
          passed.add(node);
          switches.add(node.dpid);
          if (node.parent === null) break;
          const ends = [
            { dpid: node.dpid, port: node.up },
            { dpid: node.parent.dpid, port: node.down },
          ].sort((x, y) => (x.dpid < y.dpid ? -1 : 1)) as [SwitchPort, SwitchPort];
          links.set(ends.map(portKey).join(), { a: ends[0], b: ends[1] });
        }
      }
    }
    // It hangs together, as every sender reaches every receiver: so it is a tree if it has as few links as that takes.
    if (links.size >= switches.size) return undefined;
    const tree = new Map<Dpid, Node>();
    grow(tree, senders[0]!.dpid, arcsOf({ switches, links: links.values() }));
    return tree;
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
}

/** Where the ports lead that these links join. */
export function wiresOf(links: Iterable<Link>): Map<string, SwitchPort> {
  const wires = new Map<string, SwitchPort>();
  for (const { a, b } of links) wires.set(portKey(a), b).set(portKey(b), a);
  return wires;
}

/** What is there, and what a plan adds. */
function together(standing: Hops, plan: GroupPlan): Hops {
  const all = new Map(standing);
  for (const [dpid, rules] of plan) all.set(dpid, [...(all.get(dpid) ?? []), ...rules.flatMap(hopOf)]);
  return all;
}

class BucketLists {
  readonly lists = new Map<Dpid, Bucket[]>();

  add(dpid: Dpid, bucket: Bucket): void {
    const list = this.lists.get(dpid);
    if (list === undefined) this.lists.set(dpid, [bucket]);
    else list.push(bucket);
  }

  /** Also where the receiver is the only sender: what the last hops rewrite to tells a later run who the members are. */
  addLastHops(receivers: readonly Place[]): void {
    for (const { dpid, port, mac, address } of receivers) this.add(dpid, { port, rewrite: { mac, address } });
  }
}

/** One publisher's rules on the ways of its tree to the receivers. */
function sourcePlan(address: string, tree: Forest, receivers: readonly Place[], sender: Place): GroupPlan {
  const buckets = new BucketLists();
  buckets.addLastHops(receivers);
  const passed = new Set<Node>();
  for (const { dpid } of receivers) {
    for (let node = tree.get(dpid)!; node.parent !== null && !passed.has(node); node = node.parent) {
      passed.add(node);
      buckets.add(node.parent.dpid, { port: node.down });
    }
  }
  const plan = new Map<Dpid, readonly Rule[]>();
  for (const [dpid, list] of buckets.lists) {
    const node = tree.get(dpid)!;
    const inPort = node.parent === null ? sender.port : node.up;
    plan.set(dpid, [sourceRule({ destination: address, source: sender.address, inPort }, list)]);
  }
  return plan;
}

/** The rules of a group on a tree that all its publishers share. */
function sharedPlan(
  address: string,
  tree: Forest,
  receivers: readonly Place[],
  senders: readonly Place[],
): GroupPlan {
  const buckets = new BucketLists();
  buckets.addLastHops(receivers);
  for (const [node, count] of countBelow(tree, receivers, senders)) {
    if (node.parent === null) continue;
    const sentAbove = count.publishers < senders.length;
    const wantedAbove = count.members < receivers.length;
    if (count.members > 0 && sentAbove) buckets.add(node.parent.dpid, { port: node.down });
    if (count.publishers > 0 && wantedAbove) buckets.add(node.dpid, { port: node.up });
  }
  return new Map([...buckets.lists].map(([dpid, list]) => [dpid, [copyRule(address, list)]]));
}

/** The switches from all of these to the root, each with how many of them are in its subtree. */
function countBelow(tree: Forest, receivers: readonly Place[], senders: readonly Place[]): Map<Node, Count> {
  const below = new Map<Node, Count>();
  const countAt = (dpid: Dpid): Count => {
    let node: Node | null = tree.get(dpid)!;
    for (; node !== null && !below.has(node); node = node.parent)
      below.set(node, { members: 0, publishers: 0 });
    return below.get(tree.get(dpid)!)!;
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
