import { FilterCover } from "@topicast/agent/fabric/cover.js";
import { Planner, spanningForest } from "@topicast/controller/dataplane/tree.js";
import { FilterTrie, formatIPv4 } from "@topicast/protocol";
import { random } from "../unit/fabric/sim.js";
import { networkOf, type Topology } from "./networks.js";

export type Interest = "uniform" | "skewed";
export const INTERESTS: readonly Interest[] = ["uniform", "skewed"];

export interface Question {
  readonly topology: Topology;
  readonly interest: Interest;
  readonly edges: number;
  readonly topics: number;
}

export interface Growth extends Question {
  readonly switches: number;
  /** Topics that nobody wants, that one edge wants, and edge sets of two and more. */
  readonly idle: number;
  readonly direct: number;
  readonly groups: number;
  /** Rules on the switch that holds most, and on the average switch: a flow and a group each, or a flow of one publisher. */
  readonly rulesMost: number;
  readonly rulesMean: number;
  readonly bucketsMost: number;
  /** Filters that agents have, and those that the forwarder is told. */
  readonly filters: number;
  readonly told: number;
  /** Routes and groups that publishers are told, one publisher a topic; flow and group commands to the switches. */
  readonly routes: number;
  readonly commands: number;
  /** Of the edge sets this many were planned, and the numbers of rules taken in proportion. */
  readonly planned: number;
}

/** Edge sets that are planned one by one. */
const PLANNED_MAX = 1_000;
const BASE = 0xefc00001;
/** Filters of one topic, and the share of edges that want all of one plant. */
const RECEIVERS_MAX = 4;
const TOPICS_PER_PLANT = 50;

/** A topic: the edges that want it, in order, and the one that publishes it. */
export interface TopicWish {
  readonly members: readonly number[];
  readonly publisher: number;
}

/**
 * Topics are plant/P/sensor/S, each wanted by one to four edges by its name, and each plant by one edge as a whole.
 * Each topic is published at one edge. uniform: any edge as likely; skewed: the n-th with a weight of 1/n (Zipf).
 */
export function wishesOf({ interest, edges, topics }: Question, seed = 1) {
  const rand = random(seed);
  const pick = interest === "uniform" ? () => Math.floor(rand() * edges) : zipf(edges, rand);
  const wanted = new FilterTrie<number>();
  const covers = Array.from({ length: edges }, () => new FilterCover());
  let filters = 0;
  const want = (edge: number, filter: string) => {
    if (!wanted.add(filter, edge).added) return;
    filters += 1;
    covers[edge]!.add(filter);
  };
  for (let plant = 0; plant * TOPICS_PER_PLANT < topics; plant++) want(pick(), `plant/${plant}/#`);
  const names = Array.from(
    { length: topics },
    (_, i) => `plant/${Math.floor(i / TOPICS_PER_PLANT)}/sensor/${i}`,
  );
  for (const name of names) {
    for (let left = Math.floor(rand() * (RECEIVERS_MAX + 1)); left > 0; left--) want(pick(), name);
  }
  const wishes = names.map((name): TopicWish => {
    const members = [...wanted.match(name)].sort((a, b) => a - b);
    return { members, publisher: pick() };
  });
  const told = covers.reduce((sum, cover) => sum - cover.hidden, filters);
  return { wishes, filters, told };
}

/** What so many topics cost: filters → edge sets (the forwarder's own matching) → rules (the data plane's own planner). */
export function grow(question: Question): Growth {
  const { topology, interest, edges, topics } = question;
  const { wishes, filters, told } = wishesOf(question);
  const sets = new Map<string, EdgeSet>();
  let [idle, direct] = [0, 0];
  for (const { members, publisher } of wishes) {
    if (members.length === 0) idle += 1;
    else if (members.length === 1) direct += 1;
    else {
      const key = members.join();
      const known = sets.get(key) ?? { members, publishers: new Set() };
      sets.set(key, known);
      known.publishers.add(publisher);
    }
  }
  const rules = planAll(topology, edges, [...sets.values()]);
  return {
    ...{ topology, interest, edges, topics, idle, direct, groups: sets.size, filters, told },
    ...rules,
    routes: topics - idle + sets.size,
  };
}

interface EdgeSet {
  readonly members: readonly number[];
  readonly publishers: Set<number>;
}

function planAll(topology: Topology, edges: number, sets: readonly EdgeSet[]) {
  const network = networkOf(topology, edges);
  const planner = new Planner(spanningForest(network), network.places, network.links);
  const onSwitch = new Map<bigint, number>();
  let bucketsMost = 0;
  const step = Math.max(1, sets.length / PLANNED_MAX);
  const name = (edge: number) => `e${edge + 1}`;
  const planned = Math.min(sets.length, PLANNED_MAX);
  for (let i = 0; i < planned; i++) {
    const set = sets[Math.floor(i * step)]!;
    const members = set.members.map(name);
    const publishers = [...set.publishers].map(name);
    const { plan, ...why } = planner.plan({ address: formatIPv4(BASE + i), members, publishers });
    if (plan === undefined) throw new Error(`no plan: ${JSON.stringify(why)}`);
    for (const [dpid, rules] of plan) {
      onSwitch.set(dpid, (onSwitch.get(dpid) ?? 0) + rules.length);
      for (const rule of rules) {
        if (!("buckets" in rule) || rule.buckets === null) throw new Error("no rule of a group");
        bucketsMost = Math.max(bucketsMost, rule.buckets.length);
      }
    }
  }
  const counts = [...onSwitch.values()].map((count) => Math.round(count * step));
  const all = counts.reduce((a, b) => a + b, 0);
  const switches = network.switches.length;
  const rulesMost = counts.reduce((a, b) => Math.max(a, b), 0);
  return { switches, rulesMost, rulesMean: all / switches, bucketsMost, planned, commands: 2 * all };
}

function zipf(count: number, rand: () => number): () => number {
  const sums: number[] = [];
  let sum = 0;
  for (let i = 1; i <= count; i++) {
    sum += 1 / i;
    sums.push(sum);
  }
  return () => {
    const at = rand() * sum;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! < at) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}
