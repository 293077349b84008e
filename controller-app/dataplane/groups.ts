import type { Clock, Timer } from "@topicast/protocol";
import type { Carriage, GroupStatus, GroupWish } from "./dataplane.js";
import { groupId, type RuleId } from "./rules.js";
import type { Dpid, GroupPlan, PlanResult } from "./tree.js";

/** How often a switch may refuse a rule in a row before its group goes by unicast. */
const patience = 2;

interface Waiter {
  readonly resolve: (carriage: Carriage) => void;
  readonly timer: Timer;
}

/** A rule of one switch: "dpid id". */
type RuleKey = string;

function ruleKey(dpid: Dpid, id: RuleId): RuleKey {
  return `${dpid} ${id}`;
}

/** One wished-for group on its way into the switches. */
export class Group {
  readonly id: number;
  members: readonly string[] = [];
  publishers: readonly string[] = [];
  private wished: ReadonlySet<string> = new Set();
  /** What each switch should hold. While `obstacle` is set it is the last plan there was: rules stay till the next. */
  plan: GroupPlan = new Map();
  /** The publishers that the plan serves, by the switch where each lives. */
  planned: ReadonlyMap<string, Dpid> = new Map();
  /** The publishers that the rules in the switches serve, likewise. */
  readonly admitted = new Map<string, Dpid>();
  /** Publishers that the caller knows may not publish, or not any more. */
  private readonly denied = new Set<string>();
  /** Why the members cannot all be reached now, in one line. */
  obstacle: string | null = "not planned yet";
  /** Rules of the plan that are not read back to be there. */
  private readonly pending = new Map<RuleKey, Dpid>();
  /** Those of them that were there, and not since they have been wished for otherwise. */
  private readonly lost = new Set<RuleKey>();
  /** Since the group was last whole, its members, where they live, or the ways to them have changed. */
  private outdated = false;
  /** What the caller believes; undefined until the first answer. */
  told: Carriage | undefined;
  /** Why `told` is "unicast". */
  reason: string | null = null;
  readonly waiters: Waiter[] = [];
  private counter: Dpid | undefined;
  private readonly lastCounts = new Map<RuleId, number>();
  private total = 0;

  constructor(readonly address: string) {
    this.id = groupId(address);
  }

  wish({ members, publishers }: GroupWish): void {
    if (members.join() !== this.members.join()) this.outdated = true;
    this.members = members;
    this.publishers = publishers;
    this.wished = new Set(publishers);
  }

  /** The ways through the network have changed (`moved` undefined), or only where these agents live. */
  onNetwork(moved: ReadonlySet<string> | undefined): void {
    if (moved === undefined || this.members.some((id) => moved.has(id))) this.outdated = true;
  }

  get whole(): boolean {
    return this.obstacle === null && this.pending.size === 0;
  }

  /** The rules that served before may be fewer than wished for, but are all there: whom they serve they go on serving. */
  get serves(): boolean {
    return this.told === "openflow" && this.obstacle === null && this.lost.size === 0 && !this.outdated;
  }

  setPlan({ plan, publishers }: PlanResult & { plan: GroupPlan }, pending: Iterable<[Dpid, RuleId]>): void {
    this.plan = plan;
    this.planned = publishers;
    this.obstacle = null;
    const lost = new Set(this.lost);
    this.pending.clear();
    this.lost.clear();
    for (const [dpid, id] of pending) {
      const key = ruleKey(dpid, id);
      this.pending.set(key, dpid);
      if (lost.has(key)) this.lost.add(key);
    }
    if (this.whole) this.outdated = false;
  }

  /** Takes that a rule of the plan is not there, or (again) is; false where that changes nothing. */
  flip(dpid: Dpid, id: RuleId, differs: boolean): boolean {
    if (!this.plan.get(dpid)?.some((rule) => rule.id === id)) return false;
    const key = ruleKey(dpid, id);
    this.lost.delete(key);
    if (!differs) {
      const flipped = this.pending.delete(key);
      if (this.whole) this.outdated = false;
      return flipped;
    }
    this.pending.set(key, dpid);
    this.lost.add(key);
    return true;
  }

  /** Brings `admitted` up to date; answers whose change the caller does not know of. */
  admit(): string[] {
    const changed: string[] = [];
    for (const [id, dpid] of this.admitted) {
      // Somebody who has moved is behind a switch that may have no rules yet.
      if (this.planned.get(id) === dpid) continue;
      this.admitted.delete(id);
      if (!this.wished.has(id)) continue;
      this.denied.add(id);
      changed.push(id);
    }
    for (const [id, dpid] of this.whole ? this.planned : []) {
      if (this.admitted.has(id)) continue;
      this.admitted.set(id, dpid);
      if (this.denied.delete(id)) changed.push(id);
    }
    return changed;
  }

  /** The caller is being told, and finds who is not admitted. */
  answered(): void {
    this.denied.clear();
    for (const id of this.wished) if (!this.admitted.has(id)) this.denied.add(id);
  }

  /**
   * Takes the switch whose flows count from now on, and their counts at the moment. A group keeps its total when another
   * switch takes over counting.
   */
  setCounter(dpid: Dpid | undefined, counts: ReadonlyMap<RuleId, number>): void {
    if (dpid === this.counter) return;
    // A group's very first switch may have counted for an earlier run: that counts too.
    if (this.counter === undefined) for (const count of counts.values()) this.total += count;
    this.lastCounts.clear();
    for (const [id, count] of counts) this.lastCounts.set(id, count);
    this.counter = dpid;
  }

  /** Takes a reading of the flow of a rule at `dpid`; one that is lower than the last is of a new flow. */
  count(dpid: Dpid, id: RuleId, packets: number): void {
    if (dpid !== this.counter) return;
    const last = this.lastCounts.get(id) ?? 0;
    this.total += packets >= last ? packets - last : packets;
    this.lastCounts.set(id, packets);
  }

  get packets(): number {
    return this.total;
  }

  status(): GroupStatus {
    const lacking = new Set(this.pending.values());
    return {
      address: this.address,
      members: this.members,
      publishers: this.publishers,
      admitted: this.told === "openflow" ? [...this.admitted.keys()].sort() : [],
      carriage: this.told ?? "unicast",
      wanted: this.plan.size,
      seen: this.plan.size - lacking.size,
      packets: this.total,
      reason: this.told === "openflow" ? null : (this.reason ?? "not answered yet"),
    };
  }
}

export interface GroupEvents {
  /** The carriage has changed from what had been told. */
  onCarriage(address: string, carriage: Carriage): void;
  /** So has it whether this agent may publish. */
  onPublisher(address: string, agentId: string): void;
}

/**
 * The wished-for groups and what their wishers have been told. Knows no switch: plans, flips and refusals come in,
 * answers go out.
 */
export class GroupTable {
  private readonly byAddress = new Map<string, Group>();
  private readonly byId = new Map<RuleId, Group>();
  /** Groups told "openflow". */
  whole = 0;
  unicastAnswers = 0;
  changes = 0;

  constructor(
    private readonly clock: Clock,
    private readonly deadlineMs: number,
    private readonly events: GroupEvents,
  ) {}

  get size(): number {
    return this.byAddress.size;
  }

  get(address: string): Group | undefined {
    return this.byAddress.get(address);
  }

  /** The group of a rule; undefined for any other rule. */
  withId(id: RuleId): Group | undefined {
    return this.byId.get(id);
  }

  values(): IterableIterator<Group> {
    return this.byAddress.values();
  }

  /** The group of the wish, new or changed, and the promise of an answer within the deadline. */
  want(wish: GroupWish): { group: Group; answer: Promise<Carriage> } {
    const { address } = wish;
    let group = this.byAddress.get(address);
    if (group === undefined) {
      group = new Group(address);
      this.byAddress.set(address, group);
      this.byId.set(group.id, group);
    }
    group.wish(wish);
    const wished = group;
    const answer = new Promise<Carriage>((resolve) => {
      const timer = this.clock.setTimer(this.deadlineMs, () =>
        this.failed(wished, wished.obstacle ?? "the switches did not confirm its rules in time"),
      );
      wished.waiters.push({ resolve, timer });
    });
    return { group, answer };
  }

  /** Takes a plan; `pending` are its rules that are not there yet. `up`: Ryu answers, or may yet. */
  setPlan(
    group: Group,
    result: PlanResult & { plan: GroupPlan },
    pending: Iterable<[Dpid, RuleId]>,
    up: boolean,
  ): void {
    for (const rules of group.plan.values()) for (const { id } of rules) this.byId.delete(id);
    for (const rules of result.plan.values()) for (const { id } of rules) this.byId.set(id, group);
    this.byId.set(group.id, group);
    group.setPlan(result, pending);
    if (group.whole) this.tell(group, "openflow", null);
    else if (!up && group.waiters.length > 0) this.failed(group, "Ryu is unreachable");
    else this.admit(group);
  }

  /** There is no plan now. A waiting `want` waits on, unless the obstacle is `lasting` or Ryu is not `up`. */
  setObstacle(group: Group, reason: string, lasting: boolean, up: boolean): void {
    group.obstacle = reason;
    if (lasting || !up || group.waiters.length === 0) this.tell(group, "unicast", reason);
  }

  flip(id: RuleId, dpid: Dpid, differs: boolean): void {
    const group = this.withId(id);
    if (group?.flip(dpid, id, differs) && group.whole) this.tell(group, "openflow", null);
  }

  refused(id: RuleId, times: number, by: string): void {
    const group = this.withId(id);
    if (group !== undefined && times >= patience) this.failed(group, `${by} does not take its rules`);
  }

  /** Ryu is unreachable: whoever waits need not wait longer. */
  giveUp(reason: string): void {
    for (const group of this.byAddress.values()) {
      if (group.waiters.length > 0) this.failed(group, reason);
    }
  }

  remove(address: string): Group | undefined {
    const group = this.byAddress.get(address);
    if (group === undefined) return undefined;
    this.byAddress.delete(address);
    this.byId.delete(group.id);
    for (const rules of group.plan.values()) for (const { id } of rules) this.byId.delete(id);
    if (group.told === "openflow") this.whole -= 1;
    this.answer(group, "unicast");
    return group;
  }

  /** What is wished for cannot be had now: nobody may publish, but those whom the rules of before still serve. */
  private failed(group: Group, reason: string): void {
    if (group.serves) this.tell(group, "openflow", null);
    else this.tell(group, "unicast", reason);
  }

  private admit(group: Group): void {
    const changed = group.admit();
    if (group.told !== "openflow") return;
    for (const id of changed) this.events.onPublisher(group.address, id);
  }

  private tell(group: Group, carriage: Carriage, reason: string | null): void {
    const before = group.told;
    group.reason = reason;
    if (carriage === before) {
      this.admit(group);
      this.answer(group, carriage);
      return;
    }
    group.told = carriage;
    group.admit();
    if (carriage === "openflow") this.whole += 1;
    else if (before === "openflow") this.whole -= 1;
    this.answer(group, carriage);
    if (before === undefined) return;
    this.changes += 1;
    this.events.onCarriage(group.address, carriage);
  }

  private answer(group: Group, carriage: Carriage): void {
    if (group.waiters.length > 0) group.answered();
    for (const { resolve, timer } of group.waiters.splice(0)) {
      timer.cancel();
      if (carriage === "unicast") this.unicastAnswers += 1;
      resolve(carriage);
    }
  }
}
