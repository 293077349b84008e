/** Timers that agent and forwarder share: protocol/README.md, section "State machines". All in milliseconds. */
export const PING_MS = 1_000;
/** Silence after which the other side counts as gone. */
export const DEAD_MS = 5_000;
/** A forwarder that has just started collects the agents' state for so long before it changes anything. */
export const SETTLE_MS = 2_500;

/** Payload bytes of a datagram on a path with this MTU: IPv4 and UDP take 28 bytes, the fabric header 20. */
export function payloadBytes(mtu: number): number {
  return mtu - 28 - 20;
}
export const DEFAULT_MTU = 1_500;
