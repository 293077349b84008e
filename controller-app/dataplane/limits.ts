/** What one switch may hold of ours, and how a rule's copies are written there. Pure. */
import { isSource, isSteer, type Rule } from "./rules.js";

export interface SwitchLimits {
  /** Groups of type *all*. */
  readonly groups: number;
  /** Flows of groups; the guard and steering are not counted. */
  readonly flows: number;
  /** Buckets of one group. */
  readonly buckets: number;
  /** Copies that a flow may make by itself, without a group. */
  readonly outputs: number;
}

/** Everything by groups, as many as are needed. */
export const noLimits: SwitchLimits = {
  groups: Number.POSITIVE_INFINITY,
  flows: Number.POSITIVE_INFINITY,
  buckets: Number.POSITIVE_INFINITY,
  outputs: 0,
};

/** Copies are written as the flow's own actions, or as a group that the flow points to. */
export type Form = "flow" | "group";

/**
 * The form of a rule; undefined where the switch takes neither. A publisher's own rule is always a flow, however many
 * copies it makes.
 */
export function ruleForm(rule: Rule, { outputs, buckets }: SwitchLimits): Form | undefined {
  if (isSteer(rule) || isSource(rule) || rule.buckets === null) return "flow";
  const copies = rule.buckets.length;
  if (copies <= outputs) return "flow";
  return copies <= buckets ? "group" : undefined;
}
