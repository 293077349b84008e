import type { Rack } from "./rack.js";
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

/** What was sent and is not acknowledged, in sequence; each segment is in flight, held for lost, or held by the peer. */
export class Flight {
  segments: SentSegment[] = [];
  /** SND.UNA and SND.NXT. */
  una: number;
  nxt: number;
  /** Sequence space held for lost, and held by the peer; and in how many segments the latter. */
  private lostBytes = 0;
  private sackedBytes = 0;
  sackedSegments = 0;
  /**
   * Of the last `acknowledge`: segments acknowledged whole; when the newest was sent that the peer had not told of
   * before (-1: none), and whether any of these was sent twice.
   */
  covered = 0;
  newestSentAt = -1;
  ambiguous = false;
  /** The order of the last segment sent. */
  transmissions = 0;

  /** @param rack is told of each segment when it is known to have arrived */
  constructor(
    iss: number,
    readonly rack: Rack,
  ) {
    this.una = iss;
    this.nxt = iss;
  }

  get head(): SentSegment | undefined {
    return this.segments[0];
  }

  get length(): number {
    return this.segments.length;
  }

  /** Sequence space sent and not acknowledged; and that part of it which is believed to be in the network. */
  get outstanding(): number {
    return seqDiff(this.nxt, this.una);
  }

  get inFlight(): number {
    return this.outstanding - this.lostBytes - this.sackedBytes;
  }

  clear(): void {
    this.segments = [];
    this.lostBytes = 0;
    this.sackedBytes = 0;
    this.sackedSegments = 0;
  }

  /** A segment is sent for the first time. */
  add(length: number, fin: boolean, now: number): SentSegment {
    this.transmissions += 1;
    const order = this.transmissions;
    const sent = {
      seq: this.nxt,
      length,
      fin,
      sentAt: now,
      order,
      retransmitted: false,
      lost: false,
      sacked: false,
    };
    this.segments.push(sent);
    this.nxt = seqAdd(this.nxt, space(sent));
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

  /** Marks what is longer than `length` and not held by the peer. Returns whether there was any. */
  markLonger(length: number): boolean {
    const longer = this.segments.filter((sent) => sent.length > length && !sent.sacked);
    for (const sent of longer) this.markLost(sent);
    return longer.length > 0;
  }

  /** Cuts a lost segment in two: `length` bytes and the rest, which stays lost. */
  cut(sent: SentSegment, length: number): void {
    const rest = { ...sent, seq: seqAdd(sent.seq, length), length: sent.length - length };
    sent.length = length;
    sent.fin = false;
    this.segments.splice(this.segments.indexOf(sent) + 1, 0, rest);
  }

  /**
   * After a time-out: the first is lost, and everything sent by `time` but what the peer holds. Where it says to hold
   * what it does not acknowledge, it has dropped that again (RFC 2018 section 8), and nothing it said counts.
   */
  markLostBefore(time: number): void {
    const reneged = this.head?.sacked === true;
    for (const sent of this.segments)
      if (reneged || (!sent.sacked && (sent.sentAt <= time || sent === this.head))) this.markLost(sent);
  }

  /** Nothing was lost after all. */
  unmarkLost(): void {
    for (const sent of this.segments) if (sent.lost) this.unmark(sent);
  }

  /** Takes SACK blocks in; those outside of `una` to `nxt` (D-SACK, nonsense) are ignored. Returns whether they told news. */
  sack(edges: readonly number[], now: number, echoedAt: number): boolean {
    let news = false;
    for (const [left, right] of ascending(edges)) {
      if (seqBefore(left, this.una) || seqAfter(right, this.nxt) || !seqBefore(left, right)) continue;
      for (let at = this.find(left); at < this.segments.length; at++) {
        const sent = this.segments[at]!;
        if (seqAfter(seqAdd(sent.seq, space(sent)), right)) break;
        if (sent.sacked) continue;
        this.unmark(sent);
        sent.sacked = true;
        this.sackedBytes += space(sent);
        this.sackedSegments += 1;
        this.rack.delivered(sent, now, echoedAt);
        news = true;
      }
    }
    return news;
  }

  /** Drops what lies before `ack`, see `covered`. */
  acknowledge(ack: number, now: number, echoedAt: number): void {
    const { segments } = this;
    let covered = 0;
    this.newestSentAt = -1;
    this.ambiguous = false;
    for (let sent = segments[0]; sent !== undefined; sent = segments[covered]) {
      if (seqAfter(seqAdd(sent.seq, space(sent)), ack)) {
        this.trimFront(sent, seqDiff(ack, sent.seq));
        break;
      }
      covered += 1;
      if (!sent.sacked) {
        if (sent.retransmitted) this.ambiguous = true;
        this.newestSentAt = sent.sentAt;
        this.rack.delivered(sent, now, echoedAt);
      }
      this.unmark(sent);
    }
    this.una = ack;
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
    if (sent.sacked) {
      this.sackedBytes -= space(sent);
      this.sackedSegments -= 1;
    }
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

/** The blocks in sequence, so that what arrived at once does not look reordered. */
function ascending(edges: readonly number[]): Array<[left: number, right: number]> {
  const blocks: Array<[number, number]> = [];
  for (let i = 0; i + 1 < edges.length; i += 2) blocks.push([edges[i]!, edges[i + 1]!]);
  return blocks.sort((a, b) => seqDiff(a[0], b[0]));
}
