/** What one switch may hold of ours, and how a rule's copies are written there. Pure. */

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

/** The form of a rule with so many copies; undefined where the switch takes neither. */
export function formOf(copies: number, { outputs, buckets }: SwitchLimits): Form | undefined {
  if (copies <= outputs) return "flow";
  return copies <= buckets ? "group" : undefined;
}
