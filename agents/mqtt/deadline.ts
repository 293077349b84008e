import type { Clock, Timer } from "@topicast/protocol";

/** Node's timers take no more than 2^31 milliseconds; a session may wait for 136 years. */
const LONGEST_MS = 2 ** 30;

/** Calls `fn` once, at the time it was set for, however far that is. */
export class Deadline {
  private timer: Timer | undefined = undefined;

  constructor(
    private readonly clock: Clock,
    private readonly fn: () => void,
  ) {}

  /** Sets it to `ms` milliseconds from now, instead of what it was set to; Infinity: never. */
  set(ms: number): void {
    this.cancel();
    if (ms === Number.POSITIVE_INFINITY) return;
    this.timer = this.clock.setTimer(Math.min(ms, LONGEST_MS), () => {
      this.timer = undefined;
      if (ms > LONGEST_MS) this.set(ms - LONGEST_MS);
      else this.fn();
    });
  }

  cancel(): void {
    this.timer?.cancel();
    this.timer = undefined;
  }
}
