/** A map whose values each have an end, and that knows at any time which of them ends first. Times are of any one kind. */
export class EndingMap<V extends { readonly until: number }> {
  private readonly byKey = new Map<string, V>();
  /** Binary heap by `until`. May hold what the map no longer does: `first` finds out. */
  private heap: (readonly [key: string, value: V])[] = [];

  get size(): number {
    return this.byKey.size;
  }

  get(key: string): V | undefined {
    return this.byKey.get(key);
  }

  /** In the order of `set`, the latest last. */
  entries(): IterableIterator<[string, V]> {
    return this.byKey.entries();
  }

  /** Likewise. */
  keys(): IterableIterator<string> {
    return this.byKey.keys();
  }

  /** Likewise. */
  values(): IterableIterator<V> {
    return this.byKey.values();
  }

  set(key: string, value: V): void {
    this.byKey.delete(key);
    this.byKey.set(key, value);
    this.heap.push([key, value]);
    this.up(this.heap.length - 1);
    if (this.heap.length > 2 * this.size + SLACK) this.rebuild();
  }

  delete(key: string): boolean {
    return this.byKey.delete(key);
  }

  /** What ends before all others; undefined: the map is empty. */
  first(): readonly [key: string, value: V] | undefined {
    for (;;) {
      const top = this.heap[0];
      if (top === undefined || this.byKey.get(top[0]) === top[1]) return top;
      const last = this.heap.pop()!;
      if (this.heap.length === 0) continue;
      this.heap[0] = last;
      this.down(0);
    }
  }

  /** Without what was deleted or replaced; as seldom as that is half of it. */
  private rebuild(): void {
    this.heap = [...this.byKey].sort(([, a], [, b]) => a.until - b.until);
  }

  private up(at: number): void {
    for (let here = at; here > 0; ) {
      const parent = (here - 1) >> 1;
      if (this.end(parent) <= this.end(here)) return;
      this.swap(here, parent);
      here = parent;
    }
  }

  private down(at: number): void {
    for (let here = at; ; ) {
      const left = 2 * here + 1;
      const right = left + 1;
      const child = this.end(right) < this.end(left) ? right : left;
      if (this.end(here) <= this.end(child)) return;
      this.swap(here, child);
      here = child;
    }
  }

  /** Of a place in the heap; behind the last one: never. */
  private end(at: number): number {
    return this.heap[at]?.[1].until ?? Number.POSITIVE_INFINITY;
  }

  private swap(a: number, b: number): void {
    [this.heap[a], this.heap[b]] = [this.heap[b]!, this.heap[a]!];
  }
}

const SLACK = 64;
