import {
  bodyStart,
  FieldReader,
  malformed,
  numberOf,
  PacketError,
  type Property,
  PropertyId,
  PropertySet,
  protocolError,
  ReasonCode,
  readProperties,
  splitProperties,
  topicError,
} from "@topicast/protocol";
import { type ProtocolVersion, Type } from "./decode.js";
import { FramingError } from "./errors.js";

/** Session expiry interval of a session that does not expire (MQTT 5, section 3.1.2.11.2). */
export const NEVER = 0xffff_ffff;

export interface WillRequest {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** In seconds. */
  readonly delay: number;
  readonly expiry: number | undefined;
  readonly forward: Buffer | undefined;
}

/** A CONNECT (MQTT 3.1.1 and 5, section 3.1); what MQTT 5 added has the value that 3.1.1 means by its absence. */
export interface Connect {
  readonly version: ProtocolVersion;
  /** Clean Start; before MQTT 5 Clean Session. */
  readonly clean: boolean;
  /** In seconds; 0 is never. */
  readonly keepAlive: number;
  readonly clientId: string;
  readonly will: WillRequest | undefined;
  readonly username: string | undefined;
  readonly password: Buffer | undefined;
  /** How long the session outlives its connection, in seconds; NEVER: it does not expire. */
  readonly sessionExpiry: number;
  /** QoS 1 and 2 messages that the client takes at a time. */
  readonly receiveMaximum: number;
  /** Largest packet that the client takes, in bytes. */
  readonly maximumPacketSize: number;
  /** Greatest topic alias that the client takes. */
  readonly topicAliasMaximum: number;
  /** The client asks to be told reasons in words. */
  readonly wantsReasons: boolean;
  readonly authenticationMethod: string | undefined;
}

/** What the first bytes of a CONNECT say of the protocol. */
export interface ProtocolLevel {
  /** The version, where it is one that is served. */
  readonly version: ProtocolVersion | undefined;
  readonly text: string;
  /** Reads on from behind the level. */
  readonly fields: FieldReader;
}

/**
 * Reads protocol name and level before anything else is checked: they decide how a refusal is worded.
 * @throws PacketError 0x82 when this is no CONNECT (MQTT-3.1.0-1), 0x81 when the protocol is none of MQTT's
 *   (MQTT-3.1.2-1) or the packet is cut short
 */
export function protocolLevel(frame: Buffer): ProtocolLevel {
  if (frame[0]! >> 4 !== Type.CONNECT) {
    throw protocolError("the first packet is not CONNECT (MQTT-3.1.0-1)");
  }
  const fields = new FieldReader(frame, bodyStart(frame), frame.length);
  const name = fields.text("protocol name");
  if (name !== "MQTT" && name !== "MQIsdp") throw malformed("protocol name is neither MQTT nor MQIsdp");
  const level = fields.byte("protocol level");
  // MQTT 3.1 leaves these flags unused and says nothing of who sets them.
  const isOld = name === "MQIsdp" && level === 3;
  if (!isOld && (frame[0]! & 0x0f) !== 0) throw malformed("fixed header flags of CONNECT");
  const isServed = isOld || (name === "MQTT" && (level === 4 || level === 5));
  return {
    version: isServed ? (level as ProtocolVersion) : undefined,
    text: `${name} level ${level}`,
    fields,
  };
}

/**
 * Reads the rest of a CONNECT.
 * @throws PacketError with the reason code for the CONNACK; FramingError where will topic, user name or password are not what
 *   they must be
 */
export function readConnect(fields: FieldReader, version: ProtocolVersion): Connect {
  const flags = fields.byte("connect flags");
  const keepAlive = fields.uint16("keep-alive");
  const properties = version === 5 ? readProperties(fields, PropertySet.CONNECT) : [];
  checkFlags(flags, version);
  checkAuthentication(properties);
  const clientId = readClientId(fields);
  const will = (flags & 0x04) !== 0 ? readWill(fields, flags, version) : undefined;
  const { username, password } = readCredentials(fields, flags, version);
  fields.finish("CONNECT");
  const clean = (flags & 0x02) !== 0;
  const expiry = numberOf(properties, PropertyId.SESSION_EXPIRY_INTERVAL) ?? 0;
  return {
    version,
    clean,
    keepAlive,
    clientId,
    will,
    username,
    password,
    sessionExpiry: version === 5 ? expiry : clean ? 0 : NEVER,
    receiveMaximum: numberOf(properties, PropertyId.RECEIVE_MAXIMUM) ?? 0xffff,
    maximumPacketSize: numberOf(properties, PropertyId.MAXIMUM_PACKET_SIZE) ?? Number.POSITIVE_INFINITY,
    topicAliasMaximum: numberOf(properties, PropertyId.TOPIC_ALIAS_MAXIMUM) ?? 0,
    wantsReasons: numberOf(properties, PropertyId.REQUEST_PROBLEM_INFORMATION) === 1,
    authenticationMethod: find(properties, PropertyId.AUTHENTICATION_METHOD)?.value as string | undefined,
  };
}

function checkFlags(flags: number, version: ProtocolVersion): void {
  if (flags & 0x01 && version !== 3) throw malformed("reserved connect flag (MQTT-3.1.2-3)");
  // MQTT 3.1 (section 3.1) disregards will QoS and will retain where there is no will.
  const will = version === 3 && !(flags & 0x04) ? 0 : flags & 0x38;
  if ((will & 0x18) === 0x18) throw malformed("will QoS 3 (MQTT-3.1.2-12)");
  if (!(flags & 0x04) && will !== 0) throw malformed("will QoS or will retain without a will");
  if (version !== 5 && (flags & 0xc0) === 0x40) {
    throw malformed("password without user name (MQTT 3.1.1: MQTT-3.1.2-22)");
  }
}

function checkAuthentication(properties: readonly Property[]): void {
  if (
    find(properties, PropertyId.AUTHENTICATION_DATA) !== undefined &&
    find(properties, PropertyId.AUTHENTICATION_METHOD) === undefined
  ) {
    throw protocolError("authentication data without a method");
  }
}

/** A client identifier that is no proper string has a reason code of its own (MQTT-3.1.3-8). */
function readClientId(fields: FieldReader): string {
  const { at } = fields;
  fields.binary("client identifier");
  fields.at = at;
  try {
    return fields.name("client identifier");
  } catch (error) {
    throw new PacketError(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, (error as Error).message);
  }
}

function readWill(fields: FieldReader, flags: number, version: ProtocolVersion): WillRequest {
  const properties = version === 5 ? readProperties(fields, PropertySet.WILL) : [];
  const { expiry, willDelay, forward } = splitProperties(fields.bytes, properties);
  const topic = readWillTopic(fields);
  const payload = fields.binary("will payload");
  return {
    topic,
    payload,
    qos: ((flags >> 3) & 3) as 0 | 1 | 2,
    retain: (flags & 0x20) !== 0,
    delay: willDelay ?? 0,
    expiry,
    forward,
  };
}

function readWillTopic(fields: FieldReader): string {
  try {
    const topic = fields.name("will topic");
    const error = topicError(topic);
    if (error === undefined) return topic;
    throw malformed(`will topic ${error}`);
  } catch (error) {
    throw new FramingError((error as Error).message);
  }
}

/** In MQTT 3.1 (section 3.1) the remaining length goes before the flags: what is not there any more is not given. */
function readCredentials(
  fields: FieldReader,
  flags: number,
  version: ProtocolVersion,
): { username: string | undefined; password: Buffer | undefined } {
  const isGiven = (flag: number) => (flags & flag) !== 0 && !(version === 3 && fields.done);
  try {
    return {
      username: isGiven(0x80) ? fields.name("user name") : undefined,
      password: isGiven(0x40) ? fields.binary("password") : undefined,
    };
  } catch (error) {
    throw new FramingError((error as Error).message);
  }
}

function find(properties: readonly Property[], id: number): Property | undefined {
  return properties.find((property) => property.id === id);
}
