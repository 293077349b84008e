import type { MetricView } from "../rest/view.js";

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
