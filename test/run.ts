/**
 * Runs the compiled tests of the named suites with node:test, one file at a time where they share the machine's
 * network (net, e2e), and closes with the line `N passed, N failed`. In those suites what fails has a second run (README.md).
 *
 *   node test/dist/run.js unit net e2e        every file of these suites
 *   node test/dist/run.js unit tcp            only unit files whose path contains "tcp"
 */
import { existsSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { type Outcome, runFiles } from "./runner/files.js";
import { countUp, describeSecondRuns, runRealTime, type SecondRun } from "./runner/second.js";

const here = import.meta.dirname;
const suites = ["unit", "net", "e2e"];
const wanted = process.argv.slice(2).filter((a) => suites.includes(a));
const patterns = process.argv.slice(2).filter((a) => !suites.includes(a));
if (wanted.length === 0) {
  console.error(`usage: run.js SUITE... [PART-OF-PATH...], with SUITE one of ${suites.join(", ")}`);
  process.exit(2);
}

function testFiles(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((e) => e.isFile() && e.name.endsWith(".test.js"))
    .map((e) => join(e.parentPath, e.name))
    .filter(hasSource)
    .filter((f) => patterns.length === 0 || patterns.some((p) => relative(here, f).includes(p)))
    .sort();
}

/** What was compiled of a test that has been renamed or removed since stays in dist/. */
function hasSource(file: string): boolean {
  return existsSync(join(here, "..", relative(here, file).replace(/js$/, "ts")));
}

const outcomes: Outcome[] = [];
const secondRuns: SecondRun[] = [];
for (const suite of wanted) {
  const files = testFiles(join(here, suite));
  if (files.length === 0) continue;
  if (suite === "unit")
    outcomes.push(...(await runFiles(files, availableParallelism(), process.stdout)).values());
  else {
    const result = await runRealTime(files, process.stdout);
    outcomes.push(...result.outcomes.values());
    secondRuns.push(...result.secondRuns);
  }
}
const { passed, failed, skipped } = countUp(outcomes);
if (passed + failed === 0) {
  console.error(`no test matches ${patterns.join(" ")}`);
  process.stdout.write("0 passed, 1 failed\n");
  process.exit(1);
}
process.stdout.write(describeSecondRuns(secondRuns, (file) => relative(here, file)));
process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
process.exitCode = failed > 0 ? 1 : 0;
