import { decodePublish, encodePublish, type Message } from "@topicast/protocol";
import { Store, type StoreOptions } from "@topicast/protocol/store";

/** Where keys and bytes outlive the process: `Store`, or nowhere. */
export interface RetainedStorage {
  /** What was there at the start, read once. */
  entries(): AsyncIterable<readonly [key: string, value: Buffer]>;
  put(key: string, value: Buffer): void;
  delete(key: string): void;
  /** Resolves when all that was put or deleted so far is written. */
  durable(): Promise<void>;
  close(): Promise<void>;
}

/** Keeps nothing: retained messages live as long as the process. */
export const nowhere: RetainedStorage = {
  async *entries() {},
  put: () => {},
  delete: () => {},
  durable: () => Promise.resolve(),
  close: () => Promise.resolve(),
};

/** What a forwarder keeps over its end. */
export interface ForwarderStorage {
  readonly retained: RetainedStorage;
  /** What is to be published should agents die: see `../forwarder/wills.ts`. */
  readonly wills: RetainedStorage;
  /** Which sources are shut out. */
  readonly quarantine: RetainedStorage;
  /** Messages for edges that are away: see `../forwarder/stand-ins.ts`. */
  readonly absent: RetainedStorage;
}

/** A directory of its own; closing one part closes all. Rejects with a UserError where it cannot be used. */
export async function openStorage(options: StoreOptions): Promise<ForwarderStorage> {
  const store = await Store.open(options);
  return {
    retained: partOf(store, "retained/"),
    wills: partOf(store, "wills/"),
    quarantine: partOf(store, "quarantine/"),
    absent: partOf(store, "absent/"),
  };
}

function partOf(store: Store, prefix: string): RetainedStorage {
  return {
    async *entries() {
      for await (const [key, value] of store.entries(prefix))
        yield [key.slice(prefix.length), value] as const;
    },
    put: (key, value) => store.put(prefix + key, value),
    delete: (key) => store.delete(prefix + key),
    durable: () => store.durable(),
    close: () => store.close(),
  };
}

/** One record of the storage. Times are in milliseconds since 1970. */
export type StoredRecord =
  | { readonly kind: "era"; readonly era: number }
  | {
      readonly kind: "message";
      readonly version: number;
      readonly expiresAt: number;
      readonly message: Message;
    }
  | { readonly kind: "deletion"; readonly version: number; readonly topic: string }
  | { readonly kind: "versions"; readonly last: number; readonly horizon: number }
  | { readonly kind: "publisher"; readonly agent: number; readonly epoch: number; readonly number: number };

const ERA = "era";
const VERSIONS = "versions";
/** Version, and when it expires: 0 is never. */
const MESSAGE_HEAD = 16;

/** Key and value of a record. */
export function encodeRecord(record: StoredRecord): [key: string, value: Buffer] {
  switch (record.kind) {
    case "era":
      return [ERA, u32(record.era)];
    case "message": {
      const { version, expiresAt, message } = record;
      const head = [u64(version), u64(Number.isFinite(expiresAt) ? Math.ceil(expiresAt) : 0)];
      const { messageExpiry: _, ...lasting } = message;
      return [messageKey(message.topic), Buffer.concat([...head, encodePublish(lasting)])];
    }
    case "deletion":
      return [deletionKey(record.version), Buffer.from(record.topic)];
    case "versions":
      return [VERSIONS, Buffer.concat([u64(record.last), u64(record.horizon)])];
    case "publisher":
      return [`agent/${record.agent.toString(16)}`, Buffer.concat([u32(record.epoch), u32(record.number)])];
  }
}

/** Undefined where it is none that this version writes. */
export function decodeRecord(key: string, value: Buffer): StoredRecord | undefined {
  if (key === ERA) return value.length === 4 ? { kind: "era", era: value.readUInt32BE(0) } : undefined;
  if (key === VERSIONS)
    return value.length === 16
      ? { kind: "versions", last: readU64(value, 0), horizon: readU64(value, 8) }
      : undefined;
  const name = key.slice(key.indexOf("/") + 1);
  if (key.startsWith("topic/")) {
    if (value.length < MESSAGE_HEAD) return undefined;
    const message = decodePublish(value.subarray(MESSAGE_HEAD));
    if (message === undefined || message.topic !== name) return undefined;
    const expiresAt = readU64(value, 8) || Number.POSITIVE_INFINITY;
    return { kind: "message", version: readU64(value, 0), expiresAt, message };
  }
  if (key.startsWith("deleted/"))
    return { kind: "deletion", version: Number.parseInt(name, 16), topic: value.toString() };
  if (key.startsWith("agent/") && value.length === 8) {
    const [epoch, number] = [value.readUInt32BE(0), value.readUInt32BE(4)];
    return { kind: "publisher", agent: Number.parseInt(name, 16), epoch, number };
  }
  return undefined;
}

export function messageKey(topic: string): string {
  return `topic/${topic}`;
}

export function deletionKey(version: number): string {
  return `deleted/${version.toString(16).padStart(14, "0")}`;
}

function u64(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(BigInt(value), 0);
  return bytes;
}

function readU64(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64BE(at));
}

function u32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}
