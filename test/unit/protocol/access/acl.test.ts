import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { accessDigest, NO_LISTS, parseAcl, UserError } from "@topicast/protocol";

function errorOf(text: string): string {
  try {
    parseAcl(text, "rules");
  } catch (error) {
    assert.ok(error instanceof UserError, String(error));
    return error.message;
  }
  return assert.fail("accepted");
}

describe("an ACL file", () => {
  it("has rules for the anonymous, for users, and patterns", () => {
    const text = [
      "# news for all",
      "topic read news/#",
      "",
      "user joe doe",
      "topic   write   a  b  ",
      "pattern deny p/%c\r",
      "  topic home/#",
      "user bob",
      "topic read",
      "user joe doe",
      "topic deny x",
    ].join("\n");
    assert.deepEqual(parseAcl(text, "rules"), {
      anonymous: [{ filter: "news/#", access: "read" }],
      users: new Map([
        [
          "joe doe",
          [
            { filter: "a  b", access: "write" },
            { filter: "home/#", access: "readwrite" },
            { filter: "x", access: "deny" },
          ],
        ],
        ["bob", [{ filter: "read", access: "readwrite" }]],
      ]),
      patterns: [{ filter: "p/%c", access: "deny" }],
    });
  });

  const table: [what: string, text: string, error: RegExp][] = [
    ["an unknown word", "topic a\nTopic b", /^rules:2: "Topic" begins no rule: must be user, topic, pattern/],
    ["an indented comment", " # x", /^rules:1: "#" begins no rule/],
    ["a tab", "topic\ta", /^rules:1: "topic\\ta" begins no rule/],
    ["no filter", "topic", /^rules:1: topic needs a filter$/],
    ["no name", "user  ", /^rules:1: user needs a name$/],
    [
      "a filter with spaces and no access",
      "topic a b",
      /^rules:1: topic "a": the access must be read, write/,
    ],
    [
      "a bad filter",
      "topic a/#/b",
      /^rules:1: topic "a\/#\/b": the filter holds # that is not the whole last/,
    ],
    ["a bad pattern", "pattern read a+", /^rules:1: pattern "a\+": the filter holds \+/],
    ["too many patterns", "pattern a/%c\n".repeat(1_001), /^rules:1001: more than 1000 patterns$/],
  ];
  for (const [what, text, error] of table) {
    it(`is refused with ${what}`, () => assert.match(errorOf(text), error));
  }
});

describe("lists on their way", () => {
  it("have a digest that tells them apart, and none where there are none", () => {
    assert.equal(accessDigest(NO_LISTS), undefined);
    const digests = [
      accessDigest({ passwords: "a", acl: null }),
      accessDigest({ passwords: null, acl: "a" }),
      accessDigest({ passwords: "a", acl: "" }),
    ];
    assert.equal(new Set(digests).size, 3);
    assert.match(digests[0]!, /^[0-9a-f]{32}$/);
  });
});
