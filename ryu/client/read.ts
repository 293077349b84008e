import { FormatError } from "./errors.js";
import type { JsonObject, JsonValue } from "./json.js";

/**
 * One object of an answer with checked access to its members. Every method throws a FormatError that names the place
 * and the member if it is missing or of another type.
 */
export class Fields {
  private constructor(
    private readonly object: JsonObject,
    private readonly place: string,
  ) {}

  static of(value: JsonValue | undefined, place: string): Fields {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw misfit(place, "an object", value);
    return new Fields(value, place);
  }

  raw(name: string): JsonValue | undefined {
    return this.object[name];
  }

  /** An unsigned integer of at most 32 bits. */
  u32(name: string): number {
    const value = this.object[name];
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
      throw misfit(`${this.place}.${name}`, "an integer", value);
    }
    return value;
  }

  /** An unsigned integer of 64 bits. */
  u64(name: string): bigint {
    const value = this.object[name];
    if (typeof value === "bigint" && value >= 0n) return value;
    return BigInt(this.u32(name));
  }

  text(name: string): string {
    const value = this.object[name];
    if (typeof value !== "string") throw misfit(`${this.place}.${name}`, "a text", value);
    return value;
  }

  array(name: string): JsonValue[] {
    const value = this.object[name];
    if (!Array.isArray(value)) throw misfit(`${this.place}.${name}`, "a list", value);
    return value;
  }

  texts(name: string): string[] {
    return this.array(name).map((value, i) => {
      if (typeof value !== "string") throw misfit(`${this.place}.${name}[${i}]`, "a text", value);
      return value;
    });
  }

  nested(name: string): Fields {
    return Fields.of(this.object[name], `${this.place}.${name}`);
  }

  list<T>(name: string, read: (fields: Fields) => T): T[] {
    return this.array(name).map((value, i) => read(Fields.of(value, `${this.place}.${name}[${i}]`)));
  }

  /** Runs a reader that throws FormatErrors without a place of their own. */
  with<T>(name: string, read: (value: JsonValue | undefined) => T): T {
    try {
      return read(this.object[name]);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      throw new FormatError(`${this.place}.${name}: ${error.message}`);
    }
  }

  /** All members, for objects whose names are data. */
  members(): Readonly<JsonObject> {
    return this.object;
  }
}

export function readList<T>(value: JsonValue, place: string, read: (fields: Fields) => T): T[] {
  if (!Array.isArray(value)) throw misfit(place, "a list", value);
  return value.map((item, i) => read(Fields.of(item, `${place}[${i}]`)));
}

function misfit(place: string, wanted: string, found: JsonValue | undefined): FormatError {
  const type = found === null ? "null" : Array.isArray(found) ? "a list" : typeof found;
  return new FormatError(`${place} is ${found === undefined ? "missing" : type}, not ${wanted}`);
}
