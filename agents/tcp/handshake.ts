import { MIN_MSS, RTO_AFTER_LOST_SYN, type SegmentSizes, type TcpConfig, windowShift } from "./config.js";
import type { Receiver } from "./receiver.js";
import type { Sender } from "./sender.js";
import type { Timestamps } from "./timestamps.js";
import { seqAdd } from "./wire/sequence.js";
import { type Segment, TIMESTAMPS_SIZE } from "./wire/tcp.js";

/**
 * The SYNs of one connection: what we offer, what the peer's SYN agrees to, and how often ours had to be sent. An option
 * beside MSS is used only when both SYNs carry it, so a passive SYN answers only what was offered.
 */
export class Handshake {
  /** The peer's initial sequence number. */
  irs = 0;
  /** Our SYN has to be sent (again). */
  owed = true;
  /** When `onTimer` wants to be called: our SYN is unanswered. */
  deadline = Number.POSITIVE_INFINITY;
  private sent = 0;
  private sentAt = 0;
  private window: number;
  private scaled = true;
  private timestamps: boolean;
  private sack: boolean;

  constructor(
    private readonly config: TcpConfig,
    private readonly sizes: SegmentSizes,
    private readonly iss: number,
    private readonly sender: Sender,
    private readonly receiver: Receiver,
    private readonly clock: Timestamps,
  ) {
    this.window = Math.min(config.receiveBuffer, 0xffff);
    this.timestamps = config.timestamps;
    this.sack = config.sack;
  }

  /** Takes the peer's SYN. */
  take(syn: Segment, now: number): void {
    const { config, sizes, sender } = this;
    this.irs = syn.seq;
    this.scaled = syn.windowScale >= 0;
    sender.scale = this.scaled ? syn.windowScale : 0;
    this.timestamps = config.timestamps && syn.timestamps;
    if (this.timestamps) this.clock.begin(syn, now);
    this.sack = config.sack && syn.sackPermitted;
    sender.sack = this.sack;
    this.receiver.sack = this.sack;
    const wanted = syn.mss === 0 ? sizes.assumed : syn.mss;
    const mss = Math.min(Math.max(wanted, MIN_MSS), sizes.largest);
    // RFC 6691: the MSS option knows nothing of options, the sender makes room for its own.
    sender.setSegmentSize(this.timestamps ? mss - TIMESTAMPS_SIZE : mss);
    this.window = this.receiver.open(syn.seq, this.scaled, windowShift(config.receiveBuffer));
  }

  /** Fills window and options of our SYN. It counts as sent. */
  fill(segment: Segment, now: number): void {
    segment.window = this.window;
    segment.mss = this.sizes.largest;
    segment.windowScale = this.scaled ? windowShift(this.config.receiveBuffer) : -1;
    segment.sackPermitted = this.sack;
    if (this.timestamps) this.clock.stamp(segment, now);
    this.sender.started(seqAdd(this.iss, 1));
    this.owed = false;
    this.sent += 1;
    this.sentAt = now;
    this.deadline = now + this.sender.rtt.rto;
  }

  /** The time of `deadline` has come: our SYN is owed again. Returns false when it was repeated as often as it may. */
  onTimer(): boolean {
    this.deadline = Number.POSITIVE_INFINITY;
    if (this.sent > this.config.synRetries) return false;
    this.sender.rtt.backOff();
    this.owed = true;
    return true;
  }

  /** Our SYN has been sent, by a cookie that remembers nothing of when. */
  sentByCookie(): void {
    this.sender.started(seqAdd(this.iss, 1));
    this.clock.acknowledged(seqAdd(this.irs, 1));
    this.owed = false;
  }

  /** Our SYN is acknowledged by `segment`, whose window is `window` bytes. */
  complete(segment: Segment, window: number, now: number): void {
    const { sender } = this;
    sender.open(segment, window);
    if (this.sent === 1) {
      sender.rtt.sample(now - this.sentAt);
    } else if (this.sent > 1) {
      sender.rtt.restart(RTO_AFTER_LOST_SYN);
      // RFC 5681 section 3.1: after a lost SYN begin with one segment.
      sender.congestion.onTimeout(0, false);
    }
  }
}
