import { ReasonCode } from "@topicast/protocol";
import mqtt, { type IConnackPacket, type Packet } from "mqtt-packet";
import { type AckType, type ProtocolVersion, Type } from "./decode.js";
import { Slab } from "./slab.js";

// Otherwise mqtt-packet makes 65,536 two-byte buffers at its first packet (6 MB); measured, they make nothing faster.
mqtt.writeToStream.cacheNumbers = false;

/** Acknowledgements lie together: a message between two of them does not part them. */
const control = new Slab();

/** A control packet that is sent rarely. */
export function encode(packet: Packet, version: ProtocolVersion): Buffer {
  return mqtt.generate(packet, { protocolVersion: version });
}

/** CONNACK return codes of MQTT 3.1 and 3.1.1 (table 3.1) for the reason codes that have one. */
const RETURN_CODES = new Map<number, number>([
  [ReasonCode.SUCCESS, 0],
  [ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, 1],
  [ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, 2],
  [ReasonCode.QUOTA_EXCEEDED, 3],
  [ReasonCode.SERVER_BUSY, 3],
  [ReasonCode.BAD_USER_NAME_OR_PASSWORD, 4],
  [ReasonCode.NOT_AUTHORIZED, 5],
  [ReasonCode.BANNED, 5],
  [ReasonCode.CONNECTION_RATE_EXCEEDED, 3],
]);

/** CONNACK; undefined where the version has none for this reason. */
export function encodeConnack(
  version: ProtocolVersion,
  reasonCode: number,
  sessionPresent: boolean,
  properties: NonNullable<IConnackPacket["properties"]> = {},
): Buffer | undefined {
  if (version === 5) return encode({ cmd: "connack", reasonCode, sessionPresent, properties }, 5);
  const returnCode = RETURN_CODES.get(reasonCode);
  if (returnCode === undefined) return undefined;
  // The flag was reserved in MQTT 3.1.
  return encode({ cmd: "connack", returnCode, sessionPresent: sessionPresent && version === 4 }, version);
}

/** The fixed header's first byte of each acknowledgement. */
const ACK_HEADERS: Readonly<Record<AckType, number>> = {
  [Type.PUBACK]: 0x40,
  [Type.PUBREC]: 0x50,
  [Type.PUBREL]: 0x62,
  [Type.PUBCOMP]: 0x70,
};

/**
 * PUBACK, PUBREC, PUBREL or PUBCOMP, as short as it may be: without reason code where that is 0, and without property
 * length (MQTT 5, section 3.4.2.1).
 * @param code 0 before MQTT 5
 */
export function encodeAck(type: AckType, id: number, code = 0): Buffer {
  control.begin(5);
  const { bytes } = control;
  let { at } = control;
  bytes[at++] = ACK_HEADERS[type];
  bytes[at++] = code === 0 ? 2 : 3;
  bytes[at++] = id >> 8;
  bytes[at++] = id & 0xff;
  if (code !== 0) bytes[at++] = code;
  control.at = at;
  return control.take();
}

/** DISCONNECT of MQTT 5; in its short form where there are no words to say. */
export function encodeDisconnect(reasonCode: number, reasonString: string | undefined): Buffer {
  if (reasonString === undefined) return Buffer.from([0xe0, 1, reasonCode]);
  return encode({ cmd: "disconnect", reasonCode, properties: { reasonString } }, 5);
}

/** SUBACK or UNSUBACK; before MQTT 5 an UNSUBACK has no codes. */
export function encodeGranted(
  cmd: "suback" | "unsuback",
  messageId: number,
  granted: number[],
  version: ProtocolVersion,
): Buffer {
  return encode({ cmd, messageId, granted }, version);
}

export const PINGRESP = Buffer.from([0xd0, 0]);
