import type { Duplex } from "node:stream";
import { SHARED_BYTES } from "./codec/encode-publish.js";
import { Fifo } from "./fifo.js";
import type { Limits } from "./limits.js";
import type { Stats } from "./stats.js";

/** What is queued in one turn beyond this leaves before the turn is over, to keep it small. */
const EARLY_BYTES = 65_536;
/** A slow client's queue is copied into pieces of this size. */
const PIECE_BYTES = 16_384;
/** From so many pieces on it is worth copying them together, where they are small on average. */
const MANY_PIECES = 4;
const SMALL_PIECE_BYTES = 2_048;

/** Runs the flushes of all outboxes that have something queued, once per turn of the event loop. */
export class Flusher {
  private dirty: Outbox[] = [];
  private readonly run = (): void => {
    const dirty = this.dirty;
    this.dirty = [];
    for (const outbox of dirty) outbox.flush();
  };

  /** @param defer calls its argument at the end of this turn, e.g. setImmediate */
  constructor(private readonly defer: (fn: () => void) => void) {}

  add(outbox: Outbox): void {
    if (this.dirty.push(outbox) === 1) this.defer(this.run);
  }
}

/** What may leave together once the journal is written. */
interface Segment {
  readonly pieces: Buffer[];
  bytes: number;
  control: number;
  isCommitted: boolean;
}

/**
 * What waits to be written to one client. Packets of one turn leave together. While the stream takes what it is
 * given, packets are only referred to; once it does not, small ones are copied together, so that a slow client
 * holds the bytes it is accounted for and not the slabs that they lie in.
 */
export class Outbox {
  /** Whole pieces, then the growing end: bytes `openStart` to `openEnd` of `open`. */
  private pieces: Buffer[] = [];
  private open: Buffer | undefined = undefined;
  private openStart = 0;
  private openEnd = 0;
  private queued = 0;
  private control = 0;
  /** What is queued waits for this; undefined: for nothing. */
  private promise: Promise<void> | undefined = undefined;
  /** In their order: what waits for the journal, and what came behind it. */
  private readonly segments = new Fifo<Segment>();
  private segmentBytes = 0;
  private segmentControl = 0;
  private dirty = false;
  private early = false;
  private blocked = false;
  private ended = false;
  /** Where small packets are copied to while the client is slow. */
  private copies: Buffer | undefined = undefined;
  private copied = 0;

  constructor(
    private readonly stream: Duplex,
    private readonly limits: Limits,
    private readonly stats: Stats,
    private readonly flusher: Flusher,
    /** Called when what was queued has been handed to the stream, and when the stream has room again. */
    private readonly onRoom: () => void,
    /** Resolves when all changes of sessions so far are written. */
    private readonly durable: (() => Promise<void>) | undefined = undefined,
  ) {}

  /** Bytes queued here, without those that the stream has already. */
  get bytes(): number {
    return this.queued + this.segmentBytes;
  }

  /** The client does not read its acknowledgements: nothing more should be read from it. */
  get congested(): boolean {
    return this.control + this.segmentControl >= this.limits.controlBytes;
  }

  /** What is queued now leaves within this turn. */
  get hasRoom(): boolean {
    return !this.blocked && !this.ended && this.bytes < EARLY_BYTES;
  }

  /**
   * What is queued in this turn, and all that comes behind it, leaves when all changes of sessions so far are written:
   * it promises them.
   */
  commit(): void {
    this.promise = this.durable?.();
  }

  /**
   * Queues a message that may be lost; false (and nothing queued) when the client has too much waiting.
   * @param payload the rest of the packet, where `packet` is only its head
   */
  offer(packet: Buffer, payload?: Buffer): boolean {
    const length = packet.length + (payload?.length ?? 0);
    if (this.bytes > 0 && this.bytes + length > this.limits.outboxBytes) {
      this.stats.publish_dropped += 1;
      return false;
    }
    return this.send(packet, payload);
  }

  /** Queues a message whoever else waits: for those who look at `hasRoom` before. */
  send(packet: Buffer, payload?: Buffer): true {
    this.stats.packets_sent += 1;
    this.add(packet);
    if (payload !== undefined) this.add(payload);
    return true;
  }

  /** Queues a control packet; it counts towards congestion. */
  push(packet: Buffer): void {
    this.stats.packets_sent += 1;
    this.control += packet.length;
    this.add(packet);
  }

  /**
   * Hands everything queued to the stream, in one write where it is one piece, corked where it is several; at once, or when
   * what it waits for has happened.
   */
  flush(): void {
    this.dirty = false;
    this.early = false;
    if (this.blocked || this.queued === 0 || this.ended) return;
    this.closePiece();
    const { pieces, queued, control, promise } = this;
    this.pieces = [];
    this.queued = 0;
    this.control = 0;
    this.copies = undefined;
    this.promise = undefined;
    if (promise === undefined && this.segments.length === 0) {
      this.write(pieces, queued);
      return this.onRoom();
    }
    const segment = { pieces, bytes: queued, control, isCommitted: promise === undefined };
    this.segments.push(segment);
    this.segmentBytes += queued;
    this.segmentControl += control;
    void promise?.then(() => {
      segment.isCommitted = true;
      this.writeCommitted();
    });
  }

  private writeCommitted(): void {
    for (let next = this.segments.peek(); next?.isCommitted === true; next = this.segments.peek()) {
      this.segments.shift();
      this.segmentBytes -= next.bytes;
      this.segmentControl -= next.control;
      this.write(next.pieces, next.bytes);
    }
    if (!this.ended) this.onRoom();
    else if (this.segments.length === 0) this.stream.end();
  }

  private write(all: Buffer[], bytes: number): void {
    const { stream } = this;
    const pieces = gather(all, bytes);
    this.stats.bytes_sent += bytes;
    try {
      if (pieces.length > 1) stream.cork();
      let more = true;
      for (const piece of pieces) more = stream.write(piece);
      this.blocked = !more;
      if (pieces.length > 1) stream.uncork();
    } catch (error) {
      // A stream that throws instead of reporting must not keep the others' packets from leaving.
      stream.destroy(error as Error);
    }
  }

  /** The stream has room again. */
  drained(): void {
    this.blocked = false;
    if (this.queued > 0) this.flush();
    else this.onRoom();
  }

  /** Writes what is queued and then ends the stream; nothing is taken any more. */
  end(): void {
    if (this.ended) return;
    this.blocked = false;
    this.flush();
    this.ended = true;
    if (this.segments.length === 0) this.stream.end();
  }

  /** Forgets what is queued; nothing is taken any more. */
  abandon(): void {
    this.ended = true;
    this.pieces = [];
    this.open = undefined;
    this.copies = undefined;
    this.queued = 0;
    this.segments.clear();
    this.segmentBytes = 0;
    this.segmentControl = 0;
  }

  private add(packet: Buffer): void {
    if (this.ended) return;
    if (this.blocked && packet.length < SHARED_BYTES) this.copyIn(packet);
    else this.append(packet, packet.byteOffset, packet.byteOffset + packet.length);
    this.queued += packet.length;
    if (this.blocked) return;
    if (!this.dirty) {
      this.dirty = true;
      this.flusher.add(this);
    } else if (this.queued >= EARLY_BYTES && !this.early) {
      this.early = true;
      queueMicrotask(() => this.flush());
    }
  }

  /** Adds the bytes `start` to `end` of the packet's memory; neighbours in memory become one piece. */
  private append(packet: Buffer, start: number, end: number): void {
    if (this.open !== undefined && this.open.buffer === packet.buffer && this.openEnd === start) {
      this.openEnd = end;
      return;
    }
    this.closePiece();
    this.open = packet;
    this.openStart = start;
    this.openEnd = end;
  }

  private closePiece(): void {
    const { open, openStart, openEnd } = this;
    if (open === undefined) return;
    const same = open.byteOffset === openStart && open.length === openEnd - openStart;
    this.pieces.push(same ? open : Buffer.from(open.buffer, openStart, openEnd - openStart));
    this.open = undefined;
  }

  private copyIn(packet: Buffer): void {
    if (this.copies === undefined || this.copied + packet.length > this.copies.length) {
      this.copies = Buffer.allocUnsafeSlow(Math.max(PIECE_BYTES, packet.length));
      this.copied = 0;
    }
    const { copies, copied } = this;
    packet.copy(copies, copied);
    this.copied += packet.length;
    this.append(copies, copies.byteOffset + copied, copies.byteOffset + this.copied);
  }
}

/** The same bytes in fewer pieces, where the pieces cost more than copying them together. */
function gather(pieces: Buffer[], bytes: number): Buffer[] {
  if (pieces.length < MANY_PIECES || bytes > pieces.length * SMALL_PIECE_BYTES) return pieces;
  return [Buffer.concat(pieces, bytes)];
}
