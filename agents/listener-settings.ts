import { UserError, type Value, value } from "@topicast/protocol";
import { z } from "zod";
import { MODES, type Mode } from "./firewall/rules.js";
import { limitSettings } from "./limits.js";

/** The agent's ports; `intercept` are the endpoints of other stations that are answered as `tcp` is. */
export const LISTENERS = ["tcp", "intercept", "tls", "ws", "wss"] as const;
export type ListenerName = (typeof LISTENERS)[number];

/** What one port asks of its clients; made from the agent's settings and what `--listener` says of the port. */
export interface ListenerSettings {
  readonly allowAnonymous: boolean;
  /** Paths; undefined: the forwarder's, null: none. */
  readonly passwordFile: string | null | undefined;
  readonly aclFile: string | null | undefined;
  /** A SUBSCRIBE is refused where the rules let nothing come of it. */
  readonly refuseUnreadable: boolean;
  /** Undefined: the transport's own limit. */
  readonly maxConnections: number | undefined;
  readonly proxyProtocol: boolean;
  /** Only where there is TLS. */
  readonly requireClientCert: boolean;
  readonly identityAsUsername: boolean;
  readonly firewall: Mode;
}

/** A file's path, or null for the word none. */
const fileOrNone: Value<string | null> = {
  schema: z
    .string()
    .min(1)
    .transform((path) => (path === "none" ? null : path)),
  allowed: "the path of a file, or none",
};

/** Settings that every port has and `--listener` may say otherwise for one of them. */
export const perListener = {
  "allow-anonymous": {
    help: "let clients without a user name in; without users, any name is let in, too",
    value: value.toggle,
    preset: "false",
    presetHelp: "off",
  },
  "password-file": {
    argument: "FILE",
    help: "users and their hashed passwords, as mosquitto_passwd writes them, or none",
    value: fileOrNone,
    presetHelp: "the forwarder's",
  },
  "acl-file": {
    argument: "FILE",
    help: "who may publish and receive what, as mosquitto's acl_file says it, or none",
    value: fileOrNone,
    presetHelp: "the forwarder's",
  },
  "refuse-unreadable": {
    help: "with an ACL, refuse a SUBSCRIBE that could bring nothing which the client may read; mosquitto grants it",
    value: value.toggle,
    preset: "false",
    presetHelp: "off",
  },
  "require-client-cert": {
    help: "refuse clients without a certificate on the TLS ports",
    value: value.toggle,
    preset: "false",
    presetHelp: "off",
  },
  "identity-as-username": {
    help: "take a client certificate's common name as user name, without a password",
    value: value.toggle,
    preset: "false",
    presetHelp: "off",
  },
  "proxy-protocol": {
    help: "on every port, require the PROXY protocol's header (version 1 or 2) from the proxy in front",
    value: value.toggle,
    preset: "false",
    presetHelp: "off",
  },
  firewall: {
    argument: "MODE",
    help: "what clients send is judged by rules: detect only says what it finds, block acts on it, off",
    value: value.oneOf(...MODES),
    preset: "off",
  },
} as const;

/** What may be said of one port. */
const overridable = { ...perListener, "max-connections": limitSettings["max-connections"] } as const;

type Overridable = typeof overridable;
/** Of one port: the settings by flag, those that are given. */
export type Override = {
  readonly [K in keyof Overridable]?: z.output<Overridable[K]["value"]["schema"]> | undefined;
};
export type Overrides = { readonly [L in ListenerName]?: Override | undefined };

const override = z.strictObject(
  Object.fromEntries(
    Object.entries(overridable).map(([name, setting]) => [name, setting.value.schema.optional()]),
  ),
) as unknown as z.ZodType<Override>;

/** `NAME.SETTING=VALUE`, repeatedly, or in a file a map of maps. */
export const listenerOverrides: Value<Overrides> = {
  schema: z.preprocess(
    (given) => (typeof given === "string" || Array.isArray(given) ? mapOf([given].flat()) : given),
    z.partialRecord(z.enum(LISTENERS), override) as unknown as z.ZodType<Overrides>,
  ),
  allowed:
    `NAME.SETTING=VALUE, in a file a map \`NAME: {SETTING: VALUE}\`: NAME one of ${LISTENERS.join(", ")}, ` +
    `SETTING one of ${Object.keys(overridable).join(", ")}, with a value that it takes`,
};

function mapOf(texts: readonly unknown[]): unknown {
  const map: Record<string, Record<string, string>> = {};
  for (const text of texts) {
    const [, name = "", setting = "", given = ""] = /^([a-z]+)\.([a-z-]+)=(.*)$/s.exec(String(text)) ?? [];
    if (name === "") return undefined;
    map[name] = { ...map[name], [setting]: given };
  }
  return map;
}

/** The settings of the whole agent that ports inherit. */
export type Inherited = { readonly [K in keyof typeof perListener]: Override[K] };

/**
 * What each of the ports that are there asks of its clients.
 * @throws UserError (exit code 2) for settings of a port that is not there, or that it cannot have
 */
export function listenerSettings(
  open: readonly ListenerName[],
  inherited: Inherited,
  overrides: Overrides = {},
): Partial<Record<ListenerName, ListenerSettings>> {
  for (const [name, given = {}] of Object.entries(overrides)) {
    if (!open.includes(name as ListenerName)) {
      throw new UserError(`--listener ${name}: this agent has no such port: it has ${open.join(", ")}`, 2);
    }
    for (const flag of ["require-client-cert", "identity-as-username"] as const) {
      if (given[flag] === true && !hasTls(name)) {
        throw new UserError(`--listener ${name}.${flag} needs TLS: of the ports, tls and wss have it`, 2);
      }
    }
    if (name === "intercept" && given["proxy-protocol"] === true) {
      throw new UserError(
        "--listener intercept.proxy-protocol: no proxy stands before intercepted clients",
        2,
      );
    }
    if (name === "intercept" && given["max-connections"] !== undefined) {
      throw new UserError(
        "--listener intercept.max-connections: intercepted clients count with the plain port's: give tcp.max-connections",
        2,
      );
    }
  }
  return Object.fromEntries(
    open.map((name) => [name, settingsOf(name, { ...inherited, ...overrides[name] })]),
  );
}

function settingsOf(name: ListenerName, given: Override): ListenerSettings {
  return {
    allowAnonymous: given["allow-anonymous"] === true,
    passwordFile: given["password-file"],
    aclFile: given["acl-file"],
    refuseUnreadable: given["refuse-unreadable"] === true,
    maxConnections: given["max-connections"],
    proxyProtocol: given["proxy-protocol"] === true,
    requireClientCert: hasTls(name) && given["require-client-cert"] === true,
    identityAsUsername: hasTls(name) && given["identity-as-username"] === true,
    firewall: given.firewall ?? "off",
  };
}

function hasTls(name: string): boolean {
  return name === "tls" || name === "wss";
}
