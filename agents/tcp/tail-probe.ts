import { seqAfter, seqBefore } from "./wire/sequence.js";

/** TLP.max_ack_delay: how long the peer may hold back the acknowledgement of less than two full segments. */
const MAX_ACK_DELAY = 200;
/** On a LAN a busy peer, or our own event loop, takes longer than two round trips now and then. */
const MIN_WAIT = 40;
/** The probe's time-out while no round trip is known (RFC 8985 section 7.2). */
const UNKNOWN_ROUND_TRIP = 1_000;

/**
 * The tail loss probe (RFC 8985 section 7): when the last segments of a burst are not acknowledged soon, one more is
 * sent, so that the peer's answer tells of the loss and nobody has to wait for the retransmission time-out and to
 * begin again from one segment.
 */
export class TailProbe {
  /** When a probe is due. */
  deadline = Number.POSITIVE_INFINITY;
  /** SND.NXT behind the probe that is out (TLP.end_seq), whether it repeats, and what else was out with it. */
  private end: number | undefined;
  private repeats = false;
  private flightSize = 0;

  /**
   * New data left, or some was acknowledged: the probe is due two round trips later. One at a time.
   *
   * @param little less than two full segments are out. RFC 8985 section 7.2 allows for a delayed acknowledgement when it
   *   is one segment; several small messages wait as long.
   */
  arm(now: number, little: boolean, smoothed: number, retransmitAt: number): void {
    if (this.end !== undefined) return;
    let wait = smoothed < 0 ? UNKNOWN_ROUND_TRIP : Math.max(2 * smoothed, MIN_WAIT);
    if (little) wait += MAX_ACK_DELAY;
    this.deadline = Math.min(now + wait, retransmitAt);
  }

  stop(): void {
    this.deadline = Number.POSITIVE_INFINITY;
  }

  /** A probe is on its way; `repeats`: it is a segment that was out already. */
  sent(end: number, repeats: boolean, flightSize: number): void {
    this.end = end;
    this.repeats = repeats;
    this.flightSize = flightSize;
    this.stop();
  }

  /** Whatever was lost is being repaired by other means. */
  forget(): void {
    this.end = undefined;
    this.stop();
  }

  /**
   * Section 7.4.2: takes note of an acknowledgement.
   *
   * @param duplicate it tells of a segment that came twice (D-SACK)
   * @param pure it is empty, acknowledges nothing new and carries no SACK
   * @returns the bytes that were out when the probe left, where it has repaired a loss that nobody else will notice,
   *   and that is to be answered as congestion; else 0
   */
  onAck(ack: number, duplicate: boolean, pure: boolean): number {
    const { end } = this;
    if (end === undefined || seqBefore(ack, end)) return 0;
    const lost = this.repeats && !duplicate && seqAfter(ack, end);
    if (this.repeats && !duplicate && !lost && !pure) return 0;
    this.end = undefined;
    return lost ? this.flightSize : 0;
  }
}
