import type { Publication } from "../publication.js";
import type { Entries } from "./journal.js";
import {
  type DeliveryRecord,
  decodeDelivery,
  decodeMessage,
  decodeSession,
  decodeSubscription,
  keyOf,
  numberIn,
  Prefix,
  type SessionRecord,
  type SubscriptionRecord,
  splitKey,
} from "./records.js";

/** One message for a session, and the place that it has among them. */
export interface DeliveryImage extends DeliveryRecord {
  readonly place: number;
  /** Undefined where it is not needed any more. */
  readonly content: Publication | undefined;
}

/** A session as plain values. */
export interface SessionImage extends SessionRecord {
  readonly subscriptions: readonly SubscriptionRecord[];
  /** QoS 2 identifiers received and not released, with the origins that the messages left with. */
  readonly received: ReadonlyMap<number, string | undefined>;
  /** In their order. */
  readonly deliveries: readonly DeliveryImage[];
}

export interface StoredSessions {
  /** By the number that their keys have. */
  readonly sessions: ReadonlyMap<number, SessionImage>;
  /** All messages, by number. */
  readonly messages: ReadonlyMap<number, Publication>;
  /** What could not be understood, by the key that it stood under; its session is not among those above. */
  readonly damaged: ReadonlyMap<string, string>;
}

interface Reading {
  head: SessionRecord | undefined;
  subscriptions: SubscriptionRecord[];
  received: Map<number, string | undefined>;
  deliveries: DeliveryImage[];
}

/**
 * Reads all sessions. What belongs to one that cannot be understood is deleted.
 * @param toUnix what milliseconds since 1970 are ahead of the clock
 */
export async function readSessions(entries: Entries, toUnix: number): Promise<StoredSessions> {
  const messages = new Map<number, Publication>();
  const readings = new Map<number, Reading>();
  const damaged = new Map<string, string>();
  const bad = new Set<number>();

  for await (const [key, value] of entries.entries(Prefix.MESSAGE)) {
    try {
      messages.set(numberIn.message(key), decodeMessage(value, toUnix));
    } catch (error) {
      damaged.set(key, (error as Error).message);
      entries.delete(key);
    }
  }
  const each = async (prefix: string, read: (of: Reading, rest: string, value: Buffer) => void) => {
    for await (const [key, value] of entries.entries(prefix)) {
      let session: number | undefined;
      try {
        const split = splitKey(key, prefix);
        session = split.session;
        read(readingOf(readings, session), split.rest, value);
      } catch (error) {
        damaged.set(key, (error as Error).message);
        if (session === undefined) entries.delete(key);
        else bad.add(session);
      }
    }
  };
  await each(Prefix.SESSION, (of, _, value) => {
    of.head = decodeSession(value);
  });
  await each(Prefix.SUBSCRIPTION, (of, filter, value) => {
    of.subscriptions.push(decodeSubscription(filter, value));
  });
  await each(Prefix.RECEIVED, (of, rest, value) => {
    of.received.set(numberIn.id(rest), value.length === 0 ? undefined : value.toString());
  });
  await each(Prefix.DELIVERY, (of, rest, value) => {
    const record = decodeDelivery(value);
    const content = messages.get(record.message);
    if (content === undefined && record.progress !== "release") {
      throw new Error(`its message ${record.message} is not there`);
    }
    of.deliveries.push({ ...record, place: numberIn.place(rest), content });
  });

  const sessions = new Map<number, SessionImage>();
  for (const [session, { head, ...rest }] of readings) {
    if (head === undefined) damaged.set(keyOf.session(session), "it is not there");
    if (head === undefined || bad.has(session)) await remove(entries, session);
    else sessions.set(session, { ...head, ...rest });
  }
  return { sessions, messages, damaged };
}

function readingOf(readings: Map<number, Reading>, session: number): Reading {
  let reading = readings.get(session);
  if (reading === undefined) {
    reading = { head: undefined, subscriptions: [], received: new Map(), deliveries: [] };
    readings.set(session, reading);
  }
  return reading;
}

async function remove(entries: Entries, session: number): Promise<void> {
  entries.delete(keyOf.session(session));
  const own = keyOf.session(session).slice(Prefix.SESSION.length);
  for (const prefix of [Prefix.SUBSCRIPTION, Prefix.RECEIVED, Prefix.DELIVERY]) {
    for await (const [key] of entries.entries(`${prefix}${own}/`)) entries.delete(key);
  }
}
