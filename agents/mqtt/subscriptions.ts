import { FilterTrie, levelCount, topicFilterOf } from "@topicast/protocol";
import { Audiences } from "./audiences.js";
import type { FilterRequest } from "./codec/decode.js";
import { KeptFilters } from "./kept-filters.js";
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
  /** The moment (`RetainedStore.moment`) at which it was last sent the retained messages; undefined: it never was. */
  fedAt: number | undefined;
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

const NO_SHARES: readonly Share[] = [];
const NOBODY: Audience = { recipients: [], shares: NO_SHARES };
const NO_IDS: readonly number[] = [];

/** All subscriptions of this agent's clients, and what the uplink has been told of them. */
export class Subscriptions {
  /** Results are remembered in `audiences`, not here. */
  private readonly trie = new FilterTrie<Subscription>({ cacheWeight: 0 });
  private readonly shareTrie = new FilterTrie<Share>({ cacheWeight: 0 });
  /** By `$share/NAME/FILTER`. */
  private readonly shares = new Map<string, Share>();
  private readonly audiences = new Audiences();
  /** Topic filters whose subscribe barrier does not hold yet. */
  private readonly barriers = new Map<string, Promise<void>>();
  /** Those of sessions that outlive their connection. */
  readonly kept: KeptFilters;
  /** Subscriptions over all clients. */
  size = 0;
  private lastFedAt = 0;

  /** Groups some of whose members have connected or gone in this turn of the event loop. */
  private readonly changed = new Set<Share>();

  constructor(
    private readonly uplink: Uplink | undefined,
    private readonly defer: (fn: () => void) => void,
  ) {
    this.kept = new KeptFilters(uplink);
  }

  /** The uplink gives messages to the groups of shared subscriptions. */
  get hasNetworkShares(): boolean {
    return this.uplink?.setShare !== undefined;
  }

  /** Distinct filters over all clients. */
  get filters(): number {
    return this.trie.size + this.shareTrie.size;
  }

  /** Groups of shared subscriptions. */
  get groups(): number {
    return this.shares.size;
  }

  match(topic: string): Audience {
    let audience = this.audiences.get(topic);
    if (audience === undefined) {
      audience = audienceOf(this.trie.match(topic), this.shareTrie.match(topic));
      this.audiences.set(topic, audience);
    }
    return audience;
  }

  /** Whether new subscribers here would be sent the retained message of this topic. */
  wantsRetained(topic: string): boolean {
    return this.match(topic).recipients.length > 0;
  }

  /**
   * The clients all of whose subscriptions that match, apart from shared ones, were sent the topic's retained message after that
   * moment.
   */
  fedSince(topic: string, moment: number): ReadonlySet<Session> {
    const fed = new Set<Session>();
    if (this.lastFedAt <= moment) return fed;
    const matching = this.trie.match(topic);
    for (const { session, fedAt = 0 } of matching) if (fedAt > moment) fed.add(session);
    for (const { session, fedAt = 0 } of matching) if (fedAt <= moment) fed.delete(session);
    return fed;
  }

  /** The client's subscription is being sent the retained messages of that moment. */
  feed(session: Session, filter: string, moment: number): void {
    const subscription = session.subscriptions.get(filter);
    if (subscription === undefined) return;
    subscription.fedAt = moment;
    this.lastFedAt = moment;
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
    const { filter } = request;
    const topicFilter = topicFilterOf(filter);
    this.audiences.forget(topicFilter);
    const known = session.subscriptions.get(filter);
    const share = topicFilter === filter ? undefined : this.shareOf(filter);
    const subscription: Subscription = {
      ...request,
      session,
      topicFilter,
      share,
      bytes: costOf(filter),
      fedAt: known?.fedAt,
      subscriptionIds: subscriptionId === undefined ? NO_IDS : [subscriptionId],
    };
    // The new one first: the filter is never without a value, and the uplink need not be told.
    let isFirst = false;
    if (share === undefined) {
      isFirst = this.trie.add(filter, subscription).first && this.isUnshared(filter);
    } else {
      share.add(subscription);
      isFirst = this.shareTrie.add(topicFilter, share).first && !this.trie.has(topicFilter);
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
    const name = share !== undefined && this.hasNetworkShares ? filter : topicFilter;
    if (name !== topicFilter) this.tellShare(share!);
    else if (isFirst && this.uplink !== undefined) this.raiseBarrier(name, this.uplink.subscribe(name));
    const noted = this.kept.replace(known, subscription);
    if (noted !== undefined)
      this.raiseBarrier(
        name,
        Promise.all([this.barriers.get(name), noted]).then(() => {}),
      );
    return { isNew: known === undefined, barrier: this.barriers.get(name) };
  }

  /** @returns false when there was no such subscription */
  remove(session: Session, filter: string): boolean {
    const subscription = session.subscriptions.get(filter);
    if (subscription === undefined) return false;
    this.audiences.forget(subscription.topicFilter);
    session.subscriptions.delete(filter);
    session.journal?.unsubscribed(filter);
    session.subscriptionBytes -= subscription.bytes;
    this.size -= 1;
    void this.kept.replace(subscription, undefined);
    const { topicFilter, share } = subscription;
    let isLast = false;
    if (share === undefined) {
      isLast = this.trie.remove(filter, subscription).last && this.isUnshared(filter);
    } else {
      share.remove(subscription);
      if (this.hasNetworkShares) this.tellShare(share);
      if (share.size > 0) return true;
      this.shares.delete(filter);
      isLast = this.shareTrie.remove(topicFilter, share).last && !this.trie.has(topicFilter);
      if (this.hasNetworkShares) return true;
    }
    if (isLast) {
      this.barriers.delete(topicFilter);
      this.uplink?.unsubscribe(topicFilter);
    }
    return true;
  }

  /** A session has got or lost its connection: its groups may be given more or less. */
  presenceChanged(session: Session): void {
    if (!this.hasNetworkShares || this.shares.size === 0) return;
    for (const { share } of session.subscriptions.values()) {
      if (share === undefined) continue;
      if (this.changed.size === 0) this.defer(() => this.tellChanged());
      this.changed.add(share);
    }
  }

  /** The group of that name, `$share/NAME/FILTER`; undefined: it has no member here. */
  share(name: string): Share | undefined {
    return this.shares.get(name);
  }

  removeAll(session: Session): void {
    for (const filter of [...session.subscriptions.keys()]) this.remove(session, filter);
  }

  /** No group stands for this filter towards an uplink that does not know groups. */
  private isUnshared(filter: string): boolean {
    return this.hasNetworkShares || !this.shareTrie.has(filter);
  }

  private tellChanged(): void {
    for (const share of this.changed) if (share.size > 0) this.tellShare(share);
    this.changed.clear();
  }

  private tellShare(share: Share): void {
    const joined = this.uplink?.setShare?.(share.name, share.size === 0 ? undefined : share.connected);
    if (joined !== undefined) this.raiseBarrier(share.name, joined);
    else if (share.size === 0) this.barriers.delete(share.name);
  }

  private shareOf(filter: string): Share {
    let share = this.shares.get(filter);
    if (share === undefined) {
      share = new Share(filter);
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

function audienceOf(matching: readonly Subscription[], shares: readonly Share[]): Audience {
  if (matching.length === 0) return shares.length === 0 ? NOBODY : { recipients: [], shares };
  const recipients: Recipient[] = [];
  /** Of clients with several matching subscriptions. */
  const bySession = new Map<Session, Subscription[]>();
  for (const value of matching) {
    if (matching.length === 1) {
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
