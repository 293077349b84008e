import { type Message, TopicTree, tagDistance } from "@topicast/protocol";
import type { Limits } from "./limits.js";
import { Publication } from "./publication.js";
import { costOf, MemoryRetained, type RetainedStore } from "./retained.js";
import type { Stats } from "./stats.js";
import type { RetainedReplica } from "./uplink.js";

/** A message that came by a subscription is taken for the retained one for so long before the forwarder says that it is. */
const UNORDERED_MS = 10_000;

/** Messages of one topic that have been told and not come live: beyond them the oldest is delivered to all. */
const EARLIER_MAX = 64;
/** Topics without a message that such messages may still come of. */
const CLEARED_MAX = 256;

interface Entry {
  /** As the forwarder's order has it; undefined: it says that there is none, or nothing. */
  ordered: Publication | undefined;
  version: number;
  /** The moment at which the forwarder said so first, and the same of those before whose live copies have not come yet. */
  orderedAt: number;
  earlier: readonly Told[];
  /** The last message that came live, by its tag or, without one, itself; and when. */
  passed: string | Publication | undefined;
  passedAt: number;
  /** `Replica.round` when the forwarder last said so. */
  round: number;
  /** What came since, until it is in the forwarder's order. */
  recent: Publication | undefined;
  recentAt: number;
  /** A client of this agent has published it: it holds until `settle`. */
  isOwn: boolean;
  /** Until this moment new subscriptions were sent `recent` instead of `ordered`. */
  shadowedAt: number;
}

/** A message that the forwarder has told. */
interface Told {
  readonly tag: string;
  readonly at: number;
}

/**
 * What this agent has of the network's retained messages: those that its filters match, as the forwarder orders them,
 * and before that what it has seen itself. Topics that begin with `$` are its own.
 */
export class Replica implements RetainedStore, RetainedReplica {
  private readonly tree = new TopicTree<Entry>();
  private readonly local: MemoryRetained;
  private held = 0;
  private round = 0;
  private linkedAt: number | undefined;
  private moments = 0;
  /** `Entry.earlier` of topics that have no message any more, the latest last. */
  private readonly cleared = new Map<string, readonly Told[]>();

  constructor(
    private readonly limits: Limits,
    private readonly stats: Stats,
    private readonly now: () => number,
    /** Whether some filter other than a shared subscription's matches. */
    private readonly isWanted: (topic: string) => boolean,
  ) {
    this.local = new MemoryRetained(limits, stats, now);
  }

  get size(): number {
    return this.tree.size + this.local.size;
  }

  get bytes(): number {
    return this.held + this.local.bytes;
  }

  // --- the sessions' side ---

  set(message: Publication, isOwn: boolean): void {
    const { topic } = message;
    if (topic.startsWith("$")) return this.local.set(message);
    if (!isOwn && !this.isWanted(topic)) return;
    const isLate = !isOwn && this.toldAt(message) !== undefined;
    this.change(topic, (entry) => {
      const own = message.kept();
      entry.passed = message.tag ?? own;
      entry.passedAt = this.moment();
      if (entry.earlier.length > 0)
        entry.earlier = entry.earlier.filter(({ tag }) => !isUpTo(tag, message.tag));
      if (isLate) return;
      entry.recent = own;
      entry.recentAt = this.now();
      entry.isOwn = isOwn;
    });
  }

  get(topic: string): Publication | undefined {
    if (topic.startsWith("$")) return this.local.get(topic);
    const entry = this.tree.get(topic);
    return entry && this.shown(entry);
  }

  moment(): number {
    this.moments += 1;
    return this.moments;
  }

  knownSince(message: Publication): number | undefined {
    const told = this.toldAt(message);
    if (told === undefined) return undefined;
    const entry = this.tree.get(message.topic);
    if (entry === undefined) return told;
    return entry.recent === undefined ? Math.max(told, entry.shadowedAt) : undefined;
  }

  /** When the forwarder first told it, or what its source has published after it. */
  private toldAt({ topic, tag }: Publication): number | undefined {
    if (tag === undefined) return undefined;
    const entry = this.tree.get(topic);
    const earlier = entry?.earlier ?? this.cleared.get(topic) ?? NONE;
    const told = earlier.find((one) => isUpTo(tag, one.tag));
    return told?.at ?? (isUpTo(tag, entry?.ordered?.tag) ? entry?.orderedAt : undefined);
  }

  matching(filter: string): Publication[] {
    return this.forSubscription(filter, Number.POSITIVE_INFINITY);
  }

  forSubscription(filter: string, since: number): Publication[] {
    if (filter.startsWith("$")) return this.local.matching(filter);
    const now = this.now();
    const found: Publication[] = [];
    const expired: string[] = [];
    this.tree.matching(filter, (topic, entry) => {
      const message = this.shown(entry);
      if (message === undefined) return;
      if (message.hasExpired(now)) expired.push(topic);
      else if (entry.passedAt <= since || !hasPassed(entry.passed, message)) found.push(message);
    });
    for (const topic of expired) {
      this.stats.retained_expired += 1;
      this.forget(topic);
    }
    return found;
  }

  // --- the fabric's side ---

  apply(version: number, message: Message): void {
    const { topic } = message;
    if (!this.isWanted(topic) && this.tree.get(topic)?.isOwn !== true) return;
    this.change(topic, (entry) => {
      const { recent } = entry;
      const isNews = message.tag === undefined || message.tag !== entry.ordered?.tag;
      if (isNews) this.tellAnew(entry);
      entry.version = version;
      entry.round = this.round;
      // What is told again stays the same object: clients that are being sent it take it for the retained one still.
      if (isNews && message.payload.length > 0) entry.ordered = Publication.of(message, this.now()).kept();
      else if (isNews) {
        entry.ordered = undefined;
        this.await(entry, message.tag);
      }
      if (recent === undefined || entry.isOwn) return;
      const isThat = isSame(recent, message);
      if (!isThat && !isUpTo(recent.tag, message.tag)) return;
      // The same object: clients that are being sent it take it for the retained one still.
      if (isThat && entry.ordered !== undefined) entry.ordered = recent;
      this.unshadow(entry);
    });
  }

  /** Another message is to be the topic's; the one of before may still come live. */
  private tellAnew(entry: Entry): void {
    this.await(entry, entry.ordered?.tag);
    entry.orderedAt = this.moment();
  }

  /** What the forwarder has told last may still come live. */
  private await(entry: Entry, tag: string | undefined): void {
    const { orderedAt: at, passed, isOwn } = entry;
    const isAwaited = tag !== undefined && !isOwn && (typeof passed !== "string" || !isUpTo(tag, passed));
    if (isAwaited) entry.earlier = [...entry.earlier.slice(1 - EARLIER_MAX), { tag, at }];
  }

  settle(topic: string): void {
    const entry = this.tree.get(topic);
    if (entry?.isOwn !== true) return;
    if (!this.isWanted(topic)) return this.forget(topic);
    this.change(topic, (own) => {
      const { recent, ordered } = own;
      own.isOwn = false;
      this.unshadow(own);
      if (recent !== undefined && ordered !== undefined && isSame(recent, ordered)) own.ordered = recent;
    });
  }

  trim(filter: string): void {
    const unwanted: string[] = [];
    this.tree.matching(filter, (topic, { isOwn }) => {
      if (!isOwn && !this.isWanted(topic)) unwanted.push(topic);
    });
    for (const topic of unwanted) this.forget(topic);
  }

  link(): void {
    this.linkedAt = this.now();
  }

  unlink(): void {
    this.linkedAt = undefined;
  }

  beginRound(): void {
    this.round += 1;
  }

  endRound(): void {
    for (const [topic, entry] of [...this.tree.entries()]) {
      if (entry.round !== this.round && entry.ordered !== undefined) {
        this.change(topic, (stale) => {
          stale.ordered = undefined;
        });
      }
    }
  }

  *ordered(): IterableIterator<{ version: number; message: Message }> {
    const now = this.now();
    for (const [, { ordered, version }] of this.tree.entries()) {
      if (ordered !== undefined && !ordered.hasExpired(now))
        yield { version, message: ordered.toMessage(now) };
    }
  }

  // --- entries ---

  /** What a new subscriber gets. */
  private shown(entry: Entry): Publication | undefined {
    const { recent } = entry;
    if (recent !== undefined && this.isOverdue(entry)) this.unshadow(entry);
    const message = entry.recent ?? entry.ordered;
    return message !== undefined && message.payload.length > 0 ? message : undefined;
  }

  /** From now on the forwarder's order holds. */
  private unshadow(entry: Entry): void {
    entry.recent = undefined;
    entry.shadowedAt = this.moment();
  }

  /** The forwarder should have said by now that a message is retained, and has not. */
  private isOverdue({ isOwn, recentAt }: Entry): boolean {
    if (isOwn || this.linkedAt === undefined) return false;
    return this.now() - Math.max(recentAt, this.linkedAt) > UNORDERED_MS;
  }

  /** Changes a topic's entry, made where there is none, and keeps the count; where there is no room it is forgotten. */
  private change(topic: string, change: (entry: Entry) => void): void {
    let entry = this.tree.get(topic);
    const others = this.held - (entry === undefined ? 0 : bytesOf(entry));
    const isNew = entry === undefined;
    entry ??= newEntry(this.cleared.get(topic));
    this.cleared.delete(topic);
    change(entry);
    const { passed, recent, ordered } = entry;
    // Only what is kept anyway.
    if (typeof passed === "object" && passed !== recent && passed !== ordered) entry.passed = undefined;
    const bytes = bytesOf(entry);
    const isFull =
      others + bytes > this.limits.retainedBytes || (isNew && this.size >= this.limits.retainedMessages);
    if (isFull) this.stats.retained_refused += 1;
    if (isFull || (entry.ordered === undefined && entry.recent === undefined)) {
      this.tree.delete(topic);
      this.held = others;
      if (entry.earlier.length > 0) this.rememberCleared(topic, entry.earlier);
      return;
    }
    this.held = others + bytes;
    if (isNew) this.tree.set(topic, entry);
  }

  private rememberCleared(topic: string, earlier: readonly Told[]): void {
    for (const oldest of this.cleared.keys()) {
      if (this.cleared.size < CLEARED_MAX) break;
      this.cleared.delete(oldest);
      this.stats.retained_cleared_forgotten += 1;
    }
    this.cleared.set(topic, earlier);
  }

  private forget(topic: string): void {
    const entry = this.tree.delete(topic);
    if (entry !== undefined) this.held -= bytesOf(entry);
  }
}

const NONE: readonly Told[] = [];

function newEntry(earlier: readonly Told[] = NONE): Entry {
  return {
    ...{ ordered: undefined, version: 0, round: 0, orderedAt: 0, earlier },
    ...{ recent: undefined, recentAt: 0, isOwn: false, shadowedAt: 0, passed: undefined, passedAt: 0 },
  };
}

/** Whether two tags are of one source, and the first one's message came no later than the other's. */
function isUpTo(tag: string | undefined, other: string | undefined): boolean {
  return tag !== undefined && other !== undefined && (tagDistance(tag, other) ?? -1) >= 0;
}

/** Whether `message`, or what its source has published after it, came live as `passed`. */
function hasPassed(passed: string | Publication | undefined, message: Publication): boolean {
  return typeof passed === "string" ? isUpTo(message.tag, passed) : passed === message;
}

function bytesOf({ ordered, recent }: Entry): number {
  const first = ordered === undefined ? 0 : costOf(ordered);
  return recent === undefined || recent === ordered ? first : first + costOf(recent);
}

/** Published the same: when it expires is nobody's business. */
function isSame(a: Publication, b: Message | Publication): boolean {
  if (a.tag !== undefined && b.tag !== undefined) return a.tag === b.tag;
  const properties = "forward" in b ? b.forward : (b as Message).properties;
  return (
    a.qos === b.qos &&
    a.payload.equals(b.payload) &&
    (a.forward === undefined || properties === undefined
      ? a.forward === properties
      : a.forward.equals(properties))
  );
}
