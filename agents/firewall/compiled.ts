import { Buckets, FilterTrie } from "@topicast/protocol";
import { Guessing } from "./guessing.js";
import { Payloads } from "./payloads.js";
import { type Rate, rateKey } from "./rates.js";
import type { RateRule, Rules } from "./rules.js";
import { type TopicLists, topicLists } from "./topics.js";

/** A client's own account is charged first: who has used up that takes nothing from those it shares one with. */
const ORDER: Readonly<Record<RateRule["per"], number>> = { client: 0, address: 1, user: 2, topic: 3 };

/** A rate of messages or bytes, and on which topics it counts. */
export interface RateOn extends Rate {
  /** Undefined: on all. */
  readonly topics: FilterTrie<true> | undefined;
}

/** Counted where tables forget. */
export interface Forgotten {
  rates_forgotten: number;
  guessing_forgotten: number;
}

/** Rules as they are asked, and the accounts that belong to them. */
export class Compiled {
  readonly connections: readonly Rate[];
  /** Of messages and bytes. */
  readonly messages: readonly RateOn[];
  readonly subscriptions: readonly Rate[];
  readonly publishLists: readonly TopicLists[];
  readonly subscribeLists: readonly TopicLists[];
  readonly payloads: Payloads;
  readonly guessing: Guessing;
  /** Protocol mistakes by source. */
  readonly mistakes: Buckets | undefined;
  /** Topics whose messages an engine sees. */
  readonly inspected: FilterTrie<true>;

  /** @param before whose accounts go on where their limits are the same */
  constructor(
    readonly rules: Rules,
    forgotten: Forgotten,
    before?: Compiled,
  ) {
    const known = new Map(before?.rates.map((rate) => [rateKey(rate.rule), rate.buckets]));
    const onForgotten = () => {
      forgotten.rates_forgotten += 1;
    };
    const rates = rules.rates
      .map(
        (rule): RateOn => ({
          rule,
          buckets: known.get(rateKey(rule)) ?? new Buckets(rule, onForgotten),
          topics: rule.topics && trieOf(rule.topics),
        }),
      )
      .sort((a, b) => ORDER[a.rule.per] - ORDER[b.rule.per]);
    this.connections = rates.filter(({ rule }) => rule.of === "connections");
    this.messages = rates.filter(({ rule }) => rule.of === "messages" || rule.of === "bytes");
    this.subscriptions = rates.filter(({ rule }) => rule.of === "subscriptions");
    const lists = rules.topics.map(topicLists);
    this.publishLists = lists.filter(({ rule }) => rule.publish);
    this.subscribeLists = lists.filter(({ rule }) => rule.subscribe);
    this.payloads = new Payloads(rules.payloads);
    this.inspected = trieOf(rules.content?.topics ?? []);
    this.guessing =
      before !== undefined && isSame(before.rules.guessing, rules.guessing)
        ? before.guessing
        : new Guessing(rules.guessing, () => {
            forgotten.guessing_forgotten += 1;
          });
    this.mistakes =
      before !== undefined && isSame(before.rules.protocol, rules.protocol)
        ? before.mistakes
        : rules.protocol && new Buckets(rules.protocol, onForgotten);
  }

  private get rates(): readonly Rate[] {
    return [...this.connections, ...this.messages, ...this.subscriptions];
  }
}

function trieOf(filters: readonly string[]): FilterTrie<true> {
  const trie = new FilterTrie<true>({ cacheWeight: 65_536 });
  for (const filter of filters) trie.add(filter, true);
  return trie;
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
