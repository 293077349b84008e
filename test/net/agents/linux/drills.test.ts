import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { DRILLS } from "../../../unit/agents/tcp/drills.js";
import { applies } from "./applies.js";
import type { Attempt, Difference } from "./linux-drill.js";
import { isCommitted, readOutcomes } from "./outcomes.js";

interface Result {
  readonly name: string;
  readonly not?: string;
  readonly difference?: NonNullable<Difference>;
  readonly missed?: readonly Attempt[];
}

const names = DRILLS.flatMap(({ title, cases }) => cases.map(({ name }) => `${title}: ${name}`));
const applicable = DRILLS.flatMap(({ title, cases }) =>
  cases.filter((each) => !("not" in applies(each))).map(({ name }) => `${title}: ${name}`),
);
const outcomes = readOutcomes();

/** One line of the table. */
function row({ name, not, difference }: Result): string {
  if (not !== undefined) return `not applicable  ${name}\n                  ${not}`;
  if (difference === undefined) return `same            ${name}`;
  const known = outcomes.differs[name];
  const reason = outcomes.reasons[known?.reason ?? ""] ?? "no reason is known";
  return `differs         ${name}\n                  at "${difference.at}" Linux: ${difference.got}\n                  ${reason}`;
}

describe("segment scripts on Linux' TCP", () => {
  const results = new Map<string, Result>();

  before(async () => {
    const main = fileURLToPath(new URL("drills-main.js", import.meta.url));
    const child = spawn(process.execPath, [main], { stdio: ["ignore", "pipe", "pipe"] });
    let errors = "";
    child.stderr.on("data", (text) => {
      errors += text;
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      const result = JSON.parse(line) as Result;
      results.set(result.name, result);
    });
    const [code] = (await once(child, "close")) as [number | null];
    assert.equal(code, 0, errors);
  });

  it("all ran", (test) => {
    const list = names.map((name) => results.get(name)).filter((result) => result !== undefined);
    for (const result of list) test.diagnostic(row(result));
    const apart = list.filter(({ not }) => not !== undefined).length;
    const differ = list.filter(({ difference }) => difference !== undefined).length;
    test.diagnostic(
      `${list.length - apart - differ} same, ${differ} differ, ${apart} are not applicable, of ${names.length}`,
    );
    for (const { name, missed = [] } of list) {
      for (const { difference, punctual } of missed)
        test.diagnostic(`missed${punctual ? "" : " (we were late)"}: ${name}: ${JSON.stringify(difference)}`);
    }
    assert.deepEqual([...results.keys()].sort(), [...names].sort());
  });

  for (const name of applicable) {
    it(name, () => {
      const result = results.get(name);
      assert(result !== undefined);
      const wanted = outcomes.differs[name];
      if (isCommitted(outcomes, name, result.difference)) return;
      assert.deepEqual(
        result.difference ?? "same as ours",
        wanted === undefined ? "same as ours" : { at: wanted.at, got: wanted.got },
      );
    });
  }

  it("has a reason for each difference, and none too many", () => {
    for (const [name, { reason }] of Object.entries(outcomes.differs)) {
      assert(applicable.includes(name), `no script is called ${name}`);
      assert(reason in outcomes.reasons, `${name}: no reason ${reason}`);
    }
    const used = new Set(Object.values(outcomes.differs).map(({ reason }) => reason));
    assert.deepEqual(Object.keys(outcomes.reasons).sort(), [...used].sort());
  });
});
