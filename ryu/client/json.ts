import { FormatError } from "./errors.js";

/** JSON in which an integer that a double cannot hold exactly is a bigint. */
export type JsonValue = null | boolean | number | bigint | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}

const MAX_DEPTH = 100;
/** No integer of fewer digits is beyond 2^53, so a text without this is safe for JSON.parse. */
const MAYBE_LARGE = /[0-9]{16}/;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
/** Any character but a quote, a backslash and the control characters. */
const PLAIN_STRING = /"[ !#-[\]-\uffff]*"/y;
const ANY_STRING = /"[ !#-[\]-\uffff]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[ !#-[\]-\uffff]*)*"/y;

/**
 * Reads JSON (RFC 8259) without losing integers: datapath ids, cookies and counters are 64-bit, and JSON.parse rounds
 * them to a double. Integers within ±(2^53 - 1) come as number, others as bigint; fractions and exponents as number.
 * Throws FormatError, with the offset, for text that is not JSON or is nested deeper than 100 levels.
 */
export function parseJson(text: string): JsonValue {
  if (!MAYBE_LARGE.test(text)) {
    try {
      return JSON.parse(text) as JsonValue;
    } catch (error) {
      throw new FormatError(`not JSON: ${(error as Error).message}`);
    }
  }
  return new Reader(text).document();
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  document(): JsonValue {
    const value = this.value(0);
    this.space();
    if (this.at < this.text.length) this.fail("the end");
    return value;
  }

  private value(depth: number): JsonValue {
    if (depth > MAX_DEPTH) throw new FormatError(`not JSON: nested deeper than ${MAX_DEPTH} levels`);
    this.space();
    switch (this.text[this.at]) {
      case "{":
        return this.object(depth);
      case "[":
        return this.array(depth);
      case '"':
        return this.string();
      case "t":
        return this.word("true", true);
      case "f":
        return this.word("false", false);
      case "n":
        return this.word("null", null);
      default:
        return this.number();
    }
  }

  private object(depth: number): JsonObject {
    const object: JsonObject = {};
    this.at += 1;
    if (this.taken("}")) return object;
    do {
      this.space();
      if (this.text[this.at] !== '"') this.fail("a member name");
      const key = this.string();
      if (!this.taken(":")) this.fail('":"');
      const value = this.value(depth + 1);
      if (key === "__proto__") {
        Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
      } else {
        object[key] = value;
      }
    } while (this.taken(","));
    if (!this.taken("}")) this.fail('"," or "}"');
    return object;
  }

  private array(depth: number): JsonValue[] {
    const array: JsonValue[] = [];
    this.at += 1;
    if (this.taken("]")) return array;
    do array.push(this.value(depth + 1));
    while (this.taken(","));
    if (!this.taken("]")) this.fail('"," or "]"');
    return array;
  }

  private string(): string {
    const plain = this.match(PLAIN_STRING);
    if (plain !== undefined) return plain[0].slice(1, -1);
    const escaped = this.match(ANY_STRING);
    if (escaped === undefined) this.fail("a string");
    return JSON.parse(escaped[0]) as string;
  }

  private number(): number | bigint {
    const match = this.match(NUMBER);
    if (match === undefined) this.fail("a value");
    const value = Number(match[0]);
    const integer = match[1] === undefined && match[2] === undefined;
    return integer && !Number.isSafeInteger(value) ? BigInt(match[0]) : value;
  }

  private word<T>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.at)) this.fail("a value");
    this.at += word.length;
    return value;
  }

  /** Skips white space, then takes the character if it is there. */
  private taken(character: string): boolean {
    this.space();
    if (this.text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  private space(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.at += 1;
    }
  }

  private match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (match === null) return undefined;
    this.at = pattern.lastIndex;
    return match;
  }

  private fail(wanted: string): never {
    const found =
      this.at < this.text.length ? JSON.stringify(this.text.slice(this.at, this.at + 12)) : "the end";
    throw new FormatError(`not JSON: ${wanted} expected at offset ${this.at}, found ${found}`);
  }
}
