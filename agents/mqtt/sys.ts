import { LOAD_MINUTES, type Timer } from "@topicast/protocol";
import type { Server } from "./server.js";

export interface SysOptions {
  /** Milliseconds between two looks at the values. */
  readonly intervalMs: number;
  /** Of this server, for `$SYS/broker/version`. */
  readonly version: string;
}

/** A load average: an exponentially weighted mean of a counter's rate per minute. */
class Load {
  private before: number;
  private readonly means = LOAD_MINUTES.map(() => 0);

  constructor(
    readonly topic: string,
    private readonly counter: () => number,
  ) {
    this.before = counter();
  }

  /** What happened in the last `seconds`, and all before, as one number per period. */
  next(seconds: number): readonly number[] {
    const count = this.counter();
    const perMinute = ((count - this.before) * 60) / seconds;
    this.before = count;
    for (const [i, minutes] of LOAD_MINUTES.entries()) {
      const weight = Math.exp(-seconds / (60 * minutes));
      this.means[i] = perMinute + weight * (this.means[i]! - perMinute);
    }
    return this.means;
  }
}

/**
 * The topics below `$SYS/broker`, under the names that mosquitto's users know, retained, for this agent's clients only.
 * At each interval those are published whose value has changed, and the uplink is told all that are numbers.
 */
export class SysTopics {
  private timer: Timer;
  private readonly startedAt: number;
  private readonly loads: readonly Load[];
  private readonly published = new Map<string, string>();
  private readonly numbers = new Map<string, number>();
  private maximumConnected = 0;
  private maximumHeap = 0;

  constructor(
    private readonly server: Server,
    private readonly options: SysOptions,
  ) {
    const { stats } = server;
    this.startedAt = server.now();
    this.loads = [
      new Load("connections", () => stats.connections_total - stats.refused_connections),
      new Load("sockets", () => stats.connections_total),
      new Load("messages/received", () => stats.packets_received),
      new Load("messages/sent", () => stats.packets_sent),
      new Load("publish/received", () => stats.publish_received),
      new Load("publish/sent", () => stats.publish_sent),
      new Load("publish/dropped", () => stats.publish_dropped + stats.queue_dropped),
      new Load("bytes/received", () => stats.bytes_received),
      new Load("bytes/sent", () => stats.bytes_sent),
    ];
    this.publish("version", options.version);
    this.timer = this.schedule();
    this.publishAll();
  }

  close(): void {
    this.timer.cancel();
  }

  private schedule(): Timer {
    return this.server.clock.setTimer(this.options.intervalMs, () => {
      this.timer = this.schedule();
      for (const load of this.loads) {
        const means = load.next(this.options.intervalMs / 1_000);
        for (const [i, minutes] of LOAD_MINUTES.entries()) {
          const topic = `load/${load.topic}/${minutes}min`;
          this.publish(topic, means[i]!.toFixed(2));
          this.numbers.set(topic, means[i]!);
        }
      }
      this.publishAll();
    });
  }

  private publishAll(): void {
    const { stats, sessions, connected, subscriptions, retained, queued, now } = this.server;
    const heap = process.memoryUsage.rss();
    this.maximumConnected = Math.max(this.maximumConnected, connected);
    this.maximumHeap = Math.max(this.maximumHeap, heap);
    const values: Record<string, number | string> = {
      uptime: `${Math.floor((now() - this.startedAt) / 1_000)} seconds`,
      "clients/total": sessions.size,
      "clients/connected": connected,
      "clients/active": connected,
      "clients/disconnected": sessions.size - connected,
      "clients/inactive": sessions.size - connected,
      "clients/maximum": this.maximumConnected,
      "clients/expired": stats.sessions_expired,
      "messages/received": stats.packets_received,
      "messages/sent": stats.packets_sent,
      "messages/stored": retained.size,
      "publish/messages/received": stats.publish_received,
      "publish/messages/sent": stats.publish_sent,
      "publish/messages/dropped": stats.publish_dropped + stats.queue_dropped,
      "publish/bytes/received": stats.publish_received_bytes,
      "publish/bytes/sent": stats.publish_sent_bytes,
      "bytes/received": stats.bytes_received,
      "bytes/sent": stats.bytes_sent,
      "subscriptions/count": subscriptions.size,
      "shared_subscriptions/count": subscriptions.groups,
      "retained messages/count": retained.size,
      "store/messages/count": retained.size,
      "store/messages/bytes": retained.bytes + queued.bytes,
      "heap/current": heap,
      "heap/maximum": this.maximumHeap,
    };
    for (const [topic, value] of Object.entries(values)) {
      this.publish(topic, String(value));
      if (typeof value === "number") this.numbers.set(topic, value);
    }
    this.server.report(this.numbers);
  }

  private publish(topic: string, value: string): void {
    if (this.published.get(topic) === value) return;
    this.published.set(topic, value);
    this.server.publishSys(`broker/${topic}`, value);
  }
}
