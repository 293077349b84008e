import { Budgets } from "@topicast/controller/dataplane/budgets.js";
import { noLimits, type SwitchLimits } from "@topicast/controller/dataplane/limits.js";
import { Planner, spanningForest } from "@topicast/controller/dataplane/tree.js";
import { Allocator } from "@topicast/controller/forwarder/allocation.js";
import { wasteOf } from "@topicast/controller/forwarder/groups.js";
import { formatIPv4 } from "@topicast/protocol";
import { type Question, wishesOf } from "./growth.js";
import { networkOf } from "./networks.js";

export interface LimitedQuestion extends Question {
  readonly limits: Partial<SwitchLimits>;
  /** Percent. */
  readonly waste: number;
}

/** What becomes of as many topics where switches hold only so much. */
export interface Limited extends LimitedQuestion {
  readonly sets: number;
  readonly groups: number;
  readonly shared: number;
  /** Sets that go by unicast. */
  readonly waiting: number;
  /** Entries on the fullest switch. */
  readonly most: number;
  /** Of one message of each topic: the share of copies by groups, and what these waste. */
  readonly carried: number;
  readonly wasted: number;
  /** Routes that were told anew because sets moved, all others being told once. */
  readonly moves: number;
  /** Microseconds for each topic. */
  readonly us: number;
}

const ADDRESS = formatIPv4(0xefc00001);

/** The topics of `grow` come one after the other, by the forwarder's own allocator and the data plane's own planner. */
export function growLimited(question: LimitedQuestion): Limited {
  const { topology, edges, limits, waste } = question;
  const network = networkOf(topology, edges);
  const planner = new Planner(spanningForest(network), network.places, network.links);
  const budgets = new Budgets(() => ({ ...noLimits, ...limits }));
  const resources = new Set<{ readonly name: string; readonly limit: number }>();
  let moves = 0;
  const allocator = new Allocator({
    waste: wasteOf(waste),
    needs: (members, publishers) => {
      const { plan } = planner.plan({ address: ADDRESS, members, publishers: [...publishers] });
      const needs = plan === undefined ? [] : budgets.needsOf(plan);
      for (const resource of needs ?? []) resources.add(resource);
      return needs;
    },
    onMoved: ({ weight }) => {
      moves += weight;
    },
  });
  const { wishes } = wishesOf(question);
  const sets = new Map<string, { weight: number; publishers: Set<string> }>();
  const name = (edge: number) => `e${String(edge + 1)}`;
  let copies = 0;
  const start = performance.now();
  for (const { members, publisher } of wishes) {
    if (members.length < 2) continue;
    const ids = members.map(name).sort();
    const key = ids.join();
    const set = sets.get(key) ?? { weight: 0, publishers: new Set<string>() };
    sets.set(key, set);
    set.weight += 1;
    if (!set.publishers.has(name(publisher))) set.publishers = new Set([...set.publishers, name(publisher)]);
    allocator.update(ids, set.weight, set.publishers);
    copies += members.length;
  }
  const us = ((performance.now() - start) * 1_000) / wishes.length;
  const { useful, extra } = allocator.copies;
  const most = [...resources].reduce((high, resource) => Math.max(high, allocator.usedOf(resource)), 0);
  return {
    ...question,
    ...allocator.sizes,
    ...{ most, moves, us },
    carried: copies === 0 ? 1 : useful / copies,
    wasted: useful === 0 ? 0 : extra / useful,
  };
}
