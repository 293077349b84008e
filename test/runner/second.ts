/** The policy for real time on a noisy machine: what failed runs a second time, alone (README.md of test). */
import { type Failure, type Outcome, type Outcomes, runFiles } from "./files.js";

/** More files than these that fail are no noise: none is run again. */
const MOST_SECOND_RUNS = 3;
/** So much of an error is told at the end; all of it stands in the report. */
const ERROR_LINES = 12;

/** A file that failed and was run again. */
export interface SecondRun {
  readonly file: string;
  readonly first: readonly Failure[];
  readonly second: readonly Failure[];
}

export interface SuiteResult {
  /** Of those run twice, what came of the second run. */
  readonly outcomes: Outcomes;
  readonly secondRuns: readonly SecondRun[];
}

/** Runs `files` one after the other, and then those again of which a test failed, unless these are too many. */
export async function runRealTime(
  files: readonly string[],
  out: NodeJS.WritableStream,
): Promise<SuiteResult> {
  const outcomes = await runFiles(files, 1, out);
  const failed = [...outcomes].filter(([, { failures }]) => failures.length > 0);
  const secondRuns: SecondRun[] = [];
  if (failed.length > MOST_SECOND_RUNS) return { outcomes, secondRuns };
  for (const [file, { failures: first }] of failed) {
    out.write(`\nonce more, as it failed: ${file}\n`);
    const again = (await runFiles([file], 1, out)).get(file)!;
    outcomes.set(file, again);
    secondRuns.push({ file, first, second: again.failures });
  }
  return { outcomes, secondRuns };
}

/** Names each test that failed at first, with its first error and, where that file failed again, the second run's. */
export function describeSecondRuns(runs: readonly SecondRun[], name: (file: string) => string): string {
  const list = (failures: readonly Failure[]) =>
    failures.map(({ test, error }) => `    ${test}\n${indent(error)}`).join("");
  const mended = runs.filter(({ second }) => second.length === 0);
  const lost = runs.filter(({ second }) => second.length > 0);
  const blocks = [
    ...mended.map(({ file, first }) => `  ${name(file)}\n${list(first)}`),
    ...lost.map(
      ({ file, first, second }) => `  ${name(file)}, in vain; first\n${list(first)}  then\n${list(second)}`,
    ),
  ];
  return blocks.length === 0 ? "" : `needed a second run:\n${blocks.join("")}`;
}

/** What was counted, over all files. */
export function countUp(outcomes: Iterable<Outcome>): { passed: number; failed: number; skipped: number } {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for (const { passed, skipped, failures } of outcomes) {
    sum.passed += passed;
    sum.skipped += skipped;
    sum.failed += failures.length;
  }
  return sum;
}

function indent(text: string): string {
  return text
    .split("\n")
    .slice(0, ERROR_LINES)
    .map((line) => `      ${line}`.trimEnd().concat("\n"))
    .join("");
}
