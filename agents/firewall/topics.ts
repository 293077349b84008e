import { FilterTrie, filterContains, filterIntersection, filterMatches, TopicTree } from "@topicast/protocol";
import { FilterTree } from "./filter-tree.js";
import type { TopicRule } from "./rules.js";

/** Filters with %u or %c that one list may have: each connection compares with its own of all of them. */
export const PATTERNS_MAX = 64;

/** Filters with wildcards that one list may have: a SUBSCRIBE with wildcards is compared with each. */
export const WILD_MAX = 1_000;

const PLACEHOLDER = /%[cu]/g;

/** Whether a filter stands for another one for each client. */
export function isPattern(filter: string): boolean {
  return filter.includes("%u") || filter.includes("%c");
}

/** Who fills in the placeholders. */
export interface Named {
  readonly clientId: string;
  readonly username: string | undefined;
}

/** Filters, some of them with a client's names filled in. */
export class TopicList {
  /** Those without wildcards: as many as one likes. */
  private readonly topics = new TopicTree<true>();
  private readonly wild = new FilterTree();
  private readonly trie = new FilterTrie<true>({ cacheWeight: 65_536 });
  private readonly patterns: string[] = [];

  constructor(filters: readonly string[]) {
    for (const filter of filters) {
      if (isPattern(filter)) this.patterns.push(filter);
      else if (!isWild(filter)) this.topics.set(filter, true);
      else if (this.trie.add(filter, true).added) this.wild.add(filter);
    }
  }

  /** The patterns as they are for one client; for `own` below. Once per connection. */
  filledIn(client: Named): readonly string[] {
    return this.patterns.flatMap((pattern) => {
      const filter = fillIn(pattern, client);
      return filter === undefined ? [] : [filter];
    });
  }

  /** Whether one of the filters matches the topic. */
  matches(topic: string, own: readonly string[]): boolean {
    if (this.trie.size > 0 && this.trie.match(topic).length > 0) return true;
    return this.topics.has(topic) || own.some((filter) => filterMatches(filter, topic));
  }

  /** Whether one of the filters takes in all that `filter` asks for. */
  contains(filter: string, own: readonly string[]): boolean {
    if (!isWild(filter)) return this.matches(filter, own);
    return this.wild.contains(filter) || own.some((f) => filterContains(f, filter));
  }

  /** Whether there is a topic that `filter` and one of the filters match. */
  overlaps(filter: string, own: readonly string[]): boolean {
    if (!isWild(filter)) return this.matches(filter, own);
    const meets = (f: string) => filterIntersection(f, filter) !== undefined;
    if (this.wild.meets(filter) || own.some(meets)) return true;
    let isFound = false;
    this.topics.matching(filter, () => {
      isFound = true;
      return false;
    });
    return isFound;
  }
}

/** A topic rule's lists. */
export interface TopicLists {
  readonly rule: TopicRule;
  readonly allow: TopicList | undefined;
  readonly deny: TopicList;
}

/** The same for one client. */
export interface OwnLists {
  readonly lists: TopicLists;
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

export function topicLists(rule: TopicRule): TopicLists {
  return { rule, allow: rule.allow && new TopicList(rule.allow), deny: new TopicList(rule.deny) };
}

export function ownLists(lists: TopicLists, client: Named): OwnLists {
  return { lists, allow: lists.allow?.filledIn(client) ?? [], deny: lists.deny.filledIn(client) };
}

/** Why nobody may publish on this topic, in words; undefined: it may be. */
export function topicRefused({ lists, allow, deny }: OwnLists, topic: string): string | undefined {
  if (lists.deny.matches(topic, deny)) return "topic is denied";
  return lists.allow?.matches(topic, allow) === false ? "topic is not among those allowed" : undefined;
}

/**
 * Why nobody may subscribe to this, in words. A filter must lie within one of those allowed, and no topic that is denied may
 * come by it.
 */
export function filterRefused({ lists, allow, deny }: OwnLists, filter: string): string | undefined {
  if (lists.deny.overlaps(filter, deny)) return "filter takes in topics that are denied";
  return lists.allow?.contains(filter, allow) === false ? "filter is not within those allowed" : undefined;
}

/** Whether a filter has no level of its own: it asks for everything. */
export function asksForAll(filter: string): boolean {
  return filter.endsWith("#") && filter.split("/").every((level) => level === "+" || level === "#");
}

/**
 * The names are taken by the letter, and a topic has no + and #: a client with one of these in its name has nothing of its
 * own, and cannot take what is others'.
 */
function fillIn(pattern: string, { clientId, username }: Named): string | undefined {
  const needsUser = pattern.includes("%u");
  if (needsUser && (username === undefined || isWild(username))) return undefined;
  if (pattern.includes("%c") && isWild(clientId)) return undefined;
  return pattern.replace(PLACEHOLDER, (which) => (which === "%c" ? clientId : username!));
}

/** Whether there is a wildcard in a valid filter, or what would be one in a name. */
export function isWild(text: string): boolean {
  return text.includes("+") || text.includes("#");
}
