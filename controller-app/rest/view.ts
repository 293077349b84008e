import type { Carriage, Dataplane } from "../dataplane/dataplane.js";

/**
 * What the REST interface may see of the forwarder. Lists are plain iterables in any order: the interface sorts
 * and pages them itself, in one pass and bounded memory.
 */
export interface ForwarderView {
  readonly dataplane: Pick<
    Dataplane,
    "kind" | "status" | "unsteered" | "topology" | "groups" | "group" | "rules" | "quarantine"
  >;
  /** Milliseconds since the forwarder started. */
  uptimeMs(): number;
  counts(): ForwarderCounts;
  /** How edge sets share groups. */
  allocation(): AllocationView;
  /** Of one group of the data plane. */
  load(address: string): GroupLoad | undefined;
  agents(): Iterable<AgentView>;
  filters(): Iterable<FilterView>;
  /** Routed topics that at least one edge other than the publisher's must receive. */
  topics(): Iterable<TopicView>;
  readonly quarantine: QuarantineView;
  /** Everything countable beyond the data plane, for /metrics. */
  metrics(): Iterable<MetricView>;
}

/** Sources that are shut out at every edge. */
export interface QuarantineView {
  list(): Iterable<QuarantineEntryView>;
  /** Shuts a source out, or for longer; false: it is an agent, or safe. */
  add(source: string, rule: string, seconds: number, by: string): boolean;
  /** Lets a source in; false: it was not shut out. */
  remove(source: string): boolean;
}

export interface QuarantineEntryView {
  /** An IPv4 address, an IPv6 address, or `NETWORK/64`. */
  readonly source: string;
  /** The rule that was broken, or why somebody shut it out. */
  readonly rule: string;
  /** Id of the agent that did; empty: it was done here. */
  readonly by: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly until: number;
}

export interface ForwarderCounts {
  readonly agents: number;
  readonly filters: number;
  /** Routed topics with receivers elsewhere: the length of `topics()`. */
  readonly topics: number;
  /** Routed topics that nobody elsewhere wants: known, so that they put nothing on the network. */
  readonly idle: number;
}

export interface AllocationView {
  /** Distinct sets of two and more edges, and the groups that carry them. */
  readonly sets: number;
  readonly groups: number;
  /** Those groups that have edges which not all of their topics want. */
  readonly shared: number;
  /** Sets that switches have no room for: they go by unicast. */
  readonly waiting: number;
  /** Copies of one message of each topic that is carried: to edges that want it, and to others. */
  readonly copies: { readonly useful: number; readonly extra: number };
}

export interface GroupLoad {
  readonly sets: number;
  readonly topics: number;
  /** Copies that nobody wants, of those that somebody wants, for one message of each topic. */
  readonly waste: number;
}

export interface AgentView {
  readonly id: string;
  /** IPv4 of its fabric socket. */
  readonly address: string;
  /** UDP port of its fabric socket. */
  readonly port: number;
  readonly mac: string;
  /** Filters it subscribes to. */
  readonly filters: number;
  /** Milliseconds since it registered, and since it was last heard. */
  readonly upMs: number;
  readonly silentMs: number;
}

export interface FilterView {
  readonly filter: string;
  /** Ids of the agents with subscribers, sorted. */
  readonly edges: readonly string[];
}

export interface TopicView {
  readonly topic: string;
  /** Ids of the agents that must receive, sorted. */
  readonly edges: readonly string[];
  /** Multicast address of the group; null where the topic needs none. */
  readonly group: string | null;
  readonly carriage: Carriage;
}

export interface MetricView {
  /** Without the prefix `topicast_`; of the form [a-z][a-z0-9_]*. */
  readonly name: string;
  readonly help: string;
  readonly kind: "counter" | "gauge";
  readonly value: number;
}
