/** Bytes that all connections of a stack may hold together. */
export class MemoryBudget {
  private used = 0;

  constructor(private readonly limit: number) {}

  /** Takes `bytes`, or nothing and returns false when that would go beyond the limit. */
  take(bytes: number): boolean {
    if (this.used + bytes > this.limit) return false;
    this.used += bytes;
    return true;
  }

  /**
   * As `take`, for bytes that can be forgotten and come again (out of order): only while half of the limit is free, so that
   * they never keep out the bytes that everyone waits for.
   */
  takeSpare(bytes: number): boolean {
    return this.used + bytes <= this.limit / 2 && this.take(bytes);
  }

  /** Takes `bytes` that the caller has just released. */
  charge(bytes: number): void {
    this.used += bytes;
  }

  release(bytes: number): void {
    this.used -= bytes;
  }

  get inUse(): number {
    return this.used;
  }
}
