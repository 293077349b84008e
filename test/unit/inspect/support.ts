import { join } from "node:path";
import { Inspector } from "@topicast/inspect";
import { parserFor } from "@topicast/inspect/read/file.js";
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
