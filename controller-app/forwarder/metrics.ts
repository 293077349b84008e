import type { AllocationView, MetricView } from "../rest/view.js";
import type { RetainedKeeper } from "../retained/keeper.js";
import type { Clients } from "./clients.js";
import type { GroupTable } from "./groups.js";
import type { LegacyProxies } from "./legacy.js";
import type { QuarantineList } from "./quarantine.js";
import type { Shares } from "./shares.js";
import type { StandIns } from "./stand-ins.js";
import type { Wills } from "./wills.js";

type Counters = Readonly<Record<string, number>>;

/** What is counted, and where. */
export interface Counted {
  /** Parts whose `stats` are the forwarder's counters; no name is in two of them. */
  readonly counting: readonly { readonly stats: Counters }[];
  readonly groups: GroupTable;
  readonly legacy: LegacyProxies;
  readonly keeper: RetainedKeeper;
  readonly wills: Wills;
  readonly shares: Shares;
  readonly clients: Clients;
  readonly quarantine: QuarantineList;
  readonly standIns: StandIns;
  readonly allocation: AllocationView;
  readonly drops: Counters;
  readonly socket: Counters;
}

/** Everything countable of a forwarder, but for its data plane. */
export function* forwarderMetrics(counted: Counted): IterableIterator<MetricView> {
  const { groups, keeper, wills, shares, clients, quarantine, standIns } = counted;
  const merged = Object.assign({}, ...counted.counting.map(({ stats }) => stats)) as Counters;
  yield* counterMetrics("forwarder_", { ...merged, ...allocationCounters(groups.allocator.stats) });
  yield* counterMetrics("forwarder_dropped_", counted.drops, "datagrams dropped: ");
  yield* counterMetrics("forwarder_socket_", counted.socket, "datagrams of the socket: ");
  yield* counterMetrics("forwarder_plain_", counted.legacy.stats, "plain datagrams of legacy proxies: ");
  yield* counterMetrics("forwarder_groups_", groups.stats, "no address left: ");
  yield* gaugeMetrics("forwarder_", {
    groups: ["groups in use", groups.size],
    ...allocationGauges(counted.allocation),
    clients: ["clients whose edge is known", clients.size],
    retained_messages: ["retained messages", keeper.size],
    retained_bytes: ["what the retained messages take", keeper.bytes],
    shares: ["shared subscriptions", shares.size],
    quarantine: ["sources that are shut out", quarantine.size],
    absent_edges: ["edges that are away, or not caught up, and for which messages are kept", standIns.size],
    kept_messages: ["messages that are kept for them", standIns.kept.size],
    kept_bytes: ["what these take", standIns.kept.bytes],
    will_bytes: ["what the wills of agents' clients take", wills.bytes],
  });
}

/** Counters by snake_case name, as metrics that begin with `prefix`. */
function* counterMetrics(prefix: string, counters: Counters, about = ""): IterableIterator<MetricView> {
  for (const [name, value] of Object.entries(counters)) {
    const help = `${about}${name.replaceAll("_", " ")}`;
    yield { name: `${prefix}${name}_total`, help, kind: "counter", value };
  }
}

/** Sizes of now by snake_case name, each with what it is. */
function* gaugeMetrics(
  prefix: string,
  gauges: Readonly<Record<string, readonly [help: string, value: number]>>,
): IterableIterator<MetricView> {
  for (const [name, [help, value]] of Object.entries(gauges)) {
    yield { name: `${prefix}${name}`, help, kind: "gauge", value };
  }
}

/** How edge sets share groups. */
function allocationGauges({ sets, shared, waiting, copies }: AllocationView) {
  return {
    edge_sets: ["distinct sets of two and more edges", sets],
    groups_shared: ["groups that have edges which not all of their topics want", shared],
    edge_sets_waiting: ["edge sets that switches have no room for", waiting],
    copies_useful: ["copies of one message of each topic in a group, for edges that want it", copies.useful],
    copies_wasted: ["the same, for edges that do not", copies.extra],
  } as const;
}

function allocationCounters(stats: Readonly<Record<"merges" | "splits" | "evictions", number>>) {
  return { groups_merged: stats.merges, groups_split: stats.splits, groups_displaced: stats.evictions };
}
