import { TokenBucket } from "../token-bucket.js";
import type { Limit, RateRule } from "./rules.js";

/** Who one rule keeps account of at a time. */
export const TRACKED_MAX = 65_536;

/** A bucket per name, as many as `max`: the one longest unasked for is forgotten for a new one. */
export class Buckets {
  private readonly buckets = new Map<string, TokenBucket>();

  constructor(
    private readonly limit: Limit,
    private readonly onForgotten: () => void,
    private readonly max = TRACKED_MAX,
  ) {}

  get size(): number {
    return this.buckets.size;
  }

  /** The name's bucket, which may be kept: it is the same one for all who ask, until it is forgotten. */
  of(name: string, now: number): TokenBucket {
    let bucket = this.buckets.get(name);
    if (bucket === undefined) {
      this.makeRoom(now);
      bucket = new TokenBucket(this.limit, now);
    } else {
      this.buckets.delete(name);
    }
    this.buckets.set(name, bucket);
    return bucket;
  }

  /** The name's bucket is as new. */
  forget(name: string): void {
    this.buckets.delete(name);
  }

  private makeRoom(now: number): void {
    if (this.buckets.size < this.max) return;
    for (const [longest, bucket] of this.buckets) {
      // A full one has nothing to remember.
      if (!bucket.isFull(now)) this.onForgotten();
      this.buckets.delete(longest);
      return;
    }
  }
}

/** One rate with its account. */
export interface Rate {
  readonly rule: RateRule;
  readonly buckets: Buckets;
}

/** The account goes on under new rules where this is the same. */
export function rateKey({ of, per, perSecond, burst, topics }: RateRule): string {
  return JSON.stringify([of, per, perSecond, burst, topics]);
}
