import type { Match } from "node-ryu-rest-client";
import type { Probe } from "./access.js";
import type { Holding } from "./budgets.js";
import { type Hop, hopOf } from "./circulation.js";
import {
  type Cause,
  type Command,
  commandsFor,
  hasGroup,
  hasSurplus,
  idOf,
  matches,
  type SeenFlow,
  type SeenGroup,
  type SeenRule,
  type SwitchState,
  strayId,
} from "./diff.js";
import { noLimits, ruleForm, type SwitchLimits } from "./limits.js";
import {
  type Bucket,
  type GroupRange,
  groupId,
  guardId,
  guardPriority,
  guardRule,
  inRange,
  isSource,
  isSourceId,
  isSteer,
  matchOf,
  type Rule,
  type RuleId,
  rulePriority,
  sourceId,
  sourcePriority,
  steerId,
  steerPriority,
} from "./rules.js";

/** Wishes for one rule that a switch has not shown to obey; it has not been read back for long when there are more. */
const FORMER_MAX = 16;

/** What is wanted and seen under one id. */
export interface LedgerRow {
  readonly id: RuleId;
  readonly want: Rule | undefined;
  readonly seen: SeenRule;
}

/**
 * What one switch should hold against what it was last read back to hold. Differences are kept up to date rule by
 * rule, so that one changed group costs the same beside ten others and beside ten thousand.
 */
export class SwitchLedger {
  private readonly wanted = new Map<RuleId, Rule>();
  /** How many of the wanted ones have a group. */
  private wantedGroups = 0;
  private readonly flows = new Map<RuleId, SeenFlow>();
  private readonly groups = new Map<number, SeenGroup>();
  /** Flows with our cookie that are nothing we would write. */
  private strays: readonly SeenFlow[] = [];
  private readonly differing = new Map<RuleId, Cause>();
  private readonly surplus = new Map<RuleId, Cause>();
  /** Per id what was wished for, and may have been sent, since the switch last complied. */
  private readonly former = new Map<RuleId, Rule[]>();
  /** Per multicast address the ids of publishers' rules that are wished for or there, or were. */
  private readonly sources = new Map<string, Set<string>>();
  private read = false;
  /** Rules that the switch may have by now, though it was not read back since. */
  private readonly sent = new Map<RuleId, Rule>();
  private holding = { flows: 0, groups: 0 };
  private shrunk = false;
  /** What the guard matches. */
  private readonly guarded: string;

  constructor(
    private readonly range: GroupRange,
    private readonly limits: SwitchLimits = noLimits,
  ) {
    const guard = guardRule(range);
    this.guarded = guard.destination;
    this.want(guardId, guard);
  }

  /** False until the first read-back. */
  get known(): boolean {
    return this.read;
  }

  /** Wishes for a rule, or with undefined for its absence. True when the switch is not yet read back to comply. */
  want(id: RuleId, rule: Rule | undefined): boolean {
    const before = this.wanted.get(id);
    if (before !== undefined && this.lacks(id))
      this.former.set(id, [...(this.former.get(id) ?? []), before].slice(-FORMER_MAX));
    if (rule !== undefined && isSource(rule)) this.noteSource(rule.match.destination, rule.id);
    const formed = rule && this.formed(rule);
    this.wantedGroups += countGroup(formed) - countGroup(before);
    this.recount(id, () => {
      if (formed === undefined) this.wanted.delete(id);
      else this.wanted.set(id, formed);
    });
    return this.compare(id, rule === undefined ? "dropped" : "wanted");
  }

  wants(id: RuleId): Rule | undefined {
    return this.wanted.get(id);
  }

  /** True while the switch is not read back to do what is wished for. */
  lacks(id: RuleId): boolean {
    return this.differing.has(id);
  }

  /** True while the switch is not read back to hold exactly what is wished for, and nothing more; of `strayId`, while there are any. */
  differs(id: RuleId): boolean {
    if (id === strayId) return this.strays.length > 0;
    return this.differing.has(id) || this.surplus.has(id);
  }

  /** True while the switch may hold something under this id. */
  holds(id: RuleId): boolean {
    return this.flows.has(id) || this.groupOf(id) !== undefined || this.wanted.has(id);
  }

  /** True while the switch may hold something for this multicast address. */
  holdsAddress(address: string): boolean {
    return this.holds(groupId(address)) || this.sourceIds(address).length > 0;
  }

  /** What the switch does, or may still do, with datagrams to this multicast address. */
  standing(address: string): Hop[] {
    const hops: Hop[] = [];
    for (const id of [groupId(address), ...this.sourceIds(address)]) {
      const want = this.wanted.get(id);
      if (want !== undefined) hops.push(...hopOf(want));
      for (const rule of this.former.get(id) ?? []) hops.push(...hopOf(rule));
      if (!this.differs(id)) continue;
      const { flow, group } = this.seen(id);
      const buckets = typeof flow?.action === "number" ? group?.buckets : flow?.action;
      if (!Array.isArray(buckets)) continue;
      const ports = (buckets as readonly Bucket[]).flatMap((b) => (b.rewrite === undefined ? b.port : []));
      hops.push({ source: flow?.source?.source, inPort: flow?.source?.inPort, ports });
    }
    return hops;
  }

  private noteSource(address: string, id: string): void {
    const known = this.sources.get(address);
    if (known === undefined) this.sources.set(address, new Set([id]));
    else known.add(id);
  }

  /** The ids of publishers' rules for this address that are wished for, there, or may be. */
  private sourceIds(address: string): string[] {
    const ids = this.sources.get(address);
    if (ids === undefined) return [];
    for (const id of ids) if (!this.holds(id) && !this.former.has(id)) ids.delete(id);
    if (ids.size === 0) this.sources.delete(address);
    return [...ids];
  }

  /** The command is being sent to the switch; nothing else is until it has been asked what came of it. */
  onCommand(command: Command): void {
    const id = idOf(command);
    const rule = this.wanted.get(id);
    if (rule === undefined || command.op.endsWith("-delete")) return;
    this.recount(id, () => this.sent.set(id, rule));
  }

  /** Takes a complete read-back; `onFlip` hears of each wanted rule that matches now and did not, or the reverse. */
  observe(state: SwitchState, onFlip: (id: RuleId, differs: boolean) => void): void {
    const before = new Map(this.differing);
    const surplus = new Map(this.surplus);
    const first = !this.read;
    this.flows.clear();
    this.groups.clear();
    const strays: SeenFlow[] = [];
    for (const flow of state.flows) {
      const id = this.ruleOf(flow);
      if (id === null) strays.push(flow);
      else this.flows.set(id, flow);
      if (id !== null && flow.source !== undefined)
        this.noteSource(flow.source.destination, sourceId(flow.source));
    }
    this.former.clear();
    for (const group of state.groups) this.groups.set(group.id, group);
    this.sent.clear();
    this.recountAll();
    this.strays = strays;
    this.surplus.clear();
    this.read = true;
    for (const id of this.wanted.keys()) {
      const differs = this.compare(id, first ? "wanted" : (before.get(id) ?? "lost"));
      if (differs !== before.has(id)) onFlip(id, differs);
    }
    for (const id of chain<RuleId>(this.flows.keys(), this.groups.keys())) {
      if (!this.wanted.has(id)) this.surplus.set(id, surplus.get(id) ?? "leftover");
    }
  }

  /**
   * Takes the answer to a probe for a rule that has just been written anew, or removed. True when it shows that the
   * switch complies: a group that was not there before has as many buckets as were written, and a flow points to it; or
   * the group is gone, and with it every flow that pointed to it (OpenFlow 1.3.5, 6.7). Anything else proves nothing.
   */
  confirm(id: number, probe: Probe | undefined): boolean {
    const want = this.wanted.get(id);
    if (want !== undefined && !hasGroup(want)) return false;
    if (want === undefined) {
      if (probe !== undefined) return false;
      this.recount(id, () => {
        this.flows.delete(id);
        this.groups.delete(id);
      });
    } else {
      const { buckets, priority, destination } = want;
      const flowsKnown = probe !== undefined && probe.flows > 0 && probe.flows < 0xffff_ffff;
      if (!flowsKnown || probe.buckets !== buckets.length) return false;
      const packets = this.flows.get(id)?.packets ?? 0;
      this.groups.set(id, { id, buckets });
      this.flows.set(id, {
        table: 0,
        priority,
        destination,
        action: id,
        packets,
        match: matchOf(destination),
      });
    }
    this.former.delete(id);
    this.recount(id, () => this.sent.delete(id));
    return !this.compare(id, this.cause(id) ?? "lost");
  }

  /**
   * Takes what the switch was just read back to hold of the flow of a rule without a group, or of one that is to be gone;
   * true when it complies.
   */
  confirmFlow(id: number, flow: SeenFlow | undefined): boolean {
    this.former.delete(id);
    this.recount(id, () => {
      this.sent.delete(id);
      if (flow === undefined) this.flows.delete(id);
      else this.flows.set(id, flow);
    });
    return !this.compare(id, this.cause(id) ?? "lost");
  }

  /**
   * How to ask for this rule alone, after it has been sent: for its group, or for the flow with this match; undefined:
   * nothing less than everything proves it.
   */
  proofOf(id: number): "group" | Match | undefined {
    const want = this.wanted.get(id);
    const { flow, group } = this.seen(id);
    if (want === undefined) return group !== undefined ? "group" : flow?.match;
    if (isSteer(want) || isSource(want)) return undefined;
    if (hasGroup(want)) return Array.isArray(flow?.action) ? undefined : "group";
    return group === undefined ? matchOf(want.destination) : undefined;
  }

  /**
   * Commands that remove the differences of at most `limit` rules, the longest wished for first, in no order (see
   * `stages`). Nothing is removed unless `remove`; rules for which `skip` says so (`strayId` among them) are left for
   * later.
   */
  commands(
    remove: boolean,
    limit = Number.POSITIVE_INFINITY,
    skip: (id: RuleId) => boolean = () => false,
  ): Command[] {
    const out: Command[] = [];
    if (!this.read) return out;
    let room = limit;
    for (const id of remove ? chain(this.differing.keys(), this.surplus.keys()) : this.differing.keys()) {
      if (room <= 0) return out;
      if (skip(id)) continue;
      room -= 1;
      commandsFor(id, this.wanted.get(id), this.seen(id), out);
    }
    if (!remove || skip(strayId)) return out;
    for (const flow of this.strays.slice(0, room)) out.push({ op: "flow-delete", id: strayId, flow });
    return out;
  }

  /** How many rules the switch holds of ours, as far as known. */
  get size(): number {
    return this.flows.size;
  }

  /** Groups, and flows of groups, that the switch holds or is to hold. */
  get held(): Holding {
    return this.holding;
  }

  /** True where something of it has gone since this was last asked. */
  hasShrunk(): boolean {
    const { shrunk } = this;
    this.shrunk = false;
    return shrunk;
  }

  /** What the rule would add to that. */
  added(rule: Rule): Holding {
    const { flows, groups } = this.holdingOf(rule.id);
    const isFlow = ruleForm(rule, this.limits) === "flow";
    return { flows: 1 - flows, groups: isFlow ? 0 : 1 - groups };
  }

  /** Wanted rules that the last read-back did not find, or found different, and where that comes from. */
  differences(): ReadonlyMap<RuleId, Cause> {
    return this.differing;
  }

  /** Where the difference comes from; undefined where there is none. */
  cause(id: RuleId): Cause | undefined {
    if (id === strayId) return this.strays.length > 0 ? "leftover" : undefined;
    return this.differing.get(id) ?? this.surplus.get(id);
  }

  /** Every rule that is wanted or there, then the flows that belong to none. */
  *rows(): Generator<LedgerRow> {
    for (const [id, want] of this.wanted) yield { id, want, seen: this.seen(id) };
    for (const id of this.surplus.keys()) yield { id, want: undefined, seen: this.seen(id) };
    for (const flow of this.strays) yield { id: strayId, want: undefined, seen: { flow, group: undefined } };
  }

  /** Datagrams counted by the flow of this rule, as of the last read-back. */
  packets(id: RuleId): number | undefined {
    return this.flows.get(id)?.packets;
  }

  /** The rules found in the switch with the datagrams that their flows have counted. */
  *counters(): Generator<[id: RuleId, packets: number]> {
    for (const [id, flow] of this.flows) yield [id, flow.packets];
  }

  counts(): { wanted: number; seen: number; differing: number; strays: number } {
    return {
      wanted: this.wanted.size + this.wantedGroups,
      seen: this.flows.size + this.groups.size,
      differing: this.differing.size + this.surplus.size + this.strays.length,
      strays: this.strays.length,
    };
  }

  /** The groups found in the switch: multicast address → IPv4 addresses of the members rewritten to here. */
  *members(): Generator<[address: string, members: string[]]> {
    for (const [id, flow] of this.flows) {
      const { action } = flow;
      const destination = flow.source?.destination ?? flow.destination;
      const buckets = typeof action === "number" ? this.groupOf(id)?.buckets : action;
      if (destination === null || !Array.isArray(buckets)) continue;
      yield [destination, buckets.flatMap((b) => b.rewrite?.address ?? [])];
    }
  }

  private groupOf(id: RuleId): SeenGroup | undefined {
    return typeof id === "number" ? this.groups.get(id) : undefined;
  }

  private seen(id: RuleId): SeenRule {
    return { flow: this.flows.get(id), group: this.groupOf(id) };
  }

  private compare(id: RuleId, cause: Cause): boolean {
    const want = this.wanted.get(id);
    const seen = this.seen(id);
    const differs = !this.read || !matches(want, seen);
    this.differing.delete(id);
    this.surplus.delete(id);
    if (want !== undefined && differs) this.differing.set(id, this.read ? cause : "unread");
    else if (this.read && hasSurplus(want, seen))
      this.surplus.set(id, want === undefined ? cause : "dropped");
    return differs;
  }

  /** Of one rule: what is there, or wished for. */
  private holdingOf(id: RuleId): Holding {
    if (!isCounted(id)) return nothing;
    const want = this.wanted.get(id);
    const sent = this.sent.get(id);
    const hasFlow = this.flows.has(id) || want !== undefined || sent !== undefined;
    const isInGroup =
      this.groupOf(id) !== undefined || [want, sent].some((r) => r !== undefined && hasGroup(r));
    return { flows: hasFlow ? 1 : 0, groups: isInGroup ? 1 : 0 };
  }

  private recount(id: RuleId, change: () => void): void {
    const before = this.holdingOf(id);
    change();
    const after = this.holdingOf(id);
    this.holding.flows += after.flows - before.flows;
    this.holding.groups += after.groups - before.groups;
    this.shrunk ||= after.flows < before.flows || after.groups < before.groups;
  }

  private recountAll(): void {
    const before = this.holding;
    this.holding = { flows: 0, groups: 0 };
    for (const id of new Set(chain<RuleId>(this.wanted.keys(), this.flows.keys(), this.groups.keys()))) {
      const { flows, groups } = this.holdingOf(id);
      this.holding.flows += flows;
      this.holding.groups += groups;
    }
    this.shrunk ||= this.holding.flows < before.flows || this.holding.groups < before.groups;
  }

  /** As this switch writes it. */
  private formed(rule: Rule): Rule {
    if (isSteer(rule) || isSource(rule)) return rule;
    return { ...rule, form: ruleForm(rule, this.limits) ?? "group" };
  }

  private ruleOf(flow: SeenFlow): RuleId | null {
    const { destination, priority, steer, source, table } = flow;
    if (table !== 0) return null;
    if (source !== undefined) {
      return priority === sourcePriority && inRange(this.range, source.destination) ? sourceId(source) : null;
    }
    if (steer !== undefined) return priority === steerPriority(steer.match) ? steerId(steer.match) : null;
    if (destination === null) return null;
    if (destination === this.guarded && priority === guardPriority) return guardId;
    return priority === rulePriority && inRange(this.range, destination) ? groupId(destination) : null;
  }
}

function* chain<T>(...parts: Iterable<T>[]): Generator<T> {
  for (const part of parts) yield* part;
}

function countGroup(rule: Rule | undefined): number {
  return rule !== undefined && hasGroup(rule) ? 1 : 0;
}

const nothing: Holding = { flows: 0, groups: 0 };

/** Of the rules of groups. */
function isCounted(id: RuleId): boolean {
  return typeof id === "number" ? id !== guardId : isSourceId(id);
}
