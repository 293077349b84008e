/** What a server need not offer: MQTT 5 clients are told what there is not. */
export const FEATURES = ["retain", "wildcards", "shared", "subscription-ids", "empty-ids"] as const;
export type Feature = (typeof FEATURES)[number];

/** Bounds of the sessions; README.md has the policy and the counter of each. */
export interface Limits {
  /** Byte streams served at a time. */
  readonly connections: number;
  /** Sessions, connected or not. */
  readonly sessions: number;
  /** Time for the CONNECT to arrive and to be answered, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** Largest packet a client may send, fixed header included; MQTT 5 clients are told. */
  readonly packetBytes: number;
  /** Longest client identifier in bytes of UTF-8. */
  readonly clientIdBytes: number;
  /** Longest keep-alive in seconds: MQTT 5 clients that ask for a longer one, or for none, are told this one. */
  readonly keepAliveSeconds: number;
  /** Greatest QoS of what a client publishes, its will among it, and of what a subscription is granted. */
  readonly maximumQos: 0 | 1 | 2;
  /** What is not offered. */
  readonly without: readonly Feature[];
  /** Longest time that a session outlives its connection, in seconds; 4,294,967,295: for ever. */
  readonly sessionExpirySeconds: number;
  /** Most levels of a topic name or filter. */
  readonly topicLevels: number;
  readonly subscriptionsPerClient: number;
  /** What one client's filters may take: their bytes, and LEVEL_BYTES for each level. */
  readonly subscriptionBytes: number;
  /** QoS 1 and 2 messages that an MQTT 5 client may have unacknowledged; it is told. */
  readonly receiveMaximum: number;
  /** Topic aliases that an MQTT 5 client may use; it is told. */
  readonly topicAliases: number;
  /** Topic aliases that are used towards a client, where it allows as many. */
  readonly topicAliasesOut: number;
  /** QoS 1 and 2 messages on their way to one client at a time, where it takes as many. */
  readonly inflight: number;
  /** Bytes of their payloads beyond which no further message leaves. */
  readonly inflightBytes: number;
  /** QoS 1 and 2 messages that wait for one client, those on their way included. */
  readonly queueMessages: number;
  /** What they may take: their bytes, and MESSAGE_BYTES each. */
  readonly queueBytes: number;
  /** The same for all clients together. */
  readonly queueBytesTotal: number;
  /** Bytes of QoS 0 messages queued for one client that does not read fast enough. */
  readonly outboxBytes: number;
  /** Bytes of acknowledgements queued for one client before nothing more is read from it. */
  readonly controlBytes: number;
  /** Packets of one client whose answer waits for the uplink, before nothing more is read from it. */
  readonly pendingAcks: number;
  readonly retainedMessages: number;
  /** What they may take: their bytes, and MESSAGE_BYTES each. */
  readonly retainedBytes: number;
  /** Retained messages that wait to be sent to one client, over all its new subscriptions. */
  readonly retainedWaiting: number;
  /** Time a closed client has to close its side before it is reset, in milliseconds. */
  readonly lingerMs: number;
}

/** About what a level of a filter takes in the trie. */
export const LEVEL_BYTES = 128;
/** About what a message that is kept takes beside its own bytes. */
export const MESSAGE_BYTES = 256;

export const DEFAULT_LIMITS: Limits = {
  connections: 100_000,
  sessions: 200_000,
  connectTimeoutMs: 10_000,
  packetBytes: 2_000_000,
  clientIdBytes: 65_535,
  keepAliveSeconds: 65_535,
  maximumQos: 2,
  without: [],
  sessionExpirySeconds: 4_294_967_295,
  topicLevels: 201,
  subscriptionsPerClient: 10_000,
  subscriptionBytes: 16_777_216,
  receiveMaximum: 20,
  topicAliases: 10,
  topicAliasesOut: 10,
  inflight: 100,
  inflightBytes: Number.POSITIVE_INFINITY,
  queueMessages: 10_000,
  queueBytes: 16_777_216,
  queueBytesTotal: 536_870_912,
  outboxBytes: 1_048_576,
  controlBytes: 65_536,
  pendingAcks: 1_000,
  retainedMessages: 1_000_000,
  retainedBytes: 1_073_741_824,
  retainedWaiting: 1_000_000,
  lingerMs: 2_000,
};
