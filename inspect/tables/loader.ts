import type { DuckDBAppender } from "@duckdb/node-api";
import * as duckdb from "@duckdb/node-api";
import bindings from "@duckdb/node-bindings";
import { type Column as Definition, type Instant, schema, type TableName } from "./schema.js";

/** Rows a chunk: what DuckDB takes at a time. */
const ROWS = 2048;
/** A text of DuckDB's: its length, then up to so many bytes of it; a longer one is elsewhere (duckdb_string_t of its C API). */
const INLINE = 12;
const TEXT_WORDS = 4;
const TEXT_BYTES = 4 * TEXT_WORDS;
const TWO_TO_32 = 2 ** 32;

type Sql = Definition<unknown>["sql"];

const TYPES: Record<Sql, duckdb.DuckDBType> = {
  BIGINT: duckdb.BIGINT,
  INTEGER: duckdb.INTEGER,
  DOUBLE: duckdb.DOUBLE,
  VARCHAR: duckdb.VARCHAR,
  BOOLEAN: duckdb.BOOLEAN,
  TIMESTAMPTZ: duckdb.TIMESTAMPTZ,
  BLOB: duckdb.BLOB,
};

/** Collects rows of one table, column by column as DuckDB keeps them, and hands them over a chunk at a time. */
export class Loader {
  private readonly columns: readonly Column[];
  private readonly types: readonly duckdb.DuckDBType[];
  private readonly setAll: (row: object, at: number) => void;
  private rows = 0;

  constructor(
    table: TableName,
    private readonly appender: DuckDBAppender,
  ) {
    const definitions = Object.entries(schema[table]) as [string, Definition<unknown>][];
    this.columns = definitions.map(([name, { sql }]) => columnOf(name, sql));
    this.setAll = compile(this.columns);
    this.types = definitions.map(([, { sql }]) => TYPES[sql]);
  }

  put(row: object): void {
    this.setAll(row, this.rows);
    this.rows += 1;
    if (this.rows === ROWS) this.flush();
  }

  finish(): void {
    this.flush();
    this.appender.closeSync();
  }

  private flush(): void {
    if (this.rows === 0) return;
    const chunk = duckdb.DuckDBDataChunk.create(this.types, this.rows);
    for (const [i, column] of this.columns.entries()) {
      column.flush(bindings.data_chunk_get_vector(chunk.chunk, i), this.rows);
    }
    this.appender.appendDataChunk(chunk);
    this.rows = 0;
  }
}

/**
 * A function with a line for each column, made of the schema's names. A loop would look up another name and another kind of
 * column at each turn, which no compiler can foresee: that took a fifth of all time.
 */
function compile(columns: readonly Column[]): (row: object, at: number) => void {
  const lines = columns.map(
    ({ name }, i) => `if (row.${name} == null) c${i}.setNull(at); else c${i}.set(at, row.${name});`,
  );
  const parameters = columns.map((_, i) => `c${i}`);
  return new Function(...parameters, `return (row, at) => { ${lines.join("\n")} };`)(...columns);
}

/** One column of a chunk in the making. */
abstract class Column {
  /** A bit a row: 0 where there is no value. */
  private readonly valid = new Uint32Array(ROWS / 32).fill(TWO_TO_32 - 1);
  private hasNull = false;

  constructor(
    readonly name: string,
    /** As many bytes a row as DuckDB's type has. */
    private readonly data: ArrayBuffer,
  ) {}

  abstract set(at: number, value: unknown): void;

  setNull(at: number): void {
    this.hasNull = true;
    this.valid[at >> 5]! &= ~(1 << (at & 31));
  }

  flush(vector: bindings.Vector, rows: number): void {
    bindings.copy_data_to_vector(vector, 0, this.data, 0, (this.data.byteLength / ROWS) * rows);
    if (!this.hasNull) return;
    bindings.vector_ensure_validity_writable(vector);
    bindings.copy_data_to_vector_validity(vector, 0, this.valid.buffer, 0, Math.ceil(rows / 64) * 8);
    this.valid.fill(TWO_TO_32 - 1);
    this.hasNull = false;
  }
}

class Integers extends Column {
  private readonly values: Int32Array<ArrayBuffer>;

  constructor(name: string) {
    const values = new Int32Array(ROWS);
    super(name, values.buffer);
    this.values = values;
  }

  set(at: number, value: number): void {
    this.values[at] = value;
  }
}

class Doubles extends Column {
  private readonly values: Float64Array<ArrayBuffer>;

  constructor(name: string) {
    const values = new Float64Array(ROWS);
    super(name, values.buffer);
    this.values = values;
  }

  set(at: number, value: number): void {
    this.values[at] = value;
  }
}

class Booleans extends Column {
  private readonly values: Uint8Array<ArrayBuffer>;

  constructor(name: string) {
    const values = new Uint8Array(ROWS);
    super(name, values.buffer);
    this.values = values;
  }

  set(at: number, value: boolean): void {
    this.values[at] = value ? 1 : 0;
  }
}

/** 64 bits, written as two halves: a BigInt for each would cost more than all the rest of a column. */
class BigIntegers extends Column {
  private readonly words: Int32Array<ArrayBuffer>;

  constructor(name: string) {
    const words = new Int32Array(2 * ROWS);
    super(name, words.buffer);
    this.words = words;
  }

  set(at: number, value: number | Instant): void {
    const { words } = this;
    if (typeof value === "number") {
      const whole = Math.trunc(value);
      words[at * 2] = whole;
      words[at * 2 + 1] = Math.floor(whole / TWO_TO_32);
      return;
    }
    // A thousand times the microseconds, by halves: the product is no double.
    const upper = Math.floor(value.timeUs / TWO_TO_32);
    const lower = (value.timeUs - upper * TWO_TO_32) * 1000 + value.nanos;
    words[at * 2] = lower;
    words[at * 2 + 1] = upper * 1000 + Math.floor(lower / TWO_TO_32);
  }
}

/** Texts and bytes: short ones in place, long ones given to DuckDB one by one. */
abstract class Strings<V> extends Column {
  protected readonly words: Int32Array<ArrayBuffer>;
  protected readonly bytes: Uint8Array<ArrayBuffer>;
  private readonly long: { at: number; value: V }[] = [];

  constructor(name: string) {
    const bytes = new Uint8Array(ROWS * TEXT_WORDS * 4);
    super(name, bytes.buffer);
    this.bytes = bytes;
    this.words = new Int32Array(bytes.buffer);
  }

  override flush(vector: bindings.Vector, rows: number): void {
    super.flush(vector, rows);
    for (const { at, value } of this.long) this.assign(vector, at, value);
    this.long.length = 0;
  }

  protected abstract assign(vector: bindings.Vector, at: number, value: V): void;

  protected setLong(at: number, value: V): void {
    this.long.push({ at, value });
  }

  /** The empty text, until there is another. */
  protected clear(at: number): void {
    const { words } = this;
    const first = at * TEXT_WORDS;
    words[first] = 0;
    words[first + 1] = 0;
    words[first + 2] = 0;
    words[first + 3] = 0;
  }
}

class Texts extends Strings<string> {
  /** What the row before had: columns repeat themselves. */
  private last = "";
  private lastAt = -1;
  /** Of each long text of this chunk the first row, and pairs of that row and one more that has it. */
  private readonly firsts = new Map<string, number>();
  private readonly repeated: number[] = [];

  set(at: number, value: string): void {
    const { words, bytes } = this;
    if (value === this.last && this.lastAt >= 0) {
      const [from, to] = [this.lastAt * TEXT_WORDS, at * TEXT_WORDS];
      for (let i = 0; i < TEXT_WORDS; i++) words[to + i] = words[from + i]!;
      return;
    }
    const { length } = value;
    if (length > INLINE) return this.setText(at, value);
    const start = at * TEXT_WORDS * 4;
    this.clear(at);
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code === 0 || code > 0x7f) return this.setText(at, value);
      bytes[start + 4 + i] = code;
    }
    words[at * TEXT_WORDS] = length;
    this.last = value;
    this.lastAt = at;
  }

  override flush(vector: bindings.Vector, rows: number): void {
    super.flush(vector, rows);
    if (this.repeated.length > 0) this.repeat(vector, rows * TEXT_BYTES);
    this.firsts.clear();
    this.lastAt = -1;
  }

  protected override assign(vector: bindings.Vector, at: number, value: string): void {
    // A NUL would end the text.
    const text = value.includes("\0") ? value.replaceAll("\0", "\ufffd") : value;
    bindings.vector_assign_string_element(vector, at, text);
  }

  /** Names and topics come again and again: DuckDB gets each text of a chunk once, and other rows point to it, too. */
  private setText(at: number, value: string): void {
    const first = this.firsts.get(value);
    if (first !== undefined) {
      this.repeated.push(first, at);
      return;
    }
    this.firsts.set(value, at);
    this.setLong(at, value);
  }

  private repeat(vector: bindings.Vector, bytes: number): void {
    const { repeated } = this;
    // A copy of what the vector holds.
    const data = bindings.vector_get_data(vector, bytes);
    for (let i = 0; i < repeated.length; i += 2) {
      const from = repeated[i]! * TEXT_BYTES;
      data.copyWithin(repeated[i + 1]! * TEXT_BYTES, from, from + TEXT_BYTES);
    }
    repeated.length = 0;
    bindings.copy_data_to_vector(vector, 0, data.buffer as ArrayBuffer, data.byteOffset, bytes);
  }
}

class Blobs extends Strings<Uint8Array> {
  set(at: number, value: Uint8Array): void {
    const { words, bytes } = this;
    if (value.length > INLINE) return this.setLong(at, value);
    this.clear(at);
    bytes.set(value, at * TEXT_WORDS * 4 + 4);
    words[at * TEXT_WORDS] = value.length;
  }

  protected override assign(vector: bindings.Vector, at: number, value: Uint8Array): void {
    bindings.vector_assign_string_element_len(vector, at, value);
  }
}

function columnOf(name: string, sql: Sql): Column {
  switch (sql) {
    case "INTEGER":
      return new Integers(name);
    case "DOUBLE":
      return new Doubles(name);
    case "BOOLEAN":
      return new Booleans(name);
    case "BIGINT":
    case "TIMESTAMPTZ":
      return new BigIntegers(name);
    case "VARCHAR":
      return new Texts(name);
    case "BLOB":
      return new Blobs(name);
  }
}
