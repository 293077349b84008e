/** Bounds of the sessions; README.md has the policy and the counter of each. */
export interface Limits {
  /** Byte streams served at a time. */
  readonly connections: number;
  /** Time for the CONNECT to arrive, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** Largest packet a client may send, fixed header included. */
  readonly packetBytes: number;
  /** Longest client identifier in bytes of UTF-8. */
  readonly clientIdBytes: number;
  /** Most levels of a topic name or filter. */
  readonly topicLevels: number;
  readonly subscriptionsPerClient: number;
  /** What one client's filters may take: their bytes, and LEVEL_BYTES for each level. */
  readonly subscriptionBytes: number;
  /** Bytes of messages queued for one client that does not read fast enough. */
  readonly outboxBytes: number;
  /** Bytes of acknowledgements queued for one client before nothing more is read from it. */
  readonly controlBytes: number;
  /** Packets of one client whose answer waits for the uplink, before nothing more is read from it. */
  readonly pendingAcks: number;
  /** Time a closed client has to close its side before it is reset, in milliseconds. */
  readonly lingerMs: number;
}

/** About what a level of a filter takes in the trie. */
export const LEVEL_BYTES = 128;

export const DEFAULT_LIMITS: Limits = {
  connections: 100_000,
  connectTimeoutMs: 10_000,
  packetBytes: 1_048_576,
  clientIdBytes: 1_024,
  topicLevels: 200,
  subscriptionsPerClient: 10_000,
  subscriptionBytes: 16_777_216,
  outboxBytes: 1_048_576,
  controlBytes: 65_536,
  pendingAcks: 1_000,
  lingerMs: 2_000,
};
