import type { Clock } from "../clock.js";
import { type Database, FORMAT_KEY, openDatabase } from "./opening.js";

/** What the store tells people, one line each. */
export interface StoreLog {
  error(message: string): void;
}

export interface StoreOptions {
  directory: string;
  clock: Clock;
  log: StoreLog;
  /**
   * Whether a batch counts as written only when the disk has it (it then survives a power failure), rather than the kernel
   * (it then survives the end of this process).
   */
  sync?: boolean;
}

export interface StoreCounters {
  batches: number;
  /** Puts and deletes that reached the disk; those that a later one of the same key replaced are not counted. */
  changes: number;
  bytes: number;
  /** Batches that could not be written and were tried again. */
  write_errors: number;
  /** Damaged directories set aside at the start. */
  set_aside: number;
}

/** Milliseconds between two tries to write a batch. */
const RETRY = 1_000;
/** What an entry costs on disk beside key and value, roughly. */
const ENTRY_OVERHEAD = 16;

/** Keys and bytes that outlive the process; see README.md. Keys do not begin with U+0000. */
export class Store {
  readonly counters: StoreCounters = { batches: 0, changes: 0, bytes: 0, write_errors: 0, set_aside: 0 };
  /** Changes since the batch under way was taken: the value, or undefined to delete. */
  private pending = new Map<string, Uint8Array | undefined>();
  private bytesPending = 0;
  /** Resolves when the batch that will take `pending` is written. */
  private next: Promise<void> | undefined;
  /** Resolves when the batch under way is written. */
  private current: Promise<void> = Promise.resolve();
  private closed = false;

  private constructor(
    private readonly database: Database,
    private readonly options: StoreOptions,
  ) {}

  /** Opens the store, checks it, and sets it aside when it is damaged. Throws a `UserError` when it cannot be used. */
  static async open(options: StoreOptions): Promise<Store> {
    const { database, damaged } = await openDatabase(options.directory);
    const store = new Store(database, options);
    if (damaged !== undefined) {
      store.counters.set_aside = 1;
      options.log.error(
        `the store ${options.directory} is damaged (${damaged.reason}): put aside as ${damaged.directory}, begun anew`,
      );
    }
    return store;
  }

  /** All entries whose keys begin with `prefix`, in the order of the keys, as they were when the store was opened. */
  async *entries(prefix: string): AsyncGenerator<[string, Buffer]> {
    for await (const entry of this.database.iterator({ gte: prefix })) {
      if (!entry[0].startsWith(prefix)) return;
      if (entry[0] !== FORMAT_KEY) yield entry;
    }
  }

  put(key: string, value: Uint8Array): void {
    this.change(key, value);
  }

  delete(key: string): void {
    this.change(key, undefined);
  }

  /** Bytes of changes that no batch has taken yet. */
  get pendingBytes(): number {
    return this.bytesPending;
  }

  /** Resolves when everything put or deleted so far is written. */
  durable(): Promise<void> {
    return this.next ?? this.current;
  }

  /** Writes what is left and releases the directory. Waits for as long as writing fails. */
  async close(): Promise<void> {
    this.closed = true;
    await this.durable();
    await this.database.close();
  }

  private change(key: string, value: Uint8Array | undefined): void {
    if (this.closed) throw new Error(`the store ${this.options.directory} is closed`);
    const before = this.pending.get(key);
    if (before !== undefined || this.pending.has(key)) this.bytesPending -= cost(key, before);
    this.pending.set(key, value);
    this.bytesPending += cost(key, value);
    this.next ??= this.writeNext();
  }

  private async writeNext(): Promise<void> {
    await this.current;
    // The rest of this turn's changes belong into the same batch.
    await new Promise<void>((resolve) => setImmediate(resolve));
    const { pending, bytesPending, next } = this;
    this.pending = new Map();
    this.bytesPending = 0;
    this.current = next ?? this.current;
    this.next = undefined;
    await this.writeBatch(pending);
    this.counters.batches += 1;
    this.counters.changes += pending.size;
    this.counters.bytes += bytesPending;
  }

  private async writeBatch(changes: ReadonlyMap<string, Uint8Array | undefined>): Promise<void> {
    for (;;) {
      try {
        const batch = this.database.batch();
        for (const [key, value] of changes) {
          if (value === undefined) batch.del(key);
          else batch.put(key, Buffer.from(value.buffer, value.byteOffset, value.byteLength));
        }
        await batch.write({ sync: this.options.sync ?? false });
        return;
      } catch (error) {
        this.counters.write_errors += 1;
        const why = (error as Error).message;
        this.options.log.error(
          `cannot write to the store ${this.options.directory} (${why}): trying again each second`,
        );
        await new Promise<void>((resolve) => this.options.clock.setTimer(RETRY, resolve));
        await this.reopen();
      }
    }
  }

  /** LevelDB refuses every write after some failures until it is opened again. */
  private async reopen(): Promise<void> {
    try {
      await this.database.close();
      await this.database.open();
    } catch {
      // The next write fails, says why, and brings us here again.
    }
  }
}

function cost(key: string, value: Uint8Array | undefined): number {
  return ENTRY_OVERHEAD + key.length + (value?.length ?? 0);
}
