import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { RE2JS } from "re2js";

/**
 * Compiles a JSON Schema (draft 2020-12). Keywords and formats that are not known are mistakes: a rule that checks less than
 * it says is worse than none. What it asks of a message takes time in proportion to the message, which clients write.
 * @throws Error that says what is wrong with the schema
 */
export function compileSchema(schema: unknown): ValidateFunction {
  if (typeof schema !== "object" || schema === null) throw new Error("must be a map of keywords");
  if ("$async" in schema) throw new Error("$async: a message is not waited for");
  // An instance of its own: schemas of different rules may have the same $id.
  const ajv = new Ajv2020({
    ...{ strict: true, allErrors: false, logger: false, allowUnionTypes: true },
    code: { regExp: linearPattern },
  });
  // Ajv's own compares each item with each.
  ajv.removeKeyword("uniqueItems");
  ajv.addKeyword({
    ...{ keyword: "uniqueItems", type: "array", schemaType: "boolean" },
    error: { message: "must not have an item twice" },
    validate: (asked: boolean, items: readonly unknown[]) =>
      !asked || new Set(items.map(canonical)).size === items.length,
  });
  return ajv.compile(schema);
}

/** Not JavaScript's own, which may take years for a text of fifty characters: this one knows no look-around and no \1. */
function linearPattern(pattern: string) {
  try {
    const compiled = RE2JS.compile(RE2JS.translateRegExp(pattern));
    // Ajv tells patterns apart by their text.
    return { test: (text: string) => compiled.matcher(text).find(), toString: () => pattern };
  } catch (error) {
    throw new Error(`the pattern ${JSON.stringify(pattern)} cannot be used: ${(error as Error).message}`);
  }
}
linearPattern.code = "re2js";

/** The same text for what JSON takes for equal. */
function canonical(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical((value as Record<string, unknown>)[name])}`).join()}}`;
}
