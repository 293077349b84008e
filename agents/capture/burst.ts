/** How many times as long a burst may last until the interface is closed to end it. */
const CUT_AFTER = 10;
/** The clock is asked once in so many frames. */
const CHECK_EVERY = 16;

/** What is to be done with a frame: look at it; drop it unseen; drop it, and close the interface. */
export type Step = "take" | "shed" | "cut";

/**
 * How long frames may come without a break, in which nothing else in the process has its turn. After `limit` ms they
 * are shed, which nearly always catches up with them; after ten times as long only closing the interface helps. With
 * the frames between two looks at the clock: timers run at the latest after 10 × `limit` and 16 frames.
 */
export class Burst {
  private start = 0;
  private frames = 0;
  private step: Step = "take";

  /**
   * @param limit in ms
   * @param begun called with the first frame; `end` must be called once everything else has had its turn
   */
  constructor(
    private readonly limit: number,
    private readonly now: () => number,
    private readonly begun: () => void,
  ) {}

  /** A frame has come. */
  frame(): Step {
    if (this.frames === 0) {
      this.start = this.now();
      this.begun();
    } else if (this.frames % CHECK_EVERY === 0) {
      const elapsed = this.now() - this.start;
      if (elapsed > this.limit * CUT_AFTER) this.step = "cut";
      else if (elapsed > this.limit) this.step = "shed";
    }
    this.frames += 1;
    return this.step;
  }

  end(): void {
    this.frames = 0;
    this.step = "take";
  }
}
