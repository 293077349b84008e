import type { CongestionControl } from "./congestion.js";
import type { TcpCounters } from "./counters.js";
import type { Flight, SentSegment } from "./flight.js";
import type { Rack } from "./rack.js";
import type { RttEstimator } from "./rtt.js";
import { TailProbe } from "./tail-probe.js";
import { later, seqAfter, seqBefore } from "./wire/sequence.js";
import { type Segment, segmentLength } from "./wire/tcp.js";

/** Duplicates until a segment is lost, for a peer without SACK (RFC 5681 section 3.2). */
const DUPLICATE_THRESHOLD = 3;
const NONE = -1;

/**
 * Finding losses, and what follows from them. With SACK by RACK and the tail probe (RFC 8985), without by duplicates
 * (as NewReno does, RFC 6582); in both cases by time-out (RFC 6298), undone where timestamps prove it wrong (Eifel, RFC 3522
 * and 4015). It only marks segments in the flight and tells the congestion control; the sender sends.
 */
export class Recovery {
  /** Both sides have agreed on SACK. */
  sack = false;
  /** The first lost segment goes out whatever the congestion window says. */
  repairNow = false;
  readonly rack: Rack;
  readonly tail = new TailProbe();
  /** Time-outs in a row. */
  timeouts = 0;
  private recovering = false;
  /** What lies before was out at the last time-out or recovery, and has had its reduction of the window. */
  private recover: number;
  /** The same in the order of sending. */
  private reducedAt = 0;
  /** What lies before may have been sent or delivered out of order. */
  private disorderedUntil: number;
  /** Without SACK: duplicates in a row, and segments that have left the network by them, without knowing which. */
  private duplicates = 0;
  private leftNetwork = 0;
  /** When the first repair left of a loss that may yet prove wrong; Infinity before, NONE where there is no such. */
  private repairedAt = NONE;

  constructor(
    private readonly flight: Flight,
    private readonly rtt: RttEstimator,
    private readonly congestion: CongestionControl,
    private readonly counters: TcpCounters,
  ) {
    this.rack = flight.rack;
    this.recover = flight.una;
    this.disorderedUntil = flight.una;
  }

  /** Bytes believed to be in the network. */
  inFlight(mss: number): number {
    return this.leftNetwork === 0
      ? this.flight.inFlight
      : Math.max(this.flight.inFlight - this.leftNetwork * mss, 0);
  }

  /** Losses are being repaired: no probe is needed to find some. */
  get isBusy(): boolean {
    return this.recovering || this.flight.sackedSegments > 0 || seqBefore(this.flight.una, this.recover);
  }

  /** A lost segment has left again. */
  repaired(now: number): void {
    this.repairNow = false;
    this.disorderedUntil = this.flight.nxt;
    if (this.repairedAt === Number.POSITIVE_INFINITY) this.repairedAt = now;
  }

  /**
   * The flight has moved forward by `advanced` bytes.
   *
   * @param inFlight what was in the network before
   * @param mss the segment size
   * @param echoedAt when the segment was sent that the peer answers (whole ms), -1 where it does not tell
   */
  onAdvance(advanced: number, inFlight: number, mss: number, echoedAt: number, now: number): void {
    const { flight } = this;
    this.timeouts = 0;
    // What has been reached follows, or it would lie ahead again after half a turn of the sequence space.
    this.recover = later(this.recover, flight.una);
    this.disorderedUntil = later(this.disorderedUntil, flight.una);
    this.rack.onAdvance(flight.una);
    if (this.repairedAt !== NONE) this.undoIfSpurious(echoedAt);
    if (!this.recovering) {
      this.duplicates = 0;
      this.leftNetwork = 0;
      this.congestion.onAcknowledged(advanced, inFlight, now, this.rtt.smoothed);
    } else if (seqBefore(flight.una, this.recover)) {
      if (!this.sack) this.onPartial();
    } else {
      this.endRecovery();
      this.congestion.onRecovered(this.inFlight(mss));
      this.rack.onRecovered();
    }
  }

  /** For a peer with SACK, after `onAdvance`. */
  onSacks(segment: Segment, advanced: number, echoedAt: number, now: number): void {
    const { flight } = this;
    const { sacks, ack } = segment;
    let duplicate = false;
    if (sacks.length > 0) {
      duplicate = tellsDuplicate(sacks, ack);
      if (duplicate) this.rack.onDuplicate(flight.una, flight.nxt);
      if (flight.sack(sacks, now, echoedAt)) {
        this.disorderedUntil = flight.nxt;
        this.tail.stop();
      }
    }
    const pure = advanced === 0 && sacks.length === 0 && segmentLength(segment) === 0;
    const lost = this.tail.onAck(ack, duplicate, pure);
    if (lost > 0) {
      this.congestion.onLoss(lost);
      this.congestion.onRecovered(flight.inFlight);
    }
    if (seqBefore(flight.una, this.disorderedUntil)) this.detect(now);
    else this.rack.stop();
  }

  /**
   * Marks what RACK finds lost by now. The window is reduced once for all that had been sent when it was reduced last;
   * what was sent later, a repair above all, met the reduced rate and was too much even so (as in RFC 9002 section 7.3).
   */
  detect(now: number): void {
    const { flight } = this;
    const known = this.recovering || seqBefore(flight.una, this.recover);
    if (this.rack.detect(flight, now, known, this.rtt.smoothed) > this.reducedAt) this.beginRecovery();
  }

  /** A duplicate acknowledgement from a peer without SACK. */
  onDuplicate(): void {
    this.duplicates += 1;
    // Each one also makes room for a new segment: limited transmit (RFC 3042), and the clock during recovery.
    if (this.leftNetwork < this.flight.length) this.leftNetwork += 1;
    if (this.recovering || this.duplicates !== DUPLICATE_THRESHOLD) return;
    // RFC 6582 section 3.2 step 2: duplicates of what went out before the last recovery prove nothing new.
    if (seqBefore(this.flight.una, this.recover)) return;
    this.beginRecovery();
    this.flight.markLost(this.flight.head!);
  }

  /** The retransmission time-out went by (RFC 8985 section 6.3; without SACK everything is lost). */
  onTimeout(now: number, mss: number): void {
    const { flight } = this;
    this.counters.timeouts += 1;
    const first = this.timeouts === 0;
    this.congestion.onTimeout(this.inFlight(mss), first);
    this.timeouts += 1;
    const recovering = this.recovering || seqBefore(flight.una, this.recover);
    if (this.sack) {
      const patience = this.rack.patience(flight.sackedSegments, recovering, this.rtt.smoothed);
      flight.markLostBefore(now - patience);
    } else flight.markLostBefore(Number.POSITIVE_INFINITY);
    this.endRecovery();
    this.tail.forget();
    this.rack.stop();
    this.remember();
    this.repairNow = true;
    if (first) this.repairedAt = Number.POSITIVE_INFINITY;
  }

  /** What is out and longer than `length` did not fit the path: neither congestion, nor do duplicates tell a loss. */
  onTooLong(length: number): boolean {
    if (!this.flight.markLonger(length)) return false;
    this.remember();
    this.repairNow = true;
    return true;
  }

  /** The segment that probes for the loss of the tail when there is no new data: the last one (RFC 8985 section 7.3). */
  repeatLast(): void {
    const last = this.flight.segments.at(-1)!;
    this.flight.markLost(last);
    this.repairNow = true;
    this.tail.sent(this.flight.nxt, true, this.flight.outstanding);
  }

  /** Marks `sent` lost and repairs it at once, without a reduction of the window. */
  repeat(sent: SentSegment): void {
    this.flight.markLost(sent);
    this.repairNow = true;
  }

  /** Nothing is out: no deadline. */
  stop(): void {
    this.rack.stop();
    this.tail.stop();
  }

  /** Partial acknowledgement: the next segment was lost as well (RFC 6582 section 3.2). */
  private onPartial(): void {
    const { head, covered } = this.flight;
    if (head === undefined) return;
    this.leftNetwork = Math.max(this.leftNetwork - Math.max(covered - 1, 0), 0);
    this.repeat(head);
  }

  private beginRecovery(): void {
    this.counters.fast_recoveries += 1;
    this.congestion.onLoss(this.flight.outstanding);
    this.repairedAt = this.recovering ? NONE : Number.POSITIVE_INFINITY;
    this.recovering = true;
    this.remember();
    this.repairNow = true;
    this.tail.forget();
  }

  private remember(): void {
    this.recover = this.flight.nxt;
    this.reducedAt = this.flight.transmissions;
  }

  private endRecovery(): void {
    this.recovering = false;
    this.duplicates = 0;
    this.leftNetwork = 0;
  }

  /** The peer answers what was sent before the repair: the original was late, not lost (RFC 3522 section 3.2). */
  private undoIfSpurious(echoedAt: number): void {
    const spurious = echoedAt >= 0 && echoedAt < Math.floor(this.repairedAt);
    this.repairedAt = NONE;
    if (!spurious) return;
    this.counters.spurious_recoveries += 1;
    this.congestion.undo();
    this.flight.unmarkLost();
    this.rack.onSpurious();
    this.endRecovery();
    this.recover = this.flight.una;
    this.repairNow = false;
  }
}

/** Whether the first block is a D-SACK: it lies before `ack`, or in the second block (RFC 2883 section 4). */
function tellsDuplicate(sacks: readonly number[], ack: number): boolean {
  if (!seqAfter(sacks[1]!, ack)) return true;
  return sacks.length >= 4 && !seqBefore(sacks[0]!, sacks[2]!) && !seqAfter(sacks[1]!, sacks[3]!);
}
