import { isUtf8 } from "node:buffer";
import { FilterTrie } from "@topicast/protocol";
import type { Kind } from "./codes.js";
import type { PayloadRule, Rule } from "./rules.js";

/** A message breaks a payload rule. */
export interface PayloadFault {
  readonly rule: Rule;
  readonly kind: Extract<Kind, "size" | "type">;
  readonly detail: string;
}

/** A number as one writes it; longer ones are none. */
const NUMBER_BYTES = 64;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** The payload rules, by topic. */
export class Payloads {
  private readonly trie = new FilterTrie<PayloadRule>({ cacheWeight: 65_536 });

  constructor(rules: readonly PayloadRule[]) {
    for (const rule of rules) for (const filter of rule.topics) this.trie.add(filter, rule);
  }

  /** What is wrong with a message, rule by rule; nothing is computed before it is asked for. */
  *faults(topic: string, payload: Buffer): IterableIterator<PayloadFault> {
    if (this.trie.size === 0) return;
    let json: Parsed | undefined;
    for (const rule of this.trie.match(topic)) {
      const { maxBytes, type, schema, allowsEmpty } = rule;
      if (maxBytes !== undefined && payload.length > maxBytes) {
        yield { rule, kind: "size", detail: `${payload.length} bytes, at most ${maxBytes}` };
        continue;
      }
      if (payload.length === 0) {
        if (!allowsEmpty) yield { rule, kind: "type", detail: "is empty" };
        continue;
      }
      if (type === "json") json ??= parse(payload);
      const detail = type === "json" ? jsonFault(json!, schema) : typeFault(type, payload);
      if (detail !== undefined) yield { rule, kind: "type", detail };
    }
  }
}

/** `none`: it is not JSON. */
type Parsed = { readonly text: string; readonly value: unknown } | "none";

function typeFault(type: "text" | "number" | "any", payload: Buffer): string | undefined {
  if (type === "any") return undefined;
  if (type === "text") return isUtf8(payload) ? undefined : "is not UTF-8 text";
  const isNumber = payload.length <= NUMBER_BYTES && NUMBER.test(payload.toString("latin1").trim());
  return isNumber ? undefined : "is not a number";
}

function jsonFault(json: Parsed, schema: PayloadRule["schema"]): string | undefined {
  if (json === "none") return "is not JSON";
  if (schema === undefined) return undefined;
  // The schema sees the last of them, a subscriber perhaps the first.
  if (namesWritten(json.text) !== namesIn(json.value)) return "has a name twice in one object";
  try {
    if (schema(json.value)) return undefined;
  } catch {
    // A schema that refers to itself follows the message as deep as that goes.
    return "is nested too deeply";
  }
  const [error] = schema.errors ?? [];
  return `${error?.instancePath || "message"} ${error?.message ?? "does not fit the schema"}`;
}

function parse(payload: Buffer): Parsed {
  // `toString` would replace what is no UTF-8.
  if (!isUtf8(payload)) return "none";
  try {
    const text = payload.toString();
    return { text, value: JSON.parse(text) };
  } catch {
    return "none";
  }
}

/** Names of members in a text that is JSON: a colon that is in no string follows each. */
function namesWritten(json: string): number {
  let names = 0;
  let isInString = false;
  for (let i = 0; i < json.length; i++) {
    const code = json.charCodeAt(i);
    if (code === QUOTE) isInString = !isInString;
    else if (isInString && code === BACKSLASH) i += 1;
    else if (!isInString && code === COLON) names += 1;
  }
  return names;
}

/** Names of members that have come of it. */
function namesIn(value: unknown): number {
  let names = 0;
  const open = [value];
  while (open.length > 0) {
    const one = open.pop();
    if (typeof one !== "object" || one === null) continue;
    const values = Object.values(one);
    if (!Array.isArray(one)) names += values.length;
    for (const inner of values) open.push(inner);
  }
  return names;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
