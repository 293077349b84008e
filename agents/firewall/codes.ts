import { ReasonCode } from "@topicast/protocol";

/** What a rule is about: it decides on the reason code. */
export type Kind =
  | "connections"
  | "rate"
  | "subscriptions"
  | "topic"
  | "take-over"
  | "size"
  | "type"
  | "content"
  | "guessing"
  | "protocol"
  | "quarantine";

/** The packet that a rule is broken with. */
export type PacketName = "open" | "connect" | "publish" | "subscribe" | "unsubscribe" | "auth" | "end";

const {
  QUOTA_EXCEEDED,
  NOT_AUTHORIZED,
  PAYLOAD_FORMAT_INVALID,
  BANNED,
  CONNECTION_RATE_EXCEEDED,
  MESSAGE_RATE_TOO_HIGH,
  PACKET_TOO_LARGE,
  ADMINISTRATIVE_ACTION,
  IMPLEMENTATION_SPECIFIC_ERROR,
} = ReasonCode;

/** In the packet's own answer (MQTT 5, tables 3-1, 3-4, 3-5, 3-8), and in DISCONNECT (table 3-10). */
const CODES: Readonly<Record<Kind, readonly [answer: number, disconnect: number]>> = {
  connections: [CONNECTION_RATE_EXCEEDED, QUOTA_EXCEEDED],
  rate: [QUOTA_EXCEEDED, MESSAGE_RATE_TOO_HIGH],
  subscriptions: [QUOTA_EXCEEDED, QUOTA_EXCEEDED],
  topic: [NOT_AUTHORIZED, ADMINISTRATIVE_ACTION],
  "take-over": [NOT_AUTHORIZED, ADMINISTRATIVE_ACTION],
  size: [QUOTA_EXCEEDED, PACKET_TOO_LARGE],
  type: [PAYLOAD_FORMAT_INVALID, PAYLOAD_FORMAT_INVALID],
  content: [NOT_AUTHORIZED, ADMINISTRATIVE_ACTION],
  guessing: [BANNED, ADMINISTRATIVE_ACTION],
  protocol: [BANNED, ADMINISTRATIVE_ACTION],
  quarantine: [BANNED, ADMINISTRATIVE_ACTION],
};

/** The reason code that tells an MQTT 5 client. */
export function codeOf(kind: Kind, packet: PacketName, ends: boolean): number {
  // CONNECT is answered by CONNACK even where the connection ends with it.
  if (ends && packet !== "connect") return CODES[kind][1];
  // UNSUBACK has no code for too many, or for what must not be (table 3-9).
  return packet === "unsubscribe" ? IMPLEMENTATION_SPECIFIC_ERROR : CODES[kind][0];
}
