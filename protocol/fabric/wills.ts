import type { Message } from "../message.js";
import { encodePublish, FabricTopic } from "./packets.js";
import { decodePublish } from "./retained.js";

/** `$fabric/will`: what is to be published for a client when its agent has died. */
export interface WillUpdate {
  /** Which of the wills of that life of the agent; every CONNECT with a will has another one. */
  readonly number: number;
  /** Undefined: it has been published or discarded. */
  readonly will: ToldWill | undefined;
}

export interface ToldWill {
  readonly clientId: string;
  /** Seconds from the agent's death to the publishing (MQTT 5, section 3.1.3.2.2). */
  readonly delay: number;
  readonly message: Message;
}

const HEAD_BYTES = 10;

export function encodeWill({ number, will }: WillUpdate): Buffer {
  if (will === undefined) return reserved(FabricTopic.WILL, u32s([number]));
  const { clientId, delay, message } = will;
  const id = Buffer.from(clientId);
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head.writeUInt32BE(number, 0);
  head.writeUInt32BE(delay, 4);
  head.writeUInt16BE(id.length, 8);
  return reserved(FabricTopic.WILL, Buffer.concat([head, id, encodePublish(message)]));
}

/** Payload of `$fabric/will`; undefined where it is malformed. */
export function decodeWill(payload: Buffer): WillUpdate | undefined {
  if (payload.length === 4) return { number: payload.readUInt32BE(0), will: undefined };
  if (payload.length < HEAD_BYTES) return undefined;
  const end = HEAD_BYTES + payload.readUInt16BE(8);
  const message = decodePublish(payload.subarray(end));
  if (message === undefined) return undefined;
  const clientId = payload.toString("utf8", HEAD_BYTES, end);
  return { number: payload.readUInt32BE(0), will: { clientId, delay: payload.readUInt32BE(4), message } };
}

/** `$fabric/fired`: wills of this life of the agent that the forwarder has published. */
export function encodeFired(numbers: readonly number[]): Buffer {
  return reserved(FabricTopic.FIRED, u32s(numbers));
}

/** Payload of `$fabric/fired`; undefined where it is malformed. */
export function decodeFired(payload: Buffer): number[] | undefined {
  if (payload.length % 4 !== 0) return undefined;
  return Array.from({ length: payload.length / 4 }, (_, i) => payload.readUInt32BE(4 * i));
}

function u32s(values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, 4 * i);
  return bytes;
}

function reserved(topic: string, payload: Buffer): Buffer {
  return encodePublish({ topic, payload, qos: 0, retain: false });
}
