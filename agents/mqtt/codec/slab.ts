const SLAB_BYTES = 65_536;

/**
 * Room for packets that are written one behind the other. Consecutive packets are neighbours in memory, so that a queue
 * that takes several of them in order can hand them on as one piece without copying.
 */
export class Slab {
  bytes = Buffer.allocUnsafeSlow(SLAB_BYTES);
  private start = 0;
  at = 0;

  /** Begins a packet of exactly `size` bytes: write them to `bytes` from `at` on, and then take it. */
  begin(size: number): void {
    if (this.at + size > this.bytes.length) {
      this.bytes = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, size));
      this.at = 0;
    }
    this.start = this.at;
  }

  take(): Buffer {
    return this.bytes.subarray(this.start, this.at);
  }
}
