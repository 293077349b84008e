import { closeSync, existsSync, openSync, writeFileSync } from "node:fs";
import { filterError, topicError, UserError } from "@topicast/protocol";
import { type Command, Option } from "commander";
import { type Inspection, type InspectOptions, inspectFiles } from "./inspect.js";
import { inspectLive } from "./live.js";
import { answer, type Format } from "./output.js";
import { PcapngEncoder } from "./read/pcapng-writer.js";
import type { CapturedFrame } from "./read/record.js";
import { summarize } from "./summary.js";
import { type TableName, tableNames } from "./tables/schema.js";

/** What the command exits with: problems were found. 0: none were, 1: it could not be done, 2: the command is wrong. */
export const EXIT_PROBLEMS = 3;

const WRITE_BYTES = 1 << 20;

interface Flags {
  readonly interface?: string[];
  readonly filter?: string;
  readonly seconds?: string;
  readonly count?: string;
  readonly write?: string;
  readonly decodeAs?: string[];
  readonly sql?: string[];
  readonly table?: string;
  readonly whoGets?: string;
  readonly json?: true;
  readonly csv?: true;
  readonly parquet?: string;
  readonly output?: string;
  readonly tz?: string;
}

/** Adds the command's arguments and flags to `command`, and what it does. */
export function defineInspect(command: Command): Command {
  const collect = (text: string, before: string[] = []) => [...before, text];
  return command
    .argument("[FILE...]", "captures: pcap or pcapng, gzipped or not; - is standard input")
    .addOption(
      new Option(
        "-i, --interface <IFACE>",
        "capture live on this interface until Ctrl-C (needs root); repeatable",
      ).argParser(collect),
    )
    .addOption(new Option("-f, --filter <FILTER>", "with -i: only what this filter of tcpdump's takes"))
    .addOption(new Option("--seconds <N>", "with -i: stop after so long"))
    .addOption(new Option("-c, --count <N>", "with -i: stop after so many frames"))
    .addOption(new Option("-w, --write <FILE>", "write the frames as pcapng, too"))
    .addOption(
      new Option(
        "-d, --decode-as <RULE>",
        "e.g. tcp.port==17501,mqtt or udp.port==1885,mqttsn; repeatable",
      ).argParser(collect),
    )
    .addOption(new Option("--sql <SQL>", "ask the tables; repeatable").argParser(collect))
    .addOption(new Option("--table <NAME>", "print one table").choices(tableNames))
    .addOption(new Option("--who-gets <TOPIC>", "which subscriptions a message to this topic goes to"))
    .addOption(new Option("--json", "answer in JSON, an object a line").conflicts(["csv", "parquet"]))
    .addOption(new Option("--csv", "answer in CSV").conflicts("parquet"))
    .addOption(new Option("--parquet <FILE>", "write the answer to a Parquet file"))
    .addOption(new Option("-o, --output <FILE>", "keep all tables in this new DuckDB file"))
    .addOption(new Option("--tz <ZONE>", "time zone for times in answers, e.g. Europe/Rome (default: UTC)"))
    .addHelpText(
      "after",
      `
Without a question it prints a summary. Tables: ${tableNames.join(", ")}; their columns:
inspect/README.md. In SQL there are also mqtt_match(filter, topic), is_local(src, dst) and the view names. The exit code is ${EXIT_PROBLEMS} where something malformed was found (it is in the table problems).

Examples:
  topicast inspect capture.pcapng
  topicast inspect capture.pcapng --sql "SELECT client_id, filter FROM mqtt_subscriptions WHERE has_wildcard"
  topicast inspect capture.pcapng --who-gets plant/7/temp
  topicast inspect -i eth0 -f 'port 1883' --seconds 10 -w kept.pcapng`,
    )
    .action(async (files: string[], flags: Flags) => {
      process.exitCode = await run(files, flags);
    });
}

async function run(files: readonly string[], flags: Flags): Promise<number> {
  check(files, flags);
  const questions = questionsOf(flags);
  const format: Format = flags.json
    ? "json"
    : flags.csv
      ? "csv"
      : flags.parquet !== undefined
        ? "parquet"
        : "text";
  const writer = flags.write === undefined ? undefined : openWriter(flags.write);
  const options: InspectOptions = {
    decodeAs: flags.decodeAs ?? [],
    output: flags.output,
    tables: tablesFor(questions, flags),
    ...(process.stderr.isTTY === true && files.length > 0 ? { onProgress: showProgress } : {}),
    ...(writer === undefined ? {} : { onFrame: writer.write }),
  };
  const inspection = await (flags.interface === undefined
    ? inspectFiles(files, options)
    : inspectLive({ ...options, interfaces: flags.interface, ...liveLimits(flags) }));
  writer?.close();
  try {
    return await tell(inspection, questions, format, flags);
  } finally {
    inspection.database.close();
  }
}

async function tell(
  { database, frames, problems }: Inspection,
  questions: readonly string[],
  format: Format,
  flags: Flags,
): Promise<number> {
  if (flags.tz !== undefined) await database.setZone(flags.tz);
  if (questions.length === 0 && flags.output === undefined) process.stdout.write(await summarize(database));
  for (const sql of questions) process.stdout.write(await answer(database, sql, format, flags.parquet));
  const many = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`;
  // Apart from the answer, so that this can be piped.
  process.stderr.write(
    `${many(frames, "frame")}, ${many(problems, "problem")}${problems > 0 ? " (table problems)" : ""}\n`,
  );
  return problems > 0 ? EXIT_PROBLEMS : 0;
}

function check(files: readonly string[], flags: Flags): void {
  if (files.length === 0 && flags.interface === undefined) {
    throw new UserError("name a capture FILE, or an interface with -i", 2);
  }
  if (files.length > 0 && flags.interface !== undefined) {
    throw new UserError("give either FILEs or -i, not both", 2);
  }
  if (flags.interface === undefined && (flags.filter ?? flags.seconds ?? flags.count) !== undefined) {
    throw new UserError("--filter, --seconds and --count go with -i", 2);
  }
  for (const file of [flags.write, flags.output, flags.parquet]) {
    if (file !== undefined && files.includes(file))
      throw new UserError(`${file} would be overwritten: it is read, too`, 2);
  }
  if (flags.output !== undefined && existsSync(flags.output)) {
    throw new UserError(`${flags.output} exists already: choose another name with -o`, 2);
  }
  const topic = flags.whoGets;
  const error = topic === undefined ? undefined : topicError(topic);
  if (error !== undefined) {
    const hint = filterError(topic!) === undefined ? ": give a topic, not a filter" : "";
    throw new UserError(`--who-gets: the topic ${error}${hint}`, 2);
  }
  const asked = questionsOf(flags);
  const hasFormat = flags.json ?? flags.csv ?? flags.parquet;
  if (hasFormat !== undefined && asked.length === 0) {
    throw new UserError("--json, --csv and --parquet need a question: --sql, --table or --who-gets", 2);
  }
  if (flags.parquet !== undefined && asked.length > 1) throw new UserError("--parquet takes one question", 2);
}

function questionsOf({ sql = [], table, whoGets }: Flags): string[] {
  return [
    ...sql,
    ...(table === undefined ? [] : [`SELECT * FROM ${table}`]),
    ...(whoGets === undefined ? [] : [whoGetsSql(whoGets)]),
  ];
}

/** Subscriptions that were not refused, those still in force at the capture's end first. */
function whoGetsSql(topic: string): string {
  return `SELECT client_id, client, client_port, coalesce(server_name, server) AS server, server_port, filter, message_id,
    coalesce(granted, qos) AS qos, coalesce("end", 'in force') AS until, end_frame FROM mqtt_subscriptions
    WHERE coalesce(granted, 0) < 128 AND mqtt_match(filter, '${topic.replaceAll("'", "''")}')
    ORDER BY "end" IS NOT NULL, frame`;
}

/** Only what is asked for is filled; names of tables in the questions' texts decide. */
function tablesFor(questions: readonly string[], flags: Flags): readonly TableName[] {
  if (questions.length === 0 || flags.output !== undefined) return tableNames;
  const text = questions.join(" ").toLowerCase();
  // The view `names` is made of dns and hosts, and gives the others' server_name.
  return tableNames.filter(
    (name) =>
      name === "dns" ||
      name === "hosts" ||
      text.includes(name) ||
      /information_schema|duckdb_|show|describe/.test(text),
  );
}

function liveLimits({ filter = "", seconds, count }: Flags) {
  const number = (text: string | undefined, flag: string) => {
    if (text === undefined) return undefined;
    const value = Number(text);
    if (!(value > 0)) throw new UserError(`${flag} ${text}: a number over 0`, 2);
    return value;
  };
  return { filter, seconds: number(seconds, "--seconds"), count: number(count, "--count") };
}

/** Writes at once what has come together, so that little is kept however slow the disk is. */
function openWriter(path: string) {
  const encoder = new PcapngEncoder();
  const attempt = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw new UserError(`${path} cannot be written: ${(error as Error).message}`);
    }
  };
  const file = attempt(() => openSync(path, "w"));
  let waiting = [encoder.header()];
  let bytes = 0;
  const flush = () => {
    const whole = Buffer.concat(waiting);
    waiting = [];
    bytes = 0;
    attempt(() => writeFileSync(file, whole));
  };
  return {
    write: (frame: CapturedFrame) => {
      const block = encoder.encode(frame);
      waiting.push(block);
      bytes += block.length;
      if (bytes >= WRITE_BYTES) flush();
    },
    close: () => {
      flush();
      attempt(() => closeSync(file));
    },
  };
}

const BAR = 30;
let shown = -1;

function showProgress(share: number): void {
  const percent = Math.floor(share * 100);
  if (percent === shown) return;
  shown = percent;
  const done = Math.round(share * BAR);
  const end = percent === 100 ? "\r\u001b[K" : "";
  process.stderr.write(`\r[${"#".repeat(done)}${" ".repeat(BAR - done)}] ${percent} %${end}`);
}
