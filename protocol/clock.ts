/**
 * Time as an injected service: everything above the rim asks a Clock, never `Date` or `setTimeout`, so that a
 * whole network with hours of time runs in a test in milliseconds and is replayable.
 */
export interface Clock {
  /** Milliseconds since an arbitrary origin; never goes backwards. */
  now(): number;
  /** Calls `fn` once, `ms` milliseconds from now. The returned timer's `cancel` is idempotent. */
  setTimer(ms: number, fn: () => void): Timer;
}

export interface Timer {
  cancel(): void;
}

/** The rim's clock: Node's monotonic clock and timers. A pending timer does not keep the process alive. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer(ms, fn) {
    // Node cuts fractions off, and a timer that comes early finds nothing due.
    const handle = setTimeout(fn, Math.ceil(ms));
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

interface SimTimer extends Timer {
  at: number;
  order: number;
  fn: (() => void) | undefined;
}

/**
 * Virtual time for tests and simulations: timers run in order of their time (ties in the order they were set)
 * when the test advances the clock.
 */
export class SimClock implements Clock {
  private time = 0;
  private order = 0;
  private heap: SimTimer[] = [];

  now(): number {
    return this.time;
  }

  setTimer(ms: number, fn: () => void): Timer {
    const timer: SimTimer = {
      at: this.time + Math.max(0, ms),
      order: this.order++,
      fn,
      cancel() {
        timer.fn = undefined;
      },
    };
    this.push(timer);
    return timer;
  }

  /** Runs everything due in the next `ms` milliseconds, then stands at `now + ms`. */
  advance(ms: number): void {
    this.advanceTo(this.time + ms);
  }

  advanceTo(end: number): void {
    for (let next = this.heap[0]; next !== undefined && next.at <= end; next = this.heap[0]) {
      this.pop();
      const fn = next.fn;
      if (fn === undefined) continue;
      this.time = Math.max(this.time, next.at);
      next.fn = undefined;
      fn();
    }
    this.time = Math.max(this.time, end);
  }

  /** Number of timers that are set and not cancelled. */
  get pending(): number {
    return this.heap.filter((t) => t.fn !== undefined).length;
  }

  private less(a: SimTimer, b: SimTimer): boolean {
    return a.at < b.at || (a.at === b.at && a.order < b.order);
  }

  private push(timer: SimTimer): void {
    const heap = this.heap;
    let i = heap.push(timer) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.less(heap[i]!, heap[parent]!)) break;
      [heap[i], heap[parent]] = [heap[parent]!, heap[i]!];
      i = parent;
    }
  }

  private pop(): void {
    const heap = this.heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    heap[0] = last;
    for (let i = 0; ; ) {
      const left = 2 * i + 1;
      const right = left + 1;
      let least = i;
      if (left < heap.length && this.less(heap[left]!, heap[least]!)) least = left;
      if (right < heap.length && this.less(heap[right]!, heap[least]!)) least = right;
      if (least === i) return;
      [heap[i], heap[least]] = [heap[least]!, heap[i]!];
      i = least;
    }
  }
}
