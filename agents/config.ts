import { hostname } from "node:os";
import {
  type Endpoint,
  loadSettings,
  type SettingSources,
  type Settings,
  UserError,
  value,
} from "@topicast/protocol";

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
    help: "TCP port for MQTT clients",
    value: value.port,
    preset: "1883",
  },
  username: {
    short: "u",
    argument: "NAME",
    help: "user name that every client must present",
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
  rest: {
    argument: "ADDRESS:PORT",
    help: "serve the agent's own /healthz and /metrics there",
    value: value.endpoint,
    presetHelp: "off",
  },
  "log-level": {
    argument: "LEVEL",
    help: `least severe of what is logged: ${value.logLevel.allowed}`,
    value: value.logLevel,
    preset: "info",
  },
} as const satisfies Settings;

/** What an agent needs to know to run; made and checked by `loadAgentConfig`. */
export interface AgentConfig {
  /** Always there with `transport` raw. */
  readonly interface?: string | undefined;
  readonly tcpport: number;
  /** User name and password are both there or both not. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Undefined: the agent stands alone. */
  readonly forwarder?: Endpoint | undefined;
  readonly udpport: number;
  readonly id: string;
  readonly transport: "raw" | "socket";
  /** Where to bind and which address to use on the fabric; undefined: the interface's. */
  readonly address?: string | undefined;
  readonly rest?: Endpoint | undefined;
  readonly logLevel: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
}

/**
 * Reads and checks an agent's configuration.
 * @throws UserError (exit code 2) of one line
 */
export function loadAgentConfig(sources: SettingSources): AgentConfig {
  const { "log-level": logLevel, ...values } = loadSettings(agentSettings, sources);
  const config: AgentConfig = { ...values, logLevel };
  if (config.password !== undefined && config.username === undefined) {
    throw new UserError("a password needs a user name: give -u NAME or set TOPICAST_USERNAME", 2);
  }
  if (config.username !== undefined && config.password === undefined) {
    throw new UserError("a user name needs a password: give -p PASSWORD or set TOPICAST_PASSWORD", 2);
  }
  if (config.transport === "raw" && config.interface === undefined) {
    throw new UserError("--transport raw needs an interface: give -i IFACE, or --transport socket", 2);
  }
  return config;
}
