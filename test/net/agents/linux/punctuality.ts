/** How often in ms the event loop is looked at, and how much too late it may be. */
const BEAT = 5;
const TOLERATED = 10;

/**
 * Notices when this side of the cable was late: the event loop, or the sockets' user. Linux may then rightly have done what
 * a script expects of it only later, or not at all, so that the script proves nothing.
 */
export class Punctuality {
  /** When that was last, by `performance.now()`. */
  private lateAt = Number.NEGATIVE_INFINITY;
  private readonly timer: NodeJS.Timeout;

  constructor() {
    let last = performance.now();
    this.timer = setInterval(() => {
      const now = performance.now();
      this.took(now - last - BEAT);
      last = now;
    }, BEAT);
  }

  /** Something that should be done at once has taken `ms`. */
  took(ms: number): void {
    if (ms > TOLERATED) this.lateAt = performance.now();
  }

  /** Whether all was done in time from `start` on. */
  since(start: number): boolean {
    return this.lateAt < start;
  }

  close(): void {
    clearInterval(this.timer);
  }
}
