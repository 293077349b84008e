import { UserError, type Value } from "@topicast/protocol";
import { parseDpid } from "node-ryu-rest-client";
import { z } from "zod";
import type { SwitchLimits } from "./dataplane/limits.js";

/** What was said of one switch, or of all that are not named. */
export interface SwitchLimitsSetting {
  /** undefined: of every switch. */
  readonly dpid: bigint | undefined;
  readonly limits: Partial<SwitchLimits>;
}

const SWITCHES_MAX = 4_096;
const unlimited: SwitchLimits = {
  groups: Number.POSITIVE_INFINITY,
  flows: Number.POSITIVE_INFINITY,
  buckets: Number.POSITIVE_INFINITY,
  outputs: 1,
};

const one: Value<SwitchLimitsSetting> = {
  schema: z.string().transform((text, context) => {
    const parsed = parse(text);
    if (parsed !== undefined) return parsed;
    context.addIssue("no limits");
    return z.NEVER;
  }),
  allowed:
    "[DPID:]groups=N,flows=N,buckets=N,outputs=N with one or more of these, such as groups=1024,buckets=8 or 00000000000000a1:groups=256",
};

/** One or several, each `[DPID:]groups=N,flows=N,buckets=N,outputs=N`; told apart by their text. */
export const switchLimits: Value<SwitchLimitsSetting[]> = {
  schema: z.preprocess(
    (given) => (Array.isArray(given) ? given : [given]),
    z.array(one.schema).min(1).max(SWITCHES_MAX),
  ),
  allowed: `${one.allowed}, or a list of up to ${SWITCHES_MAX} of these`,
};

function parse(text: string): SwitchLimitsSetting | undefined {
  const [, name, list = ""] = /^(?:([0-9a-fx]{1,20}):)?([a-z0-9=,]+)$/i.exec(text) ?? [];
  const limits: Record<string, number> = {};
  for (const part of list.split(",")) {
    const [, what, count] = /^(groups|flows|buckets|outputs)=([0-9]{1,9})$/.exec(part) ?? [];
    if (what === undefined || what in limits) return undefined;
    limits[what] = Number(count);
  }
  if (name === undefined) return { dpid: undefined, limits };
  try {
    return { dpid: parseDpid(name), limits };
  } catch {
    return undefined;
  }
}

/**
 * The limits of each switch: what is said of it, or else of all, or else none. A flow makes one copy by itself unless
 * said otherwise. Undefined where nothing is said.
 * @throws UserError where the same switch is named twice
 */
export function limitsOf(
  settings: readonly SwitchLimitsSetting[],
): ((dpid: bigint) => SwitchLimits) | undefined {
  if (settings.length === 0) return undefined;
  const named = new Map<bigint | undefined, Partial<SwitchLimits>>();
  for (const { dpid, limits } of settings) {
    if (named.has(dpid)) {
      const what = dpid === undefined ? "all switches" : `switch ${dpid.toString(16)}`;
      throw new UserError(`--switch-limits: ${what} named twice: put its limits into one`, 2);
    }
    named.set(dpid, limits);
  }
  const common = { ...unlimited, ...named.get(undefined) };
  const each = new Map([...named].map(([dpid, limits]) => [dpid, { ...common, ...limits }]));
  return (dpid) => each.get(dpid) ?? common;
}
