import { BLACK_HOLE_MSS, BLACK_HOLE_TIMEOUTS, MIN_MSS, type TcpConfig } from "./config.js";
import { type CongestionControl, Cubic } from "./congestion.js";
import type { TcpCounters } from "./counters.js";
import { Flight, type SentSegment } from "./flight.js";
import { Rack } from "./rack.js";
import { Recovery } from "./recovery.js";
import { RttEstimator } from "./rtt.js";
import { SendQueue } from "./send-queue.js";
import type { Timestamps } from "./timestamps.js";
import { seqAfter, seqBefore, seqDiff } from "./wire/sequence.js";
import { FIN, PSH, type Segment, segmentLength, TIMESTAMPS_SIZE } from "./wire/tcp.js";

const NO_PAYLOAD = Buffer.alloc(0);
const NEVER = Number.POSITIVE_INFINITY;

/**
 * The sending half of a connection once its SYN is acknowledged: send queue, peer's window, timers. Time comes as an
 * argument; segments are asked for one by one with `next`.
 *
 * What is in flight is a list of segments, each marked when it is held for lost. Whoever finds losses (`recovery`)
 * only marks; `next` repairs marked segments first, as far as the congestion window goes, then sends new data. So
 * `nxt` never goes back.
 */
export class Sender {
  readonly queue = new SendQueue();
  readonly rtt: RttEstimator;
  readonly congestion: CongestionControl;
  /** SND.WND in bytes, and the largest seen. */
  window = 0;
  maxWindow = 0;
  /** Shift of the peer's window field. */
  scale = 0;
  mss: number;
  /** Nobody reads or writes this connection any more: a peer that acknowledges nothing is not waited for. */
  orphaned = false;

  private windowSeq = 0;
  private windowAck = 0;
  private readonly flight: Flight;
  private readonly recovery: Recovery;
  /** One segment goes out whatever the peer's window says; whatever the congestion window says. */
  private probeNow = false;
  private tailNow = false;
  /** Something new has left or was acknowledged: the tail probe is to be armed anew. */
  private tailStale = false;
  private finState: "open" | "queued" | "sent" | "acknowledged" = "open";
  private lastSentAt = 0;
  /** When the retransmission time-out or the next window probe is due. */
  private retransmitAt = NEVER;
  /** Since when the peer owes us progress; Infinity when it has answered the last window probe. */
  private stalledSince = 0;

  constructor(
    iss: number,
    private readonly config: TcpConfig,
    private readonly counters: TcpCounters,
    private readonly timestamps: Timestamps,
  ) {
    this.mss = config.mss;
    this.rtt = new RttEstimator(config.initialRto, config.minRto, config.maxRto);
    this.congestion = new Cubic(this.mss);
    this.flight = new Flight(iss, new Rack(iss));
    this.recovery = new Recovery(this.flight, this.rtt, this.congestion, counters);
  }

  /** SND.UNA and SND.NXT. */
  get una(): number {
    return this.flight.una;
  }

  get nxt(): number {
    return this.flight.nxt;
  }

  /** When `onTimer` wants to be called. */
  get timer(): number {
    return Math.min(this.retransmitAt, this.recovery.rack.deadline, this.recovery.tail.deadline);
  }

  /** Our SYN has left. */
  started(nxt: number): void {
    this.flight.nxt = nxt;
  }

  /** The SYN is acknowledged by `segment`: data may flow. */
  open(segment: Segment, window: number): void {
    this.flight.una = this.nxt;
    this.setWindow(segment, window);
  }

  /** Whether both sides have agreed on SACK: losses are found by blocks, else by duplicates. */
  set sack(agreed: boolean) {
    this.recovery.sack = agreed;
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
    if (this.recovery.onTooLong(payload)) this.retransmitAt = now + this.rtt.rto;
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
    this.stopTimers();
  }

  /**
   * Fills in sequence number, FIN/PSH and payload of the segment to send next.
   *
   * @returns false when there is nothing (more) to send now; the timers are then set
   */
  next(now: number, segment: Segment): boolean {
    if (this.repair(now, segment) || this.fresh(now, segment)) return true;
    if (this.flight.length > 0) {
      if (this.tailStale) this.armTail(now);
    } else if (this.unsent === 0 && this.finState !== "queued") {
      this.stopTimers();
    } else if (this.retransmitAt === NEVER) {
      // The peer's window holds us back: probe it (RFC 9293 section 3.8.6.1).
      this.stalledSince = now;
      this.retransmitAt = now + this.rtt.rto;
    }
    return false;
  }

  /** Takes in the acknowledgement and window of an acceptable segment (una - maxWindow <= ack <= nxt). */
  acknowledge(segment: Segment, now: number): void {
    const { recovery } = this;
    const advanced = seqDiff(segment.ack, this.una);
    const window = segment.window << this.scale;
    const echoedAt = this.timestamps.echoedAt(segment, now);
    if (advanced > 0) this.advance(segment.ack, advanced, echoedAt, now);
    else if (advanced === 0 && !recovery.sack && this.isDuplicate(segment, window)) recovery.onDuplicate();
    if (recovery.sack) recovery.onSacks(segment, Math.max(advanced, 0), echoedAt, now);
    if (
      seqBefore(this.windowSeq, segment.seq) ||
      (this.windowSeq === segment.seq && !seqAfter(this.windowAck, segment.ack))
    ) {
      if (this.window === 0 && window > 0) this.onWindowOpened(now);
      this.setWindow(segment, window);
    }
    // A peer that keeps its window shut but answers is alive (RFC 9293 section 3.8.6.1): only the next probe counts.
    if (this.window === 0 && !this.orphaned) this.stalledSince = NEVER;
  }

  /** The time of `timer` has come. Returns false when the peer has been silent for too long. */
  onTimer(now: number): boolean {
    const { rack, tail } = this.recovery;
    if (now >= rack.deadline) this.recovery.detect(now);
    if (now >= tail.deadline) this.probeTail(now);
    return now < this.retransmitAt || this.onRetransmitTimer(now);
  }

  private onRetransmitTimer(now: number): boolean {
    if (this.stalledSince > now) this.stalledSince = now;
    if (now - this.stalledSince >= this.config.userTimeout) return false;
    const { head } = this.flight;
    if (head === undefined) {
      this.probeNow = true;
      this.counters.window_probes += 1;
    } else if (this.window === 0) {
      this.recovery.repeat(head);
      this.counters.window_probes += 1;
    } else {
      if (this.recovery.timeouts + 1 >= BLACK_HOLE_TIMEOUTS && head.length > BLACK_HOLE_MSS)
        this.limitSegmentSize(Math.max(this.mss >> 1, BLACK_HOLE_MSS), now);
      this.recovery.onTimeout(now, this.mss);
    }
    this.rtt.backOff();
    this.retransmitAt = now + this.rtt.rto;
    return true;
  }

  /** Two round trips without an answer: one more segment, a new one where there is one (RFC 8985 section 7.3). */
  private probeTail(now: number): void {
    this.counters.tail_probes += 1;
    const fresh = Math.min(this.unsent, this.mss);
    if ((fresh > 0 || this.finState === "queued") && fresh <= this.usableWindow) this.tailNow = true;
    else this.recovery.repeatLast();
    this.recovery.tail.stop();
    this.retransmitAt = now + this.rtt.rto;
  }

  private armTail(now: number): void {
    this.tailStale = false;
    const { recovery, flight } = this;
    if (!recovery.sack || recovery.isBusy || this.window === 0) recovery.tail.stop();
    else recovery.tail.arm(now, flight.outstanding < 2 * this.mss, this.rtt.smoothed, this.retransmitAt);
  }

  private stopTimers(): void {
    this.retransmitAt = NEVER;
    this.recovery.stop();
  }

  private get unsent(): number {
    // Behind the FIN there is nothing, and `nxt` counts it.
    if (this.finState === "sent" || this.finState === "acknowledged") return 0;
    return this.queue.length - this.flight.outstanding;
  }

  /** What the peer's window has room for beyond what is out. */
  private get usableWindow(): number {
    return Math.max(this.window - this.flight.outstanding, 0);
  }

  private repair(now: number, segment: Segment): boolean {
    const sent = this.flight.firstLost;
    if (sent === undefined) return false;
    const { recovery } = this;
    const inFlight = recovery.inFlight(this.mss);
    const length = Math.min(sent.length, this.mss);
    if (inFlight > 0 && inFlight + length > this.congestion.window && !recovery.repairNow) return false;
    if (length < sent.length) this.flight.cut(sent, length);
    this.flight.repaired(sent, now);
    recovery.repaired(now);
    this.lastSentAt = now;
    this.counters.retransmitted += 1;
    this.fill(segment, sent, true);
    return true;
  }

  private fresh(now: number, segment: Segment): boolean {
    const { unsent, flight } = this;
    if (unsent === 0 && this.finState !== "queued") return false;
    let length = Math.min(unsent, this.mss);
    const usable = this.usableWindow;
    if (length > usable) {
      length = usable;
      // RFC 9293 section 3.8.6.2.1: rather wait for more window than send a sliver of a segment.
      if (length === 0 || length * 2 < this.maxWindow) {
        if (!this.probeNow) return false;
        length = Math.max(length, 1);
      }
    }
    const first = flight.length === 0;
    if (first) {
      if (this.lastSentAt > 0 && now - this.lastSentAt > this.rtt.rto) this.congestion.onIdle();
    } else if (!this.tailNow) {
      const inFlight = this.recovery.inFlight(this.mss);
      if (inFlight > 0 && inFlight + length > this.congestion.window) return false;
    }
    const fin = this.finState === "queued" && length === unsent;
    const sent = flight.add(length, fin, now);
    this.fill(segment, sent, length === unsent);
    if (fin) this.finState = "sent";
    if (first) {
      if (!this.probeNow) this.stalledSince = now;
      this.retransmitAt = now + this.rtt.rto;
    }
    if (this.tailNow) this.recovery.tail.sent(this.nxt, false, 0);
    this.tailNow = false;
    this.tailStale = true;
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

  private advance(ack: number, advanced: number, echoedAt: number, now: number): void {
    const { flight, recovery } = this;
    const inFlight = recovery.inFlight(this.mss);
    flight.acknowledge(ack, now, echoedAt);
    if (this.finState === "sent" && ack === this.nxt) this.finState = "acknowledged";
    this.queue.release(this.finState === "acknowledged" ? advanced - 1 : advanced);
    if (flight.newestSentAt >= 0) this.sampleRoundTrip(echoedAt, now);
    this.stalledSince = now;
    this.tailNow = false;
    this.tailStale = true;
    this.retransmitAt = flight.length > 0 ? now + this.rtt.rto : NEVER;
    if (flight.length === 0) recovery.tail.stop();
    recovery.onAdvance(advanced, inFlight, this.mss, echoedAt, now);
  }

  /** Of a segment that was sent twice only the echoed timestamp tells which one is answered (RFC 7323 section 4.1). */
  private sampleRoundTrip(echoedAt: number, now: number): void {
    const { ambiguous, newestSentAt } = this.flight;
    if (ambiguous && echoedAt < 0) return;
    const roundTrip = ambiguous ? Math.floor(now) - echoedAt : now - newestSentAt;
    if (roundTrip >= 0 && roundTrip <= this.config.maxRto) this.rtt.sample(roundTrip);
  }

  /** RFC 5681 section 2. Answers to window probes look the same and prove no loss. */
  private isDuplicate(segment: Segment, window: number): boolean {
    return this.flight.length > 0 && window > 0 && window === this.window && segmentLength(segment) === 0;
  }

  /** What was sent into the shut window is sent again, and its time-outs said nothing about the round trip. */
  private onWindowOpened(now: number): void {
    this.rtt.relax();
    const { head } = this.flight;
    if (head === undefined) {
      this.retransmitAt = NEVER;
      return;
    }
    this.recovery.repeat(head);
    this.retransmitAt = now + this.rtt.rto;
  }

  private setWindow(segment: Segment, window: number): void {
    this.window = window;
    if (window > this.maxWindow) this.maxWindow = window;
    this.windowSeq = segment.seq;
    this.windowAck = segment.ack;
  }
}
