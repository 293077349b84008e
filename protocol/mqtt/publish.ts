import { topicError } from "../topics/names.js";
import type { FieldReader } from "./fields.js";
import { type Property, PropertyId, PropertySet, readProperties } from "./properties.js";
import { malformed, protocolError } from "./reason-code.js";

/** A PUBLISH as it stands in its packet (MQTT 3.1.1 and 5, section 3.3). Buffers are views of the packet. */
export interface Publish {
  /** Empty where a topic alias stands for it. */
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly dup: boolean;
  readonly retain: boolean;
  /** Packet identifier; 0 at QoS 0. */
  readonly id: number;
  readonly payload: Buffer;
  /** MQTT 5: the alias, where there is one. */
  readonly alias: number | undefined;
  /** MQTT 5: message expiry interval in seconds, where there is one. */
  readonly expiry: number | undefined;
  /** MQTT 5: the payload is said to be UTF-8. */
  readonly text: boolean;
  /** MQTT 5: the properties to forward unchanged and in their order, encoded; undefined where there are none. */
  readonly forward: Buffer | undefined;
}

/**
 * Reads a PUBLISH from behind its fixed header on.
 * @param flags of the fixed header
 * @throws PacketError 0x81 malformed, 0x82 packet identifier 0 or a property that is not allowed
 */
export function readPublish(fields: FieldReader, flags: number, mqtt5: boolean): Publish {
  const qos = (flags >> 1) & 3;
  if (qos === 3) throw malformed("QoS 3 (MQTT-3.3.1-4)");
  if (qos === 0 && flags & 8) throw malformed("DUP at QoS 0 (MQTT-3.3.1-2)");
  const topic = fields.name("topic name");
  const error = topic === "" ? undefined : topicError(topic);
  if (error !== undefined) throw malformed(`topic name ${error}`);
  const id = qos > 0 ? fields.uint16("packet identifier") : 0;
  if (qos > 0 && id === 0) throw protocolError("packet identifier 0");
  const properties = mqtt5 ? readProperties(fields, PropertySet.PUBLISH) : [];
  const { alias, expiry, text, forward } = splitProperties(fields.bytes, properties);
  // MQTT 5 calls this a protocol error (3.3.2.1), servers in the field call it malformed.
  if (topic === "" && alias === undefined) throw malformed("topic name is empty and there is no alias");
  return {
    topic,
    qos: qos as 0 | 1 | 2,
    dup: (flags & 8) !== 0,
    retain: (flags & 1) !== 0,
    id,
    payload: fields.bytes.subarray(fields.at, fields.end),
    alias,
    expiry,
    text,
    forward,
  };
}

/** What a message's properties mean to a server: those it acts on, and the bytes of those it hands on. */
export interface SplitProperties {
  readonly alias: number | undefined;
  readonly expiry: number | undefined;
  readonly willDelay: number | undefined;
  readonly text: boolean;
  readonly forward: Buffer | undefined;
}

const NO_SPLIT: SplitProperties = {
  alias: undefined,
  expiry: undefined,
  willDelay: undefined,
  text: false,
  forward: undefined,
};

/** Splits the properties of a PUBLISH or a will that was read from `bytes`. */
export function splitProperties(bytes: Buffer, properties: readonly Property[]): SplitProperties {
  if (properties.length === 0) return NO_SPLIT;
  let alias: number | undefined;
  let expiry: number | undefined;
  let willDelay: number | undefined;
  let text = false;
  const parts: Buffer[] = [];
  for (const { id, value, start, end } of properties) {
    if (id === PropertyId.TOPIC_ALIAS) alias = value as number;
    else if (id === PropertyId.MESSAGE_EXPIRY_INTERVAL) expiry = value as number;
    else if (id === PropertyId.WILL_DELAY_INTERVAL) willDelay = value as number;
    else {
      if (id === PropertyId.PAYLOAD_FORMAT_INDICATOR) text = value === 1;
      parts.push(bytes.subarray(start, end));
    }
  }
  const forward = parts.length > 1 ? Buffer.concat(parts) : parts[0];
  return { alias, expiry, willDelay, text, forward };
}
