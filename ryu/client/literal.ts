import { FormatError } from "./errors.js";

/** What a request body may consist of. `undefined` members are left out. */
export type LiteralValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly LiteralValue[]
  | { readonly [key: string]: LiteralValue | undefined };

/**
 * Writes a Python literal: ofctl_rest reads the bodies of commands with `ast.literal_eval`, which knows `True`, `False`
 * and `None` and fails on JSON's `true`, `false` and `null`. Integers are written in full, whatever their size. Where
 * none of those three words occurs the text is JSON as well, which is what the filters of statistics must be.
 * Throws FormatError for numbers that are not finite and for integers beyond 2^53 given as number (already rounded).
 */
export function pythonLiteral(value: LiteralValue): string {
  switch (typeof value) {
    case "string":
      // Every escape that JSON.stringify writes means the same in a Python string.
      return JSON.stringify(value);
    case "bigint":
      return value.toString();
    case "number":
      return numberLiteral(value);
    case "boolean":
      return value ? "True" : "False";
    default:
      break;
  }
  if (value === null) return "None";
  if (isArray(value)) return `[${value.map(pythonLiteral).join(", ")}]`;
  const members: string[] = [];
  for (const [key, member] of Object.entries(value)) {
    if (member !== undefined) members.push(`${JSON.stringify(key)}: ${pythonLiteral(member)}`);
  }
  return `{${members.join(", ")}}`;
}

function numberLiteral(value: number): string {
  if (!Number.isFinite(value)) throw new FormatError(`${value} cannot be sent: not a finite number`);
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new FormatError(`${value} cannot be sent exactly: give integers beyond 2^53 as bigint`);
  }
  return Object.is(value, -0) ? "0" : value.toString();
}

function isArray(value: object): value is readonly LiteralValue[] {
  return Array.isArray(value);
}
