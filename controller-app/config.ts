import { isIPv4 } from "node:net";
import {
  DEFAULT_MTU,
  type Endpoint,
  loadSettings,
  MTU_MAX,
  MTU_MIN,
  type Network,
  parseNetwork,
  type SettingSources,
  type Settings,
  UserError,
  type Value,
  value,
} from "@topicast/protocol";
import { z } from "zod";
import type { SwitchLimits } from "./dataplane/limits.js";
import type { StandInLimits } from "./forwarder/stand-ins.js";
import { limitsOf, switchLimits } from "./switch-limits.js";

/** IPv4 multicast addresses that groups are numbered from. */
export interface GroupRangeConfig {
  /** As given, e.g. `239.192.0.0/14`. */
  readonly cidr: string;
  /** First address, as a number. */
  readonly base: number;
  /** How many addresses. */
  readonly size: number;
}

const MULTICAST_FIRST = 0xe0000000;
const MULTICAST_LAST = 0xefffffff;
/** Group ids tell apart the low 18 bits of an address. */
const SHORTEST_PREFIX = 14;
const LONGEST_PREFIX = 30;

const groupRange: Value<GroupRangeConfig> = {
  schema: z.string().transform((cidr, context) => {
    const parsed = parseGroupRange(cidr);
    if (parsed !== undefined) return parsed;
    context.addIssue("not a multicast network");
    return z.NEVER;
  }),
  allowed: `a multicast network in 224.0.0.0/4 of /${SHORTEST_PREFIX} to /${LONGEST_PREFIX}, such as 239.192.0.0/14`,
};

function parseGroupRange(cidr: string): GroupRangeConfig | undefined {
  const [, address = "", length = ""] = /^([0-9.]+)\/([0-9]{1,2})$/.exec(cidr) ?? [];
  const prefix = Number(length);
  if (!isIPv4(address) || prefix < SHORTEST_PREFIX || prefix > LONGEST_PREFIX) return undefined;
  const base = address.split(".").reduce((number, octet) => number * 256 + Number(octet), 0);
  const size = 2 ** (32 - prefix);
  const inside = base >= MULTICAST_FIRST && base + size - 1 <= MULTICAST_LAST && base % size === 0;
  return inside ? { cidr, base, size } : undefined;
}

const LEGACY_PROXIES_MAX = 64;
const SAFE_MAX = 256;

const network: Value<Network> = {
  schema: z.string().transform((text, context) => {
    const parsed = parseNetwork(text);
    if (parsed !== undefined) return parsed;
    context.addIssue("not a network");
    return z.NEVER;
  }),
  allowed: "an address or a network, such as 192.168.1.7 or 10.0.0.0/8",
};

/** Settings of `topicast controller`, by long flag. */
export const controllerSettings = {
  listen: {
    argument: "ADDRESS[:PORT]",
    help: "this host's address for the agents; required (UDP, default port: 1883)",
    value: value.ipv4Endpoint(1883),
  },
  ryu: {
    argument: "URL",
    help: "Ryu's REST interface; without it routes are served by unicast",
    value: value.httpUrl,
  },
  rest: {
    argument: "ADDRESS:PORT",
    help: "serve /topics, /agents, /groups, /rules, /topology and /healthz there",
    value: value.endpoint,
    preset: "127.0.0.1:8081",
  },
  "group-range": {
    argument: "NETWORK",
    help: "multicast addresses for the groups",
    value: groupRange,
    preset: "239.192.0.0/14",
  },
  "switch-limits": {
    argument: "LIMITS",
    help: "what switches hold of groups: [DPID:]groups=N,flows=N,buckets=N,outputs=N, of one switch or of all; may be repeated (default: no limits)",
    value: switchLimits,
    repeatable: true,
  },
  "merge-waste": {
    argument: "PERCENT",
    help: "copies that nobody wants, of those that somebody wants, to do with as few groups as switches hold",
    value: value.wholeNumber(0, 100),
    preset: "10",
  },
  store: {
    argument: "DIR",
    help: "keep retained messages and wills there, made where it does not exist; without it they end with this process",
    value: value.text,
  },
  "store-sync": {
    help: "flush each write of --store to the disk: what was acknowledged survives a power failure, too",
    value: value.toggle,
  },
  "absent-hours": {
    argument: "HOURS",
    help: "how long QoS 1 and 2 messages are kept for persistent sessions at an agent that is away; 0: not at all",
    value: value.wholeNumber(0, 8_760),
    preset: "24",
  },
  "absent-mib": {
    argument: "MIB",
    help: "how much is kept for all agents that are away, of memory and --store; beyond it the oldest message goes",
    value: value.wholeNumber(1, 65_536),
    preset: "256",
  },
  "quarantine-safe": {
    argument: "NETWORK",
    help: "an address or network that is never put in quarantine, beside the agents and this host; may be repeated",
    value: value.listOf(network, SAFE_MAX),
    repeatable: true,
  },
  "password-file": {
    argument: "FILE",
    help: "users of all agents without a password file of their own, as mosquitto_passwd writes them",
    value: value.text,
  },
  "acl-file": {
    argument: "FILE",
    help: "likewise who may publish and receive what, as mosquitto's acl_file says it",
    value: value.text,
  },
  "legacy-proxy": {
    argument: "ADDRESS[:PORT]",
    help: "a proxy that speaks plain MQTT over UDP without acknowledgements: an edge at QoS 0; may be repeated (default port: 1883)",
    value: value.listOf(value.ipv4Endpoint(1883), LEGACY_PROXIES_MAX),
    repeatable: true,
  },
  "fabric-key": {
    argument: "FILE",
    help: "keys that every datagram of the fabric is sealed with (openssl rand -hex 32); the same at all agents and the forwarder",
    value: value.text,
  },
  "fabric-mtu": {
    argument: "BYTES",
    help: "largest IP packet on every path between agents and forwarder",
    value: value.wholeNumber(MTU_MIN, MTU_MAX),
    preset: String(DEFAULT_MTU),
  },
  "log-level": {
    argument: "LEVEL",
    help: `least severe of what is logged: ${value.logLevel.allowed}`,
    value: value.logLevel,
    preset: "info",
  },
} as const satisfies Settings;

/** What a forwarder needs to know to run; made and checked by `loadControllerConfig`. */
export interface ControllerConfig {
  readonly listen: Endpoint;
  /** Base URL without a trailing slash; undefined: no switches to program. */
  readonly ryu?: string | undefined;
  readonly rest: Endpoint;
  readonly groupRange: GroupRangeConfig;
  /** What each switch holds; undefined: no limits. */
  readonly switchLimits?: ((dpid: bigint) => SwitchLimits) | undefined;
  /** Percent of copies that may be wasted over all groups. */
  readonly mergeWaste: number;
  /** Directory of the retained messages; undefined: they are kept in memory. */
  readonly store?: string | undefined;
  /** What is written there is flushed to the disk before anybody is told. */
  readonly storeSync: boolean;
  /** Paths. */
  readonly passwordFile?: string | undefined;
  readonly aclFile?: string | undefined;
  /** What is kept for agents that are away. */
  readonly absent: StandInLimits;
  /** Never shut out. */
  readonly quarantineSafe: readonly Network[];
  /** Proxies that speak the plain form. */
  readonly legacyProxies: readonly Endpoint[];
  /** Path of the fabric's key file; undefined: datagrams are not sealed. */
  readonly fabricKey?: string | undefined;
  readonly fabricMtu: number;
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
}

/**
 * Reads and checks a forwarder's configuration.
 * @throws UserError (exit code 2) of one line
 */
export function loadControllerConfig(sources: SettingSources): ControllerConfig {
  const values = loadSettings(controllerSettings, sources);
  const { listen, ryu, rest } = values;
  if (listen === undefined) {
    throw new UserError("the address for the agents is missing: give --listen ADDRESS[:PORT]", 2);
  }
  return {
    ...{ listen, ryu, rest, groupRange: values["group-range"] },
    switchLimits: limitsOf(values["switch-limits"] ?? []),
    mergeWaste: values["merge-waste"],
    store: values.store,
    storeSync: values["store-sync"] ?? false,
    ...{ passwordFile: values["password-file"], aclFile: values["acl-file"] },
    absent: {
      timeMs: values["absent-hours"] * 3_600_000,
      bytes: values["absent-mib"] * 1_024 * 1_024,
    },
    legacyProxies: values["legacy-proxy"] ?? [],
    quarantineSafe: values["quarantine-safe"] ?? [],
    ...{ fabricKey: values["fabric-key"], fabricMtu: values["fabric-mtu"] },
    logLevel: values["log-level"],
  };
}
