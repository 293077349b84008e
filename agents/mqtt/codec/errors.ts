/** Why a connection ends; each has a counter `closed_<reason>`. */
export type CloseReason =
  | "disconnect"
  | "peer_closed"
  | "stream_error"
  | "malformed"
  | "protocol_error"
  | "packet_too_large"
  | "too_many_levels"
  | "keep_alive"
  | "connect_timeout"
  | "taken_over"
  | "refused"
  | "shutdown"
  | "uplink_error"
  | "internal_error";

/** A client broke the protocol: the message says how, `reason` is what the connection is closed with. */
export class PacketError extends Error {
  override readonly name = "PacketError";
  constructor(
    readonly reason: CloseReason,
    message: string,
  ) {
    super(message);
  }
}

export function malformed(message: string): PacketError {
  return new PacketError("malformed", message);
}
