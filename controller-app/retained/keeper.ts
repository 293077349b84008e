import { type Clock, epochAt, type Message, serialDistance, TopicTree } from "@topicast/protocol";
import {
  decodeRecord,
  deletionKey,
  encodeRecord,
  messageKey,
  type RetainedStorage,
  type StoredRecord,
} from "./storage.js";

export interface KeeperOptions {
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly unixTime: () => number;
  readonly storage: RetainedStorage;
  readonly limits?: Partial<KeeperLimits>;
}

export interface KeeperLimits {
  readonly messages: number;
  /** What they may take: their bytes, and ENTRY_BYTES each. */
  readonly bytes: number;
  readonly deletions: number;
}

const DEFAULT_LIMITS: KeeperLimits = {
  messages: 1_000_000,
  bytes: 1024 * 1024 * 1024,
  deletions: 100_000,
};
/** About what an entry takes beside its message's bytes. */
const ENTRY_BYTES = 256;
/** A keeper that began with nothing takes what agents give back for so long. */
const RECOVERY_MS = 60_000;
const SWEEP_MS = 60_000;
/** Agents whose last number is remembered; the one heard least lately is forgotten. */
const PUBLISHERS_MAX = 16_384;

/** What is known of one topic since its last change. */
export interface RetainedEntry {
  readonly topic: string;
  readonly version: number;
  /** Undefined: deleted. */
  readonly message: Message | undefined;
  /** Time of the clock; infinite where it does not expire. */
  readonly expiresAt: number;
  /** False once a later one has taken its place. */
  readonly isCurrent: boolean;
}

interface Entry extends RetainedEntry {
  isCurrent: boolean;
  /** Given back by an agent, with this version of an earlier era. */
  readonly recovered?: { readonly era: number; readonly version: number };
}

/** The retained messages of the whole network: see README.md of this folder. */
export class RetainedKeeper {
  private readonly tree = new TopicTree<Entry>();
  private readonly deletions = new Map<string, Entry>();
  private readonly expiring = new Set<Entry>();
  /** By version; holds some that are not current any more. */
  private order: Entry[] = [];
  /** The greatest version of a deletion that is forgotten. */
  private horizon = 0;
  private last = 0;
  private held = 0;
  private eraNumber = 0;
  private beganAt: number | undefined;
  /** The last number counted of each agent's life. */
  private readonly publishers = new Map<number, { readonly epoch: number; readonly number: number }>();
  private readonly limits: KeeperLimits;

  readonly stats = {
    retained_set: 0,
    retained_deleted: 0,
    retained_refused: 0,
    retained_expired: 0,
    retained_repeated: 0,
    retained_recovered: 0,
    retained_not_recovered: 0,
    retained_deletions_forgotten: 0,
    retained_unreadable: 0,
  };

  /** To be given what the storage has by `restore`, and then to be begun. */
  constructor(private readonly options: KeeperOptions) {
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
  }

  /** A keeper with what the storage has. */
  static async open(options: KeeperOptions): Promise<RetainedKeeper> {
    const keeper = new RetainedKeeper(options);
    for await (const [key, value] of options.storage.entries()) keeper.restore(key, value);
    return keeper.begin();
  }

  /** Takes one entry of the storage. */
  restore(key: string, value: Buffer): void {
    const record = decodeRecord(key, value);
    if (record === undefined) this.stats.retained_unreadable += 1;
    else this.load(record);
  }

  /** Everything is restored; where that is nothing, a new era begins. */
  begin(): this {
    const { unixTime, clock } = this.options;
    this.order.sort((a, b) => a.version - b.version);
    if (this.eraNumber === 0) {
      this.eraNumber = epochAt(unixTime());
      this.beganAt = clock.now();
      this.write({ kind: "era", era: this.eraNumber });
    }
    clock.setTimer(SWEEP_MS, () => this.sweep());
    return this;
  }

  get era(): number {
    return this.eraNumber;
  }

  /** The version of the last change. */
  get version(): number {
    return this.last;
  }

  get size(): number {
    return this.tree.size;
  }

  get bytes(): number {
    return this.held;
  }

  /** It began with nothing and takes what agents give back. */
  get isRecovering(): boolean {
    return this.beganAt !== undefined && this.options.clock.now() - this.beganAt < RECOVERY_MS;
  }

  /**
   * Whether the message `number` of that life of an agent has been counted before; counts it. Messages of one life come
   * by their numbers.
   */
  isRepeated(agent: number, epoch: number, number: number): boolean {
    const known = this.publishers.get(agent);
    if (known?.epoch === epoch && number <= known.number) {
      this.stats.retained_repeated += 1;
      return true;
    }
    if (known !== undefined && serialDistance(known.epoch, epoch) < 0) return false;
    this.publishers.delete(agent);
    this.publishers.set(agent, { epoch, number });
    this.write({ kind: "publisher", agent, epoch, number });
    if (this.publishers.size > PUBLISHERS_MAX) {
      const oldest = this.publishers.keys().next().value!;
      this.publishers.delete(oldest);
      this.options.storage.delete(encodeRecord({ kind: "publisher", agent: oldest, epoch, number })[0]);
    }
    return false;
  }

  /**
   * Takes a message in the place of its topic's last one; without payload there is none from now on. Copies what it keeps.
   * @returns what has changed; undefined: there was nothing to delete
   */
  set(message: Message): RetainedEntry | undefined {
    const { topic } = message;
    const expiresAt = this.expiresAt(message);
    if (message.payload.length === 0) return this.delete(topic);
    this.stats.retained_set += 1;
    return this.keep(this.fresh(topic, copyOf(message), expiresAt));
  }

  /**
   * Takes what an agent has of an earlier era, where nothing newer is known.
   * @returns what has changed
   */
  recover(message: Message, era: number, version: number): RetainedEntry | undefined {
    const { topic } = message;
    const known = this.tree.get(topic);
    const isNewer =
      known === undefined
        ? !this.deletions.has(topic)
        : known.recovered !== undefined &&
          (known.recovered.era === era
            ? known.recovered.version < version
            : serialDistance(known.recovered.era, era) > 0);
    if (!this.isRecovering || era === this.era || !isNewer || message.payload.length === 0) {
      this.stats.retained_not_recovered += 1;
      return undefined;
    }
    this.stats.retained_recovered += 1;
    const entry = this.fresh(topic, copyOf(message), this.expiresAt(message));
    return this.keep({ ...entry, recovered: { era, version } });
  }

  /** Visits the messages that the filter matches. */
  matching(filter: string, visit: (entry: RetainedEntry) => void): void {
    const now = this.options.clock.now();
    this.tree.matching(filter, (_, entry) => {
      if (entry.expiresAt > now) visit(entry);
    });
  }

  /** What has changed after `version` and is the last word on its topic, in order; undefined: that is too long ago. */
  changesSince(version: number): RetainedEntry[] | undefined {
    if (version < this.horizon) return undefined;
    const { order } = this;
    let low = 0;
    for (let high = order.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (order[middle]!.version <= version) low = middle + 1;
      else high = middle;
    }
    return order.slice(low).filter((entry) => entry.isCurrent);
  }

  /** The message as it is now, with the time that it has left. */
  messageOf({ topic, message, expiresAt }: RetainedEntry): Message {
    if (message === undefined) return { topic, payload: Buffer.alloc(0), qos: 0, retain: true };
    if (expiresAt === Number.POSITIVE_INFINITY) return message;
    const left = Math.ceil((expiresAt - this.options.clock.now()) / 1_000);
    return { ...message, messageExpiry: Math.max(0, left) };
  }

  durable(): Promise<void> {
    return this.options.storage.durable();
  }

  // --- the start ---

  private load(record: StoredRecord): void {
    const { clock, unixTime } = this.options;
    if (record.kind === "era") this.eraNumber = record.era;
    else if (record.kind === "publisher") this.publishers.set(record.agent, record);
    else if (record.kind === "deletion") this.place(this.entry(record.topic, record.version, undefined));
    else if (record.kind === "versions") {
      this.last = Math.max(this.last, record.last);
      this.horizon = record.horizon;
    } else {
      const { message, version } = record;
      const expiresAt = clock.now() + record.expiresAt - unixTime();
      this.place(this.entry(message.topic, version, message, expiresAt));
    }
  }

  // --- changes ---

  private expiresAt({ messageExpiry }: Message): number {
    if (messageExpiry === undefined) return Number.POSITIVE_INFINITY;
    return this.options.clock.now() + messageExpiry * 1_000;
  }

  private fresh(topic: string, message: Message | undefined, expiresAt?: number): Entry {
    return this.entry(topic, this.last + 1, message, expiresAt);
  }

  private entry(
    topic: string,
    version: number,
    message: Message | undefined,
    expiresAt = Number.POSITIVE_INFINITY,
  ): Entry {
    return { topic, version, message, expiresAt, isCurrent: true };
  }

  /** Keeps a message, where there is room for it. */
  private keep(entry: Entry): RetainedEntry | undefined {
    const before = this.tree.get(entry.topic);
    const { limits } = this;
    const others = this.held - (before === undefined ? 0 : costOf(before));
    if (others + costOf(entry) > limits.bytes || (before === undefined && this.size >= limits.messages)) {
      this.stats.retained_refused += 1;
      return this.delete(entry.topic);
    }
    this.place(entry);
    const { version, message } = entry;
    const expiresAt = entry.expiresAt - this.options.clock.now() + this.options.unixTime();
    this.write({ kind: "message", version, message: message!, expiresAt });
    return entry;
  }

  private delete(topic: string): RetainedEntry | undefined {
    if (!this.tree.has(topic) && !this.isRecovering) return undefined;
    this.stats.retained_deleted += 1;
    const entry = this.fresh(topic, undefined);
    this.place(entry);
    this.options.storage.delete(messageKey(topic));
    this.write({ kind: "deletion", version: entry.version, topic });
    while (this.deletions.size > this.limits.deletions) {
      const oldest = this.deletions.values().next().value!;
      this.horizon = oldest.version;
      this.stats.retained_deletions_forgotten += 1;
      this.forgetDeletion(oldest);
      this.writeVersions();
    }
    return entry;
  }

  /** Makes an entry the last word on its topic. */
  private place(entry: Entry): void {
    const { topic } = entry;
    this.remove(topic);
    if (entry.message === undefined) {
      this.deletions.set(topic, entry);
    } else {
      this.tree.set(topic, entry);
      this.held += costOf(entry);
      if (Number.isFinite(entry.expiresAt)) this.expiring.add(entry);
    }
    this.last = Math.max(this.last, entry.version);
    this.order.push(entry);
    if (this.order.length > 2 * (this.tree.size + this.deletions.size) + 1_024) {
      this.order = this.order.filter(({ isCurrent }) => isCurrent);
    }
  }

  private remove(topic: string): void {
    const message = this.tree.delete(topic);
    if (message !== undefined) {
      this.held -= costOf(message);
      this.expiring.delete(message);
      message.isCurrent = false;
    }
    const deletion = this.deletions.get(topic);
    if (deletion !== undefined) this.forgetDeletion(deletion);
  }

  private forgetDeletion(deletion: Entry): void {
    this.deletions.delete(deletion.topic);
    deletion.isCurrent = false;
    this.options.storage.delete(deletionKey(deletion.version));
  }

  /** Who has been told of a message knows by itself when it expires: that is no change. */
  private sweep(): void {
    const { clock, storage } = this.options;
    const now = clock.now();
    const expired = [...this.expiring].filter(({ expiresAt }) => expiresAt <= now);
    // Its version may be the last one, which must not be given again.
    if (expired.length > 0) this.writeVersions();
    for (const { topic } of expired) {
      this.stats.retained_expired += 1;
      this.remove(topic);
      storage.delete(messageKey(topic));
    }
    clock.setTimer(SWEEP_MS, () => this.sweep());
  }

  private writeVersions(): void {
    this.write({ kind: "versions", last: this.last, horizon: this.horizon });
  }

  private write(record: StoredRecord): void {
    const [key, value] = encodeRecord(record);
    this.options.storage.put(key, value);
  }
}

function costOf({ topic, message }: Entry): number {
  return ENTRY_BYTES + topic.length + (message?.payload.length ?? 0) + (message?.properties?.length ?? 0);
}

/** With bytes of its own: what it arrived in need not be kept for it. */
function copyOf({ topic, payload, qos, properties }: Message): Message {
  const own = { topic, payload: Buffer.from(payload), qos, retain: true };
  return properties === undefined ? own : { ...own, properties: Buffer.from(properties) };
}
