import { PacketError, ReasonCode } from "@topicast/protocol";

/** Why a connection ends; each has a counter `closed_<reason>`. */
export type CloseReason =
  | "disconnect"
  | "peer_closed"
  | "stream_error"
  | "malformed"
  | "protocol_error"
  | "packet_too_large"
  | "topic_alias"
  | "receive_maximum"
  | "not_supported"
  | "keep_alive"
  | "connect_timeout"
  | "unanswered"
  | "taken_over"
  | "refused"
  | "revoked"
  | "screened"
  | "shutdown"
  | "uplink_error"
  | "internal_error";

/**
 * The client's bytes cannot be cut into packets any more: whatever it were told, it would hardly read. Its connection
 * is closed without an answer.
 */
export class FramingError extends PacketError {
  constructor(message: string) {
    super(ReasonCode.MALFORMED_PACKET, message);
  }
}

const REASONS = new Map<number, CloseReason>([
  [ReasonCode.MALFORMED_PACKET, "malformed"],
  [ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "malformed"],
  [ReasonCode.PACKET_TOO_LARGE, "packet_too_large"],
  [ReasonCode.TOPIC_ALIAS_INVALID, "topic_alias"],
  [ReasonCode.RECEIVE_MAXIMUM_EXCEEDED, "receive_maximum"],
  [ReasonCode.RETAIN_NOT_SUPPORTED, "not_supported"],
  [ReasonCode.QOS_NOT_SUPPORTED, "not_supported"],
  [ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, "not_supported"],
  [ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "not_supported"],
  [ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED, "not_supported"],
]);

/** What a connection is closed with when its client has broken the protocol. */
export function closeReason(error: PacketError): CloseReason {
  return REASONS.get(error.code) ?? "protocol_error";
}

/** The reason code that the client is told of `error`, which it is closed for. */
export function disconnectCode(error: PacketError): number | undefined {
  const reason = closeReason(error);
  return reason === "not_supported" ? error.code : DISCONNECT_CODES[reason];
}

/** The reason code of the DISCONNECT that tells an MQTT 5 client why; undefined where none is sent. */
export const DISCONNECT_CODES: Readonly<Record<CloseReason, number | undefined>> = {
  disconnect: undefined,
  peer_closed: undefined,
  stream_error: undefined,
  connect_timeout: undefined,
  // Its CONNECT came in time; whoever had to answer it did not.
  unanswered: undefined,
  refused: undefined,
  revoked: ReasonCode.NOT_AUTHORIZED,
  // Where the screen does not say it otherwise.
  screened: ReasonCode.ADMINISTRATIVE_ACTION,
  malformed: ReasonCode.MALFORMED_PACKET,
  protocol_error: ReasonCode.PROTOCOL_ERROR,
  packet_too_large: ReasonCode.PACKET_TOO_LARGE,
  topic_alias: ReasonCode.TOPIC_ALIAS_INVALID,
  receive_maximum: ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
  // Each feature has a code of its own: `disconnectCode`.
  not_supported: undefined,
  keep_alive: ReasonCode.KEEP_ALIVE_TIMEOUT,
  taken_over: ReasonCode.SESSION_TAKEN_OVER,
  shutdown: ReasonCode.SERVER_SHUTTING_DOWN,
  uplink_error: ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
  internal_error: ReasonCode.UNSPECIFIED_ERROR,
};
