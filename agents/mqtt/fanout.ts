import type { Message } from "@topicast/protocol";
import { encodeLive } from "./codec/encode.js";
import type { Stats } from "./stats.js";
import type { Subscriptions } from "./subscriptions.js";

/** Gives a message to every local subscriber, encoded once. */
export class Fanout {
  private mark = 0;

  constructor(
    private readonly subscriptions: Subscriptions,
    private readonly stats: Stats,
  ) {}

  /** Queues `message` for each client with a matching subscription, once per client (MQTT 3.1.1, section 3.3.5). */
  deliver(message: Message): void {
    const matching = this.subscriptions.match(message.topic);
    if (matching.length === 0) return;
    this.mark += 1;
    const { mark } = this;
    let packet: Buffer | undefined;
    let sent = 0;
    for (const { session } of matching) {
      if (session.reached === mark || session.connection === undefined) continue;
      session.reached = mark;
      packet ??= encodeLive(message);
      if (session.connection.outbox.offer(packet)) sent += 1;
    }
    this.stats.publish_sent += sent;
  }
}
