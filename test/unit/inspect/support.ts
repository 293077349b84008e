import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { Inspector } from "@topicast/inspect";
import { parserFor } from "@topicast/inspect/read/file.js";
import type { CapturedFrame } from "@topicast/inspect/read/record.js";
import type { Row, RowSink, TableName } from "@topicast/inspect/tables/schema.js";

/** The committed captures; compiled tests run from test/dist/unit/inspect. */
export const captures = join(import.meta.dirname, "../../../captures");

/** Rows as they come, by table. */
export class Rows implements RowSink {
  private readonly tables = new Map<TableName, Row<TableName>[]>();

  put<N extends TableName>(table: N, row: Row<N>): void {
    const rows = this.tables.get(table);
    if (rows === undefined) this.tables.set(table, [row as Row<TableName>]);
    else rows.push(row as Row<TableName>);
  }

  of<N extends TableName>(table: N): Row<N>[] {
    return (this.tables.get(table) ?? []) as Row<N>[];
  }
}

/** A whole capture file's rows, its bytes handed over in pieces of `size`. */
export function inspectBytes(bytes: Buffer, decodeAs: string[] = [], size = bytes.length): Rows {
  const rows = new Rows();
  const inspector = new Inspector(rows, { decodeAs });
  const parser = parserFor(bytes, {
    onFrame: (frame) => inspector.onFrame(frame),
    onDamage: (reason) => inspector.onDamage(reason),
  });
  for (let at = 0; at < bytes.length; at += size) parser?.push(bytes.subarray(at, at + size));
  parser?.end();
  inspector.end();
  return rows;
}

/** The frames of a committed capture. */
export function readFrames(name: string): CapturedFrame[] {
  const stored = readFileSync(join(captures, name));
  const file = name.endsWith(".gz") ? gunzipSync(stored) : stored;
  const frames: CapturedFrame[] = [];
  const parser = parserFor(file, {
    onFrame: (frame) => frames.push({ ...frame, bytes: Buffer.from(frame.bytes) }),
    onDamage: (reason) => {
      throw new Error(`${name}: ${reason}`);
    },
  });
  parser?.push(file);
  parser?.end();
  return frames;
}

/** What frames tell. */
export function inspectFrames(frames: readonly CapturedFrame[]): Rows {
  const rows = new Rows();
  const inspector = new Inspector(rows);
  for (const frame of frames) inspector.onFrame(frame);
  inspector.end();
  return rows;
}
