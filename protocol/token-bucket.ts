import { createHash } from "node:crypto";

/** So many a second, and so many at once after a rest. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** A token bucket: what it holds grows with the time, up to the burst. */
export class TokenBucket {
  private tokens: number;

  constructor(
    private readonly rate: Rate,
    private filledAt: number,
  ) {
    this.tokens = rate.burst;
  }

  /** Whether `take` would succeed. */
  holds(count: number, now: number): boolean {
    this.fill(now);
    return this.tokens >= count;
  }

  /** Takes `count` tokens, or none and returns false when there are fewer. */
  take(count: number, now: number): boolean {
    if (!this.holds(count, now)) return false;
    this.tokens -= count;
    return true;
  }

  /** Whether it has forgotten everything that was taken. */
  isFull(now: number): boolean {
    return this.holds(this.rate.burst, now);
  }

  private fill(now: number): void {
    const { perSecond, burst } = this.rate;
    this.tokens = Math.min(this.tokens + ((now - this.filledAt) / 1_000) * perSecond, burst);
    this.filledAt = now;
  }
}

/** Names that one account has at a time. */
export const TRACKED_MAX = 65_536;

const NAME_MAX = 128;

/**
 * What a table keeps of a name that a client chose: itself, or where it is long a hash of it, so that a full table is no more
 * than some megabytes.
 */
export function shortName(name: string): string {
  if (name.length <= NAME_MAX) return name;
  return `\0${createHash("sha256").update(name).digest("base64")}`;
}

/** A bucket per name, as many as `max`: the one longest unasked for is forgotten for a new one. */
export class Buckets {
  private readonly buckets = new Map<string, TokenBucket>();

  constructor(
    private readonly limit: Rate,
    private readonly onForgotten: () => void,
    private readonly max = TRACKED_MAX,
  ) {}

  get size(): number {
    return this.buckets.size;
  }

  /** The name's bucket, which may be kept: it is the same one for all who ask, until it is forgotten. */
  of(given: string, now: number): TokenBucket {
    const name = shortName(given);
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
    this.buckets.delete(shortName(name));
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
