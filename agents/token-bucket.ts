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
