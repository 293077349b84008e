import type { IPublishPacket } from "mqtt-packet";
import { z } from "zod";
import type { Message } from "../message.js";
import { encodePublish, FabricTopic, fabricJson } from "./packets.js";
import { decodePublish } from "./retained.js";

/** `$fabric/durable`: which filters an agent's sessions hold that outlive their connection. */
export interface DurableUpdate {
  /** Counts them: the answer, `$fabric/noted`, has it, too. */
  readonly number: number;
  readonly add: readonly string[];
  readonly remove: readonly string[];
  /** The longest session expiry interval, seconds; 0xffffffff: they never expire. */
  readonly expiry: number;
}

/** `$fabric/defer`: a message for edges that are away. */
export interface Deferral {
  /** Counts those of one life of the agent; one that is sent again has its number again. */
  readonly number: number;
  /** Agent numbers. */
  readonly edges: readonly number[];
  readonly message: Message;
}

/** `$fabric/missed`: a message that was kept for the agent while it was away. */
export interface Missed {
  /** Milliseconds that it has been kept. */
  readonly age: number;
  /** Its expiry is what it has left. */
  readonly message: Message;
}

const u32 = z.int().min(0).max(0xffffffff);
const durableUpdate = z.object({
  number: u32,
  add: z.array(z.string()),
  remove: z.array(z.string()),
  expiry: u32,
});

const DEFERRAL_HEAD = 6;
const EDGE_BYTES = 4;
const AGE_BYTES = 8;

/** Body of `$fabric/durable`; undefined where it is malformed. */
export function readDurableUpdate(packet: IPublishPacket): DurableUpdate | undefined {
  return durableUpdate.safeParse(fabricJson(packet)).data;
}

/** @param packet the message's PUBLISH, encoded */
export function encodeDeferral(number: number, edges: readonly number[], packet: Buffer): Buffer {
  const head = Buffer.allocUnsafe(DEFERRAL_HEAD + EDGE_BYTES * edges.length);
  head.writeUInt32BE(number, 0);
  head.writeUInt16BE(edges.length, 4);
  for (const [i, edge] of edges.entries()) head.writeUInt32BE(edge, DEFERRAL_HEAD + EDGE_BYTES * i);
  return reserved(FabricTopic.DEFER, head, packet);
}

/** Payload of `$fabric/defer`; undefined where it is malformed. The message's buffers are views. */
export function decodeDeferral(payload: Buffer): Deferral | undefined {
  if (payload.length < DEFERRAL_HEAD) return undefined;
  const end = DEFERRAL_HEAD + EDGE_BYTES * payload.readUInt16BE(4);
  const message = decodePublish(payload.subarray(end));
  if (message === undefined) return undefined;
  const edges: number[] = [];
  for (let at = DEFERRAL_HEAD; at < end; at += EDGE_BYTES) edges.push(payload.readUInt32BE(at));
  return { number: payload.readUInt32BE(0), edges, message };
}

/** `$fabric/deferred`: that deferral is kept, or where it belongs. */
export function encodeDeferred(number: number): Buffer {
  const body = Buffer.allocUnsafe(4);
  body.writeUInt32BE(number, 0);
  return reserved(FabricTopic.DEFERRED, body);
}

export function decodeDeferred(payload: Buffer): number | undefined {
  return payload.length === 4 ? payload.readUInt32BE(0) : undefined;
}

export function encodeMissed({ age, message }: Missed): Buffer {
  const head = Buffer.allocUnsafe(AGE_BYTES);
  head.writeBigUInt64BE(BigInt(Math.max(0, Math.round(age))), 0);
  return reserved(FabricTopic.MISSED, head, encodePublish(message));
}

/** Payload of `$fabric/missed`; undefined where it is malformed. The message's buffers are views. */
export function decodeMissed(payload: Buffer): Missed | undefined {
  const message = decodePublish(payload.subarray(AGE_BYTES));
  return message === undefined ? undefined : { age: Number(payload.readBigUInt64BE(0)), message };
}

function reserved(topic: string, ...parts: readonly Buffer[]): Buffer {
  return encodePublish({ topic, payload: Buffer.concat(parts), qos: 0, retain: false });
}
