import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { ForwarderView, MetricView } from "./view.js";

const help: Readonly<Record<string, string>> = {
  agents: "Registered agents",
  located: "Registered agents whose switch port is known",
  switches: "Switches believed to be there",
  links: "Links between switches believed to be there",
  groups: "Groups wished for",
  whole: "Groups whose datagrams the switches copy",
  most_groups: "Groups on the switch that holds most",
  most_flows: "Flows of groups on the switch that holds most",
  full: "Switches that have no room for one more group",
};

/** The forwarder's numbers for Prometheus, read from the view at each scrape. */
export class Metrics {
  private readonly registry = new Registry();
  private readonly metrics = new Map<string, Counter | Gauge>();

  constructor(private readonly view: ForwarderView) {
    collectDefaultMetrics({ register: this.registry });
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  async text(): Promise<string> {
    const { ryu, counters, kind: _kind, ...gauges } = this.view.dataplane.status();
    for (const [name, value] of Object.entries(gauges)) {
      this.set({ name: `dataplane_${name}`, help: help[name] ?? name, kind: "gauge", value });
    }
    for (const [name, value] of Object.entries(counters)) {
      const text = `Data plane: ${name.replaceAll("_", " ")}`;
      this.set({ name: `dataplane_${name}_total`, help: text, kind: "counter", value });
    }
    const up = ryu?.state === "up" ? 1 : 0;
    this.set({ name: "ryu_up", help: "1 while Ryu answers", kind: "gauge", value: up });
    for (const metric of this.view.metrics()) this.set(metric);
    return this.registry.metrics();
  }

  private set({ name, help, kind, value }: MetricView): void {
    let metric = this.metrics.get(name);
    if (metric === undefined) {
      const options = { name: `topicast_${name}`, help, registers: [this.registry] };
      metric = kind === "counter" ? new Counter(options) : new Gauge(options);
      this.metrics.set(name, metric);
    }
    // The counting is done elsewhere; a Counter can only be reset and raised.
    metric.reset();
    metric.inc(value);
  }
}
