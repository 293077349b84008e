import { readFileSync } from "node:fs";
import type { Difference } from "./linux-drill.js";

/** What outcomes.json holds. Scripts that are not named must be the same. */
export interface Outcomes {
  /** Why Linux does otherwise, by a short key. */
  readonly reasons: Readonly<Record<string, string>>;
  /** By "group: name". */
  readonly differs: Readonly<
    Record<string, { readonly reason: string; readonly at: string; readonly got: string }>
  >;
}

export function readOutcomes(): Outcomes {
  const file = new URL("../../../../net/agents/linux/outcomes.json", import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")) as Outcomes;
}

/** Whether a script did what is committed. */
export function isCommitted(outcomes: Outcomes, name: string, difference: Difference): boolean {
  const known = outcomes.differs[name];
  return known?.at === difference?.at && known?.got === difference?.got;
}
