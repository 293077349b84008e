import {
  bodyStart,
  FieldReader,
  filterError,
  isShared,
  malformed,
  numberOf,
  type Property,
  PropertyId,
  PropertySet,
  type Publish,
  protocolError,
  readProperties,
  readPublish,
} from "@topicast/protocol";
import { FramingError } from "./errors.js";

/** MQTT protocol levels served here: 3 is MQTT 3.1, 4 is MQTT 3.1.1. */
export type ProtocolVersion = 3 | 4 | 5;

/** Control packet types (MQTT 5, table 2-1). */
export const Type = {
  CONNECT: 1,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  UNSUBSCRIBE: 10,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const;

export type AckType = typeof Type.PUBACK | typeof Type.PUBREC | typeof Type.PUBREL | typeof Type.PUBCOMP;

export interface Ack {
  readonly type: AckType;
  readonly id: number;
  /** Reason code; 0 before MQTT 5. */
  readonly code: number;
}

/** One filter of a SUBSCRIBE with its options (MQTT 5, section 3.8.3.1; before that noLocal and the others are 0). */
export interface FilterRequest {
  /** As the client wrote it: `$share/` included. */
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
}

export interface Subscribe {
  readonly type: typeof Type.SUBSCRIBE;
  readonly id: number;
  readonly subscriptionId: number | undefined;
  readonly filters: readonly FilterRequest[];
}

export interface Unsubscribe {
  readonly type: typeof Type.UNSUBSCRIBE;
  readonly id: number;
  readonly filters: readonly string[];
}

export interface Disconnect {
  readonly type: typeof Type.DISCONNECT;
  /** Undefined where the client gave one that does not exist. */
  readonly code: number | undefined;
  /** In seconds; undefined where the client does not change it. */
  readonly sessionExpiry: number | undefined;
}

export interface PublishPacket extends Publish {
  readonly type: typeof Type.PUBLISH;
}

export type ClientPacket =
  | PublishPacket
  | Ack
  | Subscribe
  | Unsubscribe
  | Disconnect
  | { readonly type: typeof Type.PINGREQ }
  | { readonly type: typeof Type.AUTH };

const PINGREQ = { type: Type.PINGREQ } as const;
const AUTH = { type: Type.AUTH } as const;

/** Reason codes that a client may acknowledge with (MQTT 5, tables 3-4 and 3-5; 3-6 and 3-7). */
const RECEIVED_CODES = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]);
const RELEASED_CODES = new Set([0x00, 0x92]);
/** Reason codes that a client may disconnect with (MQTT 5, table 3-10). */
const DISCONNECT_CODES = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
]);

/**
 * Decodes one whole packet of a connected client. Buffers are views of `frame`.
 * @throws PacketError 0x81 malformed, 0x82 protocol error; FramingError for a ping with a body
 */
export function decode(frame: Buffer, version: ProtocolVersion): ClientPacket {
  const type = frame[0]! >> 4;
  const flags = frame[0]! & 0x0f;
  const fields = new FieldReader(frame, bodyStart(frame), frame.length);
  switch (type) {
    case Type.PUBLISH: {
      const packet = readPublish(fields, flags, version === 5) as PublishPacket & { type: 3 };
      packet.type = Type.PUBLISH;
      return packet;
    }
    case Type.PUBACK:
    case Type.PUBREC:
    case Type.PUBCOMP:
      requireFlags(flags, 0, version);
      return readAck(fields, type, version);
    case Type.PUBREL:
      requireFlags(flags, 2, version);
      return readAck(fields, type, version);
    case Type.SUBSCRIBE:
      requireFlags(flags, 2, version);
      return readSubscribe(fields, version);
    case Type.UNSUBSCRIBE:
      requireFlags(flags, 2, version);
      return readUnsubscribe(fields, version);
    case Type.PINGREQ:
      requireFlags(flags, 0, version);
      if (!fields.done) throw new FramingError("PINGREQ with a body");
      return PINGREQ;
    case Type.DISCONNECT:
      requireFlags(flags, 0, version);
      return readDisconnect(fields, version);
    case Type.CONNECT:
      throw protocolError("a second CONNECT (MQTT-3.1.0-2)");
    default:
      if (type === Type.AUTH && version === 5) return AUTH;
      requireFlags(flags, 0, version);
      if (type === Type.PINGRESP && !fields.done) throw new FramingError("PINGRESP with a body");
      throw protocolError(`packet type ${type} is not for a client to send`);
  }
}

/**
 * Fixed header flags other than PUBLISH's have one value per type (MQTT-2.1.3-1, 3.1.1: MQTT-2.2.2-2). MQTT 3.1 (section 2.1)
 * uses QoS alone of them where that is 1, and DUP, which the receiver need not look at.
 */
function requireFlags(flags: number, expected: number, version: ProtocolVersion): void {
  const used = version !== 3 ? flags : expected === 0 ? 0 : flags & 0x06;
  if (used !== expected) throw malformed(`fixed header flags ${flags}, must be ${expected}`);
}

function readAck(fields: FieldReader, type: AckType, version: ProtocolVersion): Ack {
  const id = fields.uint16("packet identifier");
  if (version !== 5) fields.finish("an acknowledgement");
  let code = 0;
  if (!fields.done) {
    code = fields.byte("reason code");
    if (!fields.done) readProperties(fields, PropertySet.ACKNOWLEDGEMENT);
    fields.finish("an acknowledgement");
  }
  if (id === 0) throw protocolError("packet identifier 0");
  const codes = type === Type.PUBACK || type === Type.PUBREC ? RECEIVED_CODES : RELEASED_CODES;
  if (!codes.has(code)) throw protocolError(`reason code ${code} in an acknowledgement`);
  return { type, id, code };
}

/** Packet identifiers are not zero (MQTT-2.2.1-3). */
function readIdentifier(fields: FieldReader): number {
  const id = fields.uint16("packet identifier");
  if (id === 0) throw malformed("packet identifier 0");
  return id;
}

/** At least one filter (MQTT-3.8.3-2), each a valid one, options without reserved bits (MQTT-3.8.3-5). */
function readSubscribe(fields: FieldReader, version: ProtocolVersion): Subscribe {
  const id = readIdentifier(fields);
  const properties = version === 5 ? readProperties(fields, PropertySet.SUBSCRIBE) : [];
  if (fields.done) throw malformed("SUBSCRIBE without a topic filter");
  const filters: FilterRequest[] = [];
  while (!fields.done) {
    const filter = readFilter(fields);
    const options = fields.byte("subscription options");
    const qos = options & 3;
    const retainHandling = (options >> 4) & 3;
    if (qos === 3 || retainHandling === 3 || options > (version === 5 ? 0x3f : 2)) {
      throw malformed(`subscription options ${options}`);
    }
    const noLocal = (options & 4) !== 0;
    if (version === 5) checkShare(filter, noLocal);
    filters.push({
      filter,
      qos: qos as 0 | 1 | 2,
      noLocal,
      retainAsPublished: (options & 8) !== 0,
      retainHandling: retainHandling as 0 | 1 | 2,
    });
  }
  const subscriptionId = numberOf(properties, PropertyId.SUBSCRIPTION_IDENTIFIER);
  return { type: Type.SUBSCRIBE, id, subscriptionId, filters };
}

function readUnsubscribe(fields: FieldReader, version: ProtocolVersion): Unsubscribe {
  const id = readIdentifier(fields);
  if (version === 5) readProperties(fields, PropertySet.UNSUBSCRIBE);
  if (fields.done) throw malformed("UNSUBSCRIBE without a topic filter");
  const filters: string[] = [];
  while (!fields.done) filters.push(readFilter(fields));
  return { type: Type.UNSUBSCRIBE, id, filters };
}

function readFilter(fields: FieldReader): string {
  const filter = fields.name("topic filter");
  const error = filterError(filter);
  if (error !== undefined) throw malformed(`topic filter ${error}`);
  return filter;
}

/** A shared subscription is a whole one, and without No Local (MQTT-3.8.3-4). */
function checkShare(filter: string, noLocal: boolean): void {
  const error = shareError(filter);
  if (error !== undefined) throw protocolError(`${filter} ${error}`);
  if (noLocal && isShared(filter)) throw protocolError("No Local on a shared subscription");
}

/** What is wrong with a shared subscription: it has a name without wildcards, and a filter (MQTT-4.8.2-1, -2). */
export function shareError(filter: string): string | undefined {
  if (!isShared(filter)) return undefined;
  const nameEnd = filter.indexOf("/", 7);
  const name = filter.slice(7, nameEnd === -1 ? undefined : nameEnd);
  if (name === "" || name.includes("+") || name.includes("#")) return "has no proper share name";
  return nameEnd === -1 || nameEnd === filter.length - 1 ? "shares no topic filter" : undefined;
}

function readDisconnect(fields: FieldReader, version: ProtocolVersion): Disconnect {
  let code = 0;
  let properties: readonly Property[] = [];
  if (version === 5 && !fields.done) {
    code = fields.byte("reason code");
    if (!fields.done) properties = readProperties(fields, PropertySet.DISCONNECT);
  }
  fields.finish("DISCONNECT");
  return {
    type: Type.DISCONNECT,
    code: DISCONNECT_CODES.has(code) ? code : undefined,
    sessionExpiry: numberOf(properties, PropertyId.SESSION_EXPIRY_INTERVAL),
  };
}
