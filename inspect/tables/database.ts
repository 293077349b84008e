import { tmpdir } from "node:os";
import { join } from "node:path";
import * as duckdb from "@duckdb/node-api";
import { filterMatches, UserError } from "@topicast/protocol";
import { Loader } from "./loader.js";
import { type Row, type RowSink, schema, type TableName, tableNames } from "./schema.js";
import { Zone } from "./zone.js";

/** The tables in DuckDB. Rows are handed over in batches, in columns. */

/** What the tables may take of memory; beyond it DuckDB keeps them in temporary files. */
const MEMORY = "1GiB";

/** Tables that name a server by address, and get its name where DNS told it only later. */
const NAMED: readonly TableName[] = [
  "tcp_streams",
  "mqtt",
  "mqtt_connections",
  "mqtt_subscriptions",
  "mqtt_deliveries",
  "coap",
];

/** Whatever the server is called: every name that DNS gave for its address, aliases on the way included. */
const NAMES = `CREATE VIEW names AS
  WITH told AS (SELECT * FROM dns WHERE type IN ('A', 'AAAA') AND section IN ('answer', 'additional'))
  SELECT data AS address, lower(question) AS name FROM told WHERE section = 'answer'
  UNION SELECT data, lower(name) FROM told
  UNION SELECT told.data, lower(alias.name) FROM told JOIN dns alias USING (frame)
    WHERE told.section = 'answer' AND alias.section = 'answer' AND alias.type = 'CNAME'
  UNION SELECT address, lower(name) FROM hosts`;

/** Whether two addresses are one machine's. */
const IS_LOCAL = `CREATE MACRO is_local(a, b) AS
  a = b OR (a LIKE '127.%' OR a = '::1') AND (b LIKE '127.%' OR b = '::1')`;

export interface Answer {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly duckdb.DuckDBValue[])[];
}

/** Fills the tables, then answers questions. */
export class Database implements RowSink {
  private readonly loaders = new Map<TableName, Loader>();
  private zone = new Zone("UTC");

  private constructor(
    private readonly instance: duckdb.DuckDBInstance,
    readonly connection: duckdb.DuckDBConnection,
  ) {}

  /**
   * @param path of a new file; undefined: in memory
   * @param tables only these are filled; the others stay empty
   * @throws UserError where the file cannot be made, or holds other tables of these names
   */
  static async open(path?: string, tables: readonly TableName[] = tableNames): Promise<Database> {
    let instance: duckdb.DuckDBInstance;
    try {
      instance = await duckdb.DuckDBInstance.create(path ?? ":memory:", {
        memory_limit: MEMORY,
        // Made when it is needed, and removed with the instance.
        temp_directory: join(tmpdir(), `topicast-inspect-${process.pid}`),
      });
    } catch (error) {
      throw new UserError(`${path} cannot be used as a database: ${firstLine(error)}`);
    }
    const connection = await instance.connect();
    const database = new Database(instance, connection);
    try {
      await connection.run("SET TimeZone = 'UTC'");
      for (const table of tableNames) await connection.run(createTable(table));
      await connection.run(NAMES);
      await connection.run(IS_LOCAL);
    } catch (error) {
      database.close();
      throw new UserError(`${path}: ${firstLine(error)}; choose a file that does not exist yet`);
    }
    connection.registerScalarFunction(matchFunction());
    for (const table of tables) {
      database.loaders.set(table, new Loader(table, await connection.createAppender(table)));
    }
    return database;
  }

  put<N extends TableName>(table: N, row: Row<N>): void {
    this.loaders.get(table)?.put(row);
  }

  /** All rows are there. */
  async finish(): Promise<void> {
    for (const loader of this.loaders.values()) loader.finish();
    this.loaders.clear();
    const [known] = await this.values("SELECT count(*) > 0 FROM names");
    if (known?.[0] !== true) return;
    for (const table of NAMED) {
      await this.connection.run(
        `UPDATE ${table} SET server_name = (SELECT min(name) FROM names WHERE address = server) ` +
          "WHERE server_name IS NULL AND server IN (SELECT address FROM names)",
      );
    }
  }

  /**
   * Shows times in this zone, and computes with it.
   * @throws UserError where there is none of that name
   */
  async setZone(name: string): Promise<void> {
    this.zone = new Zone(name);
    await this.ask(`SET TimeZone = '${name}'`);
  }

  /** @throws UserError where the statement is wrong, or not one */
  async ask(sql: string): Promise<Answer> {
    // Of several only the first would be answered. What is no statement fails below, with a reason.
    const count = await this.connection.extractStatements(sql).then(
      (statements) => statements.count,
      () => 1,
    );
    if (count > 1) throw new UserError(`${count} statements in one --sql: give each its own`, 2);
    try {
      const reader = await this.connection.runAndReadAll(sql);
      return { columns: reader.deduplicatedColumnNames(), rows: reader.getRows() };
    } catch (error) {
      throw new UserError(`SQL: ${(error as Error).message.trim()}`);
    }
  }

  /** Rows as JSON has them: 64-bit numbers as numbers where they fit, times as text, bytes as text where they are. */
  async values(sql: string): Promise<unknown[][]> {
    return (await this.valuesOf(sql)).rows;
  }

  /** The same with the columns' names. */
  async valuesOf(sql: string): Promise<{ columns: readonly string[]; rows: unknown[][] }> {
    const { columns, rows } = await this.ask(sql);
    return { columns, rows: rows.map((row) => row.map((value) => plain(value, this.zone))) };
  }

  close(): void {
    this.connection.closeSync();
    this.instance.closeSync();
  }
}

/** A value of DuckDB's as JSON and people read it. */
function plain(value: duckdb.DuckDBValue, zone: Zone): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof duckdb.DuckDBBlobValue) return bytesText(value.bytes);
  if (value instanceof duckdb.DuckDBTimestampTZValue) return zone.text(value.micros);
  if (value instanceof duckdb.DuckDBListValue) return value.items.map((item) => plain(item, zone));
  if (value instanceof duckdb.DuckDBDecimalValue) return value.toDouble();
  if (value !== null && typeof value === "object") return String(value);
  return value;
}

/** UTF-8 where it is, else hexadecimal. */
function bytesText(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = buffer.toString("utf8");
  return text.includes("\ufffd") ? `0x${buffer.toString("hex")}` : text;
}

function createTable(table: TableName): string {
  const columns = Object.entries(schema[table]).map(([name, { sql }]) => `"${name}" ${sql}`);
  return `CREATE TABLE ${table} (${columns.join(", ")})`;
}

function firstLine(error: unknown): string {
  return (error as Error).message.trim().split("\n")[0]!;
}

/** `mqtt_match(filter, topic)`: as the standard matches; a filter with $share/NAME/ by what is behind it. */
function matchFunction(): duckdb.DuckDBScalarFunction {
  return duckdb.DuckDBScalarFunction.create({
    name: "mqtt_match",
    returnType: duckdb.BOOLEAN,
    parameterTypes: [duckdb.VARCHAR, duckdb.VARCHAR],
    mainFunction: (_info, input, output) => {
      const filters = input.getColumnVector(0);
      const topics = input.getColumnVector(1);
      for (let i = 0; i < input.rowCount; i++) {
        const [filter, topic] = [filters.getItem(i), topics.getItem(i)];
        const isText = typeof filter === "string" && typeof topic === "string";
        output.setItem(i, isText ? filterMatches(filter.replace(/^\$share\/[^/]*\//, ""), topic) : null);
      }
      output.flush();
    },
  });
}
