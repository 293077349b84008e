/**
 * Matching as the standard words it, level lists compared recursively: too slow to use and too plain to be wrong.
 * The tests hold the real functions and trees against it.
 */
import fc from "../../../property.js";

export function modelMatches(filter: string, topic: string): boolean {
  if (topic.startsWith("$") && (filter.startsWith("+") || filter.startsWith("#"))) return false;
  return levelsMatch(filter.split("/"), topic.split("/"));
}

function levelsMatch(filter: string[], topic: string[]): boolean {
  const [f, ...restF] = filter;
  const [t, ...restT] = topic;
  if (f === undefined) return t === undefined;
  if (f === "#") return true;
  if (t === undefined) return false;
  return (f === "+" || f === t) && levelsMatch(restF, restT);
}

/** Few level texts, so that random filters and topics meet often; the empty level and $ among them. */
const levels = ["a", "b", "", "$s", "long-level-name-past-thirteen"];

export const topics = fc
  .array(fc.constantFrom(...levels), { minLength: 1, maxLength: 5 })
  .map((parts) => parts.join("/"))
  .filter((topic) => topic !== "");

export const filters = fc
  .tuple(fc.array(fc.constantFrom(...levels, "+", "+"), { maxLength: 5 }), fc.boolean())
  .map(([parts, multi]) => [...parts, ...(multi ? ["#"] : [])].join("/"))
  .filter((filter) => filter !== "");

/** Every topic of up to `depth` levels over an alphabet with one level text ("z") that no filter here holds. */
export function allTopics(depth: number): string[] {
  const alphabet = ["a", "b", "", "$s", "z"];
  let names = alphabet;
  const all = [...names];
  for (let i = 1; i < depth; i++) {
    names = names.flatMap((name) => alphabet.map((level) => `${name}/${level}`));
    all.push(...names);
  }
  return all.filter((name) => name !== "");
}
