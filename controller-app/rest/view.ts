import type { Carriage, Dataplane } from "../dataplane/dataplane.js";

/**
 * What the REST interface may see of the forwarder. Lists are plain iterables in any order: the interface sorts
 * and pages them itself, in one pass and bounded memory.
 */
export interface ForwarderView {
  readonly dataplane: Pick<
    Dataplane,
    "kind" | "status" | "unsteered" | "topology" | "groups" | "group" | "rules"
  >;
  /** Milliseconds since the forwarder started. */
  uptimeMs(): number;
  counts(): ForwarderCounts;
  agents(): Iterable<AgentView>;
  filters(): Iterable<FilterView>;
  /** Routed topics that at least one edge other than the publisher's must receive. */
  topics(): Iterable<TopicView>;
  /** Everything countable beyond the data plane, for /metrics. */
  metrics(): Iterable<MetricView>;
}

export interface ForwarderCounts {
  readonly agents: number;
  readonly filters: number;
  /** Routed topics with receivers elsewhere: the length of `topics()`. */
  readonly topics: number;
  /** Routed topics that nobody elsewhere wants: known, so that they put nothing on the network. */
  readonly idle: number;
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
