/**
 * A map of bounded size that forgets what was set longest ago. It keeps two halves and drops the older one whole: deleting
 * a Map's first key again and again would make finding the next one slower each time.
 */
export class Recent<K, V> {
  private readonly half: number;
  private young = new Map<K, V>();
  private old = new Map<K, V>();

  /** At most `limit` entries are kept, and of the newest at least half as many. */
  constructor(limit: number) {
    this.half = Math.ceil(limit / 2);
  }

  get(key: K): V | undefined {
    return this.young.get(key) ?? this.old.get(key);
  }

  set(key: K, value: V): void {
    if (this.young.size >= this.half && !this.young.has(key)) {
      this.old = this.young;
      this.young = new Map();
    }
    this.young.set(key, value);
  }

  delete(key: K): void {
    this.young.delete(key);
    this.old.delete(key);
  }
}
