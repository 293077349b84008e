/**
 * Runs the segment scripts on Linux' TCP: drills-main.js [--late MS] [NAME-PART]. Prints one JSON line for each script whose
 * name contains NAME-PART, {"name": ..., "not": REASON} or {"name": ..., "difference": {"at": ..., "got": ...} or absent,
 * "missed": [...]}: the attempts before that were not what is committed. With --late whatever the script does comes up to MS
 * too late, by chance: a script that misses then has too little room in its times.
 *
 * Makes its own namespaces and runs itself again in the scripts' one, with --linux NAMESPACE --macs SCRIPT,LINUX.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { parseArgs } from "node:util";
import { DRILLS } from "../../../unit/agents/tcp/drills.js";
import { applies } from "./applies.js";
import { Lab } from "./lab.js";
import { type Attempt, type Bench, LinuxDrill } from "./linux-drill.js";
import { isCommitted, readOutcomes } from "./outcomes.js";
import { Punctuality } from "./punctuality.js";
import { LinuxUser } from "./user.js";
import { Wire } from "./wire.js";

/** Scripts mostly wait, so many run at once; more would find their times disturbed. */
const AT_ONCE = 16;
/**
 * How often a script runs again that did not do what is committed, and how many of those at once. Attempts in which we were
 * late do not count, for as long as they take no more than RETRY_MS altogether.
 */
const RETRIES = 3;
const RETRIED_AT_ONCE = 4;
const RETRY_MS = 150_000;
const FIRST_PORT = 20_000;

async function runLab(late: string, part: string): Promise<void> {
  const lab = new Lab();
  try {
    const inside = ["--linux", lab.linux, "--macs", `${lab.mac("script")},${lab.mac("linux")}`];
    const args = ["netns", "exec", lab.script, process.execPath, import.meta.filename, ...inside];
    const child = spawn("ip", [...args, "--late", late, part], { stdio: "inherit" });
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => child.kill(signal));
    const [code] = (await once(child, "exit")) as [number | null];
    process.exitCode = code ?? 1;
  } finally {
    lab.remove();
  }
}

interface Run {
  readonly name: string;
  readonly seconds: number;
  start(): Promise<Attempt>;
}

async function runScripts(bench: Bench, part: string): Promise<void> {
  const outcomes = readOutcomes();
  const runs: Run[] = [];
  const print = (result: object) => console.log(JSON.stringify(result));
  let port = FIRST_PORT;
  for (const { title, cases } of DRILLS) {
    for (const each of cases) {
      const name = `${title}: ${each.name}`;
      if (!name.includes(part)) continue;
      const how = applies(each);
      if ("not" in how) print({ name, not: how.not });
      else {
        const start = () => new LinuxDrill(each.script, how.options, port++, bench).run();
        runs.push({ name, seconds: how.seconds, start });
      }
    }
  }
  // The long ones first, so that all of it lasts hardly longer than they do.
  runs.sort((a, b) => b.seconds - a.seconds);
  const again: Array<Run & { readonly missed: Attempt[] }> = [];
  await inParallel(runs, AT_ONCE, async (run) => {
    const attempt = await run.start();
    const { difference } = attempt;
    if (isCommitted(outcomes, run.name, difference)) print({ name: run.name, difference, missed: [] });
    else again.push({ ...run, missed: [attempt] });
  });
  const end = performance.now() + RETRY_MS;
  await inParallel(again, RETRIED_AT_ONCE, async ({ name, start, missed }) => {
    for (let counted = 0; ; ) {
      const attempt = await start();
      const { difference, punctual } = attempt;
      if (punctual) counted += 1;
      const isOver = counted === RETRIES || performance.now() > end;
      if (isOver || isCommitted(outcomes, name, difference)) return print({ name, difference, missed });
      missed.push(attempt);
    }
  });
}

async function inParallel<T>(runs: T[], limit: number, each: (run: T) => Promise<void>): Promise<void> {
  const worker = async () => {
    for (let run = runs.shift(); run !== undefined; run = runs.shift()) await each(run);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    late: { type: "string", default: "0" },
    linux: { type: "string" },
    macs: { type: "string" },
  },
});
const [part = ""] = positionals;
if (values.linux === undefined || values.macs === undefined) await runLab(values.late, part);
else {
  const [ownMac, linuxMac] = values.macs.split(",") as [string, string];
  const bench = {
    wire: new Wire(ownMac, linuxMac),
    user: new LinuxUser(values.linux),
    punctuality: new Punctuality(),
    late: Number(values.late),
  };
  await runScripts(bench, part);
  for (const each of [bench.wire, bench.user, bench.punctuality]) each.close();
}
