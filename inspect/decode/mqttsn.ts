/** MQTT-SN 1.2 messages (specification of 14 November 2013; section numbers are its). */

export const SN_TYPES: Readonly<Record<number, string>> = {
  0: "ADVERTISE",
  1: "SEARCHGW",
  2: "GWINFO",
  4: "CONNECT",
  5: "CONNACK",
  6: "WILLTOPICREQ",
  7: "WILLTOPIC",
  8: "WILLMSGREQ",
  9: "WILLMSG",
  10: "REGISTER",
  11: "REGACK",
  12: "PUBLISH",
  13: "PUBACK",
  14: "PUBCOMP",
  15: "PUBREC",
  16: "PUBREL",
  18: "SUBSCRIBE",
  19: "SUBACK",
  20: "UNSUBSCRIBE",
  21: "UNSUBACK",
  22: "PINGREQ",
  23: "PINGRESP",
  24: "DISCONNECT",
  26: "WILLTOPICUPD",
  27: "WILLTOPICRESP",
  28: "WILLMSGUPD",
  29: "WILLMSGRESP",
  254: "ENCAPSULATED",
};

const TOPIC_ID_TYPES = ["normal", "predefined", "short", "reserved"] as const;
const MAX_ENCAPSULATION = 4;

export interface SnMessage {
  type: string;
  length: number;
  encapsulated: boolean;
  flags?: number;
  qos?: number;
  dup?: boolean;
  retain?: boolean;
  will?: boolean;
  clean?: boolean;
  topicIdType?: string;
  topicId?: number;
  topic?: string;
  messageId?: number;
  returnCode?: number;
  duration?: number;
  gatewayId?: number;
  clientId?: string;
  payload?: Buffer;
  problem?: string;
}

/** Whether a datagram is one MQTT-SN message by its length and type. */
export function looksLikeSn(bytes: Buffer): boolean {
  const header = headerBytes(bytes);
  return header > 0 && SN_TYPES[bytes[header - 1]!] !== undefined && total(bytes) === bytes.length;
}

/** Length and type: 2 bytes, or 4 where the first is 1 (section 5.2.1). 0: there are fewer. */
function headerBytes(bytes: Buffer): number {
  const size = bytes[0] === 1 ? 4 : 2;
  return bytes.length < size ? 0 : size;
}

function total(bytes: Buffer): number {
  return bytes[0] === 1 ? bytes.readUInt16BE(1) : bytes[0]!;
}

/** Decodes one datagram. Never throws. */
export function decodeSn(bytes: Buffer, depth = 0): SnMessage {
  const header = headerBytes(bytes);
  if (header === 0) {
    return {
      type: "malformed",
      length: bytes.length,
      encapsulated: depth > 0,
      problem: "message is cut short",
    };
  }
  const number = bytes[header - 1]!;
  const type = SN_TYPES[number];
  const length = total(bytes);
  const message: SnMessage = { type: type ?? `0x${number.toString(16)}`, length, encapsulated: depth > 0 };
  if (number === 0xfe && length <= bytes.length && length >= 3 && depth < MAX_ENCAPSULATION) {
    return { ...decodeSn(bytes.subarray(length), depth + 1), encapsulated: true };
  }
  if (type === undefined) message.problem = `message type ${number}`;
  if (length !== bytes.length) message.problem = `length ${length} in a datagram of ${bytes.length} bytes`;
  const body = bytes.subarray(header, Math.max(header, Math.min(length, bytes.length)));
  try {
    readBody(message, number, body);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    message.problem ??= "message is cut short";
  }
  return message;
}

function readBody(m: SnMessage, type: number, b: Buffer): void {
  switch (type) {
    case 0x00:
      m.gatewayId = b.readUInt8(0);
      m.duration = b.readUInt16BE(1);
      return;
    case 0x01:
      return void b.readUInt8(0);
    case 0x02:
      m.gatewayId = b.readUInt8(0);
      return;
    case 0x04:
      readFlags(m, b.readUInt8(0));
      if (b.readUInt8(1) !== 1) m.problem ??= `protocol id ${b[1]}`;
      m.duration = b.readUInt16BE(2);
      m.clientId = b.toString("utf8", 4);
      return;
    case 0x05:
    case 0x1b:
    case 0x1d:
      m.returnCode = b.readUInt8(0);
      return;
    case 0x07:
    case 0x1a:
      if (b.length === 0) return;
      readFlags(m, b.readUInt8(0));
      m.topic = b.toString("utf8", 1);
      return;
    case 0x09:
    case 0x1c:
      m.payload = b;
      return;
    case 0x0a:
      m.topicId = b.readUInt16BE(0);
      m.messageId = b.readUInt16BE(2);
      m.topic = b.toString("utf8", 4);
      return;
    case 0x0b:
    case 0x0d:
      m.topicId = b.readUInt16BE(0);
      m.messageId = b.readUInt16BE(2);
      m.returnCode = b.readUInt8(4);
      return;
    case 0x0c:
      readFlags(m, b.readUInt8(0));
      readTopicId(m, b, 1);
      m.messageId = b.readUInt16BE(3);
      m.payload = b.subarray(5);
      return;
    case 0x0e:
    case 0x0f:
    case 0x10:
    case 0x15:
      m.messageId = b.readUInt16BE(0);
      return;
    case 0x12:
    case 0x14:
      readFlags(m, b.readUInt8(0));
      m.messageId = b.readUInt16BE(1);
      if (m.topicIdType === "normal") m.topicIdType = "name";
      if (m.topicIdType === "name") m.topic = b.toString("utf8", 3);
      else readTopicId(m, b, 3);
      return;
    case 0x13:
      readFlags(m, b.readUInt8(0));
      m.topicId = b.readUInt16BE(1);
      m.messageId = b.readUInt16BE(3);
      m.returnCode = b.readUInt8(5);
      return;
    case 0x16:
      if (b.length > 0) m.clientId = b.toString("utf8");
      return;
    case 0x18:
      if (b.length > 0) m.duration = b.readUInt16BE(0);
      return;
  }
}

/** Flags (section 5.3.4): DUP, QoS (2), Retain, Will, CleanSession, TopicIdType (2). */
function readFlags(m: SnMessage, flags: number): void {
  m.flags = flags;
  m.dup = (flags & 0x80) !== 0;
  const qos = (flags >> 5) & 3;
  m.qos = qos === 3 ? -1 : qos;
  m.retain = (flags & 0x10) !== 0;
  m.will = (flags & 0x08) !== 0;
  m.clean = (flags & 0x04) !== 0;
  m.topicIdType = TOPIC_ID_TYPES[flags & 3]!;
}

/** A short topic name is the two bytes of the topic id. */
function readTopicId(m: SnMessage, b: Buffer, at: number): void {
  m.topicId = b.readUInt16BE(at);
  if (m.topicIdType === "short") m.topic = b.toString("utf8", at, at + 2);
}
