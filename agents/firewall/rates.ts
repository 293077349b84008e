import type { Buckets } from "@topicast/protocol";
import type { RateRule } from "./rules.js";

/** One rate with its account. */
export interface Rate {
  readonly rule: RateRule;
  readonly buckets: Buckets;
}

/** The account goes on under new rules where this is the same. */
export function rateKey({ of, per, perSecond, burst, topics }: RateRule): string {
  return JSON.stringify([of, per, perSecond, burst, topics]);
}
