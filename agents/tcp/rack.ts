import type { Flight, SentSegment } from "./flight.js";
import { later, seqAdd, seqAfter, seqBefore } from "./wire/sequence.js";

/** RFC 8985 section 6.2 step 4: without reordering so many segments held beyond a hole prove a loss at once. */
const DUPLICATE_THRESHOLD = 3;
/** A wider window for reordering lasts for so many recoveries (RACK.reo_wnd_persist). */
const PERSIST = 16;
/** What is due within so many ms is due now, so that rounding cannot ask for a timer that does not move the time. */
const NOW = 0.001;

/**
 * Losses found by time (RACK, RFC 8985 section 6): a segment is lost when one that was sent later was delivered, and it
 * should have been there since a round trip and a little more, the window for reordering. That window follows what the
 * path and the peer's D-SACK show.
 */
export class Rack {
  /** When `detect` wants to be called, because a segment may become lost by waiting. */
  deadline = Number.POSITIVE_INFINITY;
  /** Of the segment delivered that was sent last: place in the order of sending, and round trip. */
  private order = 0;
  private roundTrip = 0;
  private minRoundTrip = Number.POSITIVE_INFINITY;
  /** RACK.fack: end of the farthest segment delivered. */
  private farthest: number;
  private reordering = false;
  /** The window in quarters of the smallest round trip (RACK.reo_wnd_mult), and how long it stays above one. */
  private quarters = 1;
  private persist = 0;
  /** Up to here one D-SACK has widened the window already. */
  private widenedUntil: number;

  constructor(iss: number) {
    this.farthest = iss;
    this.widenedUntil = iss;
  }

  /**
   * `sent` has arrived at the peer, as we hear for the first time.
   *
   * @param echoedAt when the segment was sent that the peer answers (whole ms), -1 where it does not tell
   */
  delivered(sent: SentSegment, now: number, echoedAt: number): void {
    const roundTrip = now - sent.sentAt;
    // Step 2: the answer may be to the first of two transmissions.
    const unclear =
      sent.retransmitted &&
      (roundTrip < this.minRoundTrip || (echoedAt >= 0 && echoedAt < Math.floor(sent.sentAt)));
    if (!sent.retransmitted && roundTrip < this.minRoundTrip) this.minRoundTrip = roundTrip;
    if (!unclear && sent.order > this.order) {
      this.order = sent.order;
      this.roundTrip = roundTrip;
    }
    const end = seqAdd(sent.seq, sent.length);
    if (seqAfter(end, this.farthest)) this.farthest = end;
    else if (seqBefore(end, this.farthest) && !sent.retransmitted) this.reordering = true;
  }

  /** What was held for lost had only been late. */
  onSpurious(): void {
    this.reordering = true;
  }

  /** The peer got something twice (D-SACK): the window was too small. Counts once per round trip. */
  onDuplicate(una: number, nxt: number): void {
    this.persist = PERSIST;
    if (seqBefore(una, this.widenedUntil)) return;
    this.widenedUntil = nxt;
    this.quarters += 1;
  }

  /** The flight begins at `una` now: what was reached must not lie ahead again after half a turn of the sequence space. */
  onAdvance(una: number): void {
    this.widenedUntil = later(this.widenedUntil, una);
  }

  onRecovered(): void {
    if (this.persist > 0) this.persist -= 1;
    if (this.persist === 0) this.quarters = 1;
  }

  /** How long after it was sent an undelivered segment counts as lost, once a later one was delivered. */
  patience(sackedSegments: number, recovering: boolean, smoothed: number): number {
    if (!this.reordering && (recovering || sackedSegments >= DUPLICATE_THRESHOLD)) return this.roundTrip;
    return this.roundTrip + Math.min((this.quarters * this.minRoundTrip) / 4, Math.max(smoothed, 0));
  }

  /** Step 5: marks what is lost by `now`, and sets the deadline for what may yet be. Returns the largest order among them, 0: none. */
  detect(flight: Flight, now: number, recovering: boolean, smoothed: number): number {
    const patience = this.patience(flight.sackedSegments, recovering, smoothed);
    let found = 0;
    let wait = 0;
    for (const sent of flight.segments) {
      if (sent.sacked || sent.lost || sent.order > this.order) continue;
      const remaining = sent.sentAt + patience - now;
      if (remaining > NOW) {
        wait = Math.max(wait, remaining);
        continue;
      }
      flight.markLost(sent);
      found = Math.max(found, sent.order);
    }
    this.deadline = wait > 0 ? now + wait : Number.POSITIVE_INFINITY;
    return found;
  }

  stop(): void {
    this.deadline = Number.POSITIVE_INFINITY;
  }
}
