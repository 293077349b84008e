import type { TcpConfig } from "@topicast/agent/tcp/config.js";
import type { Case } from "../../../unit/agents/tcp/cases.js";
import { parseScript } from "../../../unit/agents/tcp/script.js";

/** Longest time in s that a script may take. */
const LONGEST = 66;

/** Our numbers that a Linux socket has, too: option and unit in ms or bytes. */
const OPTIONS: { readonly [key in keyof TcpConfig]?: readonly [name: string, unit: number] } = {
  mss: ["TCP_MAXSEG", 1],
  userTimeout: ["TCP_USER_TIMEOUT", 1],
  synRetries: ["TCP_SYNCNT", 1],
  keepAliveIdle: ["TCP_KEEPIDLE", 1_000],
  keepAliveInterval: ["TCP_KEEPINTVL", 1_000],
  keepAliveProbes: ["TCP_KEEPCNT", 1],
};

/** How a script runs on Linux: its socket options and length in s, or why it cannot. */
export type Applies =
  | { readonly options: Readonly<Record<string, number>>; readonly seconds: number }
  | { readonly not: string };

export function applies({ script, config = {} }: Case): Applies {
  const steps = parseScript(script);
  const seconds = steps.reduce((sum, { after }) => sum + after, 0) / 1_000;
  if (seconds > LONGEST) return { not: `it waits for more than ${LONGEST} s` };
  if (steps.some(({ actions }) => actions.some(({ verb }) => verb === "writable" || verb === "blocked")))
    return { not: "the size of Linux' send buffer is not exact" };
  if (steps.some(({ actions }) => actions.some(({ verb }) => verb === "mtu" || verb === "stray-mtu")))
    return { not: "routers' messages come another way than segments" };
  const options: Record<string, number> = {};
  for (const [key, value] of Object.entries(config) as Array<[keyof TcpConfig, number]>) {
    const option = OPTIONS[key];
    if (option === undefined) return { not: `Linux has no ${key} for a single socket` };
    const [name, unit] = option;
    if (value % unit !== 0) return { not: `Linux has ${key} in whole seconds only` };
    options[name] = value / unit;
  }
  if (options.TCP_KEEPIDLE !== undefined) options.SO_KEEPALIVE = 1;
  return { options, seconds };
}
