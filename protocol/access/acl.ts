import { UserError } from "../errors.js";
import { filterError } from "../topics/names.js";
import { linesOf, trim } from "./read.js";

/** What a rule says of its filter; `deny` goes before all others of its section. */
export interface AclRule {
  readonly filter: string;
  readonly access: Access;
}

export const ACCESSES = ["read", "write", "readwrite", "deny"] as const;
export type Access = (typeof ACCESSES)[number];

/** An ACL file's rules, in the file's order. */
export interface AclRules {
  /** For clients without a user name. */
  readonly anonymous: readonly AclRule[];
  readonly users: ReadonlyMap<string, readonly AclRule[]>;
  /** For every client; the filters hold %c and %u where its identifier and its user name belong. */
  readonly patterns: readonly AclRule[];
}

const RULES_MAX = 100_000;
const PATTERNS_MAX = 1_000;

/**
 * Reads an ACL file in the form of mosquitto's acl_file: README.md.
 * @param name of the file, for the errors
 * @throws UserError of one line that names the file, the line and what is wrong there
 */
export function parseAcl(text: string, name: string): AclRules {
  const anonymous: AclRule[] = [];
  const users = new Map<string, AclRule[]>();
  const patterns: AclRule[] = [];
  let section = anonymous;
  let rules = 0;
  for (const { line, number } of linesOf(text)) {
    if (line === "" || line.startsWith("#")) continue;
    const fail = (why: string): never => {
      throw new UserError(`${name}:${number}: ${why}`);
    };
    const { word, rest } = firstWord(line);
    switch (word) {
      case "user": {
        if (rest === "") fail("user needs a name");
        section = users.get(rest) ?? [];
        users.set(rest, section);
        break;
      }
      case "topic":
      case "pattern": {
        const rule = parseRule(rest);
        if (typeof rule === "string") return fail(`${word} ${rule}`);
        (word === "topic" ? section : patterns).push(rule);
        rules += 1;
        break;
      }
      default:
        fail(`${show(word)} begins no rule: must be user, topic, pattern, or # for a comment`);
    }
    if (rules > RULES_MAX + PATTERNS_MAX) fail(`more than ${RULES_MAX} rules`);
    if (patterns.length > PATTERNS_MAX) fail(`more than ${PATTERNS_MAX} patterns`);
  }
  return { anonymous, users, patterns };
}

/** `[read|write|readwrite|deny] FILTER`, or why it is not. */
function parseRule(text: string): AclRule | string {
  const { word, rest } = firstWord(text);
  // One word alone is the filter, whatever it is.
  const [access, filter] = rest === "" ? ["readwrite", word] : [word, rest];
  if (filter === "") return "needs a filter";
  if (!isAccess(access)) {
    return `${show(access)}: the access must be ${ACCESSES.join(", ")}; it must be written where the filter has spaces`;
  }
  const error = filterError(filter);
  return error === undefined ? { filter, access } : `${show(filter)}: the filter ${error}`;
}

function isAccess(word: string): word is Access {
  return (ACCESSES as readonly string[]).includes(word);
}

/** Cut at spaces, and at nothing else, as mosquitto does; the rest has no white space at its ends. */
function firstWord(text: string): { word: string; rest: string } {
  const [, word = "", rest = ""] = /^ *([^ ]*)(.*)$/s.exec(text) ?? [];
  return { word, rest: trim(rest) };
}

function show(text: string): string {
  return JSON.stringify(text.length <= 80 ? text : `${text.slice(0, 77)}...`);
}
