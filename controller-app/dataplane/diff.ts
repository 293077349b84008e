import type { Match } from "node-ryu-rest-client";
import {
  type Bucket,
  type GroupRule,
  isSource,
  isSteer,
  type Rule,
  type RuleId,
  type SourceMatch,
  type SteerActions,
  type SteerMatch,
  sameBuckets,
  sameSteering,
} from "./rules.js";

/** A flow with our cookie, as read back. */
export interface SeenFlow {
  readonly table: number;
  readonly priority: number;
  /** `ipv4_dst` where the match is exactly eth_type 0x0800 and that (address or address/length); null otherwise. */
  readonly destination: string | null;
  /**
   * The group it points to, the copies that it makes by itself (canonical order), "drop" for no action at all, "other" for
   * anything we never write.
   */
  readonly action: number | readonly Bucket[] | "drop" | "other";
  /** Where the match is exactly a steering flow's: that, and its actions, null for anything we never write. */
  readonly steer?: { readonly match: SteerMatch; readonly actions: SteerActions | null };
  /** Where the match is exactly that of a publisher's rule. */
  readonly source?: SourceMatch;
  readonly packets: number;
  /** The match as it was read, to delete exactly this flow by. */
  readonly match: Match;
}

/** A group in our id range, as read back. */
export interface SeenGroup {
  readonly id: number;
  /** Canonical order; null where type or actions are nothing we ever write. */
  readonly buckets: readonly Bucket[] | null;
}

/** Everything in one switch that is ours. */
export interface SwitchState {
  readonly flows: readonly SeenFlow[];
  readonly groups: readonly SeenGroup[];
}

/** Why a switch does not hold what it should, as far as that is known. */
export type Cause =
  | "unread" // the switch has not been read back yet
  | "wanted" // wished for, or wished for otherwise than before
  | "dropped" // not wished for any more
  | "lost" // it was as wanted, and has been changed or removed by somebody else
  | "leftover"; // found there, and nobody has wished for it in this run

/** Stands for the flows with our cookie that belong to no rule. */
export const strayId = -1;

export type Command =
  | { readonly op: "group-add" | "group-modify"; readonly id: number; readonly buckets: readonly Bucket[] }
  /** Adds, or replaces the one with the same match and priority. */
  | { readonly op: "flow-put"; readonly rule: Rule }
  /** `id`: the rule that the flow belongs to, or `strayId`. */
  | { readonly op: "flow-delete"; readonly id: RuleId; readonly flow: SeenFlow }
  | { readonly op: "group-delete"; readonly id: number };

export function idOf(command: Command): RuleId {
  return command.op === "flow-put" ? command.rule.id : command.id;
}

/**
 * Commands of one stage may go in any order or side by side; stages must not overlap. Groups come before the flows
 * that use them, and flows go before their groups.
 */
export const stages: readonly (readonly Command["op"][])[] = [
  ["group-add", "group-modify"],
  ["flow-put"],
  ["flow-delete"],
  ["group-delete"],
];

/** What one switch was read back to hold for one rule id. */
export interface SeenRule {
  readonly flow: SeenFlow | undefined;
  readonly group: SeenGroup | undefined;
}

/** True when the switch does exactly what this rule says (undefined: holds nothing of it). */
export function matches(want: Rule | undefined, seen: SeenRule): boolean {
  if (want === undefined) return seen.flow === undefined && seen.group === undefined;
  return flowMatches(want, seen.flow) && groupMatches(want, seen.group);
}

function flowMatches(want: Rule, flow: SeenFlow | undefined): boolean {
  if (flow === undefined) return false;
  if (isSource(want)) return Array.isArray(flow.action) && sameBuckets(want.buckets, flow.action);
  if (!isSteer(want)) return isAction(want, flow.action);
  const actions = flow.steer?.actions ?? null;
  return actions !== null && sameSteering(want.actions, actions);
}

function isAction({ id, buckets, form }: GroupRule, action: SeenFlow["action"]): boolean {
  if (buckets === null) return action === "drop";
  return form === "group" ? action === id : Array.isArray(action) && sameBuckets(buckets, action);
}

/** True when the switch holds something that the rule, which it matches, does not need. */
export function hasSurplus(want: Rule | undefined, { flow, group }: SeenRule): boolean {
  if (want === undefined) return flow !== undefined || group !== undefined;
  return !hasGroup(want) && group !== undefined;
}

/** True for a rule with a group. */
export function hasGroup(rule: Rule): rule is GroupRule & { buckets: readonly Bucket[] } {
  return "form" in rule && rule.buckets !== null && rule.form === "group";
}

function groupMatches(want: Rule, group: SeenGroup | undefined): boolean {
  if (!hasGroup(want)) return true;
  return group !== undefined && sameBuckets(want.buckets, group.buckets);
}

/** The commands that turn what was `seen` for rule `id` into `want`, appended to `out`. */
export function commandsFor(id: RuleId, want: Rule | undefined, seen: SeenRule, out: Command[]): void {
  if (want === undefined && seen.flow !== undefined) out.push({ op: "flow-delete", id, flow: seen.flow });
  // A group goes when the flow that pointed to it is read back to do without.
  const isSpare = want === undefined || (!hasGroup(want) && matches(want, seen));
  if (isSpare && seen.group !== undefined) out.push({ op: "group-delete", id: seen.group.id });
  if (want === undefined) return;
  if (hasGroup(want) && !groupMatches(want, seen.group)) {
    const op = seen.group === undefined ? "group-add" : "group-modify";
    out.push({ op, id: want.id, buckets: want.buckets });
  }
  if (!flowMatches(want, seen.flow)) out.push({ op: "flow-put", rule: want });
}
