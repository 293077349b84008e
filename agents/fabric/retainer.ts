import {
  type Clock,
  decodeKept,
  decodeRetained,
  encodeRetain,
  encodeRetained,
  type Message,
  parseGreeting,
  type RetainedPosition,
  takeTag,
  withTag,
} from "@topicast/protocol";
import type { RetainedReplica } from "../mqtt/uplink.js";
import type { Registration } from "./registration.js";

/** Above so many bytes on the channel, or so many without an answer, what is to be retained waits here. */
const CHANNEL_BYTES_MAX = 8 * 1024 * 1024;
const UNANSWERED_MAX = 10_000;
/** What waits: one message a topic, and beyond these the oldest goes. */
const LIMITS = { messages: 100_000, bytes: 64 * 1024 * 1024 };

/** A message of this agent's clients that the forwarder has not kept yet. */
interface Pending {
  readonly message: Message;
  readonly bytes: number;
  /** Time of the clock; infinite where it does not expire. */
  readonly expiresAt: number;
  /** Set when it is sent for the first time. */
  number: number | undefined;
  /** Publishers that wait for it. */
  readonly done: Array<() => void>;
}

/**
 * This agent's part in the network's retained messages: hands its clients' to the forwarder, again after it was away, and
 * the forwarder's to the replica.
 */
export class Retainer {
  /** Each topic's last one that is not kept. */
  private readonly pending = new Map<string, Pending>();
  private pendingBytes = 0;
  /** Those that are to be sent, in the order of their turn. */
  private readonly unsent = new Set<Pending>();
  private readonly unanswered = new Map<number, Pending>();
  private lastNumber = 0;
  /** Undefined: the forwarder has never told that all is there. */
  private has: RetainedPosition | undefined;
  /** The row of versions of now; what is told of it, and whether it is all from `has` on. */
  private era = 0;
  private greatest = 0;
  private isComplete = false;
  private isRound = false;

  readonly stats = { retain_sent: 0, retain_dropped: 0, retained_received: 0, retained_given_back: 0 };

  constructor(
    private readonly clock: Clock,
    private readonly registration: Registration,
    private readonly replica: RetainedReplica,
  ) {}

  /** Messages that are not kept yet. */
  get size(): number {
    return this.pending.size;
  }

  /** For CONNECT: what of the retained messages is here. */
  get position(): RetainedPosition | undefined {
    return this.has;
  }

  /** A promise, at QoS 1 and 2 while the forwarder is there, that resolves when it has kept the message, or is away. */
  retain(message: Message): Promise<void> | undefined {
    const isAwaited = message.qos > 0 && this.registration.registered;
    let promise: Promise<void> | undefined;
    const done: Array<() => void> = [];
    if (isAwaited) {
      promise = new Promise((resolve) => {
        done.push(resolve);
      });
    }
    const before = this.pending.get(message.topic);
    if (before !== undefined && this.unsent.has(before)) {
      // Only the last one counts.
      this.forget(before);
      done.push(...before.done);
    }
    const { messageExpiry } = message;
    const expiresAt =
      messageExpiry === undefined ? Number.POSITIVE_INFINITY : this.clock.now() + messageExpiry * 1_000;
    this.add({ message: kept(message), bytes: costOf(message), expiresAt, number: undefined, done });
    this.flush();
    return promise;
  }

  /** CONNACK, with its user property. Returns whether the retained messages of all filters are to be told anew. */
  onRegistered(property: unknown): boolean {
    const greeting = parseGreeting(property);
    this.replica.link();
    this.isComplete = false;
    if (greeting === undefined) return true;
    const { era, mode } = greeting;
    if (mode === "lost" && this.has !== undefined) this.giveBack(this.has.era);
    this.isRound = mode !== "changes";
    if (this.isRound) {
      this.greatest = 0;
      this.replica.beginRound();
    }
    this.era = era;
    this.flush();
    return this.isRound;
  }

  onLost(): void {
    this.replica.unlink();
    this.note();
    // Those that have been sent come first, under their numbers; nobody waits for a forwarder that is away.
    const later = [...this.unsent];
    this.unsent.clear();
    for (const pending of this.unanswered.values()) {
      if (this.pending.get(pending.message.topic) === pending) this.unsent.add(pending);
    }
    for (const pending of later) this.unsent.add(pending);
    for (const pending of [...this.unanswered.values(), ...later]) release(pending);
    this.unanswered.clear();
  }

  /** `$fabric/kept`. Returns false where it is malformed. */
  onKept(payload: Buffer): boolean {
    const number = decodeKept(payload);
    if (number === undefined) return false;
    const pending = this.unanswered.get(number);
    if (pending === undefined) return true;
    this.unanswered.delete(number);
    release(pending);
    const { topic } = pending.message;
    if (this.pending.get(topic) === pending) {
      this.forget(pending);
      this.replica.settle(topic);
    }
    this.flush();
    return true;
  }

  /** `$fabric/retained`. Returns false where it is malformed. */
  onRetained(payload: Buffer): boolean {
    const update = decodeRetained(payload);
    if (update === undefined) return false;
    const { era, version, message } = update;
    if (era !== this.era) return true;
    this.greatest = Math.max(this.greatest, version);
    if (message !== undefined) {
      this.stats.retained_received += 1;
      this.replica.apply(version, takeTag(message));
    } else {
      this.isComplete = true;
      if (this.isRound) this.replica.endRound();
      this.isRound = false;
    }
    this.note();
    return true;
  }

  close(): void {
    for (const pending of [...this.unanswered.values(), ...this.unsent]) release(pending);
  }

  /** Everything of that era up to the greatest version is here, once it has been told to be complete. */
  private note(): void {
    if (this.isComplete) this.has = { era: this.era, version: this.greatest };
  }

  /** The forwarder has lost what it kept, and wants what is here. */
  private giveBack(era: number): void {
    for (const { version, message } of this.replica.ordered()) {
      this.stats.retained_given_back += 1;
      void this.registration.send(encodeRetained({ era, version, message: withTag(message) }));
    }
  }

  private add(pending: Pending): void {
    const { topic } = pending.message;
    const before = this.pending.get(topic);
    if (before !== undefined) this.pendingBytes -= before.bytes;
    this.pending.set(topic, pending);
    this.pendingBytes += pending.bytes;
    this.unsent.add(pending);
    for (const oldest of this.unsent) {
      if (this.unsent.size <= LIMITS.messages && this.pendingBytes <= LIMITS.bytes) return;
      this.stats.retain_dropped += 1;
      this.forget(oldest);
      release(oldest);
      this.replica.settle(oldest.message.topic);
    }
  }

  private forget(pending: Pending): void {
    this.unsent.delete(pending);
    if (this.pending.get(pending.message.topic) !== pending) return;
    this.pending.delete(pending.message.topic);
    this.pendingBytes -= pending.bytes;
  }

  /** Sends what can go by now. */
  flush(): void {
    const { registration, clock } = this;
    for (const pending of this.unsent) {
      const isFull = registration.waitingBytes > CHANNEL_BYTES_MAX || this.unanswered.size >= UNANSWERED_MAX;
      if (!registration.registered || isFull) return;
      this.unsent.delete(pending);
      pending.number ??= this.nextNumber();
      this.unanswered.set(pending.number, pending);
      this.stats.retain_sent += 1;
      const { number, expiresAt } = pending;
      const messageExpiry = Math.max(0, Math.ceil((expiresAt - clock.now()) / 1_000));
      const message = Number.isFinite(expiresAt) ? { ...pending.message, messageExpiry } : pending.message;
      void registration.send(encodeRetain({ number, message }));
    }
  }

  private nextNumber(): number {
    this.lastNumber += 1;
    return this.lastNumber;
  }
}

function release(pending: Pending): void {
  for (const done of pending.done.splice(0)) done();
}

/** With bytes of its own: it may wait long. */
function kept(message: Message): Message {
  const { payload, properties } = message;
  const own = { ...message, payload: Buffer.from(payload) };
  return properties === undefined ? own : { ...own, properties: Buffer.from(properties) };
}

function costOf({ topic, payload, properties }: Message): number {
  return 256 + topic.length + payload.length + (properties?.length ?? 0);
}
