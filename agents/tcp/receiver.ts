import type { TcpCounters } from "./counters.js";
import type { MemoryBudget } from "./memory.js";
import { SackBlocks } from "./sack-blocks.js";
import { later, seqAdd, seqAfter, seqBefore, seqDiff } from "./wire/sequence.js";
import { NO_SACKS } from "./wire/tcp.js";

/** Payload that arrived before the bytes in front of it. */
interface Piece {
  seq: number;
  data: Buffer;
}

/** What a held piece costs beside its bytes, so that many tiny ones cannot cost more than few large ones. */
const PIECE_OVERHEAD = 128;
/** Unread chunks are joined up to this size, for the same reason. */
const JOIN_UP_TO = 4_096;

/** `filled`: in order, and all or part of a gap; or the peer's FIN. */
export type Received = "nothing" | "in-order" | "filled" | "out-of-order";

/**
 * The receiving half of a connection: reassembly, the queue of unread bytes, the window to announce. Payload is copied
 * once, when it is taken in.
 *
 * Bounds: unread bytes and held pieces together stay within `capacity` by the window itself (held pieces with their
 * overhead within 1.25 of it), all connections together within the memory budget.
 */
export class Receiver {
  /** RCV.NXT. */
  nxt = 0;
  /** Shift of the window field we send. */
  scale = 0;
  /** The peer's FIN and everything before it has arrived. */
  finished = false;

  /** Both sides have agreed on SACK. */
  sack = false;

  /**
   * Right edge of the window, RCV.NXT + RCV.WND: the farthest that was announced. It never moves back; what is announced
   * may fall short of it by what the shift cuts off (RFC 7323 section 2.4).
   */
  private edge = 0;
  private queue: Buffer[] = [];
  private unread = 0;
  private pieces: Piece[] = [];
  private heldBytes = 0;
  private finSeq: number | undefined;
  /** Made when first needed: most connections never lose anything. */
  private blocks: SackBlocks | undefined;

  constructor(
    private capacity: number,
    private readonly memory: MemoryBudget,
    private readonly counters: TcpCounters,
  ) {}

  /** Begins behind the peer's SYN. Returns the window field for our own SYN, which is never scaled. */
  open(irs: number, scaled: boolean, shift: number): number {
    this.nxt = seqAdd(irs, 1);
    this.scale = scaled ? shift : 0;
    if (!scaled) this.capacity = Math.min(this.capacity, 0xffff);
    const window = Math.min(this.capacity, 0xffff);
    this.edge = seqAdd(this.nxt, window);
    return window;
  }

  /**
   * RFC 9293 section 3.10.7.4, first check, with two allowances: an empty segment may stand on the window's right edge
   * (a peer whose data is still missing acknowledges from there), and so may the first byte of a probe of a shut window
   * (its acknowledgement counts, its payload does not).
   */
  isAcceptable(seq: number, length: number): boolean {
    if (seqAfter(seq, this.edge)) return false;
    return length === 0 ? !seqBefore(seq, this.nxt) : seqAfter(seqAdd(seq, length), this.nxt);
  }

  /** Takes in the part of `payload` (and FIN behind it) that lies in the window. */
  receive(seq: number, payload: Buffer, fin: boolean): Received {
    const skip = Math.max(seqDiff(this.nxt, seq), 0);
    const room = seqDiff(this.edge, seq);
    const end = Math.min(payload.length, room);
    const at = seqAdd(seq, skip);
    const wholeFin = fin && end === payload.length;
    const part = skip < end ? payload.subarray(skip, end) : undefined;
    if (at !== this.nxt) {
      if (wholeFin) this.finSeq = seqAdd(seq, payload.length);
      if (part !== undefined) {
        const before = this.heldBytes;
        this.hold(at, part);
        if (this.sack) this.report(at, seqAdd(at, part.length), this.heldBytes === before);
      }
      this.counters.out_of_order += 1;
      return "out-of-order";
    }
    if (part !== undefined && !this.take(part)) return "nothing";
    if (wholeFin) this.finSeq = seqAdd(seq, payload.length);
    const filled = this.takeHeld();
    if (this.finSeq === this.nxt && !this.finished) {
      this.finished = true;
      this.discardHeld();
      this.nxt = seqAdd(this.nxt, 1);
      // The FIN's place in sequence space takes no buffer: the edge moves with it.
      if (seqBefore(this.edge, this.nxt)) this.edge = this.nxt;
      return "filled";
    }
    if (filled || (part !== undefined && this.pieces.length > 0)) return "filled";
    return part === undefined ? "nothing" : "in-order";
  }

  /** These bytes have come again, from before RCV.NXT. */
  repeated(seq: number, length: number): void {
    const end = seqAdd(seq, length);
    if (!this.sack || length === 0 || seqAfter(end, this.nxt)) return;
    this.blocks ??= new SackBlocks();
    this.blocks.addDuplicate(seq, end);
  }

  /** SACK blocks for the next acknowledgement, at most `max`. */
  takeSackBlocks(max: number): readonly number[] {
    return this.blocks === undefined ? NO_SACKS : this.blocks.take(this.nxt, max);
  }

  /** The next unread bytes, or undefined when there are none. */
  read(): Buffer | undefined {
    const chunk = this.queue.shift();
    if (chunk === undefined) return undefined;
    this.unread -= chunk.length;
    this.memory.release(chunk.length);
    return chunk;
  }

  get hasUnread(): boolean {
    return this.queue.length > 0;
  }

  /**
   * Whether the reader has made so much room that the peer should hear of it without waiting for the next
   * acknowledgement: the window it knows is less than half of what it could be, and whole segments more fit in
   * (RFC 9293 section 3.8.6.2.2).
   */
  isWindowUpdateDue(mss: number): boolean {
    if (this.finished) return false;
    const known = seqDiff(this.edge, this.nxt);
    const half = this.capacity >> 1;
    return known < half && seqDiff(this.wantedEdge, this.edge) >= Math.min(half, 2 * mss);
  }

  /** Moves the window's edge as far as there is room, and returns the window field to send. */
  announce(mss: number): number {
    let edge = this.wantedEdge;
    // Silly window avoidance, and never to the left (RFC 9293 sections 3.8.6.2.2 and 3.8.6).
    if (seqDiff(edge, this.edge) < Math.min(this.capacity >> 1, mss)) edge = this.edge;
    const wanted = seqDiff(edge, this.nxt);
    const unit = 1 << this.scale;
    let field = wanted >> this.scale;
    // What the shift cuts off is announced where there is room for it; else the edge would move with each small segment.
    if (field * unit < wanted && !seqAfter(seqAdd(this.nxt, (field + 1) * unit), this.wantedEdge)) field += 1;
    field = Math.min(field, 0xffff);
    this.edge = later(this.edge, seqAdd(this.nxt, field * unit));
    return field;
  }

  /** Nobody will read any more: gives the memory back. */
  discard(): void {
    this.memory.release(this.unread);
    this.queue = [];
    this.unread = 0;
    this.discardHeld();
  }

  private discardHeld(): void {
    this.memory.release(this.heldBytes);
    this.heldBytes = 0;
    this.pieces = [];
    this.blocks?.clear();
  }

  /** Notes the run of held bytes around `seq`, and whether all up to `end` had been there before. */
  private report(seq: number, end: number, nothingNew: boolean): void {
    const { pieces } = this;
    let from = pieces.length - 1;
    while (from >= 0 && seqAfter(pieces[from]!.seq, seq)) from -= 1;
    const piece = pieces[from];
    if (piece === undefined || !seqAfter(endOf(piece), seq)) return;
    let to = from;
    while (from > 0 && endOf(pieces[from - 1]!) === pieces[from]!.seq) from -= 1;
    while (to + 1 < pieces.length && pieces[to + 1]!.seq === endOf(pieces[to]!)) to += 1;
    const right = endOf(pieces[to]!);
    this.blocks ??= new SackBlocks();
    this.blocks.add(pieces[from]!.seq, right);
    if (nothingNew && !seqAfter(end, right)) this.blocks.addDuplicate(seq, end);
  }

  private get wantedEdge(): number {
    return seqAdd(this.nxt, Math.max(this.capacity - this.unread, 0));
  }

  private take(payload: Buffer): boolean {
    if (!this.memory.take(payload.length)) {
      // Bytes in order come before those behind a gap, which the peer still has.
      this.discardHeld();
      if (!this.memory.take(payload.length)) {
        this.counters.drop_memory_full += 1;
        return false;
      }
    }
    if (!this.joinLast(payload)) this.queue.push(Buffer.from(payload));
    this.unread += payload.length;
    this.nxt = seqAdd(this.nxt, payload.length);
    return true;
  }

  /** Appends `data` to the last unread chunk, unless that would become too long. */
  private joinLast(data: Buffer): boolean {
    const last = this.queue.at(-1);
    if (last === undefined || last.length + data.length > JOIN_UP_TO) return false;
    this.queue[this.queue.length - 1] = Buffer.concat([last, data]);
    return true;
  }

  /** Moves the held pieces that are now in order to the queue. */
  private takeHeld(): boolean {
    const { pieces } = this;
    let count = 0;
    for (const piece of pieces) {
      if (seqAfter(piece.seq, this.nxt)) break;
      count += 1;
      this.heldBytes -= piece.data.length + PIECE_OVERHEAD;
      this.memory.release(piece.data.length + PIECE_OVERHEAD);
      const skip = seqDiff(this.nxt, piece.seq);
      if (skip >= piece.data.length) continue;
      const data = skip === 0 ? piece.data : piece.data.subarray(skip);
      this.memory.charge(data.length);
      if (!this.joinLast(data)) this.queue.push(data);
      this.unread += data.length;
      this.nxt = seqAdd(piece.seq, piece.data.length);
    }
    if (count > 0) pieces.splice(0, count);
    // Blocks that were never sent must not outlive the turn of the sequence space.
    if (pieces.length === 0) this.blocks?.clear();
    return count > 0;
  }

  /** Keeps the bytes of `data` that no piece has yet; what came first stays. */
  private hold(seq: number, data: Buffer): void {
    const { pieces } = this;
    const end = seqAdd(seq, data.length);
    let at = seq;
    let i = pieces.length;
    while (i > 0 && seqAfter(pieces[i - 1]!.seq, seq)) i -= 1;
    const before = pieces[i - 1];
    if (before !== undefined) at = later(at, seqAdd(before.seq, before.data.length));
    while (seqBefore(at, end)) {
      const next = pieces[i];
      const stop = next !== undefined && seqBefore(next.seq, end) ? next.seq : end;
      if (seqBefore(at, stop)) {
        if (!this.reserve(seqDiff(stop, at))) return;
        pieces.splice(i, 0, {
          seq: at,
          data: Buffer.from(data.subarray(seqDiff(at, seq), seqDiff(stop, seq))),
        });
        i += 1;
      }
      if (next === undefined || stop === end) return;
      at = seqAdd(next.seq, next.data.length);
      i += 1;
    }
  }

  private reserve(length: number): boolean {
    const cost = length + PIECE_OVERHEAD;
    if (this.heldBytes + cost > this.capacity * 1.25) {
      this.counters.drop_reassembly_full += 1;
      return false;
    }
    if (!this.memory.takeSpare(cost)) {
      this.counters.drop_memory_full += 1;
      return false;
    }
    this.heldBytes += cost;
    return true;
  }
}

function endOf(piece: Piece): number {
  return seqAdd(piece.seq, piece.data.length);
}
