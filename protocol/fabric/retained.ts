import type { Message } from "../message.js";
import { FieldReader } from "../mqtt/fields.js";
import { bodyStart, packetSize } from "../mqtt/lengths.js";
import { readPublish } from "../mqtt/publish.js";
import { encodePublish, FabricTopic } from "./packets.js";

/** `$fabric/retain`: a message that a client of the agent has published with RETAIN. */
export interface RetainRequest {
  /** Counts such messages of one life of the agent, from 1; one that is sent again has its number again. */
  readonly number: number;
  readonly message: Message;
}

/** `$fabric/retained`: a retained message as the forwarder's order has it. */
export interface RetainedUpdate {
  /** Which row of versions: another one begins where the forwarder has lost what it kept. */
  readonly era: number;
  readonly version: number;
  /** Without payload: there is none of this topic any more. Undefined: nothing, everything up to `version` has been told. */
  readonly message: Message | undefined;
}

/** What an agent has of the retained messages, as its CONNECT says. */
export interface RetainedPosition {
  readonly era: number;
  /** It has what was told up to here of the filters that it had by then. */
  readonly version: number;
}

/**
 * What CONNACK says of the agent's retained messages. `changes`: what has changed since is told. `whole`: everything is
 * told, and what is not is gone. `lost`: likewise, but what the agent has is wanted before.
 */
export type RetainedMode = "changes" | "whole" | "lost";

export interface RetainedGreeting {
  readonly era: number;
  readonly mode: RetainedMode;
}

const RETAIN_BYTES = 4;
const RETAINED_BYTES = 12;

/** The message in an encoded PUBLISH that is all of `bytes`; undefined where it is malformed. Its buffers are views. */
export function decodePublish(bytes: Buffer): Message | undefined {
  if (bytes.length < 2 || bytes[0]! >> 4 !== 3 || packetSize(bytes, 0, bytes.length) !== bytes.length)
    return undefined;
  try {
    const fields = new FieldReader(bytes, bodyStart(bytes), bytes.length);
    const { topic, payload, qos, retain, forward, expiry } = readPublish(fields, bytes[0]! & 0x0f, true);
    if (topic === "") return undefined;
    return {
      ...{ topic, payload, qos, retain },
      ...(forward === undefined ? {} : { properties: forward }),
      ...(expiry === undefined ? {} : { messageExpiry: expiry }),
    };
  } catch {
    return undefined;
  }
}

export function encodeRetain({ number, message }: RetainRequest): Buffer {
  const head = Buffer.allocUnsafe(RETAIN_BYTES);
  head.writeUInt32BE(number, 0);
  return reserved(FabricTopic.RETAIN, head, encodePublish(message));
}

/** Payload of `$fabric/retain`; undefined where it is malformed. */
export function decodeRetain(payload: Buffer): RetainRequest | undefined {
  const message = decodePublish(payload.subarray(RETAIN_BYTES));
  return message === undefined ? undefined : { number: payload.readUInt32BE(0), message };
}

/** `$fabric/kept`: that `$fabric/retain`, and with it those before, is done with. */
export function encodeKept(number: number): Buffer {
  const body = Buffer.allocUnsafe(4);
  body.writeUInt32BE(number, 0);
  return reserved(FabricTopic.KEPT, body);
}

export function decodeKept(payload: Buffer): number | undefined {
  return payload.length === 4 ? payload.readUInt32BE(0) : undefined;
}

export function encodeRetained({ era, version, message }: RetainedUpdate): Buffer {
  const head = Buffer.allocUnsafe(RETAINED_BYTES);
  head.writeUInt32BE(era, 0);
  head.writeBigUInt64BE(BigInt(version), 4);
  return reserved(
    FabricTopic.RETAINED,
    head,
    ...(message === undefined ? [] : [encodePublish({ ...message, retain: true })]),
  );
}

/** Payload of `$fabric/retained`; undefined where it is malformed. */
export function decodeRetained(payload: Buffer): RetainedUpdate | undefined {
  if (payload.length < RETAINED_BYTES) return undefined;
  const version = Number(payload.readBigUInt64BE(4));
  if (!Number.isSafeInteger(version)) return undefined;
  const era = payload.readUInt32BE(0);
  if (payload.length === RETAINED_BYTES) return { era, version, message: undefined };
  const message = decodePublish(payload.subarray(RETAINED_BYTES));
  return message === undefined ? undefined : { era, version, message };
}

/** The text of CONNECT's user property `retained`: era and version, hexadecimal. */
export function formatPosition({ era, version }: RetainedPosition): string {
  return `${era.toString(16)}-${version.toString(16)}`;
}

export function parsePosition(text: unknown): RetainedPosition | undefined {
  const [, era, version] =
    typeof text === "string" ? (/^([0-9a-f]{1,8})-([0-9a-f]{1,13})$/.exec(text) ?? []) : [];
  if (era === undefined || version === undefined) return undefined;
  return { era: Number.parseInt(era, 16), version: Number.parseInt(version, 16) };
}

/** The text of CONNACK's user property `retained`: era, hexadecimal, and mode. */
export function formatGreeting({ era, mode }: RetainedGreeting): string {
  return `${era.toString(16)}-${mode}`;
}

export function parseGreeting(text: unknown): RetainedGreeting | undefined {
  const [, era, mode] =
    typeof text === "string" ? (/^([0-9a-f]{1,8})-(changes|whole|lost)$/.exec(text) ?? []) : [];
  if (era === undefined) return undefined;
  return { era: Number.parseInt(era, 16), mode: mode as RetainedMode };
}

function reserved(topic: string, ...parts: readonly Buffer[]): Buffer {
  return encodePublish({ topic, payload: Buffer.concat(parts), qos: 0, retain: false });
}
