import type { AllocationView, MetricView } from "../rest/view.js";

/** Counters by snake_case name, as metrics that begin with `prefix`. */
export function* counterMetrics(
  prefix: string,
  counters: Readonly<Record<string, number>>,
  about = "",
): IterableIterator<MetricView> {
  for (const [name, value] of Object.entries(counters)) {
    const help = `${about}${name.replaceAll("_", " ")}`;
    yield { name: `${prefix}${name}_total`, help, kind: "counter", value };
  }
}

/** Sizes of now by snake_case name, each with what it is. */
export function* gaugeMetrics(
  prefix: string,
  gauges: Readonly<Record<string, readonly [help: string, value: number]>>,
): IterableIterator<MetricView> {
  for (const [name, [help, value]] of Object.entries(gauges)) {
    yield { name: `${prefix}${name}`, help, kind: "gauge", value };
  }
}

/** How edge sets share groups. */
export function allocationGauges({ sets, shared, waiting, copies }: AllocationView) {
  return {
    edge_sets: ["distinct sets of two and more edges", sets],
    groups_shared: ["groups that have edges which not all of their topics want", shared],
    edge_sets_waiting: ["edge sets that switches have no room for", waiting],
    copies_useful: ["copies of one message of each topic in a group, for edges that want it", copies.useful],
    copies_wasted: ["the same, for edges that do not", copies.extra],
  } as const;
}

export function allocationCounters(stats: Readonly<Record<"merges" | "splits" | "evictions", number>>) {
  return { groups_merged: stats.merges, groups_split: stats.splits, groups_displaced: stats.evictions };
}
