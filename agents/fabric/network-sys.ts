import {
  encodeFabricJson,
  FabricTopic,
  isSysCounter,
  SYS_VALUES,
  type SysAnswer,
  type SysReport,
  topicError,
} from "@topicast/protocol";
import type { Registration } from "./registration.js";

/**
 * Tells the forwarder this edge's numbers, and this edge's clients what it says of the whole network: the topics
 * `$SYS/network/…`, and, while a filter can match one of them, `$SYS/edges/ID/…`.
 */
export class NetworkSys {
  /** What `$SYS` says by now, by topic below it. */
  private readonly published = new Map<string, string>();
  /** Filters that can match topics of single edges. */
  private readonly edgeFilters = new Set<string>();
  private values: readonly number[] | undefined;

  constructor(
    private readonly registration: Registration,
    private readonly publish: (topic: string, value: string | undefined) => void,
  ) {}

  /** This edge's numbers of now, by topic below `$SYS/broker`. */
  report(values: ReadonlyMap<string, number>): void {
    this.values = SYS_VALUES.map((topic) => values.get(topic) ?? 0);
    this.send();
  }

  /** A filter that begins with `$` has its first subscriber here. */
  subscribe(filter: string): void {
    if (!canMatchEdges(filter)) return;
    this.edgeFilters.add(filter);
    if (this.edgeFilters.size === 1) this.send();
  }

  unsubscribe(filter: string): void {
    if (!this.edgeFilters.delete(filter) || this.edgeFilters.size > 0) return;
    for (const topic of [...this.published.keys()])
      if (topic.startsWith("edges/")) this.set(topic, undefined);
  }

  onRegistered(): void {
    this.send();
  }

  /** The values stay as they were last; `state` says so. */
  onLost(): void {
    if (this.published.has("network/state")) this.set("network/state", "0");
  }

  onAnswer({ edges, values, network, each }: SysAnswer): void {
    this.set("network/state", "1");
    this.set("network/edges", String(edges));
    for (const [place, topic] of SYS_VALUES.entries())
      this.set(`network/${topic}`, textOf(values[place]!, topic));
    for (const [topic, value] of Object.entries(network)) this.set(`network/${topic}`, String(value));
    // An answer that was on its way when the last of these filters went.
    if (this.edgeFilters.size === 0) return;
    for (const { id, up, values } of each) {
      if (topicError(id) !== undefined) continue;
      this.set(`edges/${id}/state`, up ? "1" : "0");
      for (const [place, topic] of SYS_VALUES.entries()) {
        if (isSysCounter(place) || !topic.startsWith("load/")) {
          this.set(`edges/${id}/${topic}`, textOf(values[place]!, topic));
        }
      }
    }
  }

  private send(): void {
    const { values, registration, edgeFilters } = this;
    if (values === undefined || !registration.registered) return;
    const body: SysReport = { values, edges: edgeFilters.size > 0 };
    void registration.send(encodeFabricJson(FabricTopic.SYS, body));
  }

  private set(topic: string, value: string | undefined): void {
    if (this.published.get(topic) === value) return;
    if (value === undefined) this.published.delete(topic);
    else this.published.set(topic, value);
    this.publish(topic, value);
  }
}

/** Whether the filter can match a topic below `$SYS/edges`. */
function canMatchEdges(filter: string): boolean {
  const [first, second] = filter.split("/");
  return first === "$SYS" && (second === "#" || second === "+" || second === "edges");
}

/** As `$SYS/broker` writes it: load with two decimals. */
function textOf(value: number, topic: string): string {
  return topic.startsWith("load/") ? value.toFixed(2) : String(value);
}
