/**
 * Retransmission time-out after RFC 6298. All times in milliseconds.
 *
 * One deviation: the floor of 200 ms is put under the variance term, not under the sum, as Linux does. RFC 6298 asks
 * for a floor of 1 s to stay clear of delayed acknowledgements; these come after 40 ms (Linux), 200 ms (Windows) or
 * 250 ms (lwIP's timer), and are part of what is measured: the smoothed round trip already holds them, so that
 * 200 ms beyond it is safe, and a device on a lossy radio link does not stand still for a second at each lost frame.
 */
export class RttEstimator {
  private srtt = -1;
  private variance = 0;
  private base: number;
  private shift = 0;

  constructor(
    initialRto: number,
    private readonly minRto: number,
    private readonly maxRto: number,
  ) {
    this.base = initialRto;
  }

  /** The time-out that holds now, backed off where the last ones went by without an acknowledgement. */
  get rto(): number {
    return Math.min(this.base * 2 ** this.shift, this.maxRto);
  }

  /** Smoothed round trip, or -1 before the first sample. */
  get smoothed(): number {
    return this.srtt;
  }

  /** A round trip of a segment that was sent once (Karn's algorithm). Ends the backing off. */
  sample(rtt: number): void {
    if (this.srtt < 0) {
      this.srtt = rtt;
      this.variance = rtt / 2;
    } else {
      this.variance += (Math.abs(this.srtt - rtt) - this.variance) / 4;
      this.srtt += (rtt - this.srtt) / 8;
    }
    this.base = this.srtt + Math.max(4 * this.variance, this.minRto);
    this.shift = 0;
  }

  /** Doubles the time-out (RFC 6298 5.5). */
  backOff(): void {
    if (this.base * 2 ** this.shift < this.maxRto) this.shift += 1;
  }

  /** Takes the doubling back: a window probe's time-outs say nothing about the round trip. */
  relax(): void {
    this.shift = 0;
  }

  /** Starts afresh, e.g. with 3 s when the SYN's timer went off (RFC 6298 5.7). */
  restart(rto: number): void {
    this.base = rto;
    this.shift = 0;
  }
}
