import type { Clock, Timer } from "@topicast/protocol";
import type { Carriage, GroupStatus, GroupWish } from "./dataplane.js";
import { groupId, type RuleId } from "./rules.js";
import type { Dpid, GroupPlan } from "./tree.js";

/** How often a switch may refuse a rule in a row before its group goes by unicast. */
const patience = 2;

interface Waiter {
  readonly resolve: (carriage: Carriage) => void;
  readonly timer: Timer;
}

/** One wished-for group on its way into the switches. */
export class Group {
  readonly id: number;
  members: readonly string[];
  /** What each switch should hold. While `obstacle` is set it is the last plan there was: rules stay till the next. */
  plan: GroupPlan = new Map();
  /** Why the members cannot all be reached now, in one line. */
  obstacle: string | null = "not planned yet";
  /** Switches of the plan that are not read back to hold their rule. */
  readonly pending = new Set<Dpid>();
  /** What the caller believes; undefined until the first answer. */
  told: Carriage | undefined;
  /** Why `told` is "unicast". */
  reason: string | null = null;
  readonly waiters: Waiter[] = [];
  private counter: Dpid | undefined;
  private lastCount = 0;
  private total = 0;

  constructor(
    readonly address: string,
    members: readonly string[],
  ) {
    this.id = groupId(address);
    this.members = members;
  }

  get whole(): boolean {
    return this.obstacle === null && this.pending.size === 0;
  }

  /**
   * Takes the switch whose flow counts from now on, and its count at the moment. A group keeps its total when
   * another switch takes over counting.
   */
  setCounter(dpid: Dpid | undefined, count: number): void {
    if (dpid === this.counter) return;
    // A group's very first switch may have counted for an earlier run: that counts too.
    if (this.counter === undefined) this.total = count;
    this.lastCount = count;
    this.counter = dpid;
  }

  /** Takes a reading of the flow at `dpid`; one that is lower than the last is of a new flow. */
  count(dpid: Dpid, packets: number): void {
    if (dpid !== this.counter) return;
    this.total += packets >= this.lastCount ? packets - this.lastCount : packets;
    this.lastCount = packets;
  }

  get packets(): number {
    return this.total;
  }

  status(): GroupStatus {
    return {
      address: this.address,
      members: this.members,
      carriage: this.told ?? "unicast",
      wanted: this.plan.size,
      seen: this.plan.size - this.pending.size,
      packets: this.total,
      reason: this.told === "openflow" ? null : (this.reason ?? "not answered yet"),
    };
  }
}

export interface GroupEvents {
  /** The carriage has changed, and no `want` is there to say so. */
  onCarriage(address: string, carriage: Carriage): void;
  /** The group has become whole, or is no longer told to be "openflow": nobody need wait for it. */
  onReleased(address: string): void;
}

/**
 * The wished-for groups and what their wishers have been told. Knows no switch: plans, flips and refusals come in,
 * answers go out.
 */
export class GroupTable {
  private readonly byAddress = new Map<string, Group>();
  private readonly byId = new Map<number, Group>();
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
    return typeof id === "number" ? this.byId.get(id) : undefined;
  }

  values(): IterableIterator<Group> {
    return this.byAddress.values();
  }

  /** The group of the wish, new or with its members changed, and the promise of an answer within the deadline. */
  want({ address, members }: GroupWish): { group: Group; answer: Promise<Carriage> } {
    let group = this.byAddress.get(address);
    if (group === undefined) {
      group = new Group(address, members);
      this.byAddress.set(address, group);
      this.byId.set(group.id, group);
    }
    group.members = members;
    const wished = group;
    const answer = new Promise<Carriage>((resolve) => {
      const timer = this.clock.setTimer(this.deadlineMs, () =>
        this.tell(wished, "unicast", wished.obstacle ?? "the switches did not confirm its rules in time"),
      );
      wished.waiters.push({ resolve, timer });
    });
    return { group, answer };
  }

  /** Takes a plan; `pending` are its switches that do not comply yet. `up`: Ryu answers, or may yet. */
  setPlan(group: Group, plan: GroupPlan, pending: Iterable<Dpid>, up: boolean): void {
    group.plan = plan;
    group.obstacle = null;
    group.pending.clear();
    for (const dpid of pending) group.pending.add(dpid);
    if (group.whole) this.tell(group, "openflow", null);
    else if (!up && group.waiters.length > 0) this.tell(group, "unicast", "Ryu is unreachable");
  }

  /** There is no plan now. A waiting `want` waits on, unless the obstacle is `lasting` or Ryu is not `up`. */
  setObstacle(group: Group, reason: string, lasting: boolean, up: boolean): void {
    group.obstacle = reason;
    if (lasting || !up || group.waiters.length === 0) this.tell(group, "unicast", reason);
  }

  flip(id: RuleId, dpid: Dpid, differs: boolean): void {
    const group = this.withId(id);
    if (group === undefined || !group.plan.has(dpid)) return;
    if (differs) group.pending.add(dpid);
    else if (group.pending.delete(dpid) && group.whole) this.tell(group, "openflow", null);
  }

  refused(id: RuleId, times: number, by: string): void {
    const group = this.withId(id);
    if (group !== undefined && times >= patience)
      this.tell(group, "unicast", `${by} does not take its rules`);
  }

  /** Ryu is unreachable: whoever waits need not wait longer. */
  giveUp(reason: string): void {
    for (const group of this.byAddress.values()) {
      if (group.waiters.length > 0) this.tell(group, "unicast", reason);
    }
  }

  remove(address: string): Group | undefined {
    const group = this.byAddress.get(address);
    if (group === undefined) return undefined;
    this.byAddress.delete(address);
    this.byId.delete(group.id);
    if (group.told === "openflow") this.whole -= 1;
    this.answer(group, "unicast");
    this.events.onReleased(address);
    return group;
  }

  private tell(group: Group, carriage: Carriage, reason: string | null): void {
    const asked = group.waiters.length > 0;
    const changed = group.told !== carriage;
    group.reason = reason;
    if (changed) {
      if (carriage === "openflow") this.whole += 1;
      else if (group.told === "openflow") this.whole -= 1;
      if (group.told !== undefined) this.changes += 1;
      group.told = carriage;
    }
    this.answer(group, carriage);
    this.events.onReleased(group.address);
    if (changed && !asked) this.events.onCarriage(group.address, carriage);
  }

  private answer(group: Group, carriage: Carriage): void {
    for (const { resolve, timer } of group.waiters.splice(0)) {
      timer.cancel();
      if (carriage === "unicast") this.unicastAnswers += 1;
      resolve(carriage);
    }
  }
}
