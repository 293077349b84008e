import { PropertyId, variableSize, writeVariable } from "@topicast/protocol";
import type { Publication } from "../publication.js";
import { Slab } from "./slab.js";

/** Messages lie together: an acknowledgement between two of them does not part them. */
const messages = new Slab();

/** Payloads from this size on are never copied: they stand in the queue as they are, behind their packet's head. */
export const SHARED_BYTES = 16_384;
/** The same for packets that each subscriber has one of its own of, since it holds a packet identifier. */
export const OWN_SHARED_BYTES = 1_024;

/** What differs among the PUBLISH packets of one message. */
export interface PublishShape {
  readonly mqtt5: boolean;
  readonly qos: 0 | 1 | 2;
  readonly dup: boolean;
  readonly retain: boolean;
  /** Packet identifier where QoS is over 0. */
  readonly id: number;
  /** Topic alias; 0: none. */
  readonly alias: number;
  /** The alias stands for the topic. */
  readonly isAliasKnown: boolean;
  readonly subscriptionIds: readonly number[];
  /** Message expiry interval left, in seconds. */
  readonly expiry: number | undefined;
}

/** Size of the PUBLISH packet of this message and shape. */
export function publishSize(message: Publication, shape: PublishShape): number {
  const rest = restSize(message, shape);
  return 1 + variableSize(rest) + rest;
}

function propertiesSize({ forward }: Publication, shape: PublishShape): number {
  let size = forward?.length ?? 0;
  if (shape.alias > 0) size += 3;
  if (shape.expiry !== undefined) size += 5;
  for (const id of shape.subscriptionIds) size += 1 + variableSize(id);
  return size;
}

function topicSize({ topic }: Publication, { isAliasKnown }: PublishShape): number {
  return isAliasKnown ? 0 : Buffer.byteLength(topic);
}

/** The remaining length (MQTT 5, section 2.1.4). */
function restSize(message: Publication, shape: PublishShape): number {
  const properties = shape.mqtt5 ? propertiesSize(message, shape) : 0;
  return (
    2 +
    topicSize(message, shape) +
    (shape.qos > 0 ? 2 : 0) +
    (shape.mqtt5 ? variableSize(properties) + properties : 0) +
    message.payload.length
  );
}

/**
 * Encodes a PUBLISH (MQTT 3.1.1 and 5, section 3.3).
 * @param whole whether the payload is to be behind the rest; otherwise it is left to who writes the packet
 */
export function encodePublish(message: Publication, shape: PublishShape, whole: boolean): Buffer {
  const { topic, payload, forward } = message;
  const rest = restSize(message, shape);
  messages.begin(1 + variableSize(rest) + rest - (whole ? 0 : payload.length));
  const { bytes } = messages;
  let { at } = messages;
  bytes[at++] = 0x30 | (shape.dup ? 8 : 0) | (shape.qos << 1) | (shape.retain ? 1 : 0);
  at = writeVariable(bytes, at, rest);
  const length = topicSize(message, shape);
  bytes[at++] = length >> 8;
  bytes[at++] = length & 0xff;
  if (length > 0) at += bytes.write(topic, at);
  if (shape.qos > 0) {
    bytes[at++] = shape.id >> 8;
    bytes[at++] = shape.id & 0xff;
  }
  if (shape.mqtt5) {
    at = writeVariable(bytes, at, propertiesSize(message, shape));
    if (shape.alias > 0) {
      bytes[at++] = PropertyId.TOPIC_ALIAS;
      at = bytes.writeUInt16BE(shape.alias, at);
    }
    if (shape.expiry !== undefined) {
      bytes[at++] = PropertyId.MESSAGE_EXPIRY_INTERVAL;
      at = bytes.writeUInt32BE(shape.expiry, at);
    }
    for (const id of shape.subscriptionIds) {
      bytes[at++] = PropertyId.SUBSCRIPTION_IDENTIFIER;
      at = writeVariable(bytes, at, id);
    }
    if (forward !== undefined) at += forward.copy(bytes, at);
  }
  if (whole) at += payload.copy(bytes, at);
  messages.at = at;
  return messages.take();
}
