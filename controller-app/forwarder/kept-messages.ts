import { decodePublish, encodePublish, type Message } from "@topicast/protocol";
import type { RetainedStorage } from "../retained/storage.js";

/** What a message takes beside its bytes. */
const MESSAGE_BYTES = 256;
/** When it was kept, before its PUBLISH. */
const TIME_BYTES = 8;
const NUMBER_DIGITS = 14;

/** A message that edges have yet to get. */
export interface Kept {
  /** Counts them, over restarts, too. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Its PUBLISH, with the expiry that it had then. */
  readonly packet: Buffer;
  /** Agent numbers. */
  readonly edges: Set<number>;
}

/** Messages that wait for edges, each once whatever number of edges it waits for; bounded: the oldest goes. */
export class KeptMessages {
  private readonly all = new Map<number, Kept>();
  private readonly byEdge = new Map<number, Map<number, Kept>>();
  private nextNumber = 1;
  private held = 0;

  readonly stats = { kept_messages_dropped: 0 };

  constructor(
    private readonly storage: RetainedStorage,
    private readonly bytesMax: number,
  ) {}

  get size(): number {
    return this.all.size;
  }

  get bytes(): number {
    return this.held;
  }

  /** In their order; those that are added meanwhile come, too. */
  *of(edge: number): IterableIterator<Kept> {
    yield* this.byEdge.get(edge)?.values() ?? [];
  }

  /** Those for whom there are any. */
  edges(): number[] {
    return [...this.byEdge.keys()];
  }

  countOf(edge: number): number {
    return this.byEdge.get(edge)?.size ?? 0;
  }

  /** @param at milliseconds since 1970 */
  add(message: Message, edges: readonly number[], at: number): void {
    const number = this.nextNumber;
    const packet = encodePublish(message);
    // Not from Node's pool: what stays would keep the pool's 8 KiB.
    const bytes = Buffer.allocUnsafeSlow(TIME_BYTES + packet.length);
    bytes.writeBigUInt64BE(BigInt(Math.floor(at)), 0);
    packet.copy(bytes, TIME_BYTES);
    this.put({ number, at, packet: bytes.subarray(TIME_BYTES), edges: new Set(edges) });
    this.storage.put(messageKey(number), bytes);
    for (const edge of edges) this.storage.put(edgeKey(number, edge), Buffer.alloc(0));
    for (const oldest of this.all.values()) {
      if (this.held <= this.bytesMax) return;
      this.stats.kept_messages_dropped += 1;
      for (const edge of [...oldest.edges]) this.done(oldest, edge);
    }
  }

  /** That edge has it, or is to have it no more. */
  done(kept: Kept, edge: number): void {
    const { number, edges } = kept;
    if (!edges.delete(edge)) return;
    this.storage.delete(edgeKey(number, edge));
    const others = this.byEdge.get(edge);
    others?.delete(number);
    if (others?.size === 0) this.byEdge.delete(edge);
    if (edges.size === 0) this.remove(kept);
  }

  /** The edge is to have none of them. */
  forget(edge: number): void {
    for (const kept of [...this.of(edge)]) this.done(kept, edge);
  }

  durable(): Promise<void> {
    return this.storage.durable();
  }

  /** What a former forwarder has kept. Returns what could not be understood: how many entries. */
  restore(entries: Iterable<readonly [key: string, value: Buffer]>): number {
    let bad = 0;
    const edges = new Map<number, number[]>();
    const messages: Array<readonly [number, Buffer]> = [];
    for (const [key, value] of entries) {
      const [kind, number = "", edge = ""] = key.split("/");
      if (kind === "message") messages.push([Number.parseInt(number, 16), value]);
      else if (kind === "for") {
        const waiting = edges.get(Number.parseInt(number, 16));
        if (waiting === undefined) edges.set(Number.parseInt(number, 16), [Number.parseInt(edge, 16)]);
        else waiting.push(Number.parseInt(edge, 16));
      }
    }
    for (const [number, value] of messages.sort(([a], [b]) => a - b)) {
      const packet = value.subarray(TIME_BYTES);
      const waiting = edges.get(number) ?? [];
      edges.delete(number);
      if (waiting.length > 0 && decodePublish(packet) !== undefined) {
        this.put({ number, at: Number(value.readBigUInt64BE(0)), packet, edges: new Set(waiting) });
        continue;
      }
      if (waiting.length > 0) bad += 1;
      this.storage.delete(messageKey(number));
      for (const edge of waiting) this.storage.delete(edgeKey(number, edge));
    }
    for (const [number, waiting] of edges)
      for (const edge of waiting) this.storage.delete(edgeKey(number, edge));
    return bad;
  }

  private put(kept: Kept): void {
    this.all.set(kept.number, kept);
    this.nextNumber = Math.max(this.nextNumber, kept.number + 1);
    this.held += costOf(kept);
    for (const edge of kept.edges) {
      const others = this.byEdge.get(edge);
      if (others === undefined) this.byEdge.set(edge, new Map([[kept.number, kept]]));
      else others.set(kept.number, kept);
    }
  }

  private remove(kept: Kept): void {
    this.all.delete(kept.number);
    this.held -= costOf(kept);
    this.storage.delete(messageKey(kept.number));
  }
}

function costOf({ packet }: Kept): number {
  return packet.length + MESSAGE_BYTES;
}

function messageKey(number: number): string {
  return `message/${number.toString(16).padStart(NUMBER_DIGITS, "0")}`;
}

function edgeKey(number: number, edge: number): string {
  return `for/${number.toString(16).padStart(NUMBER_DIGITS, "0")}/${edge.toString(16)}`;
}
