/**
 * Runs the segment scripts on Linux' TCP: drills-main.js [NAME-PART]. Prints one JSON line for each script whose name
 * contains NAME-PART, {"name": ..., "not": REASON} or {"name": ..., "difference": {"at": ..., "got": ...} or absent}.
 *
 * Makes its own namespaces and runs itself again in the scripts' one: drills-main.js --in LINUX-NAMESPACE OWN-MAC
 * LINUX-MAC [NAME-PART].
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { DRILLS } from "../../../unit/agents/tcp/drills.js";
import { applies } from "./applies.js";
import { Lab } from "./lab.js";
import { type Difference, LinuxDrill } from "./linux-drill.js";
import { isCommitted, readOutcomes } from "./outcomes.js";
import { LinuxUser } from "./user.js";
import { Wire } from "./wire.js";

/** Scripts mostly wait, so many run at once; more would find their times disturbed. */
const AT_ONCE = 16;
/** How often a script runs again that did not do what is committed, and how many of those at once. */
const RETRIES = 3;
const RETRIED_AT_ONCE = 4;
const FIRST_PORT = 20_000;

async function runLab(part: string): Promise<void> {
  const lab = new Lab();
  try {
    const inside = ["--in", lab.linux, lab.mac("script"), lab.mac("linux"), part];
    const args = ["netns", "exec", lab.script, process.execPath, import.meta.filename, ...inside];
    const child = spawn("ip", args, { stdio: "inherit" });
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
  start(): Promise<Difference>;
}

async function runScripts(namespace: string, ownMac: string, linuxMac: string, part: string): Promise<void> {
  const wire = new Wire(ownMac, linuxMac);
  const user = new LinuxUser(namespace);
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
        const start = () => new LinuxDrill(each.script, how.options, port++, wire, user).run();
        runs.push({ name, seconds: how.seconds, start });
      }
    }
  }
  // The long ones first, so that all of it lasts hardly longer than they do.
  runs.sort((a, b) => b.seconds - a.seconds);
  const again: Run[] = [];
  await inParallel(runs, AT_ONCE, async (run) => {
    const difference = await run.start();
    if (isCommitted(outcomes, run.name, difference)) print({ name: run.name, difference });
    else again.push(run);
  });
  await inParallel(again, RETRIED_AT_ONCE, async (run) => {
    let difference = await run.start();
    for (let i = 1; i < RETRIES && !isCommitted(outcomes, run.name, difference); i++)
      difference = await run.start();
    print({ name: run.name, difference });
  });
  user.close();
  wire.close();
}

async function inParallel(runs: Run[], limit: number, each: (run: Run) => Promise<void>): Promise<void> {
  const worker = async () => {
    for (let run = runs.shift(); run !== undefined; run = runs.shift()) await each(run);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}

const [first, ...rest] = process.argv.slice(2);
if (first === "--in") {
  const [namespace, ownMac, linuxMac, part = ""] = rest as [string, string, string, string?];
  await runScripts(namespace, ownMac, linuxMac, part);
} else {
  await runLab(first ?? "");
}
