import { availableParallelism } from "node:os";
import { UserError } from "@topicast/protocol";
import { type RuleFamily, ruleFamilies } from "./rule-sources.js";

/** How content is judged. */
export interface ContentSettings {
  /** CRS' paranoia level, 1 to 4: higher ones find more, in ordinary messages too. */
  readonly paranoia: number;
  /** The anomaly score at which a packet is refused; one critical rule counts 5. */
  readonly threshold: number;
  readonly families: readonly RuleFamily[];
  /** The operator's own SecRule files. */
  readonly files: readonly string[];
  /** Worker processes. */
  readonly workers: number;
  /** Packets that wait for a worker, at most. */
  readonly queue: number;
  /** Milliseconds from question to verdict, at most; a worker that is silent for so long is replaced. */
  readonly timeout: number;
  /** Payloads above this, in bytes and with topics, names and properties, are not judged: no verdict. */
  readonly maxBytes: number;
  /** Verdicts remembered, and rules quoted in them, at most. */
  readonly remembered: number;
}

/** A worker takes some 90 MB. */
const workersDefaultMax = 8;

export function defaultContentSettings(): ContentSettings {
  return {
    paranoia: 1,
    threshold: 5,
    families: ["rce", "xss", "sqli"],
    files: [],
    workers: Math.min(workersDefaultMax, Math.max(1, availableParallelism() - 1)),
    queue: 1000,
    timeout: 1000,
    maxBytes: 65536,
    remembered: 50_000,
  };
}

export const contentRanges = {
  paranoia: [1, 4],
  threshold: [1, 10_000],
  workers: [1, 64],
  queue: [1, 100_000],
  timeout: [10, 60_000],
  maxBytes: [1, 1_048_576],
  remembered: [0, 1_000_000],
} as const;

/** The settings with what `given` says. @throws UserError that names the setting and what it may be. */
export function contentSettings(given: Partial<ContentSettings> = {}): ContentSettings {
  const settings = { ...defaultContentSettings(), ...given };
  for (const [name, [least, most]] of Object.entries(contentRanges)) {
    const value = settings[name as keyof typeof contentRanges];
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new UserError(`content.${name} is ${value}: it is a whole number from ${least} to ${most}`);
    }
  }
  for (const family of settings.families) {
    if (!ruleFamilies.includes(family)) {
      throw new UserError(`content.families holds ${family}: the families are ${ruleFamilies.join(", ")}`);
    }
  }
  return settings;
}
