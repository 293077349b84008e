import type { ClientIdentity } from "../authority.js";
import type { WillRequest } from "../codec/connect.js";
import type { FilterRequest } from "../codec/decode.js";
import { Publication } from "../publication.js";

/** Keys begin with one of these; README.md, "What is written". */
export const Prefix = {
  SESSION: "session/",
  SUBSCRIPTION: "subscription/",
  RECEIVED: "received/",
  DELIVERY: "delivery/",
  MESSAGE: "message/",
  RETAINED: "retained/",
  HAD: "had/",
} as const;

const SESSION_DIGITS = 8;
const MESSAGE_DIGITS = 12;
const ID_DIGITS = 4;
const SLOT_DIGITS = 4;

export const keyOf = {
  session: (session: number) => `${Prefix.SESSION}${hex(session, SESSION_DIGITS)}`,
  subscription: (session: number, filter: string) =>
    `${Prefix.SUBSCRIPTION}${hex(session, SESSION_DIGITS)}/${filter}`,
  received: (session: number, id: number) =>
    `${Prefix.RECEIVED}${hex(session, SESSION_DIGITS)}/${hex(id, ID_DIGITS)}`,
  delivery: (session: number, place: number) =>
    `${Prefix.DELIVERY}${hex(session, SESSION_DIGITS)}/${hex(place, MESSAGE_DIGITS)}`,
  message: (message: number) => `${Prefix.MESSAGE}${hex(message, MESSAGE_DIGITS)}`,
  retained: (topic: string) => `${Prefix.RETAINED}${topic}`,
  had: (slot: number) => `${Prefix.HAD}${hex(slot, SLOT_DIGITS)}`,
};

/** The session that a key is of, and what follows behind its number. @throws Error where the key is none of ours */
export function splitKey(key: string, prefix: string): { session: number; rest: string } {
  const digits = key.slice(prefix.length, prefix.length + SESSION_DIGITS);
  return { session: unhex(digits, SESSION_DIGITS), rest: key.slice(prefix.length + SESSION_DIGITS + 1) };
}

export const numberIn = {
  message: (key: string) => unhex(key.slice(Prefix.MESSAGE.length), MESSAGE_DIGITS),
  place: (rest: string) => unhex(rest, MESSAGE_DIGITS),
  slot: (key: string) => unhex(key.slice(Prefix.HAD.length), SLOT_DIGITS),
  id: (rest: string) => unhex(rest, ID_DIGITS),
};

/** A session without what it holds in numbers: `session/S`. */
export interface SessionRecord {
  readonly clientId: string;
  readonly username: string | undefined;
  readonly listener: string | undefined;
  /** Session expiry interval in seconds. */
  readonly expiry: number;
  /** When its last connection ended, milliseconds since 1970; undefined: it is connected. */
  readonly leftAt: number | undefined;
  readonly will: WillRequest | undefined;
  /** When its client last connected, milliseconds since 1970. */
  readonly connectedAt: number;
  /** It came from another edge, and not all of it. */
  readonly isPartial: boolean;
}

/** `subscription/S/FILTER`. */
export interface SubscriptionRecord extends FilterRequest {
  readonly subscriptionId: number | undefined;
}

/** How far a message for one session has come: see `Flight`. */
export type Progress = "queued" | "publish" | "release";

/** `delivery/S/PLACE`. */
export interface DeliveryRecord {
  readonly progress: Progress;
  readonly qos: 1 | 2;
  readonly retain: boolean;
  /** Packet identifier; 0 while it is queued. */
  readonly id: number;
  /** Which message it is; 0 where it is not needed any more. */
  readonly message: number;
  readonly subscriptionIds: readonly number[];
}

export function encodeSession({ will, ...session }: SessionRecord): Buffer {
  return json({ version: 1, ...session, will: will && encodeWill(will) });
}

/** @throws Error that says what is wrong, as all the decoders here do */
export function decodeSession(bytes: Buffer): SessionRecord {
  const fields = object(JSON.parse(bytes.toString()));
  const { version, clientId, username, listener, expiry, leftAt, will, isPartial, connectedAt } = fields;
  if (version !== 1) throw new Error(`a session of version ${version}`);
  return {
    clientId: text(clientId),
    username: optional(username, text),
    listener: optional(listener, text),
    expiry: whole(expiry),
    leftAt: optional(leftAt, number),
    will: optional(will, decodeWill),
    isPartial: isPartial === true,
    connectedAt: optional(connectedAt, number) ?? 0,
  };
}

export function encodeSubscription({ filter: _, ...options }: SubscriptionRecord): Buffer {
  return json(options);
}

export function decodeSubscription(filter: string, bytes: Buffer): SubscriptionRecord {
  const { qos, noLocal, retainAsPublished, retainHandling, subscriptionId } = object(
    JSON.parse(bytes.toString()),
  );
  return {
    filter,
    qos: upTo2(qos),
    noLocal: noLocal === true,
    retainAsPublished: retainAsPublished === true,
    retainHandling: upTo2(retainHandling),
    subscriptionId: optional(subscriptionId, whole),
  };
}

const PROGRESS: readonly Progress[] = ["queued", "publish", "release"];
/** Byte 0: QoS (bits 0-1), RETAIN (2), progress (3-4). Then identifier (2), message (6), subscription identifiers (4 each). */
const DELIVERY_HEAD = 9;

export function encodeDelivery(record: DeliveryRecord): Buffer {
  const { subscriptionIds } = record;
  const bytes = Buffer.allocUnsafe(DELIVERY_HEAD + 4 * subscriptionIds.length);
  bytes[0] = record.qos | (record.retain ? 4 : 0) | (PROGRESS.indexOf(record.progress) << 3);
  bytes.writeUInt16BE(record.id, 1);
  bytes.writeUIntBE(record.message, 3, 6);
  for (const [i, id] of subscriptionIds.entries()) bytes.writeUInt32BE(id, DELIVERY_HEAD + 4 * i);
  return bytes;
}

export function decodeDelivery(bytes: Buffer): DeliveryRecord {
  const [flags = 0] = bytes;
  const qos = flags & 3;
  const progress = PROGRESS[flags >> 3];
  if (bytes.length < DELIVERY_HEAD || (bytes.length - DELIVERY_HEAD) % 4 !== 0) {
    throw new Error(`a delivery of ${bytes.length} bytes`);
  }
  if ((qos !== 1 && qos !== 2) || progress === undefined) throw new Error(`a delivery with flags ${flags}`);
  const subscriptionIds: number[] = [];
  for (let at = DELIVERY_HEAD; at < bytes.length; at += 4) subscriptionIds.push(bytes.readUInt32BE(at));
  const id = bytes.readUInt16BE(1);
  const message = bytes.readUIntBE(3, 6);
  if ((id === 0) !== (progress === "queued")) throw new Error(`a delivery with identifier ${id}`);
  return { progress, qos, retain: (flags & 4) !== 0, id, message, subscriptionIds };
}

/**
 * Byte 0: QoS (bits 0-1), RETAIN (2), properties (3), origin (4). Expiry in milliseconds since 1970 (8, a double). Then the
 * lengths (4 each) and bytes of topic, of properties, of origin and of source (JSON) where there are any, and the payload.
 */
export function encodeMessage(message: Publication, toUnix: number): Buffer {
  const { topic, payload, qos, retain, forward, expiresAt, origin, source } = message;
  const parts: Buffer[] = [Buffer.from(topic)];
  if (forward !== undefined) parts.push(forward);
  if (origin !== undefined) parts.push(Buffer.from(origin));
  if (source !== undefined) parts.push(json(source));
  const length = parts.reduce((sum, part) => sum + 4 + part.length, 9 + payload.length);
  const bytes = Buffer.allocUnsafe(length);
  const has = (part: unknown, flag: number) => (part === undefined ? 0 : flag);
  bytes[0] = qos | (retain ? 4 : 0) | has(forward, 8) | has(origin, 16) | has(source, 32);
  bytes.writeDoubleBE(expiresAt + toUnix, 1);
  let at = 9;
  for (const part of parts) {
    at = bytes.writeUInt32BE(part.length, at);
    at += part.copy(bytes, at);
  }
  payload.copy(bytes, at);
  return bytes;
}

/** @param toUnix what milliseconds since 1970 are ahead of the clock */
export function decodeMessage(bytes: Buffer, toUnix: number): Publication {
  if (bytes.length < 13) throw new Error(`a message of ${bytes.length} bytes`);
  const flags = bytes[0]!;
  let at = 9;
  const part = (): Buffer => {
    if (at + 4 > bytes.length) throw new Error("a message that is cut off");
    const start = at + 4;
    at = start + bytes.readUInt32BE(at);
    if (at > bytes.length) throw new Error("a message that is cut off");
    return bytes.subarray(start, at);
  };
  const topic = part().toString();
  const forward = (flags & 8) === 0 ? undefined : part();
  const origin = (flags & 16) === 0 ? undefined : part().toString();
  const source = (flags & 32) === 0 ? undefined : decodeSource(part());
  const expiresAt = bytes.readDoubleBE(1) - toUnix;
  const retain = (flags & 4) !== 0;
  const payload = bytes.subarray(at);
  const message = new Publication(topic, payload, upTo2(flags & 3), retain, forward, expiresAt, origin);
  message.source = source;
  return message.kept();
}

function decodeSource(bytes: Buffer): ClientIdentity {
  const { clientId, username, listener } = object(JSON.parse(bytes.toString()));
  return { clientId: text(clientId), username: optional(username, text), listener: optional(listener, text) };
}

function encodeWill({ payload, forward, ...will }: WillRequest): object {
  return { ...will, payload: payload.toString("base64"), forward: forward?.toString("base64") };
}

function decodeWill(value: unknown): WillRequest {
  const { topic, payload, qos, retain, delay, expiry, forward } = object(value);
  return {
    topic: text(topic),
    payload: Buffer.from(text(payload), "base64"),
    qos: upTo2(qos),
    retain: retain === true,
    delay: whole(delay),
    expiry: optional(expiry, whole),
    forward: optional(forward, (base64) => Buffer.from(text(base64), "base64")),
  };
}

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

function unhex(digits: string, length: number): number {
  if (digits.length !== length || !/^[0-9a-f]+$/.test(digits)) throw new Error(`a key with ${digits}`);
  return Number.parseInt(digits, 16);
}

function object(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new Error("no JSON object");
  return value as Record<string, unknown>;
}

function optional<T>(value: unknown, read: (value: unknown) => T): T | undefined {
  return value === undefined ? undefined : read(value);
}

function text(value: unknown): string {
  if (typeof value !== "string") throw new Error(`${JSON.stringify(value)} is no text`);
  return value;
}

function number(value: unknown): number {
  if (typeof value !== "number") throw new Error(`${JSON.stringify(value)} is no number`);
  return value;
}

function whole(value: unknown): number {
  if (!Number.isInteger(value) || (value as number) < 0) throw new Error(`${value} is no whole number`);
  return value as number;
}

function upTo2(value: unknown): 0 | 1 | 2 {
  if (value !== 0 && value !== 1 && value !== 2) throw new Error(`${value} is not 0, 1 or 2`);
  return value;
}
