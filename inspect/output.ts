import { UserError } from "@topicast/protocol";
import { formatTable } from "./summary.js";
import type { Database } from "./tables/database.js";

/** How an answer is written. */
export type Format = "text" | "json" | "csv" | "parquet";

/** What `sql` answers, in a format; parquet goes to `path`. */
export async function answer(
  database: Database,
  sql: string,
  format: Format,
  path?: string,
): Promise<string> {
  const question = statement(sql);
  if (format === "parquet") {
    await database.ask(`COPY (${question}\n) TO ${quote(path ?? "")} (FORMAT parquet)`);
    return "";
  }
  const { columns, rows } = await database.valuesOf(question);
  if (columns.length === 0) throw new UserError(`--sql ${sql}: there is no statement in it`, 2);
  if (format === "json") {
    const objects = rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]])));
    return objects.map((object) => `${JSON.stringify(object)}\n`).join("");
  }
  if (format === "csv") return [columns, ...rows].map((row) => `${row.map(csvCell).join(",")}\r\n`).join("");
  return `${formatTable(columns, rows)}\n`;
}

/** One statement, without the semicolon that people end it with. */
function statement(sql: string): string {
  const text = sql.trim().replace(/;$/, "");
  if (text === "")
    throw new UserError("--sql is empty: write a question such as 'SELECT count(*) FROM mqtt'", 2);
  return text;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** RFC 4180. */
function csvCell(value: unknown): string {
  const text =
    value === null || value === undefined
      ? ""
      : typeof value === "object"
        ? JSON.stringify(value)
        : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
