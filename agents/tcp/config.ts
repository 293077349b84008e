/** The stack's numbers. Sizes in bytes, times in milliseconds. */
export interface TcpConfig {
  /** Largest segment to send or to ask for: the interface's MTU less 40 (IPv4 and TCP without options); 20 less in IPv6. */
  mss: number;
  /** Whether to offer and accept timestamps (RFC 7323). */
  timestamps: boolean;
  /** Whether to offer and accept selective acknowledgement (RFC 2018). */
  sack: boolean;
  /** Written and not yet acknowledged, per connection; a writer that goes beyond has to wait. */
  sendBuffer: number;
  /** Received and not yet read, per connection; bounds the advertised window. */
  receiveBuffer: number;
  /** Received and not yet read, over all connections; beyond it payload is dropped, and the peer sends it again. */
  receiveMemory: number;
  /** Connections that are not closed, TIME-WAIT apart; beyond it a SYN is dropped. */
  maxConnections: number;
  /** Connections in SYN-RECEIVED; beyond it SYN cookies answer (see admission.ts), at 0 always. */
  maxHalfOpen: number;
  /** The same of one source: an IPv4 address, or the /64 of an IPv6 address. 0: no limit, as with the next ones. */
  maxHalfOpenPerSource: number;
  /** Connections of one source, TIME-WAIT apart; beyond it a SYN is dropped. */
  maxConnectionsPerSource: number;
  /** New connections of one source per second, and at once after a rest; beyond it a SYN is dropped. */
  connectionRatePerSource: number;
  connectionBurstPerSource: number;
  /** Frames and bytes per second to the connections of one source; what goes beyond is dropped, and comes again. */
  frameRatePerSource: number;
  byteRatePerSource: number;
  /** Sources without a connection whose rate is still remembered; beyond it the oldest is forgotten. */
  maxRestingSources: number;
  /** Connections in TIME-WAIT; beyond it the oldest is forgotten. */
  maxTimeWait: number;
  /** Datagrams of which some fragments have come; beyond it the oldest is forgotten. */
  maxFragmented: number;
  /** Of them from one source, an IPv4 address or an IPv6 /64; beyond it that source's oldest is forgotten. */
  maxFragmentedPerSource: number;
  /** Fragments held, with their overhead; beyond it the oldest datagrams are forgotten. */
  fragmentMemory: number;
  /** From a datagram's first fragment to its last. RFC 8200 says 60 s, but by then TCP has long sent it again. */
  fragmentTimeout: number;
  /** RFC 6298 2.1. */
  initialRto: number;
  /** See rtt.ts for why it is below the RFC's 1 s. */
  minRto: number;
  maxRto: number;
  /** SYN or SYN-ACK again without an answer; then the connection is given up. */
  synRetries: number;
  /** Data sent without any being acknowledged for so long: the connection is given up (RFC 9293 section 3.8.3). */
  userTimeout: number;
  /** Data kept waiting by the peer's window, whatever it answers, for so long: the connection is given up. 0: never. */
  persistTimeout: number;
  /** We have closed, the peer has not and sends nothing, for so long: the connection is given up. 0: never. */
  finWait2: number;
  /** Nothing received for so long: the peer is probed (RFC 9293 section 3.8.4, which asks for 0, off, by default). */
  keepAliveIdle: number;
  /** Between two probes. */
  keepAliveInterval: number;
  /** Probes without an answer until the connection is given up. */
  keepAliveProbes: number;
  /**
   * How long an acknowledgement waits for data to carry it, see delayed-ack.ts; 0: never. Below 500 (RFC 9293 section
   * 3.8.6.3), and well below any peer's retransmission time-out.
   */
  ackDelay: number;
  /** Twice the maximum segment lifetime. */
  timeWait: number;
}

export const DEFAULT_CONFIG: Readonly<TcpConfig> = {
  mss: 1460,
  timestamps: true,
  sack: true,
  sendBuffer: 256 * 1024,
  receiveBuffer: 256 * 1024,
  receiveMemory: 128 * 1024 * 1024,
  maxConnections: 65_536,
  maxHalfOpen: 4_096,
  maxHalfOpenPerSource: 2_048,
  maxConnectionsPerSource: 8_192,
  connectionRatePerSource: 500,
  connectionBurstPerSource: 2_000,
  frameRatePerSource: 0,
  byteRatePerSource: 0,
  maxRestingSources: 8_192,
  maxTimeWait: 8_192,
  maxFragmented: 64,
  maxFragmentedPerSource: 16,
  fragmentMemory: 1024 * 1024,
  fragmentTimeout: 15_000,
  initialRto: 1_000,
  minRto: 200,
  maxRto: 60_000,
  synRetries: 5,
  userTimeout: 120_000,
  persistTimeout: 600_000,
  finWait2: 180_000,
  keepAliveIdle: 0,
  keepAliveInterval: 15_000,
  keepAliveProbes: 5,
  ackDelay: 40,
  timeWait: 60_000,
};

/** Sizes of segments, options of TCP included, that depend on the version of IP. */
export interface SegmentSizes {
  /** To send or to ask for. */
  readonly largest: number;
  /** What a peer takes that sends no MSS option (RFC 9293 section 3.7.1). */
  readonly assumed: number;
}
/** A peer that asks for less gets this: tiny segments would cost us many packets per byte (as Linux' TCP_MIN_SND_MSS). */
export const MIN_MSS = 48;
/**
 * So many time-outs in a row of a segment above so many bytes: perhaps the path drops what is large and nobody says so
 * (RFC 2923 section 2.1, RFC 4821); the largest segment is halved, down to what every path must take.
 */
export const BLACK_HOLE_TIMEOUTS = 3;
export const BLACK_HOLE_MSS = 536;
/** At most one answer in this time to segments outside the window and other challenges, per connection (RFC 5961 10). */
export const CHALLENGE_INTERVAL = 500;
/** RFC 6298 5.7: the time-out to go on with when the SYN's had gone off. */
export const RTO_AFTER_LOST_SYN = 3_000;

/** The smallest shift by which a 16-bit window field can announce `bytes` (RFC 7323 section 2). */
export function windowShift(bytes: number): number {
  let shift = 0;
  while (shift < 14 && 0xffff * 2 ** shift < bytes) shift += 1;
  return shift;
}
