import { filterError, type Network, parseNetwork, QUARANTINE_SECONDS_MAX } from "@topicast/protocol";
import { z } from "zod";
import { ruleFamilies } from "./content/rule-sources.js";
import { contentRanges } from "./content/settings.js";
import { ANSWERS, type Limit, PAYLOAD_TYPES, RATED, RATED_BY } from "./rules.js";

/** What a rule file may hold, as it is written there; every message completes a line `file:line: key: `. */

const SECONDS = { s: 1, m: 60, h: 3_600 } as const;
const UNITS = { "": 1, B: 1, KiB: 1_024, MiB: 1_048_576 } as const;
/** Filters that one rule may list in the rule file itself; more go into a file. */
const LISTED_MAX = 10_000;

/** A text that `parse` understands, or must be what `expected` says. */
function written<T>(expected: string, parse: (text: string) => T | undefined): z.ZodType<T> {
  return z.unknown().transform((given, context) => {
    const text = typeof given === "number" ? String(given) : given;
    const value = typeof text === "string" ? parse(text) : undefined;
    if (value === undefined) {
      context.addIssue(mustBe(given, expected));
      return z.NEVER;
    }
    return value;
  });
}

function oneOf<const T extends readonly string[]>(words: T): z.ZodType<T[number]> {
  return written(`one of ${words.join(", ")}`, (text) => words.find((word) => word === text));
}

function quantity(text: string, unit: string | undefined): number | undefined {
  const value = Number(text) * UNITS[(unit ?? "") as keyof typeof UNITS];
  return Number.isSafeInteger(value) ? value : undefined;
}

function wholeNumber(name: keyof typeof contentRanges): z.ZodType<number | undefined> {
  const [least, most] = contentRanges[name];
  return written(`a whole number, ${least} to ${most}`, (text) => {
    const number = /^\d{1,9}$/.test(text) ? Number(text) : -1;
    return number >= least && number <= most ? number : undefined;
  }).optional();
}

/** So many at once, and as many again in that time. `unit`: of bytes, in which it is written. */
interface WrittenLimit extends Limit {
  readonly unit: string | undefined;
}

/** `100/s`, `20/m`, `5 MiB/s`. */
const limitOrBytes = written<WrittenLimit>("a number and a time, such as 100/s, 20/m or 1 MiB/s", readLimit);

/** `100/s`, `20/m`. */
const limit = written<Limit>("a number and a time, such as 100/s or 20/m", (text) => {
  const read = readLimit(text);
  if (read === undefined || read.unit !== undefined) return undefined;
  return { burst: read.burst, perSecond: read.perSecond };
});

function readLimit(text: string): WrittenLimit | undefined {
  const [, digits, unit, time] =
    /^(\d{1,12}) ?(B|KiB|MiB)?\/(s|m|h)$/.exec(text) ?? ([] as (string | undefined)[]);
  if (digits === undefined || time === undefined) return undefined;
  const burst = quantity(digits, unit);
  if (burst === undefined || burst === 0) return undefined;
  return { burst, perSecond: burst / SECONDS[time as keyof typeof SECONDS], unit };
}

const size = written("a number of bytes, such as 512, 64 KiB or 1 MiB", (text) => {
  const [, digits, unit] = /^(\d{1,12}) ?(B|KiB|MiB)?$/.exec(text) ?? [];
  return digits === undefined ? undefined : quantity(digits, unit);
});

/** In milliseconds. */
const duration = written("a time, such as 30s, 5m or 24h", (text) => {
  const [, digits, unit] = /^([1-9]\d{0,5})(s|m|h)$/.exec(text) ?? [];
  return digits === undefined ? undefined : Number(digits) * SECONDS[unit as keyof typeof SECONDS] * 1_000;
});

/** What is told to the forwarder lasts no longer than a message of it may say. */
const shutOutTime = duration.refine((ms) => ms <= QUARANTINE_SECONDS_MAX * 1_000, {
  error: `must be ${QUARANTINE_SECONDS_MAX / SECONDS.h}h at most`,
});

const answer = oneOf(ANSWERS);

const id = written("1 to 64 letters, digits, dots, underscores and hyphens", (text) =>
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text) ? text : undefined,
);

const fileName = written("the path of a file", (text) => (text === "" ? undefined : text));

const filter = z.unknown().transform((given, context) => {
  const error = typeof given === "string" ? filterError(given) : "is not text (write it in quotes)";
  if (error !== undefined) {
    context.addIssue(`${shown(given)} ${error}: must be a topic filter`);
    return z.NEVER;
  }
  return given as string;
});

const network = written<Network>("an address or a network, such as 192.168.1.7 or 10.0.0.0/8", parseNetwork);

function listOf<T>(entry: z.ZodType<T>, max: number, what: string): z.ZodType<T[]> {
  return z
    .array(entry, { error: ({ input }) => mustBe(input, `a list of ${what}`) })
    .max(max, { error: ({ input }) => `${(input as unknown[]).length} entries, at most ${max}` });
}

const filters = listOf(filter, LISTED_MAX, "topic filters");

function fields<const S extends z.ZodRawShape>(shape: S) {
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== "unrecognized_keys") return mustBe(issue.input, "`key: value` lines");
      return `must be one of ${Object.keys(shape).join(", ")}`;
    },
  });
}

/** The word off, or these fields. */
function orOff<T>(schema: z.ZodType<T>): z.ZodType<T | "off"> {
  return z.unknown().transform((given, context): T | "off" => {
    if (given === "off" || given === false) return "off";
    const result = schema.safeParse(given);
    if (result.success) return result.data;
    for (const issue of result.error.issues) {
      const message = issue.path.length === 0 ? `${issue.message}, or off` : issue.message;
      context.addIssue({ ...issue, message, input: given } as never);
    }
    return z.NEVER;
  });
}

/** The word off is a list of nothing. */
function orNone<T>(list: z.ZodType<T[]>): z.ZodType<T[]> {
  return orOff(list).transform((given) => (given === "off" ? [] : given));
}

/** What is done with verdicts, and the engine's own settings. */
const content = fields({
  topics: filters.optional(),
  failed: oneOf(["pass", "refuse"]).optional(),
  answer: answer.optional(),
  paranoia: wholeNumber("paranoia"),
  threshold: wholeNumber("threshold"),
  families: listOf(oneOf(ruleFamilies), 16, "rule families").optional(),
  files: listOf(fileName, 64, "paths of SecRule files").optional(),
  workers: wholeNumber("workers"),
  queue: wholeNumber("queue"),
  timeout: wholeNumber("timeout"),
  "max-bytes": size.optional(),
  remembered: wholeNumber("remembered"),
});

const guess = fields({ limit, lock: duration.optional(), answer: answer.optional() });

export const rates = fields({
  id: id.optional(),
  of: oneOf(RATED),
  per: oneOf(RATED_BY),
  limit: limitOrBytes,
  burst: size.optional(),
  topics: filters.optional(),
  answer: answer.optional(),
});

export const topics = fields({
  id: id.optional(),
  of: oneOf(["publish", "subscribe", "both"]).optional(),
  allow: filters.optional(),
  deny: filters.optional(),
  "allow-files": listOf(fileName, 16, "paths of files").optional(),
  "deny-files": listOf(fileName, 16, "paths of files").optional(),
  answer: answer.optional(),
});

export const payloads = fields({
  id: id.optional(),
  topics: filters,
  "max-bytes": size.optional(),
  type: oneOf(PAYLOAD_TYPES).optional(),
  schema: z.record(z.string(), z.unknown(), { error: () => "must be a JSON Schema, as YAML" }).optional(),
  "schema-file": fileName.optional(),
  empty: oneOf(["allow", "refuse"]).optional(),
  answer: answer.optional(),
});

export const ruleFile = fields({
  rates: orNone(listOf(rates, 64, "rates")).optional(),
  topics: orNone(listOf(topics, 256, "topic rules")).optional(),
  "subscribe-all": orOff(answer).optional(),
  payloads: orNone(listOf(payloads, 1_024, "payload rules")).optional(),
  guessing: orOff(fields({ address: orOff(guess).optional(), user: orOff(guess).optional() })).optional(),
  protocol: orOff(fields({ limit, answer: answer.optional() })).optional(),
  "take-over": orOff(fields({ by: oneOf(["user", "address"]), answer: answer.optional() })).optional(),
  content: orOff(content).optional(),
  quarantine: fields({ for: shutOutTime }).optional(),
  safe: listOf(network, 1_024, "addresses and networks").optional(),
  mqtt3: oneOf(["acknowledge", "disconnect"]).optional(),
  events: fields({ limit }).optional(),
});

/** The keys of a rule file. */
export const ruleSections: readonly string[] = Object.keys(ruleFile.shape);

export type RuleFile = z.output<typeof ruleFile>;

function mustBe(given: unknown, expected: string): string {
  return `${given === undefined || given === null ? "has no value:" : shown(given)} must be ${expected}`;
}

/** A value for a message: JSON, cut where it is long. */
function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? String(value);
  return json.length <= 60 ? json : `${json.slice(0, 57)}...`;
}
