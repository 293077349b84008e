import { Fifo } from "./fifo.js";

/**
 * Lets newcomers in one at a time, each in a turn of the event loop of its own: whoever is connected is read from in
 * between, so that a rush of CONNECTs delays nobody else's messages by more than one of them takes. In the order of asking;
 * those that wait are connections, which are bounded.
 */
export class Turns {
  private readonly waiting = new Fifo<() => void>();
  private isTaken = false;

  /** @param defer calls its argument at the end of this turn of the event loop, e.g. setImmediate */
  constructor(private readonly defer: (fn: () => void) => void) {}

  /** True: this turn is the caller's. False: `fn` is called in a later one. */
  take(fn: () => void): boolean {
    if (this.isTaken) {
      this.waiting.push(fn);
      return false;
    }
    this.isTaken = true;
    this.defer(() => this.next());
    return true;
  }

  private next(): void {
    const fn = this.waiting.shift();
    if (fn === undefined) {
      this.isTaken = false;
      return;
    }
    this.defer(() => this.next());
    fn();
  }
}
