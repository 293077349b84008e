import {
  type Access,
  type AclRule,
  type AclRules,
  FilterTrie,
  filterContains,
  filterIntersection,
} from "@topicast/protocol";
import type { ClientIdentity } from "../mqtt/authority.js";
import { Patterns } from "./patterns.js";

/** What a client may do with a topic, as bits. */
export const READ = 1;
export const WRITE = 2;
const DENY = 4;
const BITS: Readonly<Record<Access, number>> = {
  read: READ,
  write: WRITE,
  readwrite: READ | WRITE,
  deny: DENY,
};

const REMEMBERED_MAX = 65_536;
const REMEMBERED_TOPIC_MAX = 256;
/** Comparisons that a SUBSCRIBE is worth; with more rules than that it is granted, and delivery decides. */
const COMPARISONS_MAX = 100_000;

/** The rules of one user. */
class Section {
  private readonly trie = new FilterTrie<number>({ cacheWeight: 0 });

  constructor(readonly rules: readonly AclRule[]) {
    for (const { filter, access } of rules) this.trie.add(filter, BITS[access]);
  }

  bits(topic: string): number {
    return this.trie.match(topic).reduce((all, bits) => all | bits, 0);
  }
}

/** The answers of one ACL file: README.md, "Who may do what". */
export class Acl {
  private readonly sections = new Map<string | undefined, Section>();
  private readonly patterns: Patterns;
  /** What each client may do with each topic, as far as it was asked. */
  private answers = new WeakMap<ClientIdentity, Map<string, number>>();
  private remembered = 0;
  readonly stats = { acl_forgotten: 0 };

  constructor(private readonly rules: AclRules) {
    this.patterns = new Patterns(rules.patterns);
  }

  /** Whether the client may do all of `access` (READ, WRITE) with the topic. */
  allows(client: ClientIdentity, topic: string, access: number): boolean {
    let known = this.answers.get(client);
    let answer = known?.get(topic);
    if (answer === undefined) {
      answer = this.decide(client, topic);
      if (topic.length <= REMEMBERED_TOPIC_MAX) {
        if (this.remembered >= REMEMBERED_MAX) this.forget();
        known = this.answers.get(client) ?? new Map<string, number>();
        this.answers.set(client, known.set(topic, answer));
        this.remembered += 1;
      }
    }
    return (answer & access) === access;
  }

  /** Whether there is a topic that the filter matches and the client may read; true where that is too much to find out. */
  allowsSome(client: ClientIdentity, filter: string): boolean {
    const own = this.section(client.username).rules;
    if (hasReadable(own, denials(own), filter)) return true;
    if (!this.patterns.concern(client)) return false;
    const patterns = this.patterns.rulesOf(client);
    return hasReadable(patterns, [...denials(own), ...denials(patterns)], filter);
  }

  private decide(client: ClientIdentity, topic: string): number {
    const own = this.section(client.username).bits(topic);
    if ((own & DENY) !== 0) return 0;
    if (!this.patterns.concern(client)) return own;
    let further = 0;
    for (const { access } of this.patterns.matching(client, topic)) further |= BITS[access];
    return (further & DENY) === 0 ? own | further : own;
  }

  private section(username: string | undefined): Section {
    const known = this.sections.get(username);
    if (known !== undefined) return known;
    const rules = username === undefined ? this.rules.anonymous : this.rules.users.get(username);
    if (rules === undefined) return NOBODY;
    const section = new Section(rules);
    this.sections.set(username, section);
    return section;
  }

  private forget(): void {
    this.answers = new WeakMap();
    this.remembered = 0;
    this.stats.acl_forgotten += 1;
  }
}

const NOBODY = new Section([]);

function denials(rules: readonly AclRule[]): AclRule[] {
  return rules.filter(({ access }) => access === "deny");
}

function hasReadable(rules: readonly AclRule[], denied: readonly AclRule[], filter: string): boolean {
  if (rules.length * (denied.length + 1) > COMPARISONS_MAX) return true;
  return rules.some(({ filter: granted, access }) => {
    if ((BITS[access] & READ) === 0) return false;
    const both = filterIntersection(granted, filter);
    return both !== undefined && !denied.some((deny) => filterContains(deny.filter, both));
  });
}
