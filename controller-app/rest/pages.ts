/** The keys are compared by code units: the same order everywhere, whatever the locale. */
type Key = string | number;

export interface Page<T> {
  readonly items: T[];
  /** True when there is more behind the last item. */
  readonly more: boolean;
}

/**
 * The `limit` items with the lowest keys above `after`, in order. One pass; about twice the limit are held at any
 * time, so that a page of a million topics needs no sorted million.
 */
export function page<T, K extends Key>(
  items: Iterable<T>,
  key: (item: T) => K,
  after: K | undefined,
  limit: number,
): Page<T> {
  const byKey = (a: T, b: T) => {
    const x = key(a);
    const y = key(b);
    return x < y ? -1 : x > y ? 1 : 0;
  };
  const keep = limit + 1;
  let held: T[] = [];
  let bound: K | undefined;
  for (const item of items) {
    const k = key(item);
    if (after !== undefined && k <= after) continue;
    if (bound !== undefined && k > bound) continue;
    held.push(item);
    if (held.length <= 2 * keep) continue;
    held = held.sort(byKey).slice(0, keep);
    bound = key(held[keep - 1]!);
  }
  held.sort(byKey);
  return { items: held.slice(0, limit), more: held.length > limit };
}
