import type { Clock, Timer } from "@topicast/protocol";

/** Lines at once, and lines a second after that. */
const BURST = 100;
const PER_SECOND = 20;

/**
 * Explains one change each in the log. In a burst of changes only so many are; the others are counted, and a last line
 * says how many.
 */
export class ChangeLog {
  private tokens = BURST;
  private at: number;
  private untold = 0;
  private summary: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    /** Says that this many changes were not explained. */
    private readonly summarise: (untold: number) => void,
  ) {
    this.at = clock.now();
  }

  /** `explain` is called, or not: then it costs nothing. */
  change(explain: () => void): void {
    const now = this.clock.now();
    this.tokens = Math.min(BURST, this.tokens + ((now - this.at) * PER_SECOND) / 1000);
    this.at = now;
    if (this.tokens >= 1) {
      this.tokens -= 1;
      explain();
      return;
    }
    this.untold += 1;
    this.summary ??= this.clock.setTimer(1_000, () => this.tell());
  }

  /** Says what is still to be said. */
  close(): void {
    this.summary?.cancel();
    this.tell();
  }

  private tell(): void {
    this.summary = undefined;
    if (this.untold > 0) this.summarise(this.untold);
    this.untold = 0;
  }
}
