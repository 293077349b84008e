import { basename } from "node:path";
import { Inspector } from "./inspector.js";
import { readCapture } from "./read/file.js";
import type { CapturedFrame } from "./read/record.js";
import { Database } from "./tables/database.js";
import { type TableName, tableNames } from "./tables/schema.js";

export interface InspectOptions {
  readonly decodeAs?: readonly string[];
  /** Keep the database in this new file. */
  readonly output?: string | undefined;
  /** Fill only these tables. */
  readonly tables?: readonly TableName[];
  /** Share of all files' bytes that is read, 0..1. */
  onProgress?(share: number): void;
  /** Sees each frame before it is inspected. */
  onFrame?(frame: CapturedFrame): void;
}

/** What was found, ready for questions. */
export interface Inspection {
  readonly database: Database;
  readonly frames: number;
  readonly problems: number;
}

/**
 * Reads captures into tables. Several files are read one after the other, as if they were one.
 *
 * @throws UserError where a file cannot be read or is no capture, or an option is wrong
 */
export async function inspectFiles(
  files: readonly string[],
  options: InspectOptions = {},
): Promise<Inspection> {
  const { decodeAs = [], output, tables = tableNames, onProgress, onFrame } = options;
  const database = await Database.open(output, tables);
  try {
    const inspector = new Inspector(database, { decodeAs });
    const events = {
      onFrame: (frame: CapturedFrame) => {
        onFrame?.(frame);
        inspector.onFrame(frame);
      },
      onName: (address: string, name: string) => inspector.onName(address, name),
      onDamage: (reason: string) => inspector.onDamage(reason),
    };
    for (const [i, file] of files.entries()) {
      inspector.setFile(basename(file));
      await readCapture(file, events, (share) => onProgress?.((i + share) / files.length));
    }
    inspector.end();
    await database.finish();
    return { database, frames: inspector.frames, problems: inspector.problems };
  } catch (error) {
    database.close();
    throw error;
  }
}
