/**
 * Congestion control: how many bytes may be in the network. All sizes in bytes. The sender asks `window` and reports
 * what happened; it alone knows what is in flight.
 */
export interface CongestionControl {
  /** The congestion window. */
  readonly window: number;
  /**
   * New data was acknowledged outside of recovery; `inFlight` is what was out before the acknowledgement, `smoothed` the
   * smoothed round trip in ms (negative while unknown).
   */
  onAcknowledged(bytes: number, inFlight: number, now: number, smoothed: number): void;
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
/** RFC 9438 section 4.1 and 4.6: how fast the curve rises (segments per s³), what remains after a loss. */
const STEEPNESS = 0.4;
const REMAINS = 0.7;
/** Section 4.3: segments per round trip with which a Reno flow that falls to REMAINS has the average of one that halves. */
const RENO_GROWTH = (3 * (1 - REMAINS)) / (1 + REMAINS);

/**
 * CUBIC (RFC 9438): after a loss the window returns quickly to near the size at which it was lost, rests there, and
 * probes beyond, as a function of time and not of round trips; never slower than Reno would. Slow start of RFC 5681,
 * initial window of RFC 6928. See README.md for why not NewReno.
 */
export class Cubic implements CongestionControl {
  window: number;
  private threshold = Number.POSITIVE_INFINITY;
  /** Window before the last reduction, and W_max: where the next curve rests. */
  private prior = 0;
  private plateau = 0;
  /** What the window follows in congestion avoidance. */
  private curve: Curve | undefined;
  /** See `undo`. */
  private before: { window: number; threshold: number; plateau: number } | undefined;

  constructor(private mss: number) {
    this.window = this.initialWindow();
  }

  onAcknowledged(bytes: number, inFlight: number, now: number, smoothed: number): void {
    // Growth would be unfounded while the application, not the window, limits what is out (RFC 7661, RFC 9438 5.8).
    if (inFlight * 2 < this.window) this.curve = undefined;
    else if (this.window < this.threshold) this.grow(Math.min(bytes, MAX_GROWTH * this.mss));
    else this.avoidCongestion(bytes, now, smoothed);
  }

  onLoss(inFlight: number): void {
    this.reduce(inFlight);
    this.window = this.threshold;
  }

  onRecovered(inFlight: number): void {
    // No burst when little is left in flight, or not beyond what may begin a connection (RFC 6582 section 3.2 step 3).
    this.window = Math.min(this.threshold, Math.max(inFlight + this.mss, this.initialWindow()));
  }

  onTimeout(inFlight: number, first: boolean): void {
    if (first) this.reduce(inFlight);
    this.window = this.mss;
    this.curve = undefined;
  }

  undo(): void {
    if (this.before === undefined) return;
    this.window = Math.max(this.window, this.before.window);
    this.threshold = Math.max(this.threshold, this.before.threshold);
    this.plateau = Math.max(this.plateau, this.before.plateau);
    this.curve = undefined;
  }

  onIdle(): void {
    this.window = Math.min(this.window, this.initialWindow());
    this.curve = undefined;
  }

  setSegmentSize(mss: number): void {
    const fresh = this.window === this.initialWindow();
    this.mss = mss;
    if (fresh) this.window = this.initialWindow();
  }

  /** Sections 4.2 to 4.5. */
  private avoidCongestion(bytes: number, now: number, smoothed: number): void {
    this.curve ??= new Curve(this.window, this.plateau, this.mss, now);
    const { curve } = this;
    curve.reno += (curve.reno < this.prior ? RENO_GROWTH : 1) * this.mss * (bytes / this.window);
    if (curve.at(now) < curve.reno) {
      if (curve.reno > this.window) this.grow(curve.reno - this.window);
      return;
    }
    const target = Math.min(curve.at(now + Math.max(smoothed, 0)), 1.5 * this.window);
    if (target > this.window) this.grow((target - this.window) * (bytes / this.window));
  }

  /**
   * Section 4.6, with fast convergence (4.7). Where the application left the window unused, what was out says little of
   * the path: then the initial window counts, as far as the window reached.
   */
  private reduce(inFlight: number): void {
    const { window, threshold, plateau } = this;
    this.before = { window, threshold, plateau };
    const used = Math.min(this.window, Math.max(inFlight, this.initialWindow()));
    this.prior = used;
    this.plateau = used < this.plateau ? (used * (1 + REMAINS)) / 2 : used;
    this.threshold = Math.max(used * REMAINS, 2 * this.mss);
    this.curve = undefined;
  }

  private grow(bytes: number): void {
    this.window = Math.min(this.window + bytes, MAX_WINDOW);
  }

  private initialWindow(): number {
    return Math.min(10 * this.mss, Math.max(2 * this.mss, 14_600));
  }
}

/** W_cubic and W_est of one epoch (RFC 9438 sections 4.2 and 4.3), in bytes and ms. */
class Curve {
  /** W_est: how large the window of a Reno flow would be. */
  reno: number;
  private readonly restsAt: number;
  private readonly restsFrom: number;

  constructor(
    window: number,
    plateau: number,
    private readonly mss: number,
    now: number,
  ) {
    this.reno = window;
    this.restsAt = Math.max(plateau, window);
    this.restsFrom = now + 1_000 * Math.cbrt((this.restsAt - window) / mss / STEEPNESS);
  }

  at(time: number): number {
    return this.restsAt + this.mss * STEEPNESS * ((time - this.restsFrom) / 1_000) ** 3;
  }
}
