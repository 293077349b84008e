import { Fifo } from "@topicast/agent/mqtt/fifo.js";
import type { Row, RowSink, TableName } from "../tables/schema.js";

/** Rows that wait; beyond the bounds the oldest go as they are. */
const MAX_HELD = 65_536;
const MAX_PAYLOAD_BYTES = 64 << 20;

/** Hands rows on in the order in which they came, each when nothing before it, and nothing of it, may still change. */
export class HeldRows<N extends TableName> {
  private readonly rows = new Fifo<Row<N>>();
  private readonly open = new Set<Row<N>>();
  private payloadBytes = 0;

  constructor(
    private readonly table: N,
    private readonly sink: RowSink,
  ) {}

  /** A row that is as it will be. */
  put(row: Row<N>): void {
    if (this.rows.length === 0) this.sink.put(this.table, row);
    else this.add(row);
  }

  /** A row that may still change. */
  hold(row: Row<N>): void {
    this.open.add(row);
    this.add(row);
  }

  /** This one changes no more. */
  release(row: Row<N>): void {
    if (this.open.delete(row)) this.drain();
  }

  end(): void {
    this.open.clear();
    this.drain();
  }

  private add(row: Row<N>): void {
    this.rows.push(row);
    this.payloadBytes += payloadBytes(row);
    while (this.rows.length > MAX_HELD || this.payloadBytes > MAX_PAYLOAD_BYTES) {
      this.open.delete(this.rows.peek()!);
      this.drain();
    }
  }

  private drain(): void {
    for (let row = this.rows.peek(); row !== undefined && !this.open.has(row); row = this.rows.peek()) {
      this.rows.shift();
      this.payloadBytes -= payloadBytes(row);
      this.sink.put(this.table, row);
    }
  }
}

function payloadBytes(row: object): number {
  return (row as { payload?: Buffer }).payload?.length ?? 0;
}
