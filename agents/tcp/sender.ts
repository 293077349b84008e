import { MIN_MSS, type TcpConfig } from "./config.js";
import { type CongestionControl, NewReno } from "./congestion.js";
import type { TcpCounters } from "./counters.js";
import { DUPLICATE_THRESHOLD, Flight, type SentSegment, space } from "./flight.js";
import { RttEstimator } from "./rtt.js";
import { SendQueue } from "./send-queue.js";
import type { Timestamps } from "./timestamps.js";
import { seqAdd, seqAfter, seqBefore, seqDiff } from "./wire/sequence.js";
import { FIN, PSH, type Segment, segmentLength, TIMESTAMPS_SIZE } from "./wire/tcp.js";

const NO_PAYLOAD = Buffer.alloc(0);

/**
 * The sending half of a connection once its SYN is acknowledged: send queue, peer's window, retransmission, congestion
 * control. Time comes as an argument; segments are asked for one by one with `next`.
 *
 * What is in flight is a list of segments, each marked when it is held for lost. Whoever finds losses
 * (SACK blocks, duplicate acknowledgements, time-out) only marks; `next` repairs marked segments first, as far as the congestion
 * window goes, then sends new data. So `nxt` never goes back.
 */
export class Sender {
  readonly queue = new SendQueue();
  readonly rtt: RttEstimator;
  readonly congestion: CongestionControl;
  /** SND.UNA and SND.NXT. */
  una: number;
  nxt: number;
  /** SND.WND in bytes, and the largest seen. */
  window = 0;
  maxWindow = 0;
  /** Shift of the peer's window field. */
  scale = 0;
  mss: number;
  /** Both sides have agreed on SACK: losses are found by blocks, else by counting duplicates. */
  sack = false;
  /** When `onTimer` wants to be called. */
  timer = Number.POSITIVE_INFINITY;
  /** Nobody reads or writes this connection any more: a peer that acknowledges nothing is not waited for. */
  orphaned = false;

  private windowSeq = 0;
  private windowAck = 0;
  private readonly flight = new Flight();
  /** Without SACK: segments that have left the network as told by duplicate acknowledgements, without knowing which. */
  private leftNetwork = 0;
  private duplicates = 0;
  private recovering = false;
  private recover: number;
  /** The first lost segment goes out whatever the congestion window says. */
  private repairNow = false;
  private probeNow = false;
  private finState: "open" | "queued" | "sent" | "acknowledged" = "open";
  private lastSentAt = 0;
  /** Since when the peer owes us progress; Infinity when it has answered the last window probe. */
  private stalledSince = 0;
  private timeouts = 0;

  constructor(
    iss: number,
    private readonly config: TcpConfig,
    private readonly counters: TcpCounters,
    private readonly timestamps: Timestamps,
  ) {
    this.una = iss;
    this.nxt = iss;
    this.recover = iss;
    this.mss = config.mss;
    this.rtt = new RttEstimator(config.initialRto, config.minRto, config.maxRto);
    this.congestion = new NewReno(this.mss);
  }

  /** The SYN is acknowledged: data may flow. `segment` is what acknowledged it. */
  open(segment: Segment, window: number): void {
    this.una = this.nxt;
    this.recover = this.nxt;
    this.setWindow(segment, window);
  }

  setSegmentSize(mss: number): void {
    this.mss = mss;
    this.congestion.setSegmentSize(mss);
  }

  /** Whether a segment that begins with `seq` may be on its way. */
  isInFlight(seq: number): boolean {
    return this.flight.length > 0 && !seqBefore(seq, this.una) && seqBefore(seq, this.nxt);
  }

  /**
   * The path takes no segments beyond `mss` bytes (options included). What is out and larger is lost, and goes again cut
   * to size. Returns whether that changes anything.
   */
  limitSegmentSize(mss: number, now: number): boolean {
    const payload = Math.max(mss, MIN_MSS) - (this.timestamps.enabled ? TIMESTAMPS_SIZE : 0);
    if (payload >= this.mss) return false;
    this.counters.path_mtu_lowered += 1;
    this.setSegmentSize(payload);
    if (this.flight.markLarger(payload)) {
      // Neither is a loss to answer for, nor do the duplicates tell one that come for what got through.
      this.recover = this.nxt;
      this.repairNow = true;
      this.timer = now + this.rtt.rto;
    }
    return true;
  }

  write(chunk: Buffer): void {
    this.queue.append(chunk);
  }

  /** FIN follows everything written. */
  finish(): void {
    if (this.finState === "open") this.finState = "queued";
  }

  get finAcknowledged(): boolean {
    return this.finState === "acknowledged";
  }

  /** Forgets what was written. */
  discard(): void {
    this.queue.clear();
    this.flight.clear();
    this.timer = Number.POSITIVE_INFINITY;
  }

  /**
   * Fills in sequence number, FIN/PSH and payload of the segment to send next.
   *
   * @returns false when there is nothing (more) to send now; the timer is then set
   */
  next(now: number, segment: Segment): boolean {
    if (this.repair(now, segment) || this.fresh(now, segment)) return true;
    if (this.flight.length > 0) return false;
    if (this.unsent === 0 && this.finState !== "queued") {
      this.timer = Number.POSITIVE_INFINITY;
    } else if (this.timer === Number.POSITIVE_INFINITY) {
      // The peer's window holds us back: probe it (RFC 9293 section 3.8.6.1).
      this.stalledSince = now;
      this.timer = now + this.rtt.rto;
    }
    return false;
  }

  /** Takes in the acknowledgement and window of an acceptable segment (una - maxWindow <= ack <= nxt). */
  acknowledge(segment: Segment, now: number): void {
    const advanced = seqDiff(segment.ack, this.una);
    const window = segment.window << this.scale;
    if (advanced > 0) this.advance(segment, advanced, now);
    else if (advanced === 0 && !this.sack && this.isDuplicate(segment, window)) this.onDuplicate();
    if (this.sack && segment.sacks.length > 0 && this.flight.sack(segment.sacks, this.una, this.nxt))
      this.onSacked();
    if (
      seqBefore(this.windowSeq, segment.seq) ||
      (this.windowSeq === segment.seq && !seqAfter(this.windowAck, segment.ack))
    ) {
      if (this.window === 0 && window > 0) this.onWindowOpened(now);
      this.setWindow(segment, window);
    }
    // A peer that keeps its window shut but answers is alive (RFC 9293 section 3.8.6.1): only the next probe counts.
    if (this.window === 0 && !this.orphaned) this.stalledSince = Number.POSITIVE_INFINITY;
  }

  /** The time of `timer` has come. Returns false when the peer has been silent for too long. */
  onTimer(now: number): boolean {
    if (now < this.timer) return true;
    if (this.stalledSince > now) this.stalledSince = now;
    if (now - this.stalledSince >= this.config.userTimeout) return false;
    const { head } = this.flight;
    if (head === undefined) {
      this.probeNow = true;
      this.counters.window_probes += 1;
    } else if (this.window === 0) {
      this.flight.markLost(head);
      this.repairNow = true;
      this.counters.window_probes += 1;
    } else {
      this.counters.timeouts += 1;
      this.congestion.onTimeout(this.inFlight, this.timeouts === 0);
      this.timeouts += 1;
      this.flight.markAllLost();
      this.endRecovery();
      this.recover = this.nxt;
      this.repairNow = true;
    }
    this.rtt.backOff();
    this.timer = now + this.rtt.rto;
    return true;
  }

  /** Bytes believed to be in the network. */
  private get inFlight(): number {
    const { flight } = this;
    const outstanding = seqDiff(this.nxt, this.una) - flight.lostBytes - flight.sackedBytes;
    return Math.max(outstanding - this.leftNetwork * this.mss, 0);
  }

  private get unsent(): number {
    // Behind the FIN there is nothing, and `nxt` counts it.
    if (this.finState === "sent" || this.finState === "acknowledged") return 0;
    return this.queue.length - seqDiff(this.nxt, this.una);
  }

  private repair(now: number, segment: Segment): boolean {
    const sent = this.flight.firstLost;
    if (sent === undefined) return false;
    const { inFlight } = this;
    const length = Math.min(sent.length, this.mss);
    const room = inFlight === 0 || inFlight + length <= this.congestion.window;
    if (!room && !this.repairNow) return false;
    this.repairNow = false;
    if (sent.length > this.mss) this.flight.cut(sent, this.mss);
    this.flight.repaired(sent, now);
    this.lastSentAt = now;
    this.counters.retransmitted += 1;
    this.fill(segment, sent, true);
    return true;
  }

  private fresh(now: number, segment: Segment): boolean {
    const { unsent } = this;
    if (unsent === 0 && this.finState !== "queued") return false;
    let length = Math.min(unsent, this.mss);
    const usable = Math.max(this.window - seqDiff(this.nxt, this.una), 0);
    if (length > usable) {
      length = usable;
      // RFC 9293 section 3.8.6.2.1: rather wait for more window than send a sliver of a segment.
      if (length === 0 || length * 2 < this.maxWindow) {
        if (!this.probeNow) return false;
        length = Math.max(length, 1);
      }
    }
    const first = this.flight.length === 0;
    if (first) {
      if (this.lastSentAt > 0 && now - this.lastSentAt > this.rtt.rto) this.congestion.onIdle();
    } else if (this.inFlight > 0 && this.inFlight + length > this.congestion.window) {
      return false;
    }
    const fin = this.finState === "queued" && length === unsent;
    const sent = this.flight.add(this.nxt, length, fin, now);
    this.fill(segment, sent, length === unsent);
    this.nxt = seqAdd(this.nxt, space(sent));
    if (fin) this.finState = "sent";
    if (first) {
      if (!this.probeNow) this.stalledSince = now;
      this.timer = now + this.rtt.rto;
    }
    this.probeNow = false;
    this.lastSentAt = now;
    return true;
  }

  private fill(segment: Segment, sent: SentSegment, push: boolean): void {
    segment.seq = sent.seq;
    segment.flags = (sent.fin ? FIN : 0) | (push && sent.length > 0 ? PSH : 0);
    segment.payload =
      sent.length === 0 ? NO_PAYLOAD : this.queue.slice(seqDiff(sent.seq, this.una), sent.length);
  }

  private advance(segment: Segment, advanced: number, now: number): void {
    const { ack } = segment;
    const inFlight = this.inFlight;
    const { flight } = this;
    flight.acknowledge(ack);
    if (this.finState === "sent" && ack === this.nxt) this.finState = "acknowledged";
    this.queue.release(this.finState === "acknowledged" ? advanced - 1 : advanced);
    this.una = ack;
    if (flight.newestSentAt >= 0)
      this.sampleRoundTrip(segment, flight.ambiguous ? -1 : now - flight.newestSentAt, now);
    this.timeouts = 0;
    this.stalledSince = now;
    this.timer = flight.length > 0 ? now + this.rtt.rto : Number.POSITIVE_INFINITY;
    if (!this.recovering) {
      this.endRecovery();
      this.congestion.onAcknowledged(advanced, inFlight);
    } else if (seqBefore(ack, this.recover)) {
      // Partial acknowledgement (RFC 6582 section 3.2): the next segment was lost as well.
      this.onPartial(flight.covered);
    } else {
      this.endRecovery();
      this.congestion.onRecovered(this.inFlight);
    }
  }

  /** Of a segment that was sent twice only the echoed timestamp tells which one is answered (RFC 7323 section 4.1). */
  private sampleRoundTrip(segment: Segment, measured: number, now: number): void {
    const roundTrip = measured >= 0 ? measured : this.timestamps.roundTrip(segment, now);
    if (roundTrip >= 0 && roundTrip <= this.config.maxRto) this.rtt.sample(roundTrip);
  }

  /** During recovery something was acknowledged, but not all that was out when it began. */
  private onPartial(covered: number): void {
    const { head } = this.flight;
    if (head === undefined) return;
    if (this.sack) {
      // Beyond the hole the peer holds something: RFC 6675 section 4, NextSeg rule 3.
      if (this.flight.sackedBytes > 0 && !head.retransmitted && !head.sacked) this.flight.markLost(head);
      return;
    }
    // RFC 6582 section 3.2: the next segment was lost as well.
    this.leftNetwork = Math.max(this.leftNetwork - Math.max(covered - 1, 0), 0);
    this.flight.markLost(head);
    this.repairNow = true;
  }

  /** RFC 5681 section 2. Answers to window probes look the same and prove no loss. */
  private isDuplicate(segment: Segment, window: number): boolean {
    return this.flight.length > 0 && window > 0 && window === this.window && segmentLength(segment) === 0;
  }

  private onDuplicate(): void {
    this.duplicates += 1;
    // Each one also makes room for a new segment: limited transmit (RFC 3042), and the clock during recovery.
    if (this.leftNetwork < this.flight.length) this.leftNetwork += 1;
    if (this.recovering || this.duplicates !== DUPLICATE_THRESHOLD) return;
    // RFC 6582 section 3.2 step 2: duplicates of what went out before the last recovery prove nothing new.
    if (seqBefore(this.una, this.recover)) return;
    this.beginRecovery();
    this.flight.markLost(this.flight.head!);
  }

  /** RFC 6675 section 5. */
  private onSacked(): void {
    if (!this.flight.findLosses() || this.recovering) return;
    // What was out at the last time-out or recovery has had its reduction of the window.
    if (seqBefore(this.una, this.recover)) return;
    this.beginRecovery();
  }

  private beginRecovery(): void {
    this.counters.fast_recoveries += 1;
    this.congestion.onLoss(seqDiff(this.nxt, this.una));
    this.recovering = true;
    this.recover = this.nxt;
    this.repairNow = true;
  }

  private endRecovery(): void {
    this.recovering = false;
    this.duplicates = 0;
    this.leftNetwork = 0;
  }

  /** What was sent into the shut window is sent again, and its time-outs said nothing about the round trip. */
  private onWindowOpened(now: number): void {
    this.rtt.relax();
    const { head } = this.flight;
    if (head === undefined) {
      this.timer = Number.POSITIVE_INFINITY;
      return;
    }
    this.flight.markLost(head);
    this.repairNow = true;
    this.timer = now + this.rtt.rto;
  }

  private setWindow(segment: Segment, window: number): void {
    this.window = window;
    if (window > this.maxWindow) this.maxWindow = window;
    this.windowSeq = segment.seq;
    this.windowAck = segment.ack;
  }
}
