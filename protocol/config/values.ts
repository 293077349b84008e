import { z } from "zod";
import { type Endpoint, formatIPv6, parseIPv4, parseIPv6 } from "../addresses.js";

/** What a setting takes: the schema of its value, from a flag's text or a file's YAML, and the same in words. */
export interface Value<T> {
  readonly schema: z.ZodType<T>;
  /** Completes "must be …". */
  readonly allowed: string;
}

export const text: Value<string> = {
  schema: z.string().min(1),
  allowed: "text (in a file: in quotes where YAML would read a number)",
};

/** Names that appear in logs, REST paths and metrics. */
export const identifier: Value<string> = {
  schema: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
  allowed: "1 to 64 letters, digits, dots, underscores and hyphens, the first one a letter or digit",
};

/** A network interface's name as Linux takes it (at most 15 bytes). */
export const interfaceName: Value<string> = {
  schema: z.string().regex(/^[^\s/:]{1,15}$/),
  allowed: "the name of a network interface, as `ip link` shows it",
};

const portNumber = z
  .union([
    z.number(),
    z
      .string()
      .regex(/^[0-9]{1,5}$/)
      .transform(Number),
  ])
  .pipe(z.int().min(1).max(65_535));

export const port: Value<number> = { schema: portNumber, allowed: "a port number, 1 to 65535" };

/** A port, or undefined for the word none. */
export const portOrNone: Value<number | undefined> = {
  schema: z.union([portNumber, z.literal("none").transform(() => undefined)]),
  allowed: "a port number, 1 to 65535, or none",
};

export function wholeNumber(min: number, max: number): Value<number> {
  const digits = z
    .string()
    .regex(/^[0-9]{1,15}$/)
    .transform(Number);
  return {
    schema: z.union([z.number(), digits]).pipe(z.int().min(min).max(max)),
    allowed: `a whole number, ${min} to ${max}`,
  };
}

/** On or off; a flag without an argument gives "true". */
export const toggle: Value<boolean> = {
  schema: z.union([z.boolean(), z.enum(["true", "false"]).transform((word) => word === "true")]),
  allowed: "true or false",
};

/** A path in an HTTP request, without a query. */
export const httpPath: Value<string> = {
  schema: z.string().regex(/^\/[\x21-\x22\x24-\x3e\x40-\x7e]*$/),
  allowed: "a path that begins with /, such as /mqtt",
};

/** An IPv4 address that one host can have: not 0.0.0.0, multicast or broadcast. */
export const ipv4: Value<string> = {
  schema: z.string().refine(isUnicast),
  allowed: "the IPv4 address of a host, such as 192.168.1.101",
};

/** ADDRESS[:PORT] with an IPv4 address that one host can have. */
export function ipv4Endpoint(defaultPort: number): Value<Endpoint> {
  return {
    schema: z.string().transform((value, context) => {
      const parsed = splitEndpoint(value, defaultPort);
      if (parsed !== undefined && isUnicast(parsed.address)) return parsed;
      context.addIssue("not an endpoint");
      return z.NEVER;
    }),
    allowed: `the IPv4 address of a host, with :PORT where it is not ${defaultPort}`,
  };
}

/**
 * ADDRESS[:PORT] with an address that one host can have and be reached at from others: IPv4, or IPv6 by itself or in
 * brackets, which it needs before a port.
 */
export function hostEndpoint(defaultPort: number): Value<Endpoint> {
  return {
    schema: z.string().transform((value, context) => {
      const parsed = splitEndpoint(parseIPv6(value) === undefined ? value : `[${value}]`, defaultPort);
      if (parsed !== undefined && (isUnicast(parsed.address) || isUnicast6(parsed.address))) return parsed;
      context.addIssue("not an endpoint");
      return z.NEVER;
    }),
    allowed: `the address of a host, such as 192.168.1.250 or fd00::250, with :PORT where it is not ${defaultPort} ([fd00::250]:PORT)`,
  };
}

/** A whole number of seconds, or "none". */
export function secondsOrNone(max: number): Value<number | undefined> {
  const seconds = z.union([
    z.number(),
    z
      .string()
      .regex(/^[0-9]{1,9}$/)
      .transform(Number),
  ]);
  return {
    schema: z.union([
      seconds.pipe(z.number().int().min(1).max(max)),
      z.literal("none").transform(() => undefined),
    ]),
    allowed: `whole seconds, 1 to ${max}, or none`,
  };
}

/** ADDRESS:PORT with an IPv4 address, an IPv6 address in brackets, or localhost. */
export const endpoint: Value<Endpoint> = {
  schema: z.string().transform((value, context) => {
    const parsed = splitEndpoint(value, undefined);
    if (parsed !== undefined) return parsed;
    context.addIssue("not an endpoint");
    return z.NEVER;
  }),
  allowed: "ADDRESS:PORT, such as 127.0.0.1:8081 or [::1]:8081",
};

export function oneOf<const T extends readonly [string, ...string[]]>(...words: T): Value<T[number]> {
  const last = words[words.length - 1];
  return {
    schema: z.enum(words) as unknown as z.ZodType<T[number]>,
    allowed: words.length === 1 ? `${last}` : `${words.slice(0, -1).join(", ")} or ${last}`,
  };
}

/** One value or a list of up to `max`, without repetition; "must be" speaks of each. */
export function listOf<T>(item: Value<T>, max: number): Value<T[]> {
  const list = z.array(item.schema).min(1).max(max);
  return {
    schema: z.preprocess(
      (given) => (Array.isArray(given) ? given : [given]),
      list.transform((values) => [...new Map(values.map((v) => [JSON.stringify(v), v])).values()]),
    ),
    allowed: `${item.allowed}, or a list of up to ${max} of these`,
  };
}

/** The address of an HTTP service, without a trailing slash. */
export const httpUrl: Value<string> = {
  schema: z
    .string()
    .refine((value) => {
      const url = URL.canParse(value) ? new URL(value) : undefined;
      return url !== undefined && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "";
    })
    .transform((value) => value.replace(/\/+$/, "")),
  allowed: "a URL such as http://127.0.0.1:8080",
};

/** Levels of pino, from the one that tells most. */
export const logLevel = oneOf("trace", "debug", "info", "warn", "error", "fatal", "silent");

function splitEndpoint(value: string, defaultPort: number | undefined): Endpoint | undefined {
  const parts = /^(?:\[([^\]]*)\]|([^:[\]]+))(?::([0-9]+))?$/.exec(value);
  if (parts === null) return undefined;
  const [, v6, other, portText] = parts;
  const port = portText === undefined ? defaultPort : portNumber.safeParse(portText).data;
  if (port === undefined) return undefined;
  const bytes = v6 === undefined ? undefined : parseIPv6(v6);
  if (bytes !== undefined) return { address: formatIPv6(bytes), port };
  const known = other === "localhost" || parseIPv4(other ?? "") !== undefined;
  return known ? { address: other ?? "", port } : undefined;
}

function isUnicast(address: string): boolean {
  const first = (parseIPv4(address) ?? 0) >>> 24;
  return first >= 1 && first < 224;
}

/** Not `::`, loopback or an IPv4 address in disguise (RFC 4291 2.5), not of one link only, no group. */
function isUnicast6(address: string): boolean {
  const bytes = parseIPv6(address);
  if (bytes === undefined || bytes[0] === 0xff) return false;
  const embedded =
    bytes.subarray(0, 10).every((byte) => byte === 0) && [0, 0xffff].includes(bytes.readUInt16BE(10));
  return !embedded && (bytes.readUInt16BE(0) & 0xffc0) !== 0xfe80;
}
