import type { Delivered, Delivery } from "./delivery.js";
import { Fifo } from "./fifo.js";
import type { Limits } from "./limits.js";
import type { Publication } from "./publication.js";
import type { RetainedStore } from "./retained.js";
import type { Stats } from "./stats.js";

/** What a new subscription gets of the retained messages. */
interface Batch {
  readonly messages: readonly Publication[];
  next: number;
  readonly maxQos: 0 | 1 | 2;
  readonly subscriptionIds: readonly number[];
}

/** Where retained messages go out at QoS 0. */
export interface RetainedLink {
  readonly hasRoom: boolean;
  sendAtMostOnce(delivered: Delivered): void;
}

/**
 * The retained messages that new subscriptions of one client have yet to get (MQTT-3.3.1-9). They leave as fast as the
 * client takes them, behind what else waits for it; only references are held. One that was replaced meanwhile is left
 * out: its successor has gone out as a live message already.
 */
export class RetainedFeed {
  private readonly batches = new Fifo<Batch>();
  private waiting = 0;
  private link: RetainedLink | undefined;

  constructor(
    private readonly store: RetainedStore,
    private readonly delivery: Delivery,
    private readonly limits: Limits,
    private readonly stats: Stats,
    private readonly now: () => number,
  ) {}

  connect(link: RetainedLink): void {
    this.link = link;
  }

  /**
   * The connection is gone. What has not been sent waits with the session's other messages, as far as there is room; at
   * QoS 0, or where the session goes with its connection, it is forgotten.
   * @param isKept the session outlives the connection
   */
  disconnect(isKept: boolean): void {
    this.link = undefined;
    if (isKept) this.queueRest();
    this.batches.clear();
    this.waiting = 0;
  }

  private queueRest(): void {
    let left = this.waiting;
    for (const { messages, next, maxQos, subscriptionIds } of this.batches) {
      for (let i = next; i < messages.length; i++) {
        const message = messages[i]!;
        const qos = Math.min(message.qos, maxQos) as 0 | 1 | 2;
        const isWanted = qos > 0 && this.isCurrent(message);
        if (isWanted && !this.delivery.offer({ message, qos, retain: true, subscriptionIds, place: 0 })) {
          this.stats.retained_dropped += left;
          return;
        }
        left -= 1;
      }
    }
  }

  /** It has neither been replaced nor expired. */
  private isCurrent(message: Publication): boolean {
    return this.store.get(message.topic) === message && !message.hasExpired(this.now());
  }

  add(messages: readonly Publication[], maxQos: 0 | 1 | 2, subscriptionIds: readonly number[]): void {
    const room = Math.max(0, this.limits.retainedWaiting - this.waiting);
    if (messages.length > room) {
      this.stats.retained_dropped += messages.length - room;
      messages = messages.slice(0, room);
    }
    if (messages.length === 0) return;
    this.waiting += messages.length;
    this.batches.push({ messages, next: 0, maxQos, subscriptionIds });
    this.pump();
  }

  /** Sends what can leave now. */
  pump(): void {
    const { link, delivery, batches } = this;
    if (link === undefined) return;
    for (let batch = batches.peek(); batch !== undefined; batch = batches.peek()) {
      const { messages, maxQos, subscriptionIds } = batch;
      while (batch.next < messages.length) {
        const message = messages[batch.next]!;
        const qos = Math.min(message.qos, maxQos) as 0 | 1 | 2;
        if (!(qos === 0 ? link.hasRoom : delivery.isReady)) return;
        batch.next += 1;
        this.waiting -= 1;
        if (!this.isCurrent(message)) continue;
        const delivered: Delivered = { message, qos, retain: true, subscriptionIds, place: 0 };
        if (qos === 0) link.sendAtMostOnce(delivered);
        else delivery.offer(delivered);
      }
      batches.shift();
    }
  }
}
