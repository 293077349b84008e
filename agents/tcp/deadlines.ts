/** Something with a deadline; the two fields belong to `Deadlines`. */
export interface Scheduled {
  readonly deadline: number;
  scheduledAt: number;
  heapIndex: number;
}

/**
 * The deadlines of many connections behind one timer: a binary heap. Most deadlines are only ever put off (each
 * acknowledgement restarts the retransmission timer), so an entry stays where it is while its deadline moves later,
 * and finds its new place when it comes up: no work per packet, a few steps per expiry.
 */
export class Deadlines<T extends Scheduled> {
  private readonly heap: T[] = [];

  /** When `expire` should be called next: never later than the earliest deadline. Infinity when there is none. */
  get next(): number {
    return this.heap[0]?.scheduledAt ?? Number.POSITIVE_INFINITY;
  }

  get size(): number {
    return this.heap.length;
  }

  /** Takes note of `item.deadline`. */
  update(item: T): void {
    const { deadline } = item;
    if (deadline >= item.scheduledAt) return;
    item.scheduledAt = deadline;
    if (item.heapIndex < 0) {
      item.heapIndex = this.heap.length;
      this.heap.push(item);
    }
    this.up(item.heapIndex);
  }

  remove(item: T): void {
    const index = item.heapIndex;
    if (index < 0) return;
    item.heapIndex = -1;
    item.scheduledAt = Number.POSITIVE_INFINITY;
    const last = this.heap.pop()!;
    if (last === item) return;
    this.heap[index] = last;
    last.heapIndex = index;
    this.up(index);
    this.down(last.heapIndex);
  }

  /** Calls `due` for each item whose deadline has come. An item must then have a later deadline or none. */
  expire(now: number, due: (item: T) => void): void {
    for (let item = this.heap[0]; item !== undefined && item.scheduledAt <= now; item = this.heap[0]) {
      this.remove(item);
      if (item.deadline <= now) due(item);
      this.update(item);
    }
  }

  private up(start: number): void {
    const { heap } = this;
    const item = heap[start]!;
    let index = start;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = heap[above]!;
      if (parent.scheduledAt <= item.scheduledAt) break;
      heap[index] = parent;
      parent.heapIndex = index;
      index = above;
    }
    heap[index] = item;
    item.heapIndex = index;
  }

  private down(start: number): void {
    const { heap } = this;
    const item = heap[start]!;
    let index = start;
    for (;;) {
      let below = 2 * index + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && heap[below + 1]!.scheduledAt < heap[below]!.scheduledAt) below += 1;
      const child = heap[below]!;
      if (item.scheduledAt <= child.scheduledAt) break;
      heap[index] = child;
      child.heapIndex = index;
      index = below;
    }
    heap[index] = item;
    item.heapIndex = index;
  }
}
