import { FilterTrie, filterContains } from "@topicast/protocol";

/** What to tell a forwarder that no longer need send what a filter asks for. */
export interface Uncovered {
  /** The filter had been told: it is to be taken back, after `uncovered` have been told. */
  readonly told: boolean;
  /** What only this filter had contained, and is told from now on. */
  readonly uncovered: readonly string[];
}

/**
 * Which of the filters that are wanted here are told to the forwarder: none that one already told contains. A narrow one
 * that was told before a wide one came stays so until `restart`. Filters must be valid.
 */
export class FilterCover {
  private readonly told = new FilterTrie<string>({ cacheWeight: 0 });
  /** Filters that are not told → the told one that contains it, and the reverse. */
  private readonly containers = new Map<string, string>();
  private readonly contents = new Map<string, Set<string>>();

  /** How many are wanted and not told. */
  get hidden(): number {
    return this.containers.size;
  }

  isTold(filter: string): boolean {
    return this.told.has(filter);
  }

  /** Wants a filter. The told one that contains it, if there is; otherwise it is told itself from now on. */
  add(filter: string): string | undefined {
    if (this.told.has(filter)) return undefined;
    const container = this.containers.get(filter) ?? find(this.told, filter);
    if (container === undefined) this.told.add(filter, filter);
    else this.hide(filter, container);
    return container;
  }

  /** Wants a filter no more. */
  remove(filter: string): Uncovered {
    const container = this.containers.get(filter);
    if (container !== undefined) {
      this.containers.delete(filter);
      this.contents.get(container)?.delete(filter);
      return { told: false, uncovered: [] };
    }
    if (!this.told.remove(filter, filter).removed) return { told: false, uncovered: [] };
    const contents = this.contents.get(filter) ?? [];
    this.contents.delete(filter);
    return { told: true, uncovered: this.place(contents) };
  }

  /** The wanted filters that are not told because `filter` is. */
  contentsOf(filter: string): Iterable<string> {
    return this.contents.get(filter) ?? [];
  }

  /** Chooses anew from nothing, as for a forwarder that knows none of these; those that are told now. */
  restart(filters: Iterable<string>): string[] {
    this.told.clear();
    this.containers.clear();
    this.contents.clear();
    return this.place(filters);
  }

  /** Tells as few of these as can be, beside what is told; those. */
  private place(filters: Iterable<string>): string[] {
    const open: string[] = [];
    const candidates = new FilterTrie<string>({ cacheWeight: 0 });
    for (const filter of filters) {
      this.containers.delete(filter);
      const container = find(this.told, filter);
      if (container !== undefined) {
        this.hide(filter, container);
        continue;
      }
      open.push(filter);
      candidates.add(filter, filter);
    }
    const [wide, narrow] = [[] as string[], [] as string[]];
    for (const filter of open)
      (find(candidates, filter, isBefore) === undefined ? wide : narrow).push(filter);
    for (const filter of wide) this.told.add(filter, filter);
    for (const filter of narrow) this.hide(filter, find(this.told, filter)!);
    return wide;
  }

  private hide(filter: string, container: string): void {
    this.containers.set(filter, container);
    const contents = this.contents.get(container);
    if (contents === undefined) this.contents.set(container, new Set([filter]));
    else contents.add(filter);
  }
}

/** A filter of the trie that contains this one, is not it, and for which `also` holds. */
function find(
  trie: FilterTrie<string>,
  filter: string,
  also: (other: string, filter: string) => boolean = () => true,
): string | undefined {
  // Read as a topic a filter is matched by all that contain it, and by some others.
  return trie.match(filter).find((o) => o !== filter && filterContains(o, filter) && also(o, filter));
}

/** Of filters that contain each other (`#` and `+/#`) one must come first. */
function isBefore(other: string, filter: string): boolean {
  return other < filter || !filterContains(filter, other);
}
