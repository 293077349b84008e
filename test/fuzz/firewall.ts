/** Rule files and messages as nobody means them against the firewall. Everything is drawn from the seed. */
import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readRequest, requestFrame } from "@topicast/agent/firewall/content/frames.js";
import { httpRequests } from "@topicast/agent/firewall/content/mapping.js";
import { requestKey } from "@topicast/agent/firewall/content/memory.js";
import type { ContentEngine, ContentRequest, ContentVerdict } from "@topicast/agent/firewall/content.js";
import { eventLine } from "@topicast/agent/firewall/event.js";
import { mistakeLine, RuleMistakes, readRules } from "@topicast/agent/firewall/rule-file.js";
import type { Rules } from "@topicast/agent/firewall/rules.js";
import type { Packet } from "mqtt-packet";
import { attacks } from "../unit/agents/firewall/content/attacks.js";
import { ordinary } from "../unit/agents/firewall/content/ordinary.js";
import { WalledBroker } from "../unit/agents/firewall/support.js";
import { publish, settle, subscribe, unsubscribe } from "../unit/agents/mqtt/harness.js";
import { random } from "../unit/fabric/sim.js";
import { Chance } from "./mutate.js";

const FILES = {
  "white_topic.data": "home/#\n# a comment\nplant/+/temp\r\n  device/%c/up  \n",
  "schema.json": '{"type":"object","properties":{"v":{"type":"number"}}}',
};
const RULES = `# Everything that a rule file may hold.
safe: [10.0.0.0/30, "fd00::/8"]
mqtt3: disconnect
events: { limit: 50/s }
quarantine: { for: 10m }
rates:
  - { of: messages, per: client, limit: 10/s, burst: 20, answer: disconnect }
  - { id: slow, of: bytes, per: topic, limit: 4 KiB/m, topics: [home/#] }
  - { of: subscriptions, per: user, limit: 30/h, answer: quarantine }
topics:
  - of: publish
    allow: [home/#, "device/%c/#", "plant/+/temp"]
    deny: [home/secret]
    allow-files: [white_topic.data]
  - { id: commands, of: both, deny: ["cmd/#", "%u/x"], answer: log }
subscribe-all: drop
payloads:
  - topics: [plant/+/temp]
    max-bytes: 1 KiB
    schema: { type: object, required: [temp], properties: { temp: { type: number, maximum: 150 } } }
  - { topics: [home/#], type: text, empty: refuse, answer: log }
  - { topics: [device/#], schema-file: schema.json }
guessing: { address: { limit: 5/m, lock: 1h }, user: off }
protocol: { limit: 3/m }
take-over: { by: address }
content: { topics: [home/#, plant/#], failed: pass, paranoia: 2, max-bytes: 8 KiB }
`;
/** What stands where something else should: numbers at the edges, YAML's own signs, words of other places, long and odd texts. */
const ODDITIES = [
  ...["", "~", "null", "off", "true", "-1", "0", "1e309", ".nan", "0x7fffffff", "99999999999999999999"],
  ...["[", "]", "{", "}", ": ", "- ", "# ", "&a [*a, *a]", "*nobody", "!!js/function x", "<<: *a", "|", ">-"],
  ...[
    "%u",
    "%c",
    "%u%c/#",
    "#/a",
    "a/+b",
    "$SYS/#",
    "$share/g/a",
    "\u0000",
    "\ufeff",
    "\u2028",
    "\t",
    "\r\n",
  ],
  ...["1/s", "1 GiB/s", "0/s", "5m", "1e3s", "quarantine", "disconnect", "block", "publish", "schema.json"],
  ...["../../etc/passwd", "/dev/zero", "white_topic.data", "(a+)+$", "10.0.0.0/33", "::/0", "fe80::1%eth0"],
  ...[
    "x".repeat(70_000),
    "[".repeat(5_000),
    "a: {".repeat(300),
    `"${"\\u0041".repeat(50)}"`,
    "é".repeat(200),
  ],
];
const NAMES = [
  "home/kitchen",
  "home/secret",
  "plant/7/temp",
  "device/c/up",
  "cmd/stop",
  "#",
  "+/+",
  "a".repeat(300),
];
const ADDRESSES = ["10.0.0.1", "10.0.0.9", "10.0.0.10", "2001:db8::1", "fd00::2"];
/** Of the processor, for all of one seed: what takes longer could hold up an agent. */
const SECONDS_MAX = 5;

const directory = join(tmpdir(), `topicast-fuzz-${process.pid}`);
let known: Rules | undefined;

/** One rule file and the packets of some clients. @returns how many packets were sent */
export async function fuzzFirewall(seed: number): Promise<number> {
  const chance = new Chance(random(seed));
  const start = process.cpuUsage();
  if (known === undefined) {
    mkdirSync(directory, { recursive: true });
    process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
    for (const [name, text] of Object.entries(FILES)) writeFileSync(join(directory, name), text);
    known = read(RULES);
    assert(known !== undefined, "the rules to begin with are in order");
  }
  const rules = read(mutated(RULES, chance)) ?? known;
  const packets = await converse(rules, chance, seed);
  const { user, system } = process.cpuUsage(start);
  assert((user + system) / 1e6 < SECONDS_MAX, `${(user + system) / 1e6} s of the processor`);
  return packets;
}

/** The rules, or undefined where each of the file's mistakes has been told with its place. */
function read(text: string): Rules | undefined {
  const file = join(directory, "rules.yaml");
  writeFileSync(file, text);
  try {
    return readRules(file);
  } catch (error) {
    if (!(error instanceof RuleMistakes)) throw error;
    const lines = text.split(/\r\n|\r|\n/).length;
    assert(error.mistakes.length > 0);
    for (const mistake of error.mistakes) {
      const { file: at, line } = mistake;
      assert(at.startsWith(directory) || at.startsWith("/"), at);
      assert(line >= 1 && (at !== file || line <= lines + 1), `line ${line} of ${lines}`);
      assert.match(mistakeLine(mistake), /^[^:]*:\d+: [^\r\n]{1,410}$/);
    }
    return undefined;
  }
}

function mutated(text: string, chance: Chance): string {
  const lines = text.split("\n");
  for (let n = chance.below(4); n >= 0; n--) {
    const at = chance.below(lines.length);
    const line = lines[at]!;
    const place = chance.below(line.length + 1);
    const odd = chance.of(...ODDITIES);
    lines[at] = chance.of(
      () => line.slice(0, place) + odd + line.slice(place),
      () => line.slice(0, place) + odd,
      () => line.replace(/[\w.%#/+]+(?=[^\w.%#/+]*$)/, () => odd),
      () => " ".repeat(chance.below(8)) + line.trimStart(),
      () => `${line}\n${chance.of(...lines)}`,
      () => "",
      () => line.slice(0, place) + String.fromCodePoint(chance.below(0xd800)) + line.slice(place + 1),
    )();
  }
  return lines.join("\n");
}

/** Clients send what they like; the firewall says what it says, and everything adds up. */
async function converse(rules: Rules, chance: Chance, seed: number): Promise<number> {
  const problems: unknown[] = [];
  const log = {
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: (fields: unknown) => problems.push(fields),
  };
  const mode = chance.of("block", "block", "detect");
  const broker = new WalledBroker(rules, { mode, engine: new Reader(chance), log });
  const usual = [...ordinary(40, seed)];
  let packets = 0;
  for (let round = 0; round < 6; round++) {
    const version = chance.of(4, 5, 5);
    const client = broker.from(chance.of(...ADDRESSES), version);
    const [clientId, username] = [chance.of("c", "c", name(chance)), chance.of(undefined, "u", name(chance))];
    const login = username === undefined ? {} : { username, password: Buffer.from("p") };
    const { topic, payload } = message(chance, usual);
    // A will's payload has a length of two bytes.
    const last = { topic, payload: payload.subarray(0, 65_535), qos: 0 as const, retain: false };
    const will = chance.is(0.3) ? { will: last } : {};
    const connect: Packet = {
      ...{ cmd: "connect", clientId, clean: true, keepalive: 0, protocolVersion: version },
      ...{ ...login, ...will },
    };
    const wishes = Array.from({ length: 1 + chance.below(20) }, (_, n) =>
      wish(chance, usual, n + 1, version),
    );
    for (const packet of [connect, ...wishes]) {
      try {
        client.send(packet);
        packets += 1;
      } catch (error) {
        // What the test's own encoder does not take, such as an empty filter.
        if (!/invalid|Invalid|malformed/.test((error as Error).message)) throw error;
      }
    }
    if (chance.is(0.2)) client.raw(chance.bytes(chance.below(40)));
    await settle();
    broker.clock.advance(chance.of(1, 1_000, 60_000));
  }
  await settle();
  assert.deepEqual(problems, [], "no handler fails");
  check(broker);
  void broker.broker.close();
  broker.clock.advance(60_000);
  return packets;
}

/** Each broken rule counts once in everything that is counted of it, and its event is one printable line. */
function check(broker: WalledBroker): void {
  const counters = broker.firewall.counters();
  const sum = (names: readonly string[]) => names.reduce((total, one) => total + (counters[one] ?? 0), 0);
  const byRule = Object.keys(counters).filter((one) => /^rule_/.test(one));
  assert.equal(sum(byRule), counters.broken);
  assert.equal(sum(["logged", "dropped", "disconnected", "quarantined", "would_refuse"]), counters.broken);
  assert.equal(sum(["events", "events_suppressed"]), counters.broken);
  for (const event of broker.events) {
    const line = eventLine(event, "e1", "2026-01-01T00:00:00.000Z", event.suppressed);
    assert.match(line, /^[\x20-\x7e]{1,8000}$/);
    assert.equal((JSON.parse(line) as { rule: string }).rule, event.rule);
  }
}

/** Reads each request as a worker would, and has a verdict of any kind for it. */
class Reader implements ContentEngine {
  readonly stats = {
    ...{ requests: 0, remembered: 0, clean: 0, matched: 0, busy: 0 },
    ...{ crashed: 0, timeout: 0, oversize: 0, restarts: 0, waiting: 0 },
  };

  constructor(private readonly chance: Chance) {}

  inspect(request: ContentRequest): ContentVerdict | Promise<ContentVerdict> {
    const framed = readRequest(requestFrame(request).subarray(4));
    assert.deepEqual(framed.payload, request.payload);
    for (const asJson of [true, false]) {
      const requests = httpRequests(framed, asJson);
      assert(requests.length > 0);
      for (const { uri } of requests) assert.match(uri, /^\/[\x21-\x7e]*$/);
    }
    assert.equal(requestKey(request, true), requestKey(framed, true));
    const verdict = this.chance.of<ContentVerdict>(
      { clean: true },
      { clean: true, noted: [{ id: 1, message: "é\n", matched: "\u0000".repeat(300), severity: "NOTICE" }] },
      { clean: false, rules: [], score: 5 },
      { failed: this.chance.of("busy", "crashed", "timeout", "oversize") },
    );
    return this.chance.is(0.5) ? verdict : Promise.resolve(verdict);
  }

  reload(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

type Usual = readonly { readonly topic: string; readonly payload: Buffer }[];

function wish(chance: Chance, usual: Usual, id: number, version: 4 | 5): Packet {
  const { topic, payload } = message(chance, usual);
  const properties = {
    contentType: chance.of("application/json", "text/xml", name(chance)),
    userProperties: { [name(chance)]: name(chance) },
    responseTopic: chance.of("home/answers", "cmd/x"),
  };
  const words = version === 5 && chance.is(0.3) ? { properties } : {};
  const qos = chance.of(0, 1, 1, 2) as 0 | 1 | 2;
  return chance.of(
    () => ({ ...publish(topic, "", { qos, id, ...words }), payload }) as Packet,
    () => ({ ...publish(topic, "", { qos, id, ...words }), payload }) as Packet,
    () => subscribe(id, ...Array.from({ length: 1 + chance.below(5) }, () => chance.of(...NAMES, topic))),
    () => unsubscribe(id, chance.of(...NAMES, topic)),
  )();
}

function message(chance: Chance, usual: Usual): { topic: string; payload: Buffer } {
  const sample = chance.of(...usual);
  const attack = chance.of(...chance.of(...Object.values(attacks)));
  const payload = chance.of(
    sample.payload,
    Buffer.from(attack),
    Buffer.from(`{"temp":${chance.of("1", "1e999", "-0", "00", `"${attack}"`, "[".repeat(3_000))},"temp":2}`),
    Buffer.from(`<?xml version="1.0"?><a b="${attack}">${attack}</a>`),
    chance.bytes(chance.below(200)),
    Buffer.alloc(chance.of(0, 1, 1_024, 1_025, 70_000), chance.below(256)),
  );
  return {
    topic: chance.of("home/a", "plant/7/temp", "device/c/up", "cmd/x", sample.topic),
    payload: damaged(payload, chance),
  };
}

function damaged(payload: Buffer, chance: Chance): Buffer {
  if (payload.length === 0 || chance.is(0.5)) return payload;
  const bytes = Buffer.from(payload);
  const at = chance.below(bytes.length);
  return chance.of(
    () => bytes.fill(chance.below(256), at, at + 1),
    () => bytes.subarray(0, at),
    () => Buffer.concat([bytes.subarray(0, at), chance.bytes(3), bytes.subarray(at)]),
    () => Buffer.concat([bytes, bytes.subarray(at)]),
  )();
}

function name(chance: Chance): string {
  return chance.of("c", "sensor 7", "a/#", "é\u0001\u202e", "x".repeat(500), "' or 1=1--", "%u", "\ud7ff");
}
