import { topicError } from "../topics/names.js";
import { FieldReader, VARIABLE_MAX } from "./fields.js";
import { malformed, PacketError, protocolError, ReasonCode } from "./reason-code.js";

/** Property identifiers (MQTT 5, table 2-4). */
export const PropertyId = {
  PAYLOAD_FORMAT_INDICATOR: 0x01,
  MESSAGE_EXPIRY_INTERVAL: 0x02,
  CONTENT_TYPE: 0x03,
  RESPONSE_TOPIC: 0x08,
  CORRELATION_DATA: 0x09,
  SUBSCRIPTION_IDENTIFIER: 0x0b,
  SESSION_EXPIRY_INTERVAL: 0x11,
  ASSIGNED_CLIENT_IDENTIFIER: 0x12,
  SERVER_KEEP_ALIVE: 0x13,
  AUTHENTICATION_METHOD: 0x15,
  AUTHENTICATION_DATA: 0x16,
  REQUEST_PROBLEM_INFORMATION: 0x17,
  WILL_DELAY_INTERVAL: 0x18,
  REQUEST_RESPONSE_INFORMATION: 0x19,
  RESPONSE_INFORMATION: 0x1a,
  SERVER_REFERENCE: 0x1c,
  REASON_STRING: 0x1f,
  RECEIVE_MAXIMUM: 0x21,
  TOPIC_ALIAS_MAXIMUM: 0x22,
  TOPIC_ALIAS: 0x23,
  MAXIMUM_QOS: 0x24,
  RETAIN_AVAILABLE: 0x25,
  USER_PROPERTY: 0x26,
  MAXIMUM_PACKET_SIZE: 0x27,
  WILDCARD_SUBSCRIPTION_AVAILABLE: 0x28,
  SUBSCRIPTION_IDENTIFIER_AVAILABLE: 0x29,
  SHARED_SUBSCRIPTION_AVAILABLE: 0x2a,
} as const;

/** Where properties stand; a client's packets and the will in a CONNECT. */
export const PropertySet = {
  CONNECT: 1,
  WILL: 2,
  PUBLISH: 4,
  /** PUBACK, PUBREC, PUBREL and PUBCOMP. */
  ACKNOWLEDGEMENT: 8,
  SUBSCRIBE: 16,
  UNSUBSCRIBE: 32,
  DISCONNECT: 64,
  /** Not a client's to send. */
  SERVER: 0,
} as const;

type Type = "byte" | "uint16" | "uint32" | "variable" | "text" | "binary" | "pair";

interface Definition {
  readonly name: string;
  readonly type: Type;
  /** Sum of the property sets that it may stand in. */
  readonly sets: number;
  /** Least and greatest value allowed, for numbers. */
  readonly range?: readonly [number, number];
}

const { CONNECT, WILL, PUBLISH, ACKNOWLEDGEMENT, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT, SERVER } = PropertySet;
const FLAG = [0, 1] as const;

const DEFINITIONS = new Map<number, Definition>(
  Object.entries({
    PAYLOAD_FORMAT_INDICATOR: { type: "byte", sets: WILL | PUBLISH, range: FLAG },
    MESSAGE_EXPIRY_INTERVAL: { type: "uint32", sets: WILL | PUBLISH },
    CONTENT_TYPE: { type: "text", sets: WILL | PUBLISH },
    RESPONSE_TOPIC: { type: "text", sets: WILL | PUBLISH },
    CORRELATION_DATA: { type: "binary", sets: WILL | PUBLISH },
    SUBSCRIPTION_IDENTIFIER: { type: "variable", sets: SUBSCRIBE, range: [1, VARIABLE_MAX] },
    SESSION_EXPIRY_INTERVAL: { type: "uint32", sets: CONNECT | DISCONNECT },
    ASSIGNED_CLIENT_IDENTIFIER: { type: "text", sets: SERVER },
    SERVER_KEEP_ALIVE: { type: "uint16", sets: SERVER },
    AUTHENTICATION_METHOD: { type: "text", sets: CONNECT },
    AUTHENTICATION_DATA: { type: "binary", sets: CONNECT },
    REQUEST_PROBLEM_INFORMATION: { type: "byte", sets: CONNECT, range: FLAG },
    WILL_DELAY_INTERVAL: { type: "uint32", sets: WILL },
    REQUEST_RESPONSE_INFORMATION: { type: "byte", sets: CONNECT, range: FLAG },
    RESPONSE_INFORMATION: { type: "text", sets: SERVER },
    SERVER_REFERENCE: { type: "text", sets: DISCONNECT },
    REASON_STRING: { type: "text", sets: ACKNOWLEDGEMENT | DISCONNECT },
    RECEIVE_MAXIMUM: { type: "uint16", sets: CONNECT, range: [1, 0xffff] },
    TOPIC_ALIAS_MAXIMUM: { type: "uint16", sets: CONNECT },
    // Its value is the receiver's to judge: that has a reason code of its own (0x94).
    TOPIC_ALIAS: { type: "uint16", sets: PUBLISH },
    MAXIMUM_QOS: { type: "byte", sets: SERVER },
    RETAIN_AVAILABLE: { type: "byte", sets: SERVER },
    USER_PROPERTY: {
      type: "pair",
      sets: CONNECT | WILL | PUBLISH | ACKNOWLEDGEMENT | SUBSCRIBE | UNSUBSCRIBE | DISCONNECT,
    },
    MAXIMUM_PACKET_SIZE: { type: "uint32", sets: CONNECT, range: [1, 0xffff_ffff] },
    WILDCARD_SUBSCRIPTION_AVAILABLE: { type: "byte", sets: SERVER },
    SUBSCRIPTION_IDENTIFIER_AVAILABLE: { type: "byte", sets: SERVER },
    SHARED_SUBSCRIPTION_AVAILABLE: { type: "byte", sets: SERVER },
  } satisfies Record<keyof typeof PropertyId, Omit<Definition, "name">>).map(([key, definition]) => [
    PropertyId[key as keyof typeof PropertyId],
    { name: key.toLowerCase().replaceAll("_", " "), ...definition },
  ]),
);

export interface Property {
  readonly id: number;
  /** Where it stands, identifier included. */
  readonly start: number;
  readonly end: number;
  readonly value: number | string | Buffer | readonly [name: string, value: string];
}

const NO_PROPERTIES: readonly Property[] = [];

/**
 * Reads a section of properties, its length included, in their order (MQTT 5, section 2.2.2).
 * @param set where the section stands
 * @throws PacketError 0x81 where it cannot be read or holds an unknown identifier; 0x82 where a property stands twice,
 *   has a value that the standard excludes, or does not belong here. SUBSCRIBE and UNSUBSCRIBE call the latter two
 *   0x81; the standard has both readings (sections 1.2 and 2.2.2.2), and this is mosquitto's.
 */
export function readProperties(fields: FieldReader, set: number): readonly Property[] {
  const length = fields.variable("property length");
  if (length === 0) return NO_PROPERTIES;
  const end = fields.at + length;
  if (end > fields.end) throw malformed("properties run past the end");
  const properties = readSection(new FieldReader(fields.bytes, fields.at, end), set);
  fields.at = end;
  return properties;
}

/** The properties that stand in `bytes` without their length, e.g. `Message.properties`. Throws as `readProperties`. */
export function propertiesIn(bytes: Buffer, set: number): readonly Property[] {
  return readSection(new FieldReader(bytes, 0, bytes.length), set);
}

/** A user property, encoded (MQTT 5, section 3.3.2.3.7). */
export function encodeUserProperty(name: string, value: string): Buffer {
  const bytes = Buffer.allocUnsafe(5 + Buffer.byteLength(name) + Buffer.byteLength(value));
  bytes[0] = PropertyId.USER_PROPERTY;
  let at = 1;
  for (const text of [name, value]) {
    const length = bytes.write(text, at + 2);
    bytes.writeUInt16BE(length, at);
    at += 2 + length;
  }
  return bytes;
}

function readSection(section: FieldReader, set: number): readonly Property[] {
  const properties: Property[] = [];
  while (!section.done) {
    const start = section.at;
    const id = section.variable("property identifier");
    const definition = DEFINITIONS.get(id);
    if (definition === undefined) throw malformed(`unknown property ${id}`);
    const value = readPropertyValue(section, id, definition.name);
    if (definition.type !== "pair" && properties.some((before) => before.id === id)) {
      throw protocolError(`${definition.name} stands twice`);
    }
    checkValue(id, definition, value, set);
    properties.push({ id, start, end: section.at, value });
  }
  return properties;
}

/** The value of a number among `properties`; undefined where it is not there. */
export function numberOf(properties: readonly Property[], id: number): number | undefined {
  return properties.find((property) => property.id === id)?.value as number | undefined;
}

/**
 * The value of property `id`, which `fields` stands before, whoever may send it where.
 * @param name what errors call it
 * @throws PacketError 0x81 where it cannot be read or the identifier is unknown
 */
export function readPropertyValue(fields: FieldReader, id: number, name: string): Property["value"] {
  switch (DEFINITIONS.get(id)?.type) {
    case "byte":
      return fields.byte(name);
    case "uint16":
      return fields.uint16(name);
    case "uint32":
      return fields.uint32(name);
    case "variable":
      return fields.variable(name);
    case "text":
      return fields.text(name);
    case "binary":
      return fields.binary(name);
    case "pair":
      return [fields.text(name), fields.text(name)];
    case undefined:
      throw malformed(`unknown property ${id}`);
  }
}

function checkValue(id: number, { name, sets, range }: Definition, value: unknown, set: number): void {
  const refuse = (why: string) => {
    const strict = set === SUBSCRIBE || set === UNSUBSCRIBE;
    return new PacketError(strict ? ReasonCode.MALFORMED_PACKET : ReasonCode.PROTOCOL_ERROR, why);
  };
  if ((sets & set) === 0) throw refuse(`${name} does not belong here`);
  if (range !== undefined && ((value as number) < range[0] || (value as number) > range[1])) {
    throw refuse(`${name} is ${value}`);
  }
  if (id === PropertyId.RESPONSE_TOPIC) {
    const error = topicError(value as string);
    if (error !== undefined) throw refuse(`response topic ${error}`);
  }
}
