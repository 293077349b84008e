import { TopicTree } from "@topicast/protocol";
import type { Journal } from "./durable/journal.js";
import { type Limits, MESSAGE_BYTES } from "./limits.js";
import type { Publication } from "./publication.js";
import type { Stats } from "./stats.js";

/** The last message of each topic that was published with RETAIN (MQTT 5, section 3.3.1.3). */
export interface RetainedStore {
  /**
   * Keeps a message instead of the one of its topic; an empty payload removes it (MQTT-3.3.1-6).
   * @param isOwn whether it is of a client of this agent
   */
  set(message: Publication, isOwn: boolean): void;
  /** The message of exactly this topic. */
  get(topic: string): Publication | undefined;
  /** The messages that `filter` matches and that have not expired. */
  matching(filter: string): Publication[];
  /** The same for a subscription made at the moment `since`, but for those that have come by live since then. */
  forSubscription(filter: string, since: number): Publication[];
  /** Now, in the order of what happens to messages and subscriptions. */
  moment(): number;
  /**
   * Since when new subscriptions are sent this message, or what its source has published after it, as the topic's, although it
   * comes live only now; undefined: they are not.
   */
  knownSince(message: Publication): number | undefined;
  readonly size: number;
  readonly bytes: number;
}

/** This agent's own retained messages: in memory, and where there is a journal also there, but for topics that begin with `$`. */
export class MemoryRetained implements RetainedStore {
  private readonly tree = new TopicTree<Publication>();
  private held = 0;

  constructor(
    private readonly limits: Limits,
    private readonly stats: Stats,
    private readonly now: () => number,
    private readonly journal?: Journal,
  ) {}

  /** Takes back what a former process has written. */
  restore(message: Publication): void {
    this.keep(message);
  }

  get size(): number {
    return this.tree.size;
  }

  get bytes(): number {
    return this.held;
  }

  set(message: Publication): void {
    const { topic } = message;
    if (message.payload.length === 0) return this.delete(topic);
    if (this.keep(message) && !topic.startsWith("$")) this.journal?.retained(topic, message);
  }

  /** False where there is no room for it. */
  private keep(message: Publication): boolean {
    const { topic } = message;
    const before = this.tree.get(topic);
    const bytes = costOf(message);
    const others = this.held - (before === undefined ? 0 : costOf(before));
    if (
      others + bytes > this.limits.retainedBytes ||
      (before === undefined && this.size >= this.limits.retainedMessages)
    ) {
      this.stats.retained_refused += 1;
      // What it was to replace is not the last message any more.
      this.delete(topic);
      return false;
    }
    this.tree.set(topic, message.kept());
    this.held = others + bytes;
    return true;
  }

  get(topic: string): Publication | undefined {
    return this.tree.get(topic);
  }

  /** What this agent's own clients publish is retained when it is delivered, never before. */
  moment(): number {
    return 0;
  }

  knownSince(): undefined {
    return undefined;
  }

  forSubscription(filter: string): Publication[] {
    return this.matching(filter);
  }

  matching(filter: string): Publication[] {
    const now = this.now();
    const found: Publication[] = [];
    const expired: string[] = [];
    this.tree.matching(filter, (topic, message) => {
      if (message.hasExpired(now)) expired.push(topic);
      else found.push(message);
    });
    for (const topic of expired) {
      this.stats.retained_expired += 1;
      this.delete(topic);
    }
    return found;
  }

  private delete(topic: string): void {
    const before = this.tree.delete(topic);
    if (before === undefined) return;
    this.held -= costOf(before);
    if (!topic.startsWith("$")) this.journal?.retained(topic, undefined);
  }
}

/** What a message takes, about. */
export function costOf(message: Publication): number {
  return message.bytes + MESSAGE_BYTES;
}
