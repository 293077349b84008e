import type { Clock } from "@topicast/protocol";

/** Ms before an agent is asked again, first and at most; doubled each time. */
const firstGapMs = 1_000;
const longestGapMs = 15_000;
/** Ms after its first request during which an agent's frame is looked for eagerly. */
const eagerMs = 5_000;

interface Search {
  readonly since: number;
  next: number;
  gap: number;
}

/** Asks agents that no switch port is known for to make themselves seen, ever more rarely. */
export class Locator {
  private readonly searches = new Map<string, Search>();

  constructor(
    private readonly clock: Clock,
    private readonly ask: (agentId: string) => void,
  ) {}

  /** Asks those of the unlocated agents whose turn it is. True while it is worth looking often. */
  search(unlocated: readonly string[]): boolean {
    const now = this.clock.now();
    const missing = new Set(unlocated);
    for (const id of this.searches.keys()) if (!missing.has(id)) this.searches.delete(id);
    let eager = false;
    for (const id of missing) {
      let search = this.searches.get(id);
      if (search === undefined) {
        search = { since: now, next: now, gap: firstGapMs };
        this.searches.set(id, search);
      }
      if (now >= search.next) {
        search.next = now + search.gap;
        search.gap = Math.min(search.gap * 2, longestGapMs);
        this.ask(id);
      }
      if (now - search.since < eagerMs) eager = true;
    }
    return eager;
  }

  /** True for an agent that has been looked for in vain for so long that nobody should wait for it. */
  gaveUp(agentId: string): boolean {
    const search = this.searches.get(agentId);
    return search !== undefined && this.clock.now() - search.since >= eagerMs;
  }
}
