import { Allocator, type AllocatorOptions } from "./allocation.js";
import { setKey, type WantedSet } from "./group-books.js";
import type { RoutedTopic } from "./topics.js";

/** The edges that some topics want, and those topics with their publishers (agent ids). */
export interface EdgeSet {
  readonly members: readonly string[];
  readonly topics: ReadonlyMap<RoutedTopic, readonly string[]>;
}

interface Entry extends EdgeSet {
  readonly topics: Map<RoutedTopic, readonly string[]>;
  /** How many topics each publishes. */
  readonly publishing: Map<string, number>;
  /** The same agents; another object when they change. */
  publishers: ReadonlySet<string>;
}

export interface EdgeSetsOptions extends Pick<AllocatorOptions, "needs" | "waste"> {
  /** The topic's edges are carried by another group than before, or by none; called when no call here is under way. */
  readonly onMoved: (topic: RoutedTopic) => void;
}

/** Which topics want which edges, and what the allocator makes of it. */
export class EdgeSets {
  readonly allocator: Allocator;
  private readonly sets = new Map<string, Entry>();
  private readonly moved = new Set<string>();

  constructor(private readonly options: EdgeSetsOptions) {
    const { needs, waste } = options;
    this.allocator = new Allocator({ needs, waste, onMoved: (set) => this.onMoved(set) });
  }

  /**
   * The topic wants these edges (ids, sorted, two or more) and is published by these agents; besides those that it may
   * want still, until it leaves. `home`: the members of the group that the switches carry it by already.
   * @returns the members of the group that carries it; undefined: none, it goes by unicast
   */
  enter(
    topic: RoutedTopic,
    members: readonly string[],
    publishers: readonly string[],
    home: readonly string[] | undefined,
  ): { readonly set: EdgeSet; readonly carrier: readonly string[] | undefined } {
    const key = setKey(members);
    let set = this.sets.get(key);
    if (set === undefined) {
      set = { members, topics: new Map(), publishing: new Map(), publishers: new Set() };
      this.sets.set(key, set);
    }
    const before = set.topics.get(topic) ?? [];
    set.topics.set(topic, publishers);
    count(set, before, publishers);
    const { carrier } = this.allocator.update(members, set.topics.size, set.publishers, home);
    return { set, carrier: carrier?.members };
  }

  leave(topic: RoutedTopic, { members }: EdgeSet): void {
    const set = this.sets.get(setKey(members));
    const publishers = set?.topics.get(topic);
    if (set === undefined || publishers === undefined) return;
    set.topics.delete(topic);
    count(set, publishers, []);
    if (set.topics.size === 0) this.sets.delete(setKey(members));
    this.allocator.update(members, set.topics.size, set.publishers);
  }

  private onMoved({ key }: WantedSet): void {
    if (this.moved.size === 0) Promise.resolve().then(() => this.tellMoved());
    this.moved.add(key);
  }

  private tellMoved(): void {
    const keys = [...this.moved];
    this.moved.clear();
    for (const key of keys) {
      for (const topic of [...(this.sets.get(key)?.topics.keys() ?? [])]) this.options.onMoved(topic);
    }
  }
}

/** Counts publishers of one topic that has had others before. */
function count(set: Entry, before: readonly string[], now: readonly string[]): void {
  const { publishing } = set;
  let isChanged = false;
  for (const id of now) {
    const topics = publishing.get(id) ?? 0;
    publishing.set(id, topics + 1);
    isChanged ||= topics === 0;
  }
  for (const id of before) {
    const topics = publishing.get(id)! - 1;
    if (topics > 0) publishing.set(id, topics);
    else publishing.delete(id);
    isChanged ||= topics === 0;
  }
  if (isChanged) set.publishers = new Set(publishing.keys());
}
