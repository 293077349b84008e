import type { SessionEntry } from "@topicast/protocol";
import {
  decodeDelivery,
  decodeMessage,
  decodeSession,
  decodeSubscription,
  encodeDelivery,
  encodeMessage,
  encodeSession,
  encodeSubscription,
  type SessionRecord,
  type SubscriptionRecord,
} from "../durable/records.js";
import type { DeliveryImage } from "../durable/sessions.js";
import type { Publication } from "../publication.js";
import type { Session } from "../session.js";

/** A session, and what it is subscribed to. */
export interface Head extends SessionRecord {
  readonly subscriptions: readonly SubscriptionRecord[];
}

/** What waits for a session. */
export interface Rest {
  /** In their order. */
  readonly deliveries: readonly DeliveryImage[];
  /** QoS 2 identifiers received and not released, with their origins. */
  readonly received: ReadonlyMap<number, string | undefined>;
  /** The last messages that the other edge had, by publisher and topic. */
  readonly seen: ReadonlyMap<string, number>;
}

/** Keys: `session`, then `subscription/FILTER` each; values as in the store. */
export function encodeHead({
  client,
  expiry,
  subscriptions,
  isPartial,
  connectedAt,
}: Session): SessionEntry[] {
  const { clientId, username, listener } = client;
  const record = {
    clientId,
    username,
    listener,
    expiry,
    leftAt: undefined,
    will: undefined,
    isPartial,
    connectedAt,
  };
  const entries: SessionEntry[] = [["session", encodeSession(record)]];
  for (const [
    filter,
    { qos, noLocal, retainAsPublished, retainHandling, subscriptionIds },
  ] of subscriptions) {
    const [subscriptionId] = subscriptionIds;
    const options = { filter, qos, noLocal, retainAsPublished, retainHandling, subscriptionId };
    entries.push([`subscription/${filter}`, encodeSubscription(options)]);
  }
  return entries;
}

/** Undefined where it is malformed, or not of that client. */
export function decodeHead(clientId: string, entries: readonly SessionEntry[]): Head | undefined {
  try {
    let session: SessionRecord | undefined;
    const subscriptions: SubscriptionRecord[] = [];
    for (const [key, value] of entries) {
      const filter = after(key, "subscription/");
      if (filter !== undefined) subscriptions.push(decodeSubscription(filter, value));
      else session = decodeSession(value);
    }
    return session?.clientId === clientId ? { ...session, subscriptions } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Keys: `received/ID`, `message/N` before the first `delivery/PLACE` that refers to it, `seen/PUBLISHER TOPIC`, numbers
 * decimal; values as in the store, but for expiry: milliseconds that the message has left.
 */
export function encodeRest(
  { delivery, unreleased }: Session,
  seen: ReadonlyMap<string, number>,
  now: number,
): SessionEntry[] {
  const entries: SessionEntry[] = [];
  for (const [id, { origin }] of unreleased) entries.push([`received/${id}`, Buffer.from(origin ?? "")]);
  const numbers = new Map<Publication, number>();
  let place = 0;
  for (const { delivered, flight } of delivery.places()) {
    let message = 0;
    if (delivered !== undefined) {
      message = numbers.get(delivered.message) ?? numbers.size + 1;
      if (message > numbers.size) {
        numbers.set(delivered.message, message);
        entries.push([`message/${message}`, encodeMessage(delivered.message, -now)]);
      }
    }
    place += 1;
    const record = {
      ...{ progress: flight?.state ?? ("queued" as const), id: flight?.id ?? 0, message },
      qos: flight?.qos ?? (delivered!.qos as 1 | 2),
      ...{ retain: delivered?.retain ?? false, subscriptionIds: delivered?.subscriptionIds ?? [] },
    };
    entries.push([`delivery/${place}`, encodeDelivery(record)]);
  }
  for (const [key, count] of seen) entries.push([`seen/${key}`, Buffer.from(String(count))]);
  return entries;
}

/** Undefined where it is malformed. */
export function decodeRest(entries: readonly SessionEntry[], now: number): Rest | undefined {
  const messages = new Map<number, Publication>();
  const received = new Map<number, string | undefined>();
  const seen = new Map<string, number>();
  const deliveries: DeliveryImage[] = [];
  try {
    for (const [key, value] of entries) {
      const [kind, name] = [key.slice(0, key.indexOf("/")), key.slice(key.indexOf("/") + 1)];
      if (kind === "received") received.set(Number(name), value.length > 0 ? value.toString() : undefined);
      else if (kind === "seen") seen.set(name, Number(value.toString()));
      else if (kind === "message") messages.set(Number(name), decodeMessage(value, -now));
      else if (kind === "delivery") {
        const record = decodeDelivery(value);
        const content = messages.get(record.message);
        if (content === undefined && record.progress !== "release") return undefined;
        deliveries.push({ ...record, place: Number(name), content });
      }
    }
    return { deliveries, received, seen };
  } catch {
    return undefined;
  }
}

function after(key: string, prefix: string): string | undefined {
  return key.startsWith(prefix) ? key.slice(prefix.length) : undefined;
}
