import { isUtf8 } from "node:buffer";
import { filterError, topicError } from "@topicast/protocol";
import { malformed, PacketError } from "./errors.js";
import { bodyStart } from "./frames.js";

/** Control packet types (MQTT 3.1.1, table 2.1). */
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
  DISCONNECT: 14,
} as const;

/**
 * Checks one whole packet from a connected 3.1 or 3.1.1 client for everything that mqtt-packet takes on trust, so
 * that what it decodes afterwards is what the client sent.
 * @throws PacketError malformed or protocol_error
 */
export function checkPacket(frame: Buffer): void {
  const type = frame[0]! >> 4;
  const flags = frame[0]! & 0x0f;
  const at = bodyStart(frame);
  switch (type) {
    case Type.PUBLISH:
      return checkPublish(frame, at, flags);
    case Type.PUBACK:
    case Type.PUBREC:
    case Type.PUBCOMP:
      requireFlags(flags, 0);
      return checkAcknowledgement(frame, at);
    case Type.PUBREL:
      requireFlags(flags, 2);
      return checkAcknowledgement(frame, at);
    case Type.SUBSCRIBE:
    case Type.UNSUBSCRIBE:
      requireFlags(flags, 2);
      return checkFilters(frame, at, type === Type.SUBSCRIBE);
    case Type.PINGREQ:
    case Type.DISCONNECT:
      requireFlags(flags, 0);
      if (at !== frame.length) throw malformed("PINGREQ and DISCONNECT have no body");
      return;
    case Type.CONNECT:
      throw new PacketError("protocol_error", "a second CONNECT (MQTT-3.1.0-2)");
    default:
      throw new PacketError("protocol_error", `packet type ${type} is not for a client to send`);
  }
}

/** Fixed header flags other than PUBLISH's have one value per type (MQTT-2.2.2-2). */
function requireFlags(flags: number, expected: number): void {
  if (flags !== expected) throw malformed(`fixed header flags ${flags}, must be ${expected}`);
}

function checkPublish(frame: Buffer, at: number, flags: number): void {
  const qos = (flags >> 1) & 3;
  if (qos === 3) throw malformed("QoS 3 (MQTT-3.3.1-4)");
  if (qos === 0 && flags & 8) throw malformed("DUP at QoS 0 (MQTT-3.3.1-2)");
  if (frame.length - at < 2) throw malformed("PUBLISH without a topic");
  const end = at + 2 + frame.readUInt16BE(at);
  if (end > frame.length) throw malformed("topic runs past the end of the packet");
  if (qos > 0) checkIdentifier(frame, end);
}

/**
 * Checks a decoded topic name. Decoding turns bytes that are no UTF-8 into U+FFFD, and only then are the bytes
 * themselves worth a look (MQTT-1.5.3-1).
 */
export function checkTopic(topic: string, frame: Buffer, at: number): void {
  if (topic.includes("\ufffd")) checkUtf8(frame, at + 2, at + 2 + frame.readUInt16BE(at));
  const error = topicError(topic);
  if (error !== undefined) throw malformed(`topic name ${error}`);
}

function checkAcknowledgement(frame: Buffer, at: number): void {
  if (frame.length !== at + 2) throw malformed("acknowledgement's body is not two bytes");
  checkIdentifier(frame, at);
}

/** Packet identifiers are not zero (MQTT-2.3.1-1). */
function checkIdentifier(frame: Buffer, at: number): void {
  if (frame.length - at < 2) throw malformed("packet identifier is missing");
  if (frame.readUInt16BE(at) === 0) throw malformed("packet identifier 0");
}

/** At least one filter (MQTT-3.8.3-3, MQTT-3.10.3-2), each a valid one (MQTT-4.7), options 0 to 2 (MQTT-3-8.3-4). */
function checkFilters(frame: Buffer, start: number, options: boolean): void {
  checkIdentifier(frame, start);
  let at = start + 2;
  if (at === frame.length) throw malformed("no topic filter");
  while (at < frame.length) {
    const end = checkString(frame, at);
    const error = filterError(frame.toString("utf8", at + 2, end));
    if (error !== undefined) throw malformed(`topic filter ${error}`);
    at = end;
    if (options) {
      if (at === frame.length) throw malformed("topic filter without requested QoS");
      if (frame[at]! > 2) throw malformed(`requested QoS byte ${frame[at]}`);
      at += 1;
    }
  }
}

/** What the first bytes of a CONNECT say of the protocol. */
export interface ProtocolLevel {
  readonly name: "MQTT" | "MQIsdp";
  readonly level: number;
}

/**
 * Reads protocol name and level before anything else is checked: they decide how a refusal is worded.
 * @throws PacketError protocol_error when this is no CONNECT (MQTT-3.1.0-1), malformed when the name is another
 *   one (MQTT-3.1.2-1)
 */
export function protocolLevel(frame: Buffer): ProtocolLevel {
  if (frame[0]! >> 4 !== Type.CONNECT) {
    throw new PacketError("protocol_error", "the first packet is not CONNECT (MQTT-3.1.0-1)");
  }
  requireFlags(frame[0]! & 0x0f, 0);
  const at = bodyStart(frame);
  const end = checkString(frame, at);
  const name = frame.toString("latin1", at + 2, end);
  if (name !== "MQTT" && name !== "MQIsdp") throw malformed("protocol name is neither MQTT nor MQIsdp");
  if (end === frame.length) throw malformed("protocol level is missing");
  return { name, level: frame[end]! };
}

/**
 * Checks the rest of a 3.1 or 3.1.1 CONNECT (MQTT 3.1.1, section 3.1).
 * @throws PacketError malformed
 */
export function checkConnect(frame: Buffer): void {
  let at = checkString(frame, bodyStart(frame)) + 1;
  if (frame.length - at < 3) throw malformed("CONNECT ends before its keep-alive");
  const flags = frame[at]!;
  const will = (flags & 0x04) !== 0;
  const willQos = (flags >> 3) & 3;
  if (flags & 0x01) throw malformed("reserved connect flag (MQTT-3.1.2-3)");
  if (willQos === 3) throw malformed("will QoS 3 (MQTT-3.1.2-14)");
  if (!will && flags & 0x38) throw malformed("will QoS or will retain without a will (MQTT-3.1.2-13, -15)");
  if ((flags & 0xc0) === 0x40) throw malformed("password without user name (MQTT-3.1.2-22)");
  at = checkString(frame, at + 3);
  if (will) {
    const end = checkString(frame, at);
    const error = topicError(frame.toString("utf8", at + 2, end));
    if (error !== undefined) throw malformed(`will topic ${error}`);
    at = checkBinary(frame, end);
  }
  if (flags & 0x80) at = checkString(frame, at);
  if (flags & 0x40) at = checkBinary(frame, at);
  if (at !== frame.length) throw malformed("bytes after the end of the CONNECT");
}

/** Index after the length-prefixed field at `at`. */
function checkBinary(frame: Buffer, at: number): number {
  if (frame.length - at < 2) throw malformed("a field's length is missing");
  const end = at + 2 + frame.readUInt16BE(at);
  if (end > frame.length) throw malformed("a field runs past the end of the packet");
  return end;
}

/** Index after the UTF-8 string at `at`; it is well formed and holds no U+0000 (MQTT-1.5.3-1, -2). */
function checkString(frame: Buffer, at: number): number {
  const end = checkBinary(frame, at);
  checkUtf8(frame, at + 2, end);
  return end;
}

function checkUtf8(frame: Buffer, start: number, end: number): void {
  const bytes = frame.subarray(start, end);
  if (!isUtf8(bytes)) throw malformed("a string is not UTF-8");
  if (bytes.includes(0)) throw malformed("a string holds U+0000");
}
