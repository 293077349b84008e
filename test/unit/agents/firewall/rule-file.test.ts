import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFAULT_RULES } from "@topicast/agent/firewall/default-rules.js";
import { readRules } from "@topicast/agent/firewall/rule-file.js";
import { UserError } from "@topicast/protocol";
import fc from "../../../property.js";
import { mistakesIn, rulesIn, withFiles } from "./support.js";

/** All that there is. */
const EVERYTHING = `
safe: [192.168.1.1, 10.0.0.0/8, "fd00::/8"]
mqtt3: disconnect
events: { limit: 5/s }
quarantine: { for: 10m }
rates:
  - { of: messages, per: client, limit: 10/s, burst: 20, answer: disconnect }
  - { of: bytes, per: address, limit: 64 KiB/s }
  - { id: slow, of: messages, per: topic, limit: 6/m, topics: [alarm/#] }
  - { of: connections, per: user, limit: 30/h }
topics:
  - of: publish
    allow: [plant/#, "device/%c/#"]
    deny: [plant/secret]
    allow-files: [white_topic.data]
  - id: no-commands
    deny-files: [black_topic.data]
    answer: quarantine
subscribe-all: drop
payloads:
  - topics: [plant/+/temp]
    max-bytes: 1 KiB
    schema:
      type: object
      required: [temp]
      properties: { temp: { type: number, minimum: -50, maximum: 150 } }
  - { topics: [text/#], type: text, empty: refuse, answer: log }
  - { topics: [file/#], schema-file: schema.json }
guessing:
  address: { limit: 5/m, lock: 1h, answer: drop }
  user: off
protocol: { limit: 3/m, answer: log }
take-over: { by: address }
content: { topics: [web/#], failed: refuse, answer: disconnect, paranoia: 2, families: [sqli], files: [own.conf], max-bytes: 8 KiB }
`;
const FILES = {
  "white_topic.data": "\uFEFFhome/garden/fountain\r\n\r\n  home/kitchen  \n#comment\n",
  "black_topic.data": "$SYS/#\ncmd\n#\n",
  "schema.json": '{"type":"array"}',
  "own.conf": "# no rules yet\n",
};

describe("a rule file", () => {
  it("says everything that rules are", () => {
    const rules = rulesIn(EVERYTHING, FILES);
    const { rates, topics, payloads, content, ...others } = rules;
    const engine = {
      ...content?.engine,
      files: content?.engine.files?.map((file) => file.replace(/.*\//, "")),
    };
    const rest = { ...others, content: { ...content, engine } };
    assert.deepEqual(
      rates.map(({ id, of, per, perSecond, burst, answer }) => [id, of, per, perSecond, burst, answer]),
      [
        ["rates.messages.client", "messages", "client", 10, 20, "disconnect"],
        ["rates.bytes.address", "bytes", "address", 65_536, 65_536, "drop"],
        ["slow", "messages", "topic", 0.1, 6, "drop"],
        ["rates.connections.user", "connections", "user", 30 / 3_600, 30, "drop"],
      ],
    );
    assert.deepEqual(rates[2]!.topics, ["alarm/#"]);
    assert.deepEqual(topics, [
      {
        id: "topics.publish",
        answer: "drop",
        publish: true,
        subscribe: false,
        allow: ["plant/#", "device/%c/#", "home/garden/fountain", "home/kitchen"],
        deny: ["plant/secret"],
      },
      {
        id: "no-commands",
        answer: "quarantine",
        publish: true,
        subscribe: true,
        allow: undefined,
        deny: ["$SYS/#", "cmd", "#"],
      },
    ]);
    assert.deepEqual(
      payloads.map(({ schema, ...payload }) => [payload, schema?.({ temp: 20 }), schema?.([])]),
      [
        [
          {
            id: "payloads",
            answer: "drop",
            topics: ["plant/+/temp"],
            maxBytes: 1_024,
            type: "json",
            allowsEmpty: true,
          },
          true,
          false,
        ],
        [
          {
            id: "payloads.2",
            answer: "log",
            topics: ["text/#"],
            maxBytes: undefined,
            type: "text",
            allowsEmpty: false,
          },
          undefined,
          undefined,
        ],
        [
          {
            id: "payloads.3",
            answer: "drop",
            topics: ["file/#"],
            maxBytes: 65_536,
            type: "json",
            allowsEmpty: true,
          },
          false,
          true,
        ],
      ],
    );
    assert.deepEqual(
      { ...rest, safe: rest.safe.map(({ bytes, bits }) => [bytes.toString("hex"), bits]) },
      {
        safe: [
          ["c0a80101", 32],
          ["0a000000", 8],
          ["fd000000000000000000000000000000", 8],
        ],
        mqtt3: "disconnect",
        events: { perSecond: 5, burst: 5 },
        quarantineMs: 600_000,
        subscribeAll: { id: "subscribe-all", answer: "drop" },
        guessing: {
          address: { id: "guessing.address", answer: "drop", perSecond: 5 / 60, burst: 5, lockMs: 3_600_000 },
          user: undefined,
        },
        protocol: { id: "protocol", answer: "log", perSecond: 0.05, burst: 3 },
        takeOver: { id: "take-over", answer: "drop", by: "address" },
        content: {
          ...{ id: "content", answer: "disconnect", failed: "refuse", topics: ["web/#"], isOptional: false },
          engine: { paranoia: 2, families: ["sqli"], files: ["own.conf"], maxBytes: 8_192 },
        },
      },
    );
  });

  it("may be empty: then the built-in rules hold, section by section", () => {
    assert.deepEqual(rulesIn(""), DEFAULT_RULES);
    assert.deepEqual(rulesIn("# nothing\n"), DEFAULT_RULES);
    assert.deepEqual(rulesIn("rates: []\nprotocol: off\n"), {
      ...DEFAULT_RULES,
      rates: [],
      protocol: undefined,
    });
    const { guessing } = rulesIn("guessing: { user: { limit: 3/m } }");
    assert.deepEqual(guessing.address, DEFAULT_RULES.guessing.address);
    assert.equal(guessing.user?.burst, 3);
  });

  it("takes himqtt's lists: a heading of #, a topic a line, whatever ends the lines", () => {
    const files = {
      "black_topic.data":
        "##########黑名单##########\r\n/../etc/shadow\r\n\r\n   \r\n# old\n/attack 1.html  \t\r\n/last",
      "white_topic.data": "########白名单######\n/plain.html\n\n",
    };
    const yaml = "topics: [{ of: publish, allow-files: [white_topic.data], deny-files: [black_topic.data] }]";
    const [{ allow, deny } = assert.fail()] = rulesIn(yaml, files).topics;
    assert.deepEqual(allow, ["/plain.html"]);
    assert.deepEqual(deny, ["/../etc/shadow", "/attack 1.html", "/last"]);
    assert.deepEqual(mistakesIn(yaml, { ...files, "white_topic.data": "####\r\n\r\na/#/b\r\n" }), [
      'white_topic.data:3: "a/#/b" holds # that is not the whole last level',
    ]);
  });

  it("has each mistake told with its line, all at once", () => {
    const text = `
rates:
  - of: packets
    per: client
    limit: 100
  - { of: connections, per: topic, limit: 1/s }
  - of: subscriptions
    per: user
    limit: 0/s
    topics: [a]
  - not a map
speed: 3
topics:
  - of: publish
  - deny: [a#, 7, "ok/+"]
    allow-files: [missing.data]
  - { id: t, deny-files: [bad.data] }
  - { id: t, deny: [x] }
payloads:
  - topics: ["a/%c"]
    schema: { type: objet }
    schema-file: x.json
  - { topics: [b], type: json, schema-file: broken.json, max-bytes: lots }
  - { topics: [c], type: text, schema: { $async: true } }
  - { schema: 3 }
guessing:
  address: { lock: forever }
  user: { limit: 3/m, answer: quarantine }
protocol: yes
subscribe-all: never
safe: [10.0.0.0/33]
mqtt3:
content: { paranoia: 5, families: [sql] }
`;
    const shape = mistakesIn(text, { "bad.data": "ok\na/#/b\n", "broken.json": "{" });
    assert.deepEqual(shape, [
      '3: rates[0].of: "packets" must be one of connections, messages, bytes, subscriptions',
      "5: rates[0].limit: 100 must be a number and a time, such as 100/s, 20/m or 1 MiB/s",
      '9: rates[2].limit: "0/s" must be a number and a time, such as 100/s, 20/m or 1 MiB/s',
      '11: rates[3]: "not a map" must be `key: value` lines',
      '12: there is no "speed": must be one of rates, topics, subscribe-all, payloads, guessing, protocol, take-over, content, quarantine, safe, mqtt3, events',
      '15: topics[1].deny[0]: "a#" holds # that is not the whole last level: must be a topic filter',
      "15: topics[1].deny[1]: 7 is not text (write it in quotes): must be a topic filter",
      '23: payloads[1].max-bytes: "lots" must be a number of bytes, such as 512, 64 KiB or 1 MiB',
      "25: payloads[3].topics: has no value: must be a list of topic filters",
      "25: payloads[3].schema: must be a JSON Schema, as YAML",
      "27: guessing.address.limit: has no value: must be a number and a time, such as 100/s or 20/m",
      '27: guessing.address.lock: "forever" must be a time, such as 30s, 5m or 24h',
      '29: protocol: "yes" must be `key: value` lines, or off',
      '30: subscribe-all: "never" must be one of log, drop, disconnect, quarantine, or off',
      '31: safe[0]: "10.0.0.0/33" must be an address or a network, such as 192.168.1.7 or 10.0.0.0/8',
      "32: mqtt3: has no value: must be one of acknowledge, disconnect",
      "33: content.paranoia: 5 must be a whole number, 1 to 4",
      '33: content.families[0]: "sql" must be one of lfi, rfi, rce, php, nodejs, xss, sqli, java',
    ]);
  });

  it("has mistakes told that only show when its parts are understood", () => {
    const text = `
rates:
  - { of: connections, per: topic, limit: 1/s }
  - of: subscriptions
    per: user
    limit: 1/s
    burst: 0
    topics: [a]
topics:
  - of: publish
  - deny: [a]
    allow-files: [missing.data]
  - { id: t, deny-files: [bad.data] }
  - { id: t, deny: [x] }
payloads:
  - topics: ["a/%c"]
    schema: { type: objet }
    schema-file: x.json
  - { topics: [b], type: text, schema-file: broken.json }
  - topics: [c]
    schema: { $async: true }
  - topics: [d]
    schema: { properties: { a: { format: date-time } }, requird: [a] }
guessing:
  user: { limit: 3/m, answer: quarantine }
protocol: { limit: 3/m, answer: drop }
content: { max-bytes: 2 MiB }
`;
    const mistakes = mistakesIn(text, { "bad.data": "ok\na/#/b\n", "broken.json": "{" });
    const start = (mistake: string) => mistake.slice(0, 90);
    assert.deepEqual(mistakes.map(start), [
      "3: rates[0].per: connections are not counted per topic: must be address, client or user",
      "7: rates[1].burst: 0 lets nothing pass: must be at least 1",
      "8: rates[1].topics: subscriptions have no topics: only messages and bytes have",
      "10: topics[0]: allows and denies nothing: must have allow, deny, allow-files or deny-files",
      "12: topics[1].allow-files[0]: topic list missing.data: no such file",
      '14: topics[3].id: another rule has the id "t": give each its own',
      "16: payloads[0].topics[0]: payload rules have no %u and %c",
      start(
        "17: payloads[0].schema: schema is invalid: data/type must be equal to one of the allowed values, data/type must be array",
      ),
      "18: payloads[0].schema-file: there is a schema, too: give one of them",
      "19: payloads[1].type: what has a schema is of type json",
      start(mistakes[10]!),
      "21: payloads[2].schema: $async: a message is not waited for",
      '23: payloads[3].schema: strict mode: unknown keyword: "requird"',
      "25: guessing.user.answer: a user has no address of its own: only addresses are quarantined",
      "26: protocol.answer: the connection has ended by then: must be log or quarantine",
      "27: content.max-bytes: must be 1 to 1048576 bytes",
      'bad.data:2: "a/#/b" holds # that is not the whole last level',
    ]);
    assert.match(mistakes[10]!, /^19: payloads\[1\]\.schema-file: .*JSON/);
  });

  it("has mistakes told of units, of times that the network does not take, and of own rules that are not there", () => {
    const text = `
rates:
  - { of: messages, per: client, limit: 1 KiB/s }
  - { of: bytes, per: client, limit: 1 KiB/s }
quarantine: { for: 169h }
content: { files: [own.conf, missing.conf] }
`;
    assert.deepEqual(mistakesIn(text), ["5: quarantine.for: must be 168h at most"]);
    assert.deepEqual(mistakesIn(text.replace("169h", "168h"), FILES), [
      "3: rates[0].limit: KiB is for bytes, and these are messages: must be as 100/s or 20/m",
      "6: content.files[1]: rules missing.conf: no such file",
    ]);
    assert.match(
      mistakesIn("events: { limit: 1 KiB/s }")[0]!,
      /^1: events.limit: "1 KiB\/s" must be .*20\/m$/,
    );
  });

  it("switches any section off", () => {
    const off = [
      "rates",
      "topics",
      "payloads",
      "guessing",
      "protocol",
      "content",
      "take-over",
      "subscribe-all",
    ];
    const rules = rulesIn(off.map((section) => `${section}: off\n`).join(""));
    assert.deepEqual([rules.rates, rules.topics, rules.payloads], [[], [], []]);
    assert.deepEqual(rules.guessing, { address: undefined, user: undefined });
    assert.deepEqual(
      [rules.protocol, rules.content, rules.takeOver, rules.subscribeAll],
      Array(4).fill(undefined),
    );
    assert.deepEqual(mistakesIn("rates: none"), ['1: rates: "none" must be a list of rates, or off']);
  });

  it("that is no YAML is refused with the place", () => {
    assert.match(mistakesIn("a: [1,\nb: 2\n")[0]!, /^\d: not valid YAML: /);
    assert.match(mistakesIn("a: 1\n---\nb: 2\n")[0]!, /^\d: holds more than one document/);
    assert.deepEqual(mistakesIn("just text"), ['1: "just text" must be `key: value` lines']);
    assert.match(mistakesIn("rates: *nobody")[0]!, /^1: not valid YAML/);
    assert.deepEqual(mistakesIn("mqtt3: acknowledge\nrates: &a [1, [*a]]\n"), [
      "2: *a stands in what it refers to, without end",
    ]);
    assert.deepEqual(rulesIn("safe: [&a 10.0.0.1, *a]").safe.length, 2);
    assert.deepEqual(mistakesIn("\nmqtt3: !js acknowledge\n"), ["2: not valid YAML: Unresolved tag: !js"]);
    assert.match(mistakesIn("? [a, b]\n: 1\n")[0]!, /^1: there is no "\[ a, b \]": must be one of /);
    const bomb = ["a: &a [1,1,1,1,1,1,1,1,1]"];
    for (let i = 0; i < 9; i++) {
      const [from, to] = [i, i + 1].map((n) => String.fromCharCode(97 + n));
      bomb.push(`${to}: &${to} [${Array(9).fill(`*${from}`).join()}]`);
    }
    assert.match(mistakesIn(bomb.join("\n"))[0]!, /^1: not valid YAML: .*alias/);
  });

  it("is named with the flag's remedy where it cannot be read", () => {
    assert.throws(() => readRules("/nowhere/rules.yaml"), {
      name: "UserError",
      message: "/nowhere/rules.yaml: no such file",
    });
  });

  it("in one line says the first mistake, and how to see the others", () => {
    withFiles({ "r.yaml": "mqtt3: x\na: 1\nb: 2\n" }, (path) => {
      const file = path("r.yaml");
      assert.throws(() => readRules(file), {
        message: `${file}:1: mqtt3: "x" must be one of acknowledge, disconnect (and 2 more: topicast check-config ${file})`,
      });
    });
  });

  it("is told of in lines that can be read, whatever is in it", () => {
    withFiles({ "r.yaml": `? "${"x".repeat(70_000)}"\n: 1\n` }, (path) => {
      assert.throws(
        () => readRules(path("r.yaml")),
        ({ message }: Error) => message.length < 600 && message.includes('r.yaml:1: there is no "xxx'),
      );
    });
  });

  it("with any bytes in it gives rules or mistakes, nothing else", () => {
    const lines = EVERYTHING.split("\n");
    const line = fc.oneof(fc.constantFrom(...lines), fc.string({ unit: "binary", maxLength: 20 }));
    const cut = fc
      .tuple(fc.nat(EVERYTHING.length), fc.nat(20), fc.string({ maxLength: 8 }))
      .map(([at, length, text]) => EVERYTHING.slice(0, at) + text + EVERYTHING.slice(at + length));
    const text = fc.oneof(
      cut,
      fc.array(line, { maxLength: 30 }).map((all) => all.join("\n")),
    );
    fc.assert(
      fc.property(text, (yaml) => {
        const mistakes = mistakesIn(yaml, FILES);
        if (mistakes.length === 0) return rulesIn(yaml, FILES).quarantineMs > 0;
        const count = yaml.split("\n").length;
        return mistakes.every((mistake) => {
          const [, number] = /^(?:\w+\.data:)?(\d+): ./s.exec(mistake) ?? [];
          return number !== undefined && Number(number) >= 1 && Number(number) <= Math.max(count, 4);
        });
      }),
      { numRuns: 100 },
    );
    assert.throws(
      () => withFiles({ "r.yaml": "\xff".repeat(2_000_000) }, (path) => readRules(path("r.yaml"))),
      UserError,
    );
  });

  it("reads of a schema no more than is good for it", () => {
    assert.deepEqual(mistakesIn("payloads: [{ topics: [a], schema-file: /dev/zero }]"), [
      "1: payloads[0].schema-file: schema /dev/zero: holds too much",
    ]);
  });
});
