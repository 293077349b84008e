import { type AclRule, FilterTrie, filterMatches } from "@topicast/protocol";
import type { ClientIdentity } from "../mqtt/authority.js";

const PLACEHOLDER = /%[cu]/g;

/**
 * The patterns of an ACL file. They are indexed once for all clients, with + for the levels that hold a placeholder, so that
 * a topic is compared with the few that may match and no client has a tree of its own.
 */
export class Patterns {
  private readonly trie = new FilterTrie<AclRule>({ cacheWeight: 0 });

  constructor(private readonly patterns: readonly AclRule[]) {
    for (const pattern of patterns) this.trie.add(indexed(pattern.filter), pattern);
  }

  /**
   * Whether they say anything of this client: one whose name holds a wildcard could give itself what is meant for others.
   */
  concern({ clientId, username = "" }: ClientIdentity): boolean {
    return this.patterns.length > 0 && !/[+#]/.test(clientId) && !/[+#]/.test(username);
  }

  /** Those that match `topic` for this client. */
  *matching(client: ClientIdentity, topic: string): IterableIterator<AclRule> {
    const candidates = isOneLevel(client) ? this.trie.match(topic) : this.patterns;
    for (const pattern of candidates) {
      const filter = filledIn(pattern.filter, client);
      if (filter !== undefined && filterMatches(filter, topic)) yield pattern;
    }
  }

  /** All of them as rules for this client. */
  rulesOf(client: ClientIdentity): AclRule[] {
    return this.patterns.flatMap(({ filter, access }) => {
      const own = filledIn(filter, client);
      return own === undefined ? [] : [{ filter: own, access }];
    });
  }
}

function indexed(pattern: string): string {
  return pattern.replace(/[^/]*%[cu][^/]*/g, "+");
}

/** Whether what is filled in stays within its level, and + at the index's begin matches it. */
function isOneLevel({ clientId, username = "" }: ClientIdentity): boolean {
  return ![clientId, username].some((name) => name.includes("/") || name.startsWith("$"));
}

/** The filter for this client; undefined where it needs a user name and there is none. */
function filledIn(pattern: string, { clientId, username }: ClientIdentity): string | undefined {
  if (username === undefined && pattern.includes("%u")) return undefined;
  // As a function: the text may hold what `replace` takes for a reference.
  return pattern.replace(PLACEHOLDER, (which) => (which === "%c" ? clientId : username!));
}
