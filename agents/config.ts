import { hostname } from "node:os";
import {
  DEFAULT_MTU,
  type Endpoint,
  formatEndpoint,
  INTERCEPTS_MAX,
  loadSettings,
  MTU_MAX,
  MTU_MIN,
  type SettingSources,
  type Settings,
  UserError,
  type ValuesOf,
  value,
} from "@topicast/protocol";
import {
  type ClientLimits,
  clientLimits,
  limitSettings,
  sessionLimitSettings,
  sessionLimits,
} from "./limits.js";
import {
  LISTENERS,
  type ListenerName,
  type ListenerSettings,
  listenerOverrides,
  listenerSettings,
  perListener,
} from "./listener-settings.js";
import type { Limits } from "./mqtt/limits.js";

/** Longest time that Linux takes for TCP_KEEPIDLE, in seconds. */
const KEEP_ALIVE_MAX = 32_767;

/** Settings of `topicast agent`, by long flag. */
export const agentSettings = {
  interface: {
    short: "i",
    argument: "IFACE",
    help: "network interface of the clients and of the fabric",
    value: value.interfaceName,
  },
  tcpport: {
    short: "t",
    argument: "PORT",
    help: "TCP port for MQTT clients, or none",
    value: value.portOrNone,
    preset: "1883",
  },
  intercept: {
    argument: "ADDRESS[:PORT]",
    help: "answer the clients of this broker, too, wherever it is or is not, as at the agent's own port of that number, at any other in plain MQTT; may be repeated (default port: 1883)",
    value: value.listOf(value.hostEndpoint(1883), INTERCEPTS_MAX),
    repeatable: true,
  },
  tlsport: {
    argument: "PORT",
    help: "TCP port for MQTT over TLS, usually 8883",
    value: value.port,
  },
  wsport: {
    argument: "PORT",
    help: "TCP port for MQTT over WebSocket",
    value: value.port,
  },
  wssport: {
    argument: "PORT",
    help: "TCP port for MQTT over WebSocket over TLS",
    value: value.port,
  },
  wspath: {
    argument: "PATH",
    help: "the one path that the WebSocket ports serve",
    value: value.httpPath,
    presetHelp: "any",
  },
  cert: {
    argument: "FILE",
    help: "the TLS ports' certificate, and those between it and the root (PEM)",
    value: value.text,
  },
  key: {
    argument: "FILE",
    help: "its private key (PEM)",
    value: value.text,
  },
  ca: {
    argument: "FILE",
    help: "who signs clients' certificates (PEM); a certificate presented must verify",
    value: value.text,
  },
  ...perListener,
  listener: {
    argument: "NAME.SETTING=VALUE",
    help: `one of these, or max-connections, for one port alone (${LISTENERS.join(", ")}); may be repeated`,
    value: listenerOverrides,
    repeatable: true,
  },
  "firewall-rules": {
    argument: "FILE",
    help: "the firewall's rules (YAML); topicast check-config FILE explains what is wrong with them",
    value: value.text,
    presetHelp: "built in",
  },
  "firewall-log": {
    argument: "FILE",
    help: "append what the firewall finds to this file, a line of JSON each",
    value: value.text,
    presetHelp: "standard error",
  },
  "tcp-keepalive": {
    argument: "SECONDS",
    help: "probe a client that has sent nothing for so long, and give it up where it does not answer, or none",
    value: value.secondsOrNone(KEEP_ALIVE_MAX),
    preset: "none",
  },
  username: {
    short: "u",
    argument: "NAME",
    help: "the one user name that is let in, instead of a password file",
    value: value.text,
    env: "TOPICAST_USERNAME",
  },
  password: {
    short: "p",
    argument: "PASSWORD",
    help: "and its password",
    value: value.text,
    env: "TOPICAST_PASSWORD",
    secret: true,
  },
  forwarder: {
    short: "F",
    argument: "ADDRESS[:PORT]",
    help: "the forwarder; without it the agent is a broker by itself (default port: 1883)",
    value: value.ipv4Endpoint(1883),
  },
  udpport: {
    short: "U",
    argument: "PORT",
    help: "UDP port for MQTT over UDP",
    value: value.port,
    preset: "1883",
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
  id: {
    argument: "ID",
    help: "name of this agent, unique among the forwarder's agents",
    value: value.identifier,
    preset: hostname(),
    presetHelp: "this host's name",
  },
  transport: {
    argument: "KIND",
    help: "raw: frames captured on the interface (needs root); socket: the kernel's TCP",
    value: value.oneOf("raw", "socket"),
    preset: "raw",
  },
  address: {
    argument: "ADDRESS",
    help: "this host's address for the fabric and for --transport socket",
    value: value.ipv4,
    presetHelp: "the interface's",
  },
  store: {
    argument: "DIR",
    help: "keep sessions that outlive their connection in this directory; without --forwarder retained messages, too",
    value: value.text,
    presetHelp: "in memory",
  },
  "store-sync": {
    help: "flush each write of --store to the disk: what was acknowledged survives a power failure, too",
    value: value.toggle,
  },
  rest: {
    argument: "ADDRESS:PORT",
    help: "serve the agent's own /healthz and /metrics there",
    value: value.endpoint,
    presetHelp: "off",
  },
  ...limitSettings,
  ...sessionLimitSettings,
  "log-level": {
    argument: "LEVEL",
    help: `least severe of what is logged: ${value.logLevel.allowed}`,
    value: value.logLevel,
    preset: "info",
  },
} as const satisfies Settings;

/** Paths of the TLS ports' PEM files. */
export interface AgentTls {
  readonly cert: string;
  readonly key: string;
  /** Always there where a listener asks for clients' certificates. */
  readonly ca?: string | undefined;
}

/** What an agent needs to know to run; made and checked by `loadAgentConfig`. */
export interface AgentConfig {
  /** Always there with `transport` raw. */
  readonly interface?: string | undefined;
  /** At least one of the ports is there, no two are the same. */
  readonly tcpport?: number | undefined;
  readonly tlsport?: number | undefined;
  readonly wsport?: number | undefined;
  readonly wssport?: number | undefined;
  readonly wspath?: string | undefined;
  /** Always there with `tlsport` or `wssport`. */
  readonly tls?: AgentTls | undefined;
  /**
   * Endpoints of other stations whose clients are answered as at the port of that number, as at `tcpport` (which is
   * there then) at others; only with `transport` raw.
   */
  readonly intercept?: readonly Endpoint[] | undefined;
  /** Seconds of silence after which a client is probed (RFC 9293 section 3.8.4); undefined: never. */
  readonly tcpKeepAlive?: number | undefined;
  /** What each port asks of its clients; one for each port that is there. `proxyProtocol` only with `transport` socket. */
  readonly listeners: Readonly<Partial<Record<ListenerName, ListenerSettings>>>;
  /** The one user of the listeners that name no password file. Both are there or both not. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Undefined: the agent stands alone. */
  readonly forwarder?: Endpoint | undefined;
  readonly udpport: number;
  /** Path of the fabric's key file; undefined: datagrams are not sealed. */
  readonly fabricKey?: string | undefined;
  readonly fabricMtu: number;
  readonly id: string;
  readonly transport: "raw" | "socket";
  /** Where to bind and which address to use on the fabric; undefined: the interface's. */
  readonly address?: string | undefined;
  /** Directory of the sessions' store; undefined: they end with the process. */
  readonly store?: string | undefined;
  /** What is written there is flushed to the disk before anybody is told. */
  readonly storeSync: boolean;
  readonly rest?: Endpoint | undefined;
  /** Bounds on clients where they differ from the defaults, for each port. */
  readonly limits: ClientLimits;
  /** The sessions' bounds where they differ from the defaults. */
  readonly sessionLimits: Partial<Limits>;
  /** Paths, only where a listener has a firewall. Undefined: the rules that are built in. */
  readonly firewallRules?: string | undefined;
  /** Undefined: standard error. */
  readonly firewallLog?: string | undefined;
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
}

/**
 * Reads and checks an agent's configuration.
 * @throws UserError (exit code 2) of one line
 */
export function loadAgentConfig(sources: SettingSources): AgentConfig {
  const values = loadSettings(agentSettings, sources);
  const { interface: iface, username, password, transport } = values;
  if (password !== undefined && username === undefined) {
    throw new UserError("a password needs a user name: give -u NAME or set TOPICAST_USERNAME", 2);
  }
  if (username !== undefined && password === undefined) {
    throw new UserError("a user name needs a password: give -p PASSWORD or set TOPICAST_PASSWORD", 2);
  }
  if (transport === "raw" && iface === undefined) {
    throw new UserError("--transport raw needs an interface: give -i IFACE, or --transport socket", 2);
  }
  if (username !== undefined && typeof values["password-file"] === "string") {
    throw new UserError("user name and password are given, and --password-file, too: choose one of them", 2);
  }
  checkPorts(values);
  checkIntercepts(values);
  const tls = tlsOf(values);
  const listeners = listenerSettings(openListeners(values), values, values.listener);
  checkListeners(listeners, transport, tls);
  checkFirewall(values, listeners);
  const {
    tcpport,
    tlsport,
    wsport,
    wssport,
    wspath,
    intercept,
    forwarder,
    udpport,
    id,
    address,
    store,
    rest,
  } = values;
  return {
    ...{ interface: iface, username, password, transport, tcpport, tlsport, wsport, wssport, wspath },
    ...{ tls, listeners, intercept, forwarder, udpport, id, address, store, rest },
    storeSync: values["store-sync"] ?? false,
    limits: clientLimits(values, transport),
    sessionLimits: sessionLimits(values),
    tcpKeepAlive: values["tcp-keepalive"],
    fabricKey: values["fabric-key"],
    fabricMtu: values["fabric-mtu"],
    firewallRules: values["firewall-rules"],
    firewallLog: values["firewall-log"],
    logLevel: values["log-level"],
  };
}

type Values = ValuesOf<typeof agentSettings>;

const portFlags = ["tcpport", "tlsport", "wsport", "wssport"] as const;

function checkPorts(values: Values): void {
  const used = new Map<number, string>();
  for (const flag of portFlags) {
    const port = values[flag];
    if (port === undefined) continue;
    const other = used.get(port);
    if (other !== undefined)
      throw new UserError(`--${other} and --${flag} are both ${port}: give each its own`, 2);
    used.set(port, flag);
  }
  if (used.size === 0) {
    throw new UserError("no port for clients: --tcpport none needs --tlsport, --wsport or --wssport", 2);
  }
  if (values.wspath !== undefined && values.wsport === undefined && values.wssport === undefined) {
    throw new UserError("--wspath needs a WebSocket port: give --wsport or --wssport", 2);
  }
}

function openListeners(values: Values): ListenerName[] {
  const { tcpport, intercept, tlsport, wsport, wssport } = values;
  const ports = { tcp: tcpport, intercept, tls: tlsport, ws: wsport, wss: wssport };
  return LISTENERS.filter((name) => ports[name] !== undefined);
}

function checkListeners(
  listeners: Partial<Record<ListenerName, ListenerSettings>>,
  transport: "raw" | "socket",
  tls: AgentTls | undefined,
): void {
  for (const { proxyProtocol, requireClientCert, identityAsUsername } of Object.values(listeners)) {
    if (proxyProtocol && transport === "raw") {
      throw new UserError(
        "--proxy-protocol needs --transport socket: the raw transport has its clients next to it, not a proxy",
        2,
      );
    }
    if ((requireClientCert || identityAsUsername) && tls?.ca === undefined) {
      const flag = requireClientCert ? "require-client-cert" : "identity-as-username";
      throw new UserError(`--${flag} needs to know who signs the clients' certificates: give --ca FILE`, 2);
    }
  }
}

function checkFirewall(values: Values, listeners: AgentConfig["listeners"]): void {
  if (Object.values(listeners).some(({ firewall }) => firewall !== "off")) return;
  for (const flag of ["firewall-rules", "firewall-log"] as const) {
    if (values[flag] !== undefined) {
      throw new UserError(`--${flag} needs a firewall: give --firewall detect, or block`, 2);
    }
  }
}

function checkIntercepts(values: Values): void {
  const { intercept, transport, tcpport } = values;
  if (intercept === undefined) return;
  if (transport === "socket") {
    throw new UserError(
      "--intercept needs --transport raw: the kernel's sockets cannot answer for other machines' addresses",
      2,
    );
  }
  const plain = intercept.find(({ port }) => portFlags.every((flag) => values[flag] !== port));
  if (tcpport === undefined && plain !== undefined) {
    throw new UserError(
      `--intercept ${formatEndpoint(plain)} is answered in plain MQTT, as ${plain.port} is none of the agent's ports, and needs a port for that: give -t PORT`,
      2,
    );
  }
}

function tlsOf(values: Values): AgentTls | undefined {
  const { tlsport, wssport, cert, key, ca } = values;
  const given = {
    cert,
    key,
    ca,
    "require-client-cert": values["require-client-cert"],
    "identity-as-username": values["identity-as-username"],
  };
  const port = tlsport !== undefined ? "--tlsport" : wssport !== undefined ? "--wssport" : undefined;
  if (port === undefined) {
    const flag = Object.entries(given).find(([, value]) => value !== undefined && value !== false)?.[0];
    if (flag === undefined) return undefined;
    throw new UserError(`--${flag} needs a TLS port: give --tlsport or --wssport`, 2);
  }
  if (cert === undefined || key === undefined) {
    throw new UserError(`${port} needs a certificate and its key: give --cert FILE and --key FILE`, 2);
  }
  return { cert, key, ca };
}
