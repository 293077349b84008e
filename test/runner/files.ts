/** Runs compiled test files with node:test, prints its report, and tells what came of each file. */
import { run } from "node:test";
import { spec } from "node:test/reporters";

/** A file that hangs, or leaves something open, fails instead of holding up the rest. */
const FILE_TIMEOUT_MS = 10 * 60_000;

export interface Failure {
  /** With the names of the suites around it. */
  readonly test: string;
  readonly error: string;
}

/** What came of one file. */
export interface Outcome {
  passed: number;
  skipped: number;
  readonly failures: Failure[];
}

/** By file. With several files at once a test that a helper defines may be found at another file than its own. */
export type Outcomes = Map<string, Outcome>;

interface Report {
  readonly name: string;
  readonly nesting: number;
  readonly file?: string;
}

/**
 * @param files absolute paths
 * @param concurrency how many of them at once
 * @param out where node:test's report goes
 */
export function runFiles(
  files: readonly string[],
  concurrency: number,
  out: NodeJS.WritableStream,
): Promise<Outcomes> {
  const outcomes: Outcomes = new Map(files.map((file) => [file, { passed: 0, skipped: 0, failures: [] }]));
  let current = files[0]!;
  /** The test that reports, with the suites around it. */
  const names: string[] = [];
  const isFile = ({ name, nesting }: Report) => nesting === 0 && outcomes.has(name);
  const of = ({ file }: Report) => outcomes.get(file ?? current) ?? outcomes.get(current)!;

  return new Promise((resolve, reject) => {
    const stream = run({ files: [...files], concurrency, timeout: FILE_TIMEOUT_MS });
    stream.on("test:dequeue", (data) => {
      if (isFile(data)) current = data.name;
    });
    stream.on("test:start", ({ name, nesting }) => {
      names.length = nesting;
      names.push(name);
    });
    stream.on("test:pass", (data) => {
      if (data.details.type === "suite" || isFile(data)) return;
      if (data.skip !== undefined || data.todo !== undefined) of(data).skipped += 1;
      else of(data).passed += 1;
    });
    stream.on("test:fail", (data) => {
      const { error, type } = data.details;
      const { failureType } = error as { readonly failureType?: string };
      // What failed inside has been counted. A file that dies outside its tests is a failing test named after the file.
      if (failureType === "subtestsFailed" && (type === "suite" || isFile(data))) return;
      const test = [...names.slice(0, data.nesting), data.name].join(" > ");
      of(data).failures.push({ test, error: error.message });
    });
    const report = stream.compose(new spec());
    report.on("end", () => resolve(outcomes));
    report.on("error", reject);
    report.pipe(out, { end: false });
  });
}
