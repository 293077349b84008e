import { FilterTrie, levelCount } from "@topicast/protocol";
import type { FilterRequest } from "./codec/decode.js";
import { LEVEL_BYTES } from "./limits.js";
import type { Session } from "./session.js";
import { Share } from "./share.js";
import type { Uplink } from "./uplink.js";

/** One filter of one client, as it asked for it. */
export interface Subscription extends FilterRequest {
  readonly session: Session;
  /** The filter without `$share/NAME/`. */
  readonly topicFilter: string;
  /** The group that it is a member of, where it is a shared one. */
  readonly share: Share | undefined;
  /** What it counts for towards `Limits.subscriptionBytes`. */
  readonly bytes: number;
  /** The subscription identifier, alone in an array, or nothing in it. */
  readonly subscriptionIds: readonly number[];
}

/** What a message of one topic means to one client, whatever number of its subscriptions match. */
export interface Recipient {
  readonly session: Session;
  /** The greatest QoS of them all (MQTT-3.3.4-2). */
  readonly qos: 0 | 1 | 2;
  readonly retainAsPublished: boolean;
  /** Those of all of them that have one (MQTT-3.3.4-4). */
  readonly subscriptionIds: readonly number[];
  /** The same for messages of the client's own: without those with No Local (MQTT-3.8.3-3); undefined where none is left. */
  readonly own: Recipient | undefined;
}

/** Who gets a message of one topic. */
export interface Audience {
  readonly recipients: readonly Recipient[];
  /** Of each of these groups one member gets it. */
  readonly shares: readonly Share[];
}

/** What is remembered of who gets which topic; above it all of that is forgotten. */
const AUDIENCES_WEIGHT = 262_144;

const NO_SHARES: readonly Share[] = [];
const NOBODY: Audience = { recipients: [], shares: NO_SHARES };
const NO_IDS: readonly number[] = [];

/** All subscriptions of this agent's clients, and what the uplink has been told of them. */
export class Subscriptions {
  /** A shared subscription stands here as its group. Results are remembered in `audiences`, not here. */
  private readonly trie = new FilterTrie<Subscription | Share>({ cacheWeight: 0 });
  /** By `$share/NAME/FILTER`. */
  private readonly shares = new Map<string, Share>();
  /** By topic, until a subscription changes. */
  private readonly audiences = new Map<string, Audience>();
  /** One for each topic there, and one for each recipient. */
  private audiencesWeight = 0;
  /** Topic filters whose subscribe barrier does not hold yet. */
  private readonly barriers = new Map<string, Promise<void>>();
  /** Subscriptions over all clients. */
  size = 0;

  constructor(private readonly uplink: Uplink | undefined) {}

  /** Distinct filters over all clients. */
  get filters(): number {
    return this.trie.size;
  }

  /** Groups of shared subscriptions. */
  get groups(): number {
    return this.shares.size;
  }

  match(topic: string): Audience {
    let audience = this.audiences.get(topic);
    if (audience === undefined) {
      audience = audienceOf(this.trie.match(topic));
      const weight = 1 + audience.recipients.length;
      if (this.audiencesWeight + weight > AUDIENCES_WEIGHT) this.forget();
      this.audiences.set(topic, audience);
      this.audiencesWeight += weight;
    }
    return audience;
  }

  /** Whether new subscribers here would be sent the retained message of this topic. */
  wantsRetained(topic: string): boolean {
    return this.match(topic).recipients.length > 0;
  }

  /**
   * Subscribes, or replaces the subscription with the same filter (MQTT-3.8.4-3). Local messages flow from now on.
   * @returns what the SUBACK waits for, or undefined when the barrier holds already; never rejects
   */
  add(
    session: Session,
    request: FilterRequest,
    subscriptionId: number | undefined,
  ): { isNew: boolean; barrier: Promise<void> | undefined } {
    this.forget();
    const { filter } = request;
    const topicFilter = topicFilterOf(filter);
    const known = session.subscriptions.get(filter);
    const share = topicFilter === filter ? undefined : this.shareOf(filter);
    const subscription: Subscription = {
      ...request,
      session,
      topicFilter,
      share,
      bytes: costOf(filter),
      subscriptionIds: subscriptionId === undefined ? NO_IDS : [subscriptionId],
    };
    // The new one first: the filter is never without a value, and the uplink need not be told.
    let isFirst = false;
    if (share === undefined) {
      isFirst = this.trie.add(filter, subscription).first;
    } else {
      share.add(subscription);
      isFirst = this.trie.add(topicFilter, share).first;
    }
    if (known === undefined) {
      this.size += 1;
      session.subscriptionBytes += subscription.bytes;
    } else if (share === undefined) {
      this.trie.remove(filter, known);
    } else {
      share.remove(known);
    }
    session.subscriptions.set(filter, subscription);
    session.journal?.subscribed(subscription);
    if (isFirst && this.uplink !== undefined)
      this.raiseBarrier(topicFilter, this.uplink.subscribe(topicFilter));
    return { isNew: known === undefined, barrier: this.barriers.get(topicFilter) };
  }

  /** @returns false when there was no such subscription */
  remove(session: Session, filter: string): boolean {
    const subscription = session.subscriptions.get(filter);
    if (subscription === undefined) return false;
    this.forget();
    session.subscriptions.delete(filter);
    session.journal?.unsubscribed(filter);
    session.subscriptionBytes -= subscription.bytes;
    this.size -= 1;
    const { topicFilter, share } = subscription;
    let isLast = false;
    if (share === undefined) {
      isLast = this.trie.remove(filter, subscription).last;
    } else {
      share.remove(subscription);
      if (share.size > 0) return true;
      this.shares.delete(filter);
      isLast = this.trie.remove(topicFilter, share).last;
    }
    if (isLast) {
      this.barriers.delete(topicFilter);
      this.uplink?.unsubscribe(topicFilter);
    }
    return true;
  }

  removeAll(session: Session): void {
    for (const filter of [...session.subscriptions.keys()]) this.remove(session, filter);
  }

  private forget(): void {
    if (this.audiencesWeight === 0) return;
    this.audiences.clear();
    this.audiencesWeight = 0;
  }

  private shareOf(filter: string): Share {
    let share = this.shares.get(filter);
    if (share === undefined) {
      share = new Share();
      this.shares.set(filter, share);
    }
    return share;
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

/** The filter without `$share/NAME/` (MQTT 5, section 4.8.2). */
export function topicFilterOf(filter: string): string {
  return filter.startsWith("$share/") ? filter.slice(filter.indexOf("/", 7) + 1) : filter;
}

function audienceOf(matching: readonly (Subscription | Share)[]): Audience {
  if (matching.length === 0) return NOBODY;
  const shares: Share[] = [];
  const recipients: Recipient[] = [];
  /** Of clients with several matching subscriptions. */
  const bySession = new Map<Session, Subscription[]>();
  for (const value of matching) {
    if (value instanceof Share) {
      shares.push(value);
    } else if (matching.length === 1) {
      recipients.push(recipientOf([value]));
    } else {
      const others = bySession.get(value.session);
      if (others === undefined) bySession.set(value.session, [value]);
      else others.push(value);
    }
  }
  for (const subscriptions of bySession.values()) recipients.push(recipientOf(subscriptions));
  return { recipients, shares };
}

/** What all matching subscriptions of one client mean together. */
function recipientOf(subscriptions: readonly Subscription[]): Recipient {
  const local = subscriptions.filter(({ noLocal }) => !noLocal);
  if (local.length === 0) return { ...merge(subscriptions), own: undefined };
  const own = { ...merge(local), own: undefined };
  return local.length === subscriptions.length ? { ...own, own } : { ...merge(subscriptions), own };
}

function merge(subscriptions: readonly Subscription[]): Omit<Recipient, "own"> {
  const [{ session, qos, retainAsPublished, subscriptionIds }] = subscriptions as [Subscription];
  if (subscriptions.length === 1) return { session, qos, retainAsPublished, subscriptionIds };
  return {
    session,
    qos: Math.max(...subscriptions.map((subscription) => subscription.qos)) as 0 | 1 | 2,
    retainAsPublished: subscriptions.some((subscription) => subscription.retainAsPublished),
    subscriptionIds: subscriptions.flatMap((subscription) => subscription.subscriptionIds),
  };
}
