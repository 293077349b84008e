import { bodyStart, FieldReader, filterError, PacketError, topicError } from "@topicast/protocol";
import {
  type ConnectFields,
  type FilterOptions,
  type MqttPacket,
  Type,
  type Version,
  type Will,
} from "./mqtt-types.js";
import { readProperties } from "./properties.js";

/**
 * Decodes one packet. Never throws: what is wrong is in `problems`, and what stands before it is read all the same.
 *
 * @param bytes the packet from its first byte on; of a long one perhaps not all
 * @param length bytes that it has on the wire
 */
export function decodeMqtt(bytes: Buffer, length: number, version: Version): MqttPacket {
  const first = bytes[0]!;
  const packet = emptyPacket(first >> 4, length);
  const fields = new FieldReader(bytes, bodyStart(bytes), bytes.length);
  try {
    readBody(packet, fields, first & 0x0f, version);
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    packet.isUnreadable = true;
    packet.problems.push(bytes.length < length ? "the packet is not wholly in the capture" : error.message);
  }
  return packet;
}

function emptyPacket(type: number, length: number): MqttPacket {
  return {
    type,
    length,
    dup: false,
    qos: 0,
    retain: false,
    id: undefined,
    topic: undefined,
    payload: undefined,
    payloadLength: undefined,
    properties: undefined,
    filters: undefined,
    codes: undefined,
    sessionPresent: undefined,
    connect: undefined,
    problems: [],
    isUnreadable: false,
  };
}

function readBody(packet: MqttPacket, fields: FieldReader, flags: number, version: Version): void {
  switch (packet.type) {
    case Type.CONNECT:
      checkFlags(packet, version === 3 ? 0 : flags, 0);
      return readConnect(packet, fields);
    case Type.CONNACK:
      checkFlags(packet, flags, 0);
      return readConnack(packet, fields, version);
    case Type.PUBLISH:
      return readPublish(packet, fields, flags, version);
    case Type.PUBACK:
    case Type.PUBREC:
    case Type.PUBREL:
    case Type.PUBCOMP:
      checkFlags(packet, flags, packet.type === Type.PUBREL ? 2 : 0, version);
      readId(packet, fields);
      return readReason(packet, fields, version);
    case Type.SUBSCRIBE:
    case Type.UNSUBSCRIBE:
      checkFlags(packet, flags, 2, version);
      return readFilters(packet, fields, version);
    case Type.SUBACK:
    case Type.UNSUBACK:
      checkFlags(packet, flags, 0);
      return readCodes(packet, fields, version);
    case Type.PINGREQ:
    case Type.PINGRESP:
      checkFlags(packet, flags, 0);
      return fields.finish("a ping");
    case Type.DISCONNECT:
    case Type.AUTH:
      checkFlags(packet, flags, 0);
      if (packet.type === Type.AUTH && version !== 5) packet.problems.push("AUTH before MQTT 5");
      return readReason(packet, fields, version);
    default:
      packet.isUnreadable = true;
      packet.problems.push("packet type 0");
  }
}

/** Flags have one value per type (MQTT-2.1.3-1); MQTT 3.1 lets DUP be set with QoS 1 packets. */
function checkFlags(packet: MqttPacket, flags: number, expected: number, version: Version = 4): void {
  const judged = version === 3 && expected === 2 ? flags & 7 : flags;
  if (judged !== expected) packet.problems.push(`fixed header flags ${flags}, must be ${expected}`);
  packet.dup = version === 3 && (flags & 8) !== 0;
}

function readId(packet: MqttPacket, fields: FieldReader): void {
  packet.id = fields.uint16("packet identifier");
  if (packet.id === 0) packet.problems.push("packet identifier 0");
}

function readConnect(packet: MqttPacket, fields: FieldReader): void {
  const protocol = fields.text("protocol name");
  const level = fields.byte("protocol level");
  const connect: ConnectFields = {
    protocol,
    // Bit 7 marks a bridge (mosquitto).
    level: level & 0x7f,
    clean: false,
    keepAlive: 0,
    clientId: "",
    will: undefined,
    username: undefined,
    hasPassword: false,
  };
  packet.connect = connect;
  const isKnown =
    protocol === "MQTT" ? [4, 5].includes(connect.level) : protocol === "MQIsdp" && connect.level === 3;
  if (!isKnown) packet.problems.push(`protocol ${protocol} of level ${level}`);
  const flags = fields.byte("connect flags");
  if ((flags & 1) !== 0 && connect.level !== 3) packet.problems.push("reserved connect flag (MQTT-3.1.2-3)");
  connect.clean = (flags & 2) !== 0;
  connect.keepAlive = fields.uint16("keep-alive");
  if (connect.level === 5) packet.properties = readProperties(fields);
  connect.clientId = fields.text("client identifier");
  if (flags & 4) connect.will = readWill(packet, fields, flags, connect.level === 5);
  else if (flags & 0x38) packet.problems.push("will QoS or will retain without a will");
  if (flags & 0x80) connect.username = fields.text("user name");
  if (flags & 0x40) {
    connect.hasPassword = true;
    fields.binary("password");
  }
  fields.finish("CONNECT");
}

function readWill(packet: MqttPacket, fields: FieldReader, flags: number, hasProperties: boolean): Will {
  const properties = hasProperties ? readProperties(fields) : undefined;
  for (const [name, value] of Object.entries(properties ?? {})) {
    packet.properties ??= {};
    packet.properties[`will.${name}`] = value;
  }
  const topic = fields.text("will topic");
  const payload = fields.binary("will payload");
  const qos = (flags >> 3) & 3;
  if (qos === 3) packet.problems.push("will QoS 3");
  const error = topicError(topic);
  if (error !== undefined) packet.problems.push(`will topic ${error}`);
  return { topic, payload, qos, retain: (flags & 0x20) !== 0 };
}

function readConnack(packet: MqttPacket, fields: FieldReader, version: Version): void {
  const flags = fields.byte("acknowledge flags");
  if (flags > 1) packet.problems.push(`acknowledge flags ${flags}`);
  packet.sessionPresent = (flags & 1) !== 0;
  packet.codes = [fields.byte("return code")];
  // A server that does not serve MQTT 5 refuses with the older form.
  if (version === 5 && !(fields.done && packet.codes[0] === 1)) packet.properties = readProperties(fields);
  fields.finish("CONNACK");
}

function readPublish(packet: MqttPacket, fields: FieldReader, flags: number, version: Version): void {
  packet.dup = (flags & 8) !== 0;
  packet.qos = (flags >> 1) & 3;
  packet.retain = (flags & 1) !== 0;
  if (packet.qos === 3) packet.problems.push("QoS 3 (MQTT-3.3.1-4)");
  if (packet.qos === 0 && packet.dup) packet.problems.push("DUP with QoS 0 (MQTT-3.3.1-2)");
  packet.topic = fields.text("topic");
  if (packet.qos > 0) readId(packet, fields);
  if (version === 5) packet.properties = readProperties(fields);
  packet.payload = fields.bytes.subarray(fields.at, fields.end);
  packet.payloadLength = packet.length - fields.at;
  const hasAlias = packet.properties?.topic_alias !== undefined;
  const error = packet.topic === "" && hasAlias ? undefined : topicError(packet.topic);
  if (error !== undefined) packet.problems.push(`topic ${error}`);
}

/** PUBACK and its like, DISCONNECT and AUTH: in MQTT 5 a reason code and properties, each of which may be left out. */
function readReason(packet: MqttPacket, fields: FieldReader, version: Version): void {
  if (version === 5 && !fields.done) {
    packet.codes = [fields.byte("reason code")];
    if (!fields.done) packet.properties = readProperties(fields);
  }
  fields.finish("the packet");
}

function readFilters(packet: MqttPacket, fields: FieldReader, version: Version): void {
  readId(packet, fields);
  if (version === 5) packet.properties = readProperties(fields);
  const filters: FilterOptions[] = [];
  packet.filters = filters;
  if (fields.done) packet.problems.push("no topic filter");
  while (!fields.done) {
    const filter = fields.text("topic filter");
    const error = filterError(filter);
    if (error !== undefined) packet.problems.push(`topic filter ${error}`);
    const options = packet.type === Type.SUBSCRIBE ? fields.byte("subscription options") : 0;
    // MQTT 3.1 says nothing of the upper bits.
    if ((options & 3) === 3 || (version !== 3 && options > (version === 5 ? 0x2f : 2))) {
      packet.problems.push(`subscription options ${options}`);
    }
    filters.push({
      filter,
      qos: options & 3,
      noLocal: version === 5 && (options & 4) !== 0,
      retainAsPublished: version === 5 && (options & 8) !== 0,
      retainHandling: version === 5 ? (options >> 4) & 3 : 0,
    });
  }
}

/** UNSUBACK has codes only in MQTT 5. */
function readCodes(packet: MqttPacket, fields: FieldReader, version: Version): void {
  readId(packet, fields);
  if (version === 5) packet.properties = readProperties(fields);
  if (packet.type === Type.UNSUBACK && version !== 5) return fields.finish("UNSUBACK");
  packet.codes = [...fields.bytes.subarray(fields.at, fields.end)];
  fields.at = fields.end;
  if (packet.codes.length === 0) packet.problems.push("no code");
}
