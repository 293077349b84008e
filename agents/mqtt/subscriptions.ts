import { FilterTrie, levelCount } from "@topicast/protocol";
import { LEVEL_BYTES } from "./limits.js";
import type { Session, Subscription } from "./session.js";
import type { Uplink } from "./uplink.js";

/** All subscriptions of this agent's clients, and what the uplink has been told of them. */
export class Subscriptions {
  private readonly trie = new FilterTrie<Subscription>();
  /** Filters whose subscribe barrier does not hold yet. */
  private readonly barriers = new Map<string, Promise<void>>();

  constructor(private readonly uplink: Uplink | undefined) {}

  /** Subscriptions over all clients. */
  get size(): number {
    return this.trie.values;
  }

  /** Distinct filters over all clients. */
  get filters(): number {
    return this.trie.size;
  }

  match(topic: string): readonly Subscription[] {
    return this.trie.match(topic);
  }

  /**
   * Subscribes, or replaces the subscription with the same filter (MQTT-3.8.4-3). Local messages flow from now on.
   * @returns what the SUBACK waits for, or undefined when the barrier holds already; never rejects
   */
  add(session: Session, filter: string, requestedQos: 0 | 1 | 2): Promise<void> | undefined {
    const known = session.subscriptions.get(filter);
    if (known !== undefined) {
      known.requestedQos = requestedQos;
    } else {
      const subscription: Subscription = { session, filter, bytes: costOf(filter), requestedQos };
      session.subscriptions.set(filter, subscription);
      session.subscriptionBytes += subscription.bytes;
      const { first } = this.trie.add(filter, subscription);
      if (first && this.uplink !== undefined) this.raiseBarrier(filter, this.uplink.subscribe(filter));
    }
    return this.barriers.get(filter);
  }

  /** @returns false when there was no such subscription */
  remove(session: Session, filter: string): boolean {
    const subscription = session.subscriptions.get(filter);
    if (subscription === undefined) return false;
    session.subscriptions.delete(filter);
    session.subscriptionBytes -= subscription.bytes;
    const { last } = this.trie.remove(filter, subscription);
    if (last) {
      this.barriers.delete(filter);
      this.uplink?.unsubscribe(filter);
    }
    return true;
  }

  removeAll(session: Session): void {
    for (const filter of [...session.subscriptions.keys()]) this.remove(session, filter);
  }

  private raiseBarrier(filter: string, subscribed: Promise<void>): void {
    const done = (): void => {
      // A filter that was given up and taken up again has another barrier by now.
      if (this.barriers.get(filter) === barrier) this.barriers.delete(filter);
    };
    const barrier = subscribed.then(done, done);
    this.barriers.set(filter, barrier);
  }
}

/** What a filter counts for towards `Limits.subscriptionBytes`. */
export function costOf(filter: string): number {
  return Buffer.byteLength(filter) + LEVEL_BYTES * levelCount(filter);
}
