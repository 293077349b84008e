/**
 * Runs the compiled tests of the named suites with node:test, one file at a time where they share the machine's
 * network (net, e2e), and closes with the line `N passed, N failed`.
 *
 *   node test/dist/run.js unit net e2e        every file of these suites
 *   node test/dist/run.js unit tcp            only unit files whose path contains "tcp"
 */
import { existsSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";

const here = import.meta.dirname;
const suites = ["unit", "net", "e2e"];
/** A file that hangs, or leaves something open, fails instead of holding up the rest. */
const FILE_TIMEOUT_MS = 10 * 60_000;
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

let passed = 0;
let failed = 0;
let skipped = 0;

function runSuite(suite: string): Promise<void> {
  const files = testFiles(join(here, suite));
  if (files.length === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const concurrency = suite === "unit" ? availableParallelism() : 1;
    const stream = run({ files, concurrency, timeout: FILE_TIMEOUT_MS });
    stream.on("test:pass", (data) => {
      if (data.details.type === "suite" || isFile(data)) return;
      if (data.skip !== undefined || data.todo !== undefined) skipped += 1;
      else passed += 1;
    });
    stream.on("test:fail", (data) => {
      // A file that dies outside its tests is reported as a failing test named after the file.
      if (data.details.type === "suite") return;
      if (isFile(data) && data.details.error.message.includes("subtest")) return;
      failed += 1;
    });
    const report = stream.compose(new spec());
    report.on("end", resolve);
    report.on("error", reject);
    report.pipe(process.stdout, { end: false });
  });

  function isFile(data: { name: string; nesting: number }): boolean {
    return data.nesting === 0 && files.includes(data.name);
  }
}

for (const suite of wanted) await runSuite(suite);
if (passed + failed === 0) {
  console.error(`no test matches ${patterns.join(" ")}`);
  failed += 1;
}
process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
process.exitCode = failed > 0 ? 1 : 0;
