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

/**
 * A bucket per name, as many as `max`. It keeps two halves and forgets the older one whole: those that nobody has asked for
 * since the newer one was begun. (Deleting a Map's oldest entry each time would make finding the next one slower and slower.)
 */
export class Buckets {
  private young = new Map<string, TokenBucket>();
  private old = new Map<string, TokenBucket>();
  private readonly half: number;

  constructor(
    private readonly limit: Rate,
    private readonly onForgotten: () => void,
    max = TRACKED_MAX,
  ) {
    this.half = Math.ceil(max / 2);
  }

  get size(): number {
    return this.young.size + this.old.size;
  }

  /** The name's bucket, which may be kept: it is the same one for all who ask, until it is forgotten. */
  of(given: string, now: number): TokenBucket {
    const name = shortName(given);
    const known = this.young.get(name);
    if (known !== undefined) return known;
    const bucket = this.old.get(name) ?? new TokenBucket(this.limit, now);
    this.old.delete(name);
    if (this.young.size >= this.half) this.forgetOld(now);
    this.young.set(name, bucket);
    return bucket;
  }

  /** The name's bucket is as new. */
  forget(given: string): void {
    const name = shortName(given);
    this.young.delete(name);
    this.old.delete(name);
  }

  private forgetOld(now: number): void {
    // A full one has nothing to remember.
    for (const bucket of this.old.values()) if (!bucket.isFull(now)) this.onForgotten();
    this.old = this.young;
    this.young = new Map();
  }
}
