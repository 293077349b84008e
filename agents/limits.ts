import { type Settings, UserError, type ValuesOf, value } from "@topicast/protocol";
import { DEFAULT_LIMITS, FEATURES, type Limits } from "./mqtt/limits.js";
import { DEFAULT_CONFIG, type TcpConfig } from "./tcp/config.js";

/** How many times its rate a source may open connections at once, after a rest. */
const BURST = DEFAULT_CONFIG.connectionBurstPerSource / DEFAULT_CONFIG.connectionRatePerSource;

const count = value.wholeNumber(0, 1_000_000_000);

/** Bounds on what clients may take of an agent, each for every port; 0 where a source is not bounded. */
export const limitSettings = {
  "max-connections": {
    argument: "N",
    help: "connections at a time on one port; beyond it new ones are refused",
    value: value.wholeNumber(1, 10_000_000),
    presetHelp: `${DEFAULT_CONFIG.maxConnections}`,
  },
  "max-half-open": {
    argument: "N",
    help: "raw: unfinished handshakes on one port; beyond it SYN cookies answer",
    value: count,
    presetHelp: `${DEFAULT_CONFIG.maxHalfOpen}`,
  },
  "source-half-open": {
    argument: "N",
    help: "raw: the same of one source, an IPv4 address or IPv6 /64; 0: no bound, as with the next ones",
    value: count,
    presetHelp: `${DEFAULT_CONFIG.maxHalfOpenPerSource}`,
  },
  "source-connections": {
    argument: "N",
    help: "raw: connections of one source; beyond it new ones are dropped",
    value: count,
    presetHelp: `${DEFAULT_CONFIG.maxConnectionsPerSource}`,
  },
  "source-rate": {
    argument: "N",
    help: `raw: new connections of one source per second, and ${BURST} times as many at once; beyond it they are dropped`,
    value: count,
    presetHelp: `${DEFAULT_CONFIG.connectionRatePerSource}`,
  },
  "source-frames": {
    argument: "N",
    help: "raw: frames per second to the connections of one source; beyond it they are dropped",
    value: count,
    presetHelp: "no bound",
  },
  "source-bytes": {
    argument: "N",
    help: "raw: bytes per second, likewise",
    value: count,
    presetHelp: "no bound",
  },
} as const satisfies Settings;

/** Bounds of the sessions that clients are told of, where they can be. */
export const sessionLimitSettings = {
  "max-sessions": {
    argument: "N",
    help: "clients that are connected or have a session here; beyond it new ones are refused",
    value: value.wholeNumber(1, 10_000_000),
    presetHelp: `${DEFAULT_LIMITS.sessions}`,
  },
  "max-keepalive": {
    argument: "SECONDS",
    help: "longest keep-alive; MQTT 5 clients that ask for a longer one, or for none, are told this one, older ones that ask for a longer one are refused",
    value: value.wholeNumber(1, DEFAULT_LIMITS.keepAliveSeconds),
    presetHelp: `${DEFAULT_LIMITS.keepAliveSeconds}`,
  },
  "max-packet-size": {
    argument: "BYTES",
    help: "largest MQTT packet of a client",
    value: value.wholeNumber(20, 268_435_460),
    presetHelp: `${DEFAULT_LIMITS.packetBytes}`,
  },
  "max-inflight": {
    argument: "N",
    help: "QoS 1 and 2 messages that are unacknowledged at a time: of an MQTT 5 client, and towards any",
    value: value.wholeNumber(1, 65_535),
    presetHelp: `${DEFAULT_LIMITS.receiveMaximum} and ${DEFAULT_LIMITS.inflight}`,
  },
  "max-inflight-bytes": {
    argument: "BYTES",
    help: "payload bytes of QoS 1 and 2 messages on their way to a client beyond which the next ones wait",
    value: value.wholeNumber(1, 1_000_000_000),
    presetHelp: "no bound",
  },
  "max-topic-alias": {
    argument: "N",
    help: "topic aliases that a client may use",
    value: value.wholeNumber(0, 65_535),
    presetHelp: `${DEFAULT_LIMITS.topicAliases}`,
  },
  "max-qos": {
    argument: "QOS",
    help: "greatest QoS that a client may publish with, and is granted; whoever publishes above is disconnected",
    value: value.wholeNumber(0, 2),
    presetHelp: `${DEFAULT_LIMITS.maximumQos}`,
  },
  without: {
    argument: "FEATURE",
    help: `do without retained messages, subscriptions with wildcards, shared ones, subscription identifiers, or empty client identifiers (${FEATURES.join(", ")}): whoever uses them is told, and disconnected; may be repeated`,
    value: value.listOf(value.oneOf(...FEATURES), FEATURES.length),
    repeatable: true,
    presetHelp: "all are there",
  },
} as const satisfies Settings;

/** The settings above where they were given, as the sessions call them. */
export function sessionLimits(values: ValuesOf<typeof sessionLimitSettings>): Partial<Limits> {
  const inflight = values["max-inflight"];
  const limits: { [K in keyof Limits]?: Limits[K] | undefined } = {
    sessions: values["max-sessions"],
    keepAliveSeconds: values["max-keepalive"],
    packetBytes: values["max-packet-size"],
    receiveMaximum: inflight,
    inflight,
    inflightBytes: values["max-inflight-bytes"],
    topicAliases: values["max-topic-alias"],
    maximumQos: values["max-qos"] as Limits["maximumQos"] | undefined,
    without: values.without,
  };
  return Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== undefined));
}

/** Bounds where they were given, as the TCP stack calls them. */
export type ClientLimits = Partial<TcpConfig>;

/**
 * @throws UserError where one is given that the kernel's sockets do not have
 */
export function clientLimits(
  values: ValuesOf<typeof limitSettings>,
  transport: "raw" | "socket",
): ClientLimits {
  if (transport === "socket") {
    const names = Object.keys(limitSettings) as Array<keyof typeof limitSettings>;
    const flag = names.find((name) => name !== "max-connections" && values[name] !== undefined);
    if (flag !== undefined) {
      throw new UserError(
        `--${flag} needs --transport raw: bound what the kernel's sockets take by its firewall (nft: ct count, limit rate)`,
        2,
      );
    }
  }
  const rate = values["source-rate"];
  const limits: { [K in keyof TcpConfig]?: TcpConfig[K] | undefined } = {
    maxConnections: values["max-connections"],
    maxHalfOpen: values["max-half-open"],
    maxHalfOpenPerSource: values["source-half-open"],
    maxConnectionsPerSource: values["source-connections"],
    connectionRatePerSource: rate,
    connectionBurstPerSource: rate === undefined ? undefined : rate * BURST,
    frameRatePerSource: values["source-frames"],
    byteRatePerSource: values["source-bytes"],
  };
  return Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== undefined));
}
