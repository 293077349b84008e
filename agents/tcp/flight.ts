import { seqAdd, seqAfter, seqBefore, seqDiff } from "./wire/sequence.js";

/** A segment that was sent and is not acknowledged yet. */
export interface SentSegment {
  seq: number;
  /** Bytes of payload. */
  length: number;
  fin: boolean;
  sentAt: number;
  /** Counts transmissions: of two segments the one with the larger number was sent later, the first time or again. */
  order: number;
  retransmitted: boolean;
  /** Held for lost and not sent again since. */
  lost: boolean;
  /** The peer has it, as a SACK block said. */
  sacked: boolean;
}

/** Segments known to have arrived that were sent later: then a segment is lost (RFC 5681 section 3.2, RFC 6675). */
export const DUPLICATE_THRESHOLD = 3;

/** What was sent and is not acknowledged, in sequence; each segment is in flight, held for lost, or held by the peer. */
export class Flight {
  segments: SentSegment[] = [];
  /** Sequence space held for lost, and held by the peer. */
  lostBytes = 0;
  sackedBytes = 0;
  /** Of the last `acknowledge`: segments acknowledged whole, when the newest was sent (-1: none), any sent twice. */
  covered = 0;
  newestSentAt = -1;
  ambiguous = false;
  private transmissions = 0;

  get head(): SentSegment | undefined {
    return this.segments[0];
  }

  get length(): number {
    return this.segments.length;
  }

  clear(): void {
    this.segments = [];
    this.lostBytes = 0;
    this.sackedBytes = 0;
  }

  /** A segment is sent for the first time. */
  add(seq: number, length: number, fin: boolean, now: number): SentSegment {
    this.transmissions += 1;
    const order = this.transmissions;
    const sent = { seq, length, fin, sentAt: now, order, retransmitted: false, lost: false, sacked: false };
    this.segments.push(sent);
    return sent;
  }

  /** The segment to send again first, if any is lost. */
  get firstLost(): SentSegment | undefined {
    return this.lostBytes === 0 ? undefined : this.segments.find((sent) => sent.lost);
  }

  /** A lost segment is sent again. */
  repaired(sent: SentSegment, now: number): void {
    this.transmissions += 1;
    this.unmark(sent);
    sent.order = this.transmissions;
    sent.retransmitted = true;
    sent.sentAt = now;
  }

  markLost(sent: SentSegment): void {
    if (sent.lost) return;
    this.unmark(sent);
    sent.lost = true;
    this.lostBytes += space(sent);
  }

  /** Marks what is larger than `length` and not held by the peer. Returns whether there was any. */
  markLarger(length: number): boolean {
    const larger = this.segments.filter((sent) => sent.length > length && !sent.sacked);
    for (const sent of larger) this.markLost(sent);
    return larger.length > 0;
  }

  /** Cuts a lost segment in two: `length` bytes and the rest, which stays lost. */
  cut(sent: SentSegment, length: number): void {
    const rest = { ...sent, seq: seqAdd(sent.seq, length), length: sent.length - length };
    sent.length = length;
    sent.fin = false;
    this.segments.splice(this.segments.indexOf(sent) + 1, 0, rest);
  }

  /**
   * After a time-out: everything is lost but what the peer holds. Where it says to hold what it does not acknowledge, it
   * has dropped that again (RFC 2018 section 8), and nothing it said counts.
   */
  markAllLost(): void {
    const reneged = this.head?.sacked === true;
    for (const sent of this.segments) if (reneged || !sent.sacked) this.markLost(sent);
  }

  /** Takes SACK blocks in; those outside of `una` to `nxt` (D-SACK, nonsense) are ignored. Returns whether they told news. */
  sack(edges: readonly number[], una: number, nxt: number): boolean {
    let news = false;
    for (let i = 0; i + 1 < edges.length; i += 2) {
      const [left, right] = [edges[i]!, edges[i + 1]!];
      if (seqBefore(left, una) || seqAfter(right, nxt) || !seqBefore(left, right)) continue;
      for (let at = this.find(left); at < this.segments.length; at++) {
        const sent = this.segments[at]!;
        if (seqAfter(seqAdd(sent.seq, space(sent)), right)) break;
        if (sent.sacked) continue;
        this.unmark(sent);
        sent.sacked = true;
        this.sackedBytes += space(sent);
        news = true;
      }
    }
    return news;
  }

  /**
   * Marks every segment lost beyond which the peer holds three that were sent later. RFC 6675 counts bytes, as it knows
   * no boundaries; we know them, and three small messages prove as much. By the order of sending a lost
   * retransmission is found as well, without waiting for the time-out. Returns whether a loss was found.
   */
  findLosses(): boolean {
    let [first, second, third] = [0, 0, 0];
    let found = false;
    for (let i = this.segments.length - 1; i >= 0; i--) {
      const sent = this.segments[i]!;
      if (sent.sacked) {
        const { order } = sent;
        if (order > first) [first, second, third] = [order, first, second];
        else if (order > second) [second, third] = [order, second];
        else if (order > third) third = order;
      } else if (!sent.lost && third > sent.order) {
        this.markLost(sent);
        found = true;
      }
    }
    return found;
  }

  /** Drops what lies before `ack`, see `covered`. */
  acknowledge(ack: number): void {
    const { segments } = this;
    let covered = 0;
    this.newestSentAt = -1;
    this.ambiguous = false;
    for (let sent = segments[0]; sent !== undefined; sent = segments[covered]) {
      if (seqAfter(seqAdd(sent.seq, space(sent)), ack)) {
        this.trimFront(sent, seqDiff(ack, sent.seq));
        break;
      }
      this.unmark(sent);
      if (sent.retransmitted) this.ambiguous = true;
      this.newestSentAt = sent.sentAt;
      covered += 1;
    }
    this.covered = covered;
    if (covered === 1) segments.shift();
    else if (covered > 1) segments.splice(0, covered);
  }

  private trimFront(sent: SentSegment, bytes: number): void {
    if (bytes <= 0) return;
    sent.seq = seqAdd(sent.seq, bytes);
    sent.length -= bytes;
    if (sent.lost) this.lostBytes -= bytes;
    if (sent.sacked) this.sackedBytes -= bytes;
  }

  private unmark(sent: SentSegment): void {
    if (sent.lost) this.lostBytes -= space(sent);
    if (sent.sacked) this.sackedBytes -= space(sent);
    sent.lost = false;
    sent.sacked = false;
  }

  /** Index of the first segment at or behind `seq`. */
  private find(seq: number): number {
    let low = 0;
    let high = this.segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (seqBefore(this.segments[middle]!.seq, seq)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Sequence space a segment occupies. */
export function space(sent: SentSegment): number {
  return sent.length + (sent.fin ? 1 : 0);
}
