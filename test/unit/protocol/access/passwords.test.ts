import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parsePasswords, samePassword, UserError } from "@topicast/protocol";

const HASH = `${"A".repeat(86)}==`;
const SEVEN = `$7$101$c2FsdHNhbHRzYWx0$${HASH}`;
const SIX = `$6$c2FsdHNhbHRzYWx0$${HASH}`;

function errorOf(text: string): string {
  try {
    parsePasswords(text, "users");
  } catch (error) {
    assert.ok(error instanceof UserError, String(error));
    return error.message;
  }
  return assert.fail("accepted");
}

describe("a password file", () => {
  it("holds hashes of both kinds, comments and empty lines", () => {
    const users = parsePasswords(`# who\n\nalice:${SEVEN}\r\n bob :${SIX}  \njoe doe:${SIX}`, "users");
    assert.deepEqual(
      [...users],
      [
        ["alice", { iterations: 101, salt: "c2FsdHNhbHRzYWx0", hash: HASH }],
        ["bob", { iterations: undefined, salt: "c2FsdHNhbHRzYWx0", hash: HASH }],
        ["joe doe", { iterations: undefined, salt: "c2FsdHNhbHRzYWx0", hash: HASH }],
      ],
    );
    assert.equal(parsePasswords("", "users").size, 0);
  });

  const table: [what: string, text: string, error: RegExp][] = [
    ["plain text", "#\nalice:secret", /^users:2: the password is in plain text: mosquitto_passwd -U users /],
    ["no colon", "alice", /^users:1: is not USER:HASH/],
    ["no name", `:${SEVEN}`, /^users:1: has no user name/],
    ["no password", "alice:", /^users:1: has no password: set one with mosquitto_passwd users USER$/],
    ["a user twice", `a:${SEVEN}\nb:${SEVEN}\na:${SIX}`, /^users:3: user "a" stands in line 1 already/],
    ["a hash cut short", `a:${SEVEN.slice(0, -4)}`, /^users:1: the hash is damaged/],
    ["no iterations", `a:$7$0$c2Fs$${HASH}`, /^users:1: 0 iterations, must be 1 to 1000000/],
    ["too many iterations", `a:$7$1000001$c2Fs$${HASH}`, /^users:1: 1000001 iterations/],
    ["another hash", "a:$argon2id$v=19$m=1$x", /^users:1: the kind of hash argon2id is not known/],
    ["more behind the hash", `a:${SEVEN}:x`, /^users:1: the hash is damaged/],
    ["a name too long", `${"n".repeat(65_536)}:${SEVEN}`, /^users:1: the user name is longer/],
  ];
  for (const [what, text, error] of table) {
    it(`is refused with ${what}, in one line that shows no secret`, () => {
      const message = errorOf(text);
      assert.match(message, error);
      assert.doesNotMatch(message, /\n|secret|AAAA/);
    });
  }

  it("tells whether a login would still be right", () => {
    const [[, a] = []] = [...parsePasswords(`a:${SEVEN}`, "f")];
    const [[, b] = []] = [...parsePasswords(`b:${SEVEN}`, "f")];
    const [[, c] = []] = [...parsePasswords(`a:${SIX}`, "f")];
    assert.ok(samePassword(a, b));
    assert.ok(!samePassword(a, c));
    assert.ok(!samePassword(a, undefined));
  });
});
