import { seqAdd, seqAfter, seqBefore, seqDiff } from "./wire/sequence.js";
import type { Segment } from "./wire/tcp.js";

/** RFC 7323 section 5.5: TS.Recent says nothing any more once the peer's clock may have gone half way round. */
const RECENT_VALID = 24 * 24 * 3_600_000;

/** What the check of a segment's timestamp found. */
export type TimestampFault = "drop_no_timestamp" | "drop_paws";

/**
 * The timestamps option of one connection (RFC 7323): round trips from echoes, and protection against segments that are
 * old by a whole turn of the sequence space (PAWS). Our clock ticks once per millisecond.
 */
export class Timestamps {
  /** Both SYNs carried the option: from now on every segment does. */
  enabled = false;
  /** TS.Recent: what we echo. */
  recent = 0;
  private recentAt = 0;
  /** Last.ACK.sent. */
  private lastAck = 0;

  /** @param offset added to our clock, see `TcpStack` */
  constructor(private readonly offset: number) {}

  /** The peer's SYN carried the option. */
  begin(syn: Segment, now: number): void {
    this.enabled = true;
    this.recent = syn.tsVal;
    this.recentAt = now;
    this.lastAck = syn.seq;
  }

  /** Fills in the option, on a SYN before the peer's is known as well. */
  stamp(segment: Segment, now: number): void {
    segment.timestamps = true;
    segment.tsVal = this.clock(now);
    segment.tsEcr = this.recent;
  }

  /** `ack` has been sent. */
  acknowledged(ack: number): void {
    this.lastAck = ack;
  }

  /** RFC 7323 sections 3.2 and 5.3 R1, for any segment but RST: whether it is to be dropped. */
  check(segment: Segment, now: number): TimestampFault | undefined {
    if (!this.enabled) return undefined;
    if (!segment.timestamps) return "drop_no_timestamp";
    const old = seqBefore(segment.tsVal, this.recent) && now - this.recentAt <= RECENT_VALID;
    return old ? "drop_paws" : undefined;
  }

  /**
   * Takes the timestamp of a segment that passed `check` and lies in the window (RFC 7323 section 4.3 rule 2): only of
   * one that begins where our last acknowledgement ended, so that the echo covers a delayed acknowledgement's wait, and
   * what lies behind a gap changes nothing.
   */
  take(segment: Segment, now: number): void {
    if (!this.enabled || seqAfter(segment.seq, this.lastAck)) return;
    this.recent = segment.tsVal;
    this.recentAt = now;
  }

  /** When we sent what `segment` echoes, in whole milliseconds, or -1 where it does not tell. */
  echoedAt(segment: Segment, now: number): number {
    if (!this.enabled || !segment.timestamps) return -1;
    return Math.floor(now) - seqDiff(this.clock(now), segment.tsEcr);
  }

  private clock(now: number): number {
    return timestampClock(now, this.offset);
  }
}

/** Our clock as it stands in timestamps. */
export function timestampClock(now: number, offset: number): number {
  return seqAdd(Math.floor(now), offset);
}
