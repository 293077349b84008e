import type { IPublishPacket } from "mqtt-packet";
import { z } from "zod";
import { fabricJson } from "./packets.js";

/** Values of now, by their topics below `$SYS/broker`: those of an edge that has gone count for nothing. */
const GAUGES = [
  "clients/total",
  "clients/connected",
  "clients/disconnected",
  "subscriptions/count",
  "store/messages/bytes",
  "heap/current",
] as const;
const LOADS = [
  ...["connections", "sockets", "messages/received", "messages/sent", "publish/received", "publish/sent"],
  ...["publish/dropped", "bytes/received", "bytes/sent"],
];
/** What was counted since an edge's start: it goes on counting in the network's sum when the edge has gone. */
const COUNTERS = [
  "clients/expired",
  "messages/received",
  "messages/sent",
  "publish/messages/received",
  "publish/messages/sent",
  "publish/messages/dropped",
  "publish/bytes/received",
  "publish/bytes/sent",
  "bytes/received",
  "bytes/sent",
] as const;

/** Minutes that load is averaged over, as Unix does. */
export const LOAD_MINUTES = [1, 5, 15] as const;

/** Each number of a report, in its order there: topics below `$SYS/broker`, `$SYS/network` and `$SYS/edges/ID`. */
export const SYS_VALUES: readonly string[] = [
  ...GAUGES,
  ...LOADS.flatMap((topic) => LOAD_MINUTES.map((minutes) => `load/${topic}/${minutes}min`)),
  ...COUNTERS,
];

/** Whether the number of that place in a report stays in the network's sum when its edge has gone. */
export function isSysCounter(place: number): boolean {
  return place >= SYS_VALUES.length - COUNTERS.length;
}

/** `$fabric/sys` from an agent: its own numbers; the forwarder answers with the network's. */
export interface SysReport {
  /** As `SYS_VALUES` has them. */
  readonly values: readonly number[];
  /** Tell what has changed of each edge since the answer before, too. */
  readonly edges: boolean;
}

/** One edge's numbers. */
export interface SysEdge {
  readonly id: string;
  /** It is there. */
  readonly up: boolean;
  /** As `SYS_VALUES` has them. */
  readonly values: readonly number[];
}

/** `$fabric/sys` from the forwarder. */
export interface SysAnswer {
  /** Edges that are there. */
  readonly edges: number;
  /** Sums over all edges, as `SYS_VALUES` has them. */
  readonly values: readonly number[];
  /** What no edge knows by itself: topics below `$SYS/network`. */
  readonly network: Readonly<Record<string, number>>;
  readonly each: readonly SysEdge[];
}

const values = z.array(z.number().nonnegative()).length(SYS_VALUES.length);
const report = z.object({ values, edges: z.boolean() });
const answer = z.object({
  edges: z.int().nonnegative(),
  values,
  network: z.record(z.string(), z.number()),
  each: z.array(z.object({ id: z.string(), up: z.boolean(), values })),
});

/** Body of an agent's `$fabric/sys`; undefined where it is malformed. */
export function readSysReport(packet: IPublishPacket): SysReport | undefined {
  return report.safeParse(fabricJson(packet)).data;
}

/** Body of the forwarder's `$fabric/sys`; undefined where it is malformed. */
export function readSysAnswer(packet: IPublishPacket): SysAnswer | undefined {
  return answer.safeParse(fabricJson(packet)).data;
}
