import type { Delivered, Flight } from "../delivery.js";
import type { Publication } from "../publication.js";
import type { Session } from "../session.js";
import type { Subscription } from "../subscriptions.js";
import {
  type DeliveryRecord,
  encodeDelivery,
  encodeMessage,
  encodeSession,
  encodeSubscription,
  keyOf,
} from "./records.js";

/** Places that are left for what another edge had: more than a session may hold. */
const ROOM = 2 ** 32;

/** Keys and bytes that outlive the process: `Store` of `@topicast/protocol/store`. */
export interface Entries {
  put(key: string, value: Uint8Array): void;
  delete(key: string): void;
  durable(): Promise<void>;
  entries(prefix: string): AsyncIterable<[key: string, value: Buffer]>;
}

/** A message that sessions wait for. */
interface KeptMessage {
  readonly number: number;
  /** Deliveries that refer to it. */
  references: number;
}

/** What is written of all sessions that outlive their connection: see README.md. */
export class Journal {
  /** Changes so far: whoever finds it the same has nothing to wait for. */
  changes = 0;
  /** How many of them are known to be written. */
  private written = 0;
  private readonly messages = new Map<Publication, KeptMessage>();
  private nextMessage = 1;
  private nextSession = 1;

  constructor(
    readonly entries: Entries,
    /** The clock's time. */
    private readonly now: () => number,
    /** Milliseconds since 1970. */
    private readonly unixTime: () => number,
  ) {}

  /** What milliseconds since 1970 are ahead of the clock. */
  get toUnix(): number {
    return this.unixTime() - this.now();
  }

  /** Messages that are kept. */
  get size(): number {
    return this.messages.size;
  }

  /** Resolves when every change so far is written. */
  durable(): Promise<void> {
    return this.entries.durable();
  }

  /** Likewise; undefined where nothing waits to be written. */
  unwritten(): Promise<void> | undefined {
    const { changes } = this;
    if (changes === this.written) return undefined;
    return this.durable().then(() => {
      this.written = Math.max(this.written, changes);
    });
  }

  begin(): SessionJournal {
    return new SessionJournal(this, this.nextSession++);
  }

  /** Goes on with what an earlier process has written of a session. */
  resume(session: number): SessionJournal {
    this.nextSession = Math.max(this.nextSession, session + 1);
    return new SessionJournal(this, session);
  }

  /** The message is in the store already. */
  know(message: Publication, number: number): void {
    this.messages.set(message, { number, references: 0 });
    this.nextMessage = Math.max(this.nextMessage, number + 1);
  }

  put(key: string, value: Buffer): void {
    this.changes += 1;
    this.entries.put(key, value);
  }

  delete(key: string): void {
    this.changes += 1;
    this.entries.delete(key);
  }

  /** That is the topic's retained message from now on; undefined: there is none. */
  retained(topic: string, message: Publication | undefined): void {
    if (message === undefined) this.delete(keyOf.retained(topic));
    else this.put(keyOf.retained(topic), encodeMessage(message, this.toUnix));
  }

  /** One more delivery refers to a message; it is written with the first. */
  keep(message: Publication): void {
    let kept = this.messages.get(message);
    if (kept === undefined) {
      kept = { number: this.nextMessage++, references: 0 };
      this.messages.set(message, kept);
      this.put(keyOf.message(kept.number), encodeMessage(message, this.toUnix));
    }
    kept.references += 1;
  }

  /** One delivery fewer refers to it; with the last it goes. */
  drop(message: Publication): void {
    const kept = this.messages.get(message);
    if (kept === undefined) return;
    kept.references -= 1;
    if (kept.references > 0) return;
    this.messages.delete(message);
    this.delete(keyOf.message(kept.number));
  }

  /** Forgets the messages that nobody waits for. */
  sweep(): void {
    for (const [message, { number, references }] of this.messages) {
      if (references > 0) continue;
      this.messages.delete(message);
      this.delete(keyOf.message(number));
    }
  }

  numberOf(message: Publication): number {
    return this.messages.get(message)?.number ?? 0;
  }
}

/** What is written of one session. */
export class SessionJournal {
  private nextPlace = 1;
  private nextInserted = 1;

  constructor(
    private readonly journal: Journal,
    /** Which session it is, of all that this store has had. */
    readonly number: number,
  ) {}

  /** The session itself has changed: connected, left, its will or expiry. */
  head({ client, expiry, will, leftAt: left, isPartial, connectedAt: at }: Session): void {
    const { clientId, username, listener } = client;
    const leftAt = left === undefined ? undefined : left + this.journal.toUnix;
    const connectedAt = at + this.journal.toUnix;
    const record = {
      clientId,
      username,
      listener,
      expiry,
      leftAt,
      will: will?.request,
      isPartial,
      connectedAt,
    };
    this.journal.put(keyOf.session(this.number), encodeSession(record));
  }

  subscribed({ subscriptionIds, ...subscription }: Subscription): void {
    const { filter, qos, noLocal, retainAsPublished, retainHandling } = subscription;
    const [subscriptionId] = subscriptionIds;
    const record = { filter, qos, noLocal, retainAsPublished, retainHandling, subscriptionId };
    this.journal.put(keyOf.subscription(this.number, filter), encodeSubscription(record));
  }

  unsubscribed(filter: string): void {
    this.journal.delete(keyOf.subscription(this.number, filter));
  }

  /** A QoS 2 identifier stands for a message from now on, which left here with `origin`. */
  received(id: number, origin: string | undefined): void {
    this.journal.put(keyOf.received(this.number, id), Buffer.from(origin ?? ""));
  }

  released(id: number): void {
    this.journal.delete(keyOf.received(this.number, id));
  }

  /** A message waits for the session; gives it its place. */
  queued(delivered: Delivered): void {
    delivered.place = this.nextPlace++;
    this.journal.keep(delivered.message);
    this.write(delivered, "queued", 0);
  }

  /** It is in the store already. */
  knows({ message }: Delivered): void {
    this.journal.keep(message);
  }

  /** No message gets this place any more, nor one before. */
  skip(place: number): void {
    this.nextPlace = Math.max(this.nextPlace, place + 1);
  }

  /** What comes from now on leaves room for what will be `inserted` before it. */
  leaveRoom(): void {
    this.skip(ROOM);
  }

  /** Another edge had this for the session, before all that has come here; returns its place. */
  inserted(record: Omit<DeliveryRecord, "message">, delivered: Delivered | undefined): number {
    const place = this.nextInserted++;
    let message = 0;
    if (delivered !== undefined) {
      delivered.place = place;
      this.journal.keep(delivered.message);
      message = this.journal.numberOf(delivered.message);
    }
    this.journal.put(keyOf.delivery(this.number, place), encodeDelivery({ ...record, message }));
    return place;
  }

  /** Its PUBLISH leaves, with this packet identifier. */
  sent(delivered: Delivered, id: number): void {
    this.write(delivered, "publish", id);
  }

  /** PUBREC has come. */
  releasing({ id, place }: Flight, { message, retain }: Delivered): void {
    this.journal.drop(message);
    const record = { progress: "release", qos: 2, retain, id, message: 0, subscriptionIds: [] } as const;
    this.journal.put(keyOf.delivery(this.number, place), encodeDelivery(record));
  }

  /** It has arrived, or will not be sent any more. */
  done(place: number, delivered: Delivered | undefined): void {
    if (delivered !== undefined) this.journal.drop(delivered.message);
    this.journal.delete(keyOf.delivery(this.number, place));
  }

  /** The session ends. */
  end({ subscriptions, unreleased, delivery }: Session): void {
    for (const filter of subscriptions.keys()) this.unsubscribed(filter);
    for (const id of unreleased.keys()) this.released(id);
    for (const { place, delivered } of delivery.places()) this.done(place, delivered);
    this.journal.delete(keyOf.session(this.number));
  }

  private write(
    { message, qos, retain, subscriptionIds, place }: Delivered,
    progress: "queued" | "publish",
    id: number,
  ): void {
    const number = this.journal.numberOf(message);
    const record = { progress, qos: qos as 1 | 2, retain, id, message: number, subscriptionIds };
    this.journal.put(keyOf.delivery(this.number, place), encodeDelivery(record));
  }
}
