import type { Clock } from "@topicast/protocol";
import type { Budgets, SwitchBooks } from "./budgets.js";
import type { Group } from "./groups.js";
import type { Dpid, GroupNeed, PlanResult } from "./tree.js";

/** Groups without room that are planned again at a time. */
const RETRIES = 64;
/** What a group without room has in the switches goes when its publishers have had so many ms to go over to unicast. */
const LINGER_MS = 2_000;

/** Lets groups into the switches while these have room, so that none ever holds more than it may. */
export class Admission {
  /** Groups, or some of their publishers, that have found no room, and since when; the one tried longest ago first. */
  private readonly blocked = new Map<Group, number>();

  constructor(
    private readonly budgets: Budgets,
    private readonly clock: Clock,
    private readonly books: (dpid: Dpid) => SwitchBooks | undefined,
  ) {}

  /** Somebody waits for room. */
  get isNeeded(): boolean {
    return this.blocked.size > 0;
  }

  /**
   * A plan that the switches have room for: where there is none for all publishers, for those that have been admitted, and
   * otherwise why there is none.
   */
  plan(group: Group, plan: (need: GroupNeed) => PlanResult): PlanResult {
    const { address, members, publishers } = group;
    const all = plan(group);
    const reason = this.obstacle(all);
    if (reason === undefined) {
      this.blocked.delete(group);
      return all;
    }
    const since = this.blocked.get(group) ?? this.clock.now();
    this.blocked.delete(group);
    this.blocked.set(group, since);
    const served = publishers.filter((id) => group.admitted.has(id));
    if (served.length > 0) {
      const some = plan({ address, members, publishers: served });
      if (some.plan !== undefined && this.obstacle(some) === undefined) return some;
    }
    return { plan: undefined, reason, missing: [] };
  }

  /** Room has come: these are to be planned again. */
  longestBlocked(): Group[] {
    return [...this.blocked.keys()].slice(0, RETRIES);
  }

  /** Groups that have been without room for long enough to be known to go by unicast. */
  stale(): Group[] {
    const since = this.clock.now() - LINGER_MS;
    return [...this.blocked].flatMap(([group, at]) =>
      at <= since && group.obstacle !== null ? [group] : [],
    );
  }

  forget(group: Group): void {
    this.blocked.delete(group);
  }

  private obstacle({ plan }: PlanResult): string | undefined {
    return plan && this.budgets.obstacle(plan, this.books);
  }
}
