/**
 * Congestion control: how many bytes may be in the network. All sizes in bytes. The sender asks `window` and reports
 * what happened; it alone knows what is in flight.
 */
export interface CongestionControl {
  /** The congestion window. */
  readonly window: number;
  /** New data was acknowledged outside of recovery; `inFlight` is what was out before the acknowledgement. */
  onAcknowledged(bytes: number, inFlight: number): void;
  /** A loss was found by acknowledgements: fast recovery begins. */
  onLoss(inFlight: number): void;
  /** Recovery is over; `inFlight` is what remains out. */
  onRecovered(inFlight: number): void;
  /** The retransmission timer went off; `first` unless it already had for the same data. */
  onTimeout(inFlight: number, first: boolean): void;
  /** The last `onLoss` or first `onTimeout` was wrong (RFC 4015 section 3.2). */
  undo(): void;
  /** Nothing was sent for longer than the retransmission time-out. */
  onIdle(): void;
  /** The segment size changed (the peer's MSS option, a smaller path MTU). */
  setSegmentSize(mss: number): void;
}

/** An upper bound for the window, well above what the send buffer can fill. */
const MAX_WINDOW = 16 * 1024 * 1024;
/** Appropriate byte counting (RFC 3465) with the limit of RFC 9406 section 4.3 in segments per acknowledgement. */
const MAX_GROWTH = 8;

/** NewReno: slow start and congestion avoidance of RFC 5681, recovery of RFC 6582, initial window of RFC 6928. */
export class NewReno implements CongestionControl {
  window: number;
  private threshold = Number.POSITIVE_INFINITY;
  private counted = 0;
  /** Before the last reduction, see `undo`. */
  private windowBefore = 0;
  private thresholdBefore = 0;

  constructor(private mss: number) {
    this.window = this.initialWindow();
  }

  onAcknowledged(bytes: number, inFlight: number): void {
    // Growth would be unfounded while the application, not the window, limits what is out (RFC 7661).
    if (inFlight * 2 < this.window) return;
    if (this.window < this.threshold) {
      this.grow(Math.min(bytes, MAX_GROWTH * this.mss));
      return;
    }
    this.counted += bytes;
    if (this.counted < this.window) return;
    this.counted -= this.window;
    this.grow(this.mss);
  }

  onLoss(inFlight: number): void {
    this.save();
    this.reduce(inFlight);
    this.window = this.threshold;
    this.counted = 0;
  }

  onRecovered(inFlight: number): void {
    // RFC 6582 section 3.2 step 3: no burst when little is left in flight, or not beyond what may begin a connection.
    this.window = Math.min(this.threshold, Math.max(inFlight + this.mss, this.initialWindow()));
  }

  onTimeout(inFlight: number, first: boolean): void {
    if (first) {
      this.save();
      this.reduce(inFlight);
    }
    this.window = this.mss;
    this.counted = 0;
  }

  undo(): void {
    this.window = Math.max(this.window, this.windowBefore);
    this.threshold = Math.max(this.threshold, this.thresholdBefore);
  }

  onIdle(): void {
    this.window = Math.min(this.window, this.initialWindow());
  }

  setSegmentSize(mss: number): void {
    const fresh = this.window === this.initialWindow();
    this.mss = mss;
    if (fresh) this.window = this.initialWindow();
  }

  private save(): void {
    this.windowBefore = this.window;
    this.thresholdBefore = this.threshold;
  }

  /**
   * RFC 5681 section 3.1: half of what was out. Where the application left the window unused, what was out says little
   * of the path: then half of the initial window, as far as the window reached.
   */
  private reduce(inFlight: number): void {
    const used = Math.max(inFlight, Math.min(this.window, this.initialWindow()));
    this.threshold = Math.max(used / 2, 2 * this.mss);
  }

  private grow(bytes: number): void {
    this.window = Math.min(this.window + bytes, MAX_WINDOW);
  }

  private initialWindow(): number {
    return Math.min(10 * this.mss, Math.max(2 * this.mss, 14_600));
  }
}
