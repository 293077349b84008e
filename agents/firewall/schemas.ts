import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";

/**
 * Compiles a JSON Schema (draft 2020-12). Keywords and formats that are not known are mistakes: a rule that checks less than
 * it says is worse than none.
 * @throws Error that says what is wrong with the schema
 */
export function compileSchema(schema: unknown): ValidateFunction {
  if (typeof schema !== "object" || schema === null) throw new Error("must be a map of keywords");
  if ("$async" in schema) throw new Error("$async: a message is not waited for");
  // An instance of its own: schemas of different rules may have the same $id.
  const ajv = new Ajv2020({ strict: true, allErrors: false, logger: false, allowUnionTypes: true });
  return ajv.compile(schema);
}
