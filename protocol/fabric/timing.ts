import { HEADER_BYTES } from "./header.js";
import { SEAL_BYTES } from "./seal.js";

/** Timers that agent and forwarder share: protocol/README.md, section "State machines". All in milliseconds. */
export const PING_MS = 1_000;
/** Silence after which the other side counts as gone. */
export const DEAD_MS = 5_000;
/** A forwarder that has just started collects the agents' state for so long before it changes anything. */
export const SETTLE_MS = 2_500;

/** Payload bytes of a datagram on a path with this MTU: IPv4 and UDP take 28 bytes, then the fabric header. */
export function payloadBytes(mtu: number, sealed = false): number {
  return mtu - 28 - HEADER_BYTES - (sealed ? SEAL_BYTES : 0);
}
export const DEFAULT_MTU = 1_500;
/** What IPv4 promises to carry (RFC 791), and what jumbo frames do. */
export const MTU_MIN = 576;
export const MTU_MAX = 9_000;
