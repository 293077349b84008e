import { isReserved, levelEnd } from "./filters.js";
import { LevelNode } from "./level-node.js";

class FilterNode<V extends NonNullable<unknown>> extends LevelNode<FilterNode<V>> {
  plus: FilterNode<V> | undefined = undefined;
  hash: FilterNode<V> | undefined = undefined;
  /** The filter that ends here; set while it has values. */
  filter: string | undefined = undefined;
  /** The one value of the filter, or none. */
  one: V | undefined = undefined;
  /** All values of the filter once there are two. */
  many: Set<V> | undefined = undefined;

  get empty(): boolean {
    return (
      this.filter === undefined && this.plus === undefined && this.hash === undefined && !this.hasChildren
    );
  }

  next(level: string): FilterNode<V> | undefined {
    return level === "+" ? this.plus : level === "#" ? this.hash : this.child(level);
  }

  grow(level: string): FilterNode<V> {
    const node = new FilterNode<V>(level);
    if (level === "+") this.plus = node;
    else if (level === "#") this.hash = node;
    else this.addChild(node);
    return node;
  }

  prune(node: FilterNode<V>): void {
    if (this.plus === node) this.plus = undefined;
    else if (this.hash === node) this.hash = undefined;
    else this.removeChild(node);
  }
}

export interface FilterTrieOptions {
  /**
   * Weight of remembered `match` results: one per topic, one per 64 characters of it, and one per value in its result. 0
   * remembers nothing. Default 262,144 (about 2 MiB of references, beside topic strings of 16 MiB at most).
   */
  cacheWeight?: number;
}

/** What `add` did. */
export interface Added {
  /** The value was not there before. */
  readonly added: boolean;
  /** The value is the first one of its filter. */
  readonly first: boolean;
}

/** What `remove` did. */
export interface Removed {
  /** The value was there. */
  readonly removed: boolean;
  /** The value was the last one of its filter. */
  readonly last: boolean;
}

const ADDED_FIRST: Added = { added: true, first: true };
const ADDED: Added = { added: true, first: false };
const ADDED_NOTHING: Added = { added: false, first: false };
const REMOVED_LAST: Removed = { removed: true, last: true };
const REMOVED: Removed = { removed: true, last: false };
const REMOVED_NOTHING: Removed = { removed: false, last: false };

/**
 * Topic filters to sets of values (subscriptions, edges): given a topic, the values of every filter that matches it.
 * The cost of `match` grows with the levels of the topic and the number of matching branches, not with the number of
 * filters. Filters and topics must be valid (`filterError`, `topicError`).
 */
export class FilterTrie<V extends NonNullable<unknown>> {
  private root = new FilterNode<V>("");
  private filterCount = 0;
  private valueCount = 0;
  private readonly cacheWeight: number;
  private readonly cache = new Map<string, readonly V[]>();
  private cached = 0;
  /** Scratch space of `match`, kept so that matching allocates only its result. */
  private frontier: FilterNode<V>[] = [];
  private nextFrontier: FilterNode<V>[] = [];
  private hits: FilterNode<V>[] = [];

  constructor(options: FilterTrieOptions = {}) {
    this.cacheWeight = options.cacheWeight ?? 262_144;
  }

  /** Number of filters that have values. */
  get size(): number {
    return this.filterCount;
  }

  /** Number of values over all filters. */
  get values(): number {
    return this.valueCount;
  }

  add(filter: string, value: V): Added {
    let node = this.root;
    for (let start = 0; start <= filter.length; ) {
      const end = levelEnd(filter, start);
      const level = filter.substring(start, end);
      node = node.next(level) ?? node.grow(level);
      start = end + 1;
    }
    const first = node.filter === undefined;
    if (first) {
      node.filter = filter;
      node.one = value;
      this.filterCount += 1;
    } else if (node.many !== undefined) {
      if (node.many.has(value)) return ADDED_NOTHING;
      node.many.add(value);
    } else {
      if (node.one === value) return ADDED_NOTHING;
      node.many = new Set([node.one!, value]);
      node.one = undefined;
    }
    this.valueCount += 1;
    this.forget();
    return first ? ADDED_FIRST : ADDED;
  }

  remove(filter: string, value: V): Removed {
    const path = this.path(filter);
    const node = path?.at(-1);
    if (path === undefined || node?.filter === undefined) return REMOVED_NOTHING;
    if (node.many !== undefined) {
      if (!node.many.delete(value)) return REMOVED_NOTHING;
      if (node.many.size === 1) {
        [node.one] = node.many;
        node.many = undefined;
      }
    } else {
      if (node.one !== value) return REMOVED_NOTHING;
      node.one = undefined;
      node.filter = undefined;
      this.filterCount -= 1;
    }
    this.valueCount -= 1;
    this.forget();
    if (node.filter !== undefined) return REMOVED;
    for (let i = path.length - 1; i > 0 && path[i]!.empty; i--) path[i - 1]!.prune(path[i]!);
    return REMOVED_LAST;
  }

  /** Whether the filter itself (not: a filter that matches it) has values. */
  has(filter: string): boolean {
    return this.path(filter)?.at(-1)?.filter !== undefined;
  }

  /** The values of exactly this filter. */
  get(filter: string): V[] {
    const node = this.path(filter)?.at(-1);
    return node?.filter === undefined ? [] : valuesOf(node);
  }

  /**
   * The values of all filters that match `topic`, each once, in no particular order. The array is shared with later
   * calls: do not change it, and do not keep it past the next `add` or `remove`.
   */
  match(topic: string): readonly V[] {
    const known = this.cache.get(topic);
    if (known !== undefined) return known;
    const found = this.find(topic);
    const weight = 1 + found.length + (topic.length >> 6);
    if (weight <= this.cacheWeight) {
      if (this.cached + weight > this.cacheWeight) this.forget();
      this.cache.set(topic, found);
      this.cached += weight;
    }
    return found;
  }

  /** Every filter with its values, in no particular order. The trie must not change meanwhile. */
  *entries(): IterableIterator<[filter: string, values: V[]]> {
    const stack = [this.root];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (node.filter !== undefined) yield [node.filter, valuesOf(node)];
      if (node.hash !== undefined) stack.push(node.hash);
      if (node.plus !== undefined) stack.push(node.plus);
      node.childrenTo(stack);
    }
  }

  clear(): void {
    this.root = new FilterNode<V>("");
    this.filterCount = 0;
    this.valueCount = 0;
    this.forget();
  }

  /** Goes down level by level with all branches that still match, so that each level's text is cut out once. */
  private find(topic: string): V[] {
    const hits = this.hits;
    let frontier = this.frontier;
    let next = this.nextFrontier;
    frontier.push(this.root);
    let wildcards = !isReserved(topic);
    for (let start = 0; start <= topic.length && frontier.length > 0; wildcards = true) {
      const end = levelEnd(topic, start);
      const level = topic.substring(start, end);
      next.length = 0;
      for (const node of frontier) {
        if (wildcards) {
          if (node.hash !== undefined) hits.push(node.hash);
          if (node.plus !== undefined) next.push(node.plus);
        }
        const child = node.child(level);
        if (child !== undefined) next.push(child);
      }
      [frontier, next] = [next, frontier];
      start = end + 1;
    }
    for (const node of frontier) {
      if (node.filter !== undefined) hits.push(node);
      // "a/#" matches "a" (MQTT 4.7.1.2).
      if (node.hash !== undefined) hits.push(node.hash);
    }
    const found = union(hits);
    // Keep the arrays, not the nodes: a removed branch must not live on in scratch space.
    hits.length = 0;
    frontier.length = 0;
    next.length = 0;
    return found;
  }

  /** The nodes from the root to the end of the filter, or undefined where the tree ends before. */
  private path(filter: string): FilterNode<V>[] | undefined {
    const path = [this.root];
    let node: FilterNode<V> | undefined = this.root;
    for (let start = 0; start <= filter.length; ) {
      const end = levelEnd(filter, start);
      node = node.next(filter.substring(start, end));
      if (node === undefined) return undefined;
      path.push(node);
      start = end + 1;
    }
    return path;
  }

  private forget(): void {
    if (this.cached === 0) return;
    this.cache.clear();
    this.cached = 0;
  }
}

function valuesOf<V extends NonNullable<unknown>>(node: FilterNode<V>): V[] {
  return node.many !== undefined ? [...node.many] : node.one !== undefined ? [node.one] : [];
}

function union<V extends NonNullable<unknown>>(nodes: readonly FilterNode<V>[]): V[] {
  if (nodes.length === 0) return [];
  if (nodes.length === 1) return valuesOf(nodes[0]!);
  const all = new Set<V>();
  for (const node of nodes) {
    if (node.one !== undefined) all.add(node.one);
    else if (node.many !== undefined) for (const value of node.many) all.add(value);
  }
  return [...all];
}
