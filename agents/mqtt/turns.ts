import { Fifo } from "./fifo.js";

/** Of each turn of the event loop, in milliseconds, that is theirs. */
const SHARE_MS = 1;

/**
 * Lets newcomers in for a millisecond of each turn of the event loop: whoever is connected is read from in between, so that a
 * rush of CONNECTs delays nobody else's messages for long. In the order of asking; those that wait are connections, which
 * are bounded.
 */
export class Turns {
  private readonly waiting = new Fifo<() => void>();
  /** When the first of this turn came; undefined: none has. */
  private since: number | undefined;

  /**
   * @param now in milliseconds
   * @param defer calls its argument at the end of this turn of the event loop, e.g. setImmediate
   */
  constructor(
    private readonly now: () => number,
    private readonly defer: (fn: () => void) => void,
  ) {}

  /** True: the caller may go on at once. False: `fn` is called in a later turn. */
  take(fn: () => void): boolean {
    if (this.waiting.length === 0 && this.hasTime()) return true;
    this.waiting.push(fn);
    return false;
  }

  private hasTime(): boolean {
    if (this.since !== undefined) return this.now() - this.since < SHARE_MS;
    this.since = this.now();
    this.defer(() => this.next());
    return true;
  }

  private next(): void {
    this.since = undefined;
    while (this.waiting.length > 0 && this.hasTime()) this.waiting.shift()!();
  }
}
