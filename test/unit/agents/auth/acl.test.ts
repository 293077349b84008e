import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Acl, READ, WRITE } from "@topicast/agent/auth/acl.js";
import type { ClientIdentity } from "@topicast/agent/mqtt/authority.js";
import { type AclRule, type AclRules, filterMatches, parseAcl } from "@topicast/protocol";
import fc from "../../../property.js";

const client = (username?: string, clientId = "cid"): ClientIdentity => ({ clientId, username });

/** The topics of `asked` that the client may write, and that it may read. */
function granted(text: string, who: ClientIdentity, asked: readonly string[]) {
  const acl = new Acl(parseAcl(text, "rules"));
  const having = (access: number) => asked.filter((topic) => acl.allows(who, topic, access)).join(" ");
  return { write: having(WRITE), read: having(READ) };
}

describe("an ACL's answers", () => {
  // The right column is what mosquitto 2.0.11 answers to the same (test/net/auth asks both).
  const table: [what: string, text: string, who: ClientIdentity, asked: string, write: string][] = [
    ["no rule, no access", "", client(), "a", ""],
    ["rules of the anonymous are for nobody else", "topic a\nuser x\ntopic b", client("x"), "a b", "b"],
    ["rules of users are not for the anonymous", "user x\ntopic b", client(), "b", ""],
    [
      "a section may come again",
      "user x\ntopic a\nuser y\ntopic c\nuser x\ntopic b",
      client("x"),
      "a b c",
      "a b",
    ],
    ["deny wins wherever it stands", "user x\ntopic a/#\ntopic deny a/b", client("x"), "a/b a/c", "a/c"],
    [
      "a pattern's deny takes nothing from a user's rule",
      "user x\ntopic a/#\npattern deny a/b",
      client("x"),
      "a/b",
      "a/b",
    ],
    [
      "a user's deny goes before patterns",
      "user x\ntopic deny a/b\npattern a/#",
      client("x"),
      "a/b a/c",
      "a/c",
    ],
    [
      "patterns deny among themselves",
      "pattern a/%u/#\npattern deny a/%u/b",
      client("x"),
      "a/x/b a/x/c a/y/c",
      "a/x/c",
    ],
    ["%u means nobody without a name", "pattern a/%u\npattern b/%c", client(), "a/ a/%u b/cid", "b/cid"],
    ["%c and %u within levels", "pattern a%c/x%ux", client("u"), "acid/xux a+/xux acid/x", "acid/xux"],
    ["%c over several levels", "pattern a/%c/b", client("u", "x/y"), "a/x/y/b a/x/b", "a/x/y/b"],
    ["%c that begins with $", "pattern %c/x\ntopic +/y", client(undefined, "$f"), "$f/x $f/y", "$f/x"],
    ["%c in a topic is just text", "topic a/%c", client(), "a/cid a/%c", "a/%c"],
    [
      "wildcards in a name end all patterns",
      "pattern a/%c/b\nuser +\ntopic t",
      client("+"),
      "t a/cid/b",
      "t",
    ],
    ["wildcards in an identifier, too", "pattern a/#\ntopic t", client(undefined, "a#"), "t a/x", "t"],
    ["$ topics need a rule of their own", "topic #\ntopic +/x", client(), "$SYS/x a/x $f/x", "a/x"],
    ["which may hold wildcards", "topic $SYS/#\ntopic deny #", client(), "$SYS/x a", "$SYS/x"],
    ["what replace would take for a reference", "pattern a/%c", client(undefined, "$&"), "a/$& a/%c", "a/$&"],
  ];
  for (const [what, text, who, asked, write] of table) {
    it(what, () => assert.equal(granted(text, who, asked.split(" ")).write, write));
  }

  it("tell reading from writing, and rules add up", () => {
    const text = "user x\ntopic read r\ntopic write w\ntopic b\ntopic read two\npattern write two";
    assert.deepEqual(granted(text, client("x"), ["r", "w", "b", "two"]), {
      write: "w b two",
      read: "r b two",
    });
  });

  it("agree with reading all rules one after another", () => {
    const levels = fc.constantFrom("a", "b", "$s", "+", "%c", "x%u");
    const filters = fc
      .tuple(fc.array(levels, { minLength: 1, maxLength: 3 }), fc.boolean())
      .map(([parts, all]) => [...parts, ...(all ? ["#"] : [])].join("/"));
    const rules = fc.array(
      fc.record<AclRule>({ filter: filters, access: fc.constantFrom("read", "write", "readwrite", "deny") }),
      { maxLength: 5 },
    );
    const names = fc.constantFrom("a", "b", "$s", "a/b", "+", "$&");
    const topics = fc
      .array(fc.constantFrom("a", "b", "$s", "xa", "xb", "xa/b"), { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join("/"));
    fc.assert(
      fc.property(
        ...([rules, rules, rules, names, fc.option(names, { nil: undefined }), fc.array(topics)] as const),
        (anonymous, own, patterns, clientId, username, asked) => {
          const all: AclRules = {
            anonymous,
            users: username === undefined ? new Map() : new Map([[username, own]]),
            patterns,
          };
          const acl = new Acl(all);
          const who = client(username, clientId);
          for (const topic of [...asked, ...asked]) {
            for (const access of [READ, WRITE]) {
              assert.equal(
                acl.allows(who, topic, access),
                model(all, who, topic, access === READ ? "read" : "write"),
              );
            }
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

/** As mosquitto goes through its lists: denials first, then grants, the user's own before the patterns. */
function model(rules: AclRules, who: ClientIdentity, topic: string, access: "read" | "write"): boolean {
  const { clientId, username } = who;
  const verdict = (list: readonly AclRule[]): boolean | undefined => {
    const matching = list.filter(({ filter }) => filterMatches(filter, topic));
    if (matching.some((rule) => rule.access === "deny")) return false;
    return matching.some((rule) => rule.access.includes(access)) ? true : undefined;
  };
  const own = verdict(username === undefined ? rules.anonymous : (rules.users.get(username) ?? []));
  if (own !== undefined) return own;
  if (/[+#]/.test(`${clientId}${username ?? ""}`)) return false;
  const filled = rules.patterns
    .filter(({ filter }) => username !== undefined || !filter.includes("%u"))
    .map(({ filter, access }) => ({
      filter: filter.split("%c").join(clientId).split("%u").join(username),
      access,
    }));
  return verdict(filled) ?? false;
}

describe("a SUBSCRIBE", () => {
  const text = `user x
topic read a/#
topic deny a/safe/#
topic write w
pattern read p/%u/+
pattern deny p/+/hidden`;
  const table: [filter: string, granted: boolean][] = [
    ["#", true],
    ["a/b", true],
    ["+/b/c", true],
    ["a/safe/key", false],
    ["a/safe/#", false],
    ["+/safe/key", false],
    ["w", false],
    ["b/#", false],
    ["p/x/1", true],
    ["p/+/1", true],
    ["p/y/1", false],
    ["p/x/hidden", false],
    ["$SYS/#", false],
  ];
  for (const [filter, expected] of table) {
    it(`to ${filter} is ${expected ? "granted" : "refused"}`, () => {
      assert.equal(new Acl(parseAcl(text, "rules")).allowsSome(client("x"), filter), expected);
    });
  }

  it("is refused only where no topic could ever come", () => {
    const parts = fc.array(fc.constantFrom("a", "b", "+"), { minLength: 1, maxLength: 3 });
    const filters = fc.tuple(parts, fc.boolean()).map(([p, all]) => [...p, ...(all ? ["#"] : [])].join("/"));
    const rules = fc.array(
      fc.record<AclRule>({ filter: filters, access: fc.constantFrom("read", "write", "deny") }),
      { maxLength: 4 },
    );
    const universe = ["a", "b", "c"].flatMap((x) => [x, ...["a", "b", "c"].map((y) => `${x}/${y}`)]);
    const topics = universe.flatMap((t) => [t, ...["a", "b", "c"].map((z) => `${t}/${z}`)]);
    fc.assert(
      fc.property(rules, rules, filters, (own, patterns, filter) => {
        const acl = new Acl({ anonymous: own, users: new Map(), patterns });
        if (acl.allowsSome(client(), filter)) return;
        const readable = topics.filter((t) => filterMatches(filter, t) && acl.allows(client(), t, READ));
        assert.deepEqual(readable, []);
      }),
      { numRuns: 1_000 },
    );
  });

  it("is granted where finding out would take too long, and delivery decides", () => {
    const lines = Array.from({ length: 400 }, (_, i) => `topic read a/${i}\ntopic deny a/${i}`);
    const acl = new Acl(parseAcl(lines.join("\n"), "rules"));
    assert.ok(acl.allowsSome(client(), "a/1"));
    assert.ok(!acl.allows(client(), "a/1", READ));
  });
});

describe("remembered answers", () => {
  it("are bounded over all clients, and forgotten together", () => {
    const acl = new Acl(parseAcl("topic read t/#", "rules"));
    const clients = Array.from({ length: 70 }, (_, i) => client(undefined, `c${i}`));
    for (let i = 0; i < 1_000; i++) for (const c of clients) assert.ok(acl.allows(c, `t/${i}`, READ));
    assert.equal(acl.stats.acl_forgotten, 1);
    for (const c of clients) assert.ok(!acl.allows(c, "t/1", WRITE));
  });
});
