import { seqDiff } from "@topicast/agent/tcp/wire/sequence.js";
import type { Budget } from "./budget.js";

/** Where something stood in the capture. */
export interface Moment {
  readonly frame: number;
  readonly timeUs: number;
}

/** What one direction of a stream gives: its bytes in order, once, and how many are missing between them. */
export interface DirectionEvents {
  /** `bytes` is valid only during the call. */
  onBytes(bytes: Buffer, at: Moment): void;
  onGap(missing: number, at: Moment): void;
}

export interface DirectionCounts {
  /** Bytes handed on. */
  bytes: number;
  /** Segments that brought nothing new; only a part of it; that came early. */
  retransmitted: number;
  overlapping: number;
  outOfOrder: number;
  /** Bytes that are not in the capture. */
  missing: number;
}

interface Early {
  readonly seq: number;
  readonly bytes: Buffer;
  readonly cut: number;
  readonly at: Moment;
}

/** What may wait behind a hole, in one direction. */
const MAX_EARLY_SEGMENTS = 1024;
const MAX_EARLY_BYTES = 4 << 20;
/** No window is larger (RFC 7323: 2^30); a segment further ahead is of another connection, or damaged. */
const MAX_AHEAD = 1 << 30;

/**
 * One direction of a TCP stream, put in order. What was there first stays (as receivers do); a hole is given up when
 * the receiver has acknowledged it, so that the capture alone lacks it, when too much waits behind it, or at the end.
 */
export class Direction {
  readonly counts: DirectionCounts = {
    bytes: 0,
    retransmitted: 0,
    overlapping: 0,
    outOfOrder: 0,
    missing: 0,
  };
  /** Next sequence number; undefined until one is known. */
  private next: number | undefined;
  private early: Early[] = [];
  private earlyBytes = 0;
  private acknowledged: number | undefined;
  /** Sequence number of the FIN. */
  private fin: number | undefined;

  constructor(
    private readonly budget: Budget,
    private readonly events: DirectionEvents,
  ) {}

  /** Whether everything up to the FIN is here. */
  get finished(): boolean {
    return this.fin !== undefined && this.next !== undefined && seqDiff(this.next, this.fin) >= 0;
  }

  onSyn(seq: number): void {
    this.next ??= (seq + 1) | 0;
  }

  onFin(seq: number): void {
    this.fin ??= seq;
    this.next ??= seq;
  }

  /** The other side has everything before `ack`. */
  onAcknowledged(ack: number): void {
    if (this.acknowledged === undefined || seqDiff(ack, this.acknowledged) > 0) this.acknowledged = ack;
  }

  /**
   * Takes the bytes from `seq` on.
   *
   * @param cut bytes behind them that were sent and not captured
   */
  take(seq: number, bytes: Buffer, cut: number, at: Moment): void {
    this.next ??= seq;
    const ahead = seqDiff(seq, this.next);
    if (ahead > 0) this.keepEarly(seq, bytes, cut, at, ahead);
    else {
      this.deliver(seq, bytes, cut, at);
      if (this.early.length > 0) this.drain();
    }
  }

  /** Nothing more comes: what waits is handed on. */
  end(): void {
    while (this.early.length > 0) this.skipHole();
  }

  private keepEarly(seq: number, bytes: Buffer, cut: number, at: Moment, ahead: number): void {
    if (ahead > MAX_AHEAD) return;
    this.counts.outOfOrder += 1;
    let index = this.early.length;
    while (index > 0 && seqDiff(this.early[index - 1]!.seq, seq) > 0) index -= 1;
    const same = this.early[index - 1];
    if (same?.seq === seq && same.bytes.length >= bytes.length) {
      this.counts.retransmitted += 1;
    } else {
      this.early.splice(index, 0, { seq, bytes: Buffer.from(bytes), cut, at });
      this.earlyBytes += bytes.length;
      this.budget.used += bytes.length;
    }
    const isHoleLost = this.acknowledged !== undefined && seqDiff(this.acknowledged, this.early[0]!.seq) >= 0;
    const isFull = this.early.length > MAX_EARLY_SEGMENTS || this.earlyBytes > MAX_EARLY_BYTES;
    if (isHoleLost || isFull || this.budget.isSpent) this.skipHole();
  }

  private skipHole(): void {
    const first = this.early[0]!;
    this.gap(seqDiff(first.seq, this.next!), first.at);
    this.drain();
  }

  private gap(missing: number, at: Moment): void {
    if (missing <= 0) return;
    this.next = (this.next! + missing) | 0;
    this.counts.missing += missing;
    this.events.onGap(missing, at);
  }

  private drain(): void {
    let count = 0;
    for (const { seq, bytes, cut, at } of this.early) {
      if (seqDiff(seq, this.next!) > 0) break;
      count += 1;
      this.earlyBytes -= bytes.length;
      this.budget.used -= bytes.length;
      this.deliver(seq, bytes, cut, at);
    }
    this.early.splice(0, count);
  }

  private deliver(seq: number, bytes: Buffer, cut: number, at: Moment): void {
    const known = seqDiff(this.next!, seq);
    if (known >= bytes.length + cut) {
      // A keep-alive probe repeats one byte; that is no retransmission.
      if (bytes.length > 1 || known > 1) this.counts.retransmitted += 1;
      return;
    }
    if (known > 0) this.counts.overlapping += 1;
    if (known < bytes.length) {
      const fresh = known === 0 ? bytes : bytes.subarray(known);
      this.next = (this.next! + fresh.length) | 0;
      this.counts.bytes += fresh.length;
      this.events.onBytes(fresh, at);
    }
    if (cut > 0) this.gap(Math.min(cut, bytes.length + cut - known), at);
  }
}
