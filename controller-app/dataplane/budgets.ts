/** Whether a planned group finds room in the switches: what it takes of those that have a limit. */
import { formatDpid } from "node-ryu-rest-client";
import type { BudgetStatus, Resource } from "./dataplane.js";
import { noLimits, ruleForm, type SwitchLimits } from "./limits.js";
import type { Rule } from "./rules.js";
import type { Dpid, GroupPlan } from "./tree.js";

/** What a switch holds, or is to hold, of groups. */
export interface Holding {
  readonly groups: number;
  readonly flows: number;
}

/** What is known of one switch. */
export interface SwitchBooks {
  readonly held: Holding;
  /** What the rule would add to it: nothing where it is there, or wished for, already. */
  added(rule: Rule): Holding;
}

type Kind = keyof Holding;
const kinds: readonly Kind[] = ["groups", "flows"];

export class Budgets {
  private readonly resources = new Map<string, Resource>();

  /** @param limits undefined: no switch has any */
  constructor(private readonly limits: ((dpid: Dpid) => SwitchLimits) | undefined) {}

  get areThere(): boolean {
    return this.limits !== undefined;
  }

  of(dpid: Dpid): SwitchLimits {
    return this.limits?.(dpid) ?? noLimits;
  }

  /** What the plan takes one of each, repeated where it takes more; undefined: a switch would never take one of its rules. */
  needsOf(plan: GroupPlan): Resource[] | undefined {
    const needs: Resource[] = [];
    for (const [dpid, rules] of plan) {
      for (const rule of rules) {
        const form = ruleForm(rule, this.of(dpid));
        if (form === undefined) return undefined;
        if (form === "group") this.addTo(needs, dpid, "groups");
        this.addTo(needs, dpid, "flows");
      }
    }
    return needs;
  }

  /** Why the plan finds no room, in one line; undefined where it does. */
  obstacle(plan: GroupPlan, books: (dpid: Dpid) => SwitchBooks | undefined): string | undefined {
    if (this.limits === undefined) return undefined;
    for (const [dpid, rules] of plan) {
      const limits = this.of(dpid);
      const at = books(dpid);
      const after = { groups: at?.held.groups ?? 0, flows: at?.held.flows ?? 0 };
      let isMore = false;
      for (const rule of rules) {
        if (ruleForm(rule, limits) === undefined) {
          return `switch ${formatDpid(dpid)} has no groups of so many copies (its limit: ${limits.buckets})`;
        }
        const added = at?.added(rule) ?? { groups: 1, flows: 1 };
        for (const kind of kinds) after[kind] += added[kind];
        isMore ||= added.groups + added.flows > 0;
      }
      const full = isMore && kinds.find((kind) => after[kind] > limits[kind]);
      if (full) return `switch ${formatDpid(dpid)} has no room for more ${full} (its limit: ${limits[full]})`;
    }
    return undefined;
  }

  /** For people. */
  status(dpid: Dpid, held: Holding): { readonly groups: BudgetStatus; readonly flows: BudgetStatus } {
    const limits = this.of(dpid);
    const statusOf = (kind: Kind) => ({
      held: held[kind],
      limit: limits[kind] === Number.POSITIVE_INFINITY ? null : limits[kind],
    });
    return { groups: statusOf("groups"), flows: statusOf("flows") };
  }

  /** Entries on the switch that holds most, and how many switches have no room for one more. */
  summary(switches: Iterable<readonly [Dpid, Holding]>) {
    let [most_groups, most_flows, full] = [0, 0, 0];
    for (const [dpid, { groups, flows }] of switches) {
      const limits = this.of(dpid);
      most_groups = Math.max(most_groups, groups);
      most_flows = Math.max(most_flows, flows);
      if (groups >= limits.groups || flows >= limits.flows) full += 1;
    }
    return { most_groups, most_flows, full };
  }

  private addTo(needs: Resource[], dpid: Dpid, kind: Kind): void {
    const limit = this.of(dpid)[kind];
    if (limit === Number.POSITIVE_INFINITY) return;
    const name = `${kind} of switch ${formatDpid(dpid)}`;
    let resource = this.resources.get(name);
    if (resource === undefined) {
      resource = { name, limit };
      this.resources.set(name, resource);
    }
    needs.push(resource);
  }
}
