import { mkdirSync, readdirSync, readFileSync, renameSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ClassicLevel } from "classic-level";
import { UserError } from "../errors.js";
import { findLogDamage, findTableDamage } from "./integrity.js";

export type Database = ClassicLevel<string, Buffer>;

/** A database whose every entry was checked. */
export interface Opened {
  database: Database;
  /** Where a damaged predecessor was put, and what was wrong with it. */
  damaged?: { directory: string; reason: string };
}

/** The one key that is the store's own; it sorts before every other. */
export const FORMAT_KEY = "\u0000format";
const FORMAT = Buffer.from("topicast store 1");

/** What a directory holds that is not as it was written. */
class Damage extends Error {}

/**
 * Opens the database in `directory` (made when it does not exist) and checks everything in it. One that is damaged is
 * set aside. Throws a `UserError` when another process has it, when its format is not ours, or when it cannot be used.
 */
export async function openDatabase(directory: string): Promise<Opened> {
  prepare(directory);
  try {
    return { database: await openChecked(directory) };
  } catch (error) {
    if (!(error instanceof Damage)) throw error;
    const aside = setAside(directory);
    return { database: await openChecked(directory), damaged: { directory: aside, reason: error.message } };
  }
}

async function openChecked(directory: string): Promise<Database> {
  // Before LevelDB sees them: it drops what is damaged without a word, and writes its files anew.
  const damaged = checkFiles(directory);
  // Without compression, so that `findTableDamage` can read the index.
  const database: Database = new ClassicLevel(directory, {
    keyEncoding: "utf8",
    valueEncoding: "buffer",
    compression: false,
  });
  try {
    await database.open();
    for (const table of damaged) if (isStillThere(table)) throw new Damage(table.what);
    await checkFormat(directory, database);
    return database;
  } catch (error) {
    await database.close();
    throw error instanceof Damage || error instanceof UserError ? error : explain(error, directory);
  }
}

/** One that LevelDB removes or overwrites when it opens was never part of the database: its writer was killed. */
interface DamagedTable {
  path: string;
  /** When it was written, milliseconds. */
  written: number;
  what: string;
}

/** Its name alone does not tell: LevelDB gives the number of what it does not know to the next table. */
function isStillThere({ path, written }: DamagedTable): boolean {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs === written;
}

/** A directory with files that no database wrote is somebody's mistake, not damage. */
function prepare(directory: string): void {
  let names: string[];
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    names = readdirSync(directory);
  } catch (error) {
    throw new UserError(`cannot use ${directory}: ${(error as Error).message}`);
  }
  if (names.length === 0 || names.includes("CURRENT") || names.includes("LOCK")) return;
  throw new UserError(`${directory} holds other files (${names[0]}): name an empty or a new directory`);
}

/** Throws when a log is damaged; returns the tables that are. */
function checkFiles(directory: string): DamagedTable[] {
  const damaged: DamagedTable[] = [];
  for (const name of readdirSync(directory)) {
    const isTable = /^\d+\.ldb$/.test(name);
    if (!isTable && !/^(\d+\.log|MANIFEST-\d+)$/.test(name)) continue;
    const path = join(directory, name);
    const bytes = readFileSync(path);
    const at = isTable ? findTableDamage(bytes) : findLogDamage(bytes);
    if (at === undefined) continue;
    const what = `${name} does not match its checksum at byte ${at}`;
    if (!isTable) throw new Damage(what);
    damaged.push({ path, written: statSync(path).mtimeMs, what });
  }
  return damaged;
}

async function checkFormat(directory: string, database: Database): Promise<void> {
  const format = await database.get(FORMAT_KEY);
  if (format === undefined) {
    for await (const key of database.keys({ limit: 1 })) {
      throw new Damage(`it begins with ${JSON.stringify(key)}, not with its format`);
    }
    await database.put(FORMAT_KEY, FORMAT);
  } else if (!format.equals(FORMAT)) {
    throw new UserError(
      `${directory} is of another format (${format}): use the version of Topicast that wrote it, or another directory`,
    );
  }
}

function explain(error: unknown, directory: string): Error {
  const cause = (error as { cause?: unknown }).cause ?? error;
  const { code, message = String(error) } = cause as { code?: string; message?: string };
  if (code === "LEVEL_LOCKED") {
    return new UserError(`${directory} is in use by another process: stop it, or name another directory`);
  }
  // What LevelDB says of its own files when they are missing or cut.
  if (code === "LEVEL_CORRUPTION" || /missing files|no such file|too short|does not exist/i.test(message))
    return new Damage(message);
  return new UserError(`cannot use ${directory}: ${message}`);
}

function setAside(directory: string): string {
  const parent = dirname(directory);
  const taken = new Set(readdirSync(parent));
  let n = 1;
  while (taken.has(`${basename(directory)}.damaged-${n}`)) n += 1;
  const aside = join(parent, `${basename(directory)}.damaged-${n}`);
  renameSync(directory, aside);
  mkdirSync(directory, { mode: 0o700 });
  return aside;
}
