import { CHALLENGE_INTERVAL, type TcpConfig } from "./config.js";
import type { TcpCounters } from "./counters.js";
import { Handshake } from "./handshake.js";
import { KeepAlive } from "./keep-alive.js";
import type { MemoryBudget } from "./memory.js";
import { Receiver } from "./receiver.js";
import { Sender } from "./sender.js";
import { Timestamps } from "./timestamps.js";
import { seqAdd, seqAfter, seqBefore, seqDiff } from "./wire/sequence.js";
import {
  ACK,
  emptySegment,
  FIN,
  MAX_SACK_BLOCKS,
  MAX_SACK_BLOCKS_WITH_TIMESTAMPS,
  NO_SACKS,
  RST,
  type Segment,
  SYN,
  segmentLength,
} from "./wire/tcp.js";

/** The states of RFC 9293 section 3.3.2; LISTEN belongs to the stack. */
export type State =
  | "SYN-SENT"
  | "SYN-RECEIVED"
  | "ESTABLISHED"
  | "FIN-WAIT-1"
  | "FIN-WAIT-2"
  | "CLOSE-WAIT"
  | "CLOSING"
  | "LAST-ACK"
  | "TIME-WAIT"
  | "CLOSED";

/** How a connection ended: both FINs, the peer's RST, no answer for too long, or our own `abort`. */
export type CloseReason = "finished" | "reset" | "timeout" | "aborted";

/** What a connection tells whoever uses it. Called at the end of the step that caused it; may call back. */
export interface ConnectionHandler {
  /** There is something to `read`, or the peer's stream has ended. */
  onReadable(): void;
  /** The send buffer has room again after `isWritable` was false. */
  onDrained(): void;
  /** No segment will come or go any more. What was received can still be read unless the reason is an error. */
  onClosed(reason: CloseReason): void;
}

/** What a connection needs of the stack that holds it. */
export interface ConnectionOwner {
  readonly config: TcpConfig;
  readonly counters: TcpCounters;
  readonly memory: MemoryBudget;
  /** Added to the clock in timestamps, so that they do not tell how long we have been running. */
  readonly timestampOffset: number;
  /** The connection has something to send, or a nearer deadline. */
  touch(connection: Connection): void;
  /** The state has changed from `from`. */
  moved(connection: Connection, from: State): void;
}

/**
 * One TCP connection (RFC 9293): a pure state machine. Segments, calls of the user and the time go in; segments come
 * out of `transmit`, news out of the handler. It knows no addresses, timers or sockets.
 */
export class Connection {
  handler: ConnectionHandler | undefined;
  /** For the stack's tables, see deadlines.ts. */
  scheduledAt = Number.POSITIVE_INFINITY;
  heapIndex = -1;
  touched = false;

  private readonly sender: Sender;
  private readonly receiver: Receiver;
  private readonly timestamps: Timestamps;
  private readonly handshake: Handshake;
  private readonly keepAlive: KeepAlive | undefined;
  private keepAliveOwed = false;
  private current: State;
  /** Deadline of the SYN's retransmission or of TIME-WAIT. */
  private timer = Number.POSITIVE_INFINITY;
  private ackOwed = false;
  /** Acknowledgements that must go out empty, so that the peer counts them as duplicates. */
  private duplicatesOwed = 0;
  private resetOwed = false;
  /** An acknowledgement number that never was ours, to be answered with RST (RFC 9293 section 3.10.7.4). */
  private strayAck: number | undefined;
  private challengedAt = Number.NEGATIVE_INFINITY;
  private writeBlocked = false;

  /** @param passive begins in SYN-RECEIVED by a peer's SYN (see `open`), else in SYN-SENT */
  constructor(
    private readonly owner: ConnectionOwner,
    readonly iss: number,
    readonly passive: boolean,
  ) {
    this.timestamps = new Timestamps(owner.timestampOffset);
    this.sender = new Sender(iss, owner.config, owner.counters, this.timestamps);
    this.receiver = new Receiver(owner.config.receiveBuffer, owner.memory, owner.counters);
    this.handshake = new Handshake(owner.config, iss, this.sender, this.receiver, this.timestamps);
    if (owner.config.keepAliveIdle > 0) this.keepAlive = new KeepAlive(owner.config);
    this.current = passive ? "SYN-RECEIVED" : "SYN-SENT";
  }

  get state(): State {
    return this.current;
  }

  /** When `onTimer` must be called at the latest; Infinity for an idle connection. */
  get deadline(): number {
    const own = Math.min(this.timer, this.sender.timer);
    return this.keepAlive === undefined ? own : Math.min(own, this.keepAlive.deadline);
  }

  /** SND.NXT and RCV.NXT, for choosing the next incarnation's numbers and for tests. */
  get sendNext(): number {
    return this.sender.nxt;
  }

  get receiveNext(): number {
    return this.receiver.nxt;
  }

  /** Whether `syn` can only be of a new incarnation of this connection in TIME-WAIT (RFC 6191 section 2). */
  isReopenedBy(syn: Segment): boolean {
    if (syn.timestamps && this.owner.config.timestamps) {
      if (!this.timestamps.enabled) return true;
      const later = seqDiff(syn.tsVal, this.timestamps.recent);
      if (later !== 0) return later > 0;
    }
    return seqAfter(syn.seq, this.receiver.nxt);
  }

  // ---- the user's side -------------------------------------------------------------------------------------------

  get isWritable(): boolean {
    return this.sender.queue.length < this.owner.config.sendBuffer;
  }

  /** Queues bytes; they leave with the next `transmit`. The buffer must not change afterwards. */
  write(chunk: Buffer): void {
    if (!this.canSend) return;
    this.sender.write(chunk);
    if (!this.isWritable) this.writeBlocked = true;
    this.owner.touch(this);
  }

  /** The next received bytes, or undefined when there are none now (see `isEnded`). */
  read(): Buffer | undefined {
    const chunk = this.receiver.read();
    if (chunk !== undefined && this.receiver.isWindowUpdateDue(this.sender.mss)) this.oweAck();
    return chunk;
  }

  /** The peer has closed its direction, and everything before has been read. */
  get isEnded(): boolean {
    return this.receiver.finished && !this.receiver.hasUnread;
  }

  /** Whether `shutdown` was called: the connection ends by itself when the peer plays along. */
  get isClosing(): boolean {
    return !this.canSend && this.current !== "SYN-SENT" && this.current !== "SYN-RECEIVED";
  }

  /** FIN after everything written; receiving goes on. */
  shutdown(): void {
    if (!this.canSend) return;
    this.sender.finish();
    this.enter(this.current === "CLOSE-WAIT" ? "LAST-ACK" : "FIN-WAIT-1");
    this.owner.touch(this);
  }

  /** Ends the connection at once: RST to the peer, everything queued is forgotten, the handler hears no more. */
  abort(): void {
    this.receiver.discard();
    this.handler = undefined;
    // In TIME-WAIT both sides are done: there is nothing to end, and the state must last.
    if (this.current === "CLOSED" || this.current === "TIME-WAIT") return;
    this.resetOwed = this.current !== "SYN-SENT";
    this.owner.touch(this);
    this.close("aborted");
  }

  /** Nobody uses the connection any more; it finishes by itself, within the user time-out. */
  release(): void {
    this.handler = undefined;
    this.sender.orphaned = true;
    this.receiver.discard();
  }

  // ---- segments in -----------------------------------------------------------------------------------------------

  /** Begins a passive connection with the peer's SYN. */
  open(syn: Segment, now: number): void {
    this.handshake.take(syn, now);
    this.owner.touch(this);
  }

  /** Takes in one segment. Returns whether it belonged to this connection by its sequence number. */
  receive(segment: Segment, now: number): boolean {
    if (this.current === "CLOSED") return false;
    if (this.current === "SYN-SENT") return this.receiveInSynSent(segment, now);
    const { flags } = segment;
    if ((flags & RST) === 0 && !this.passesTimestampCheck(segment, now)) return false;
    if (!this.passesSequenceCheck(segment, now)) return false;
    if ((flags & RST) !== 0) {
      // TIME-WAIT outlasts a RST, or an old duplicate's answer would end it early (RFC 1337 section 3, fix F1).
      if (this.current === "TIME-WAIT") return false;
      // RFC 5961 section 3: only the exact number resets, others in the window may be forged.
      if (segment.seq === this.receiver.nxt) this.resetByPeer();
      else this.challenge(now);
      return false;
    }
    if ((flags & SYN) !== 0) {
      // In SYN-RECEIVED a new SYN with another number: back to LISTEN; the peer's next SYN begins anew.
      if (this.current === "SYN-RECEIVED" && this.passive) this.close("aborted");
      else this.challenge(now);
      return false;
    }
    if ((flags & ACK) === 0) {
      this.owner.counters.drop_no_ack += 1;
      return false;
    }
    if (this.current === "SYN-RECEIVED") {
      if (segment.ack !== this.sender.nxt) {
        this.strayAck = segment.ack;
        this.owner.touch(this);
        return false;
      }
      this.establish(segment, segment.window << this.sender.scale, now);
      if (this.state !== "ESTABLISHED") return true;
    } else if (!this.isAckAcceptable(segment.ack)) {
      this.owner.counters.drop_bad_ack += 1;
      this.challenge(now);
      return false;
    }
    this.timestamps.take(segment, now);
    if (this.current !== "TIME-WAIT") this.keepAlive?.heard(now);
    this.receiveSynchronized(segment, now);
    return true;
  }

  private receiveInSynSent(segment: Segment, now: number): boolean {
    const { flags } = segment;
    const acknowledged = (flags & ACK) !== 0;
    if (acknowledged && segment.ack !== this.sender.nxt) {
      if ((flags & RST) !== 0) return false;
      this.strayAck = segment.ack;
      this.owner.touch(this);
      return false;
    }
    if ((flags & RST) !== 0) {
      if (acknowledged) this.resetByPeer();
      return acknowledged;
    }
    if ((flags & SYN) === 0) return false;
    this.handshake.take(segment, now);
    if (acknowledged) {
      this.establish(segment, segment.window, now);
      this.ackOwed = true;
    } else {
      // Simultaneous open: answer with SYN and ACK.
      this.enter("SYN-RECEIVED");
      this.handshake.owed = true;
    }
    this.owner.touch(this);
    return true;
  }

  private passesTimestampCheck(segment: Segment, now: number): boolean {
    const fault = this.timestamps.check(segment, now);
    if (fault === undefined) return true;
    this.owner.counters[fault] += 1;
    if (fault === "drop_paws") this.answerUnacceptable(segment, now);
    return false;
  }

  private passesSequenceCheck(segment: Segment, now: number): boolean {
    const length = segmentLength(segment);
    if (this.receiver.isAcceptable(segment.seq, length)) return true;
    this.owner.counters.drop_out_of_window += 1;
    const { flags } = segment;
    if ((flags & RST) !== 0) return false;
    if (this.current === "SYN-RECEIVED" && (flags & SYN) !== 0 && segment.seq === this.handshake.irs) {
      if ((flags & ACK) !== 0 && segment.ack === this.sender.nxt) {
        // The other half of a simultaneous open.
        this.establish(segment, segment.window, now);
        this.oweAck();
        return false;
      }
      // The peer has not seen our SYN.
      this.handshake.owed = true;
      this.owner.touch(this);
      return false;
    }
    if (this.current === "TIME-WAIT" && (flags & FIN) !== 0) this.timer = now + this.owner.config.timeWait;
    this.answerUnacceptable(segment, now);
    return false;
  }

  /** Empty segments are answered seldom, or two ends that disagree would acknowledge each other for ever. */
  private answerUnacceptable(segment: Segment, now: number): void {
    if (segmentLength(segment) > 0) {
      this.receiver.repeated(segment.seq, segment.payload.length);
      this.oweAck();
    } else this.challenge(now);
  }

  /** RFC 5961 section 5.2. */
  private isAckAcceptable(ack: number): boolean {
    const { sender } = this;
    return !seqAfter(ack, sender.nxt) && !seqBefore(ack, seqAdd(sender.una, -sender.maxWindow));
  }

  private receiveSynchronized(segment: Segment, now: number): void {
    const { sender, receiver } = this;
    sender.acknowledge(segment, now);
    if (sender.finAcknowledged) {
      if (this.current === "FIN-WAIT-1") this.enter("FIN-WAIT-2");
      else if (this.current === "CLOSING") this.enterTimeWait(now);
      else if (this.current === "LAST-ACK") {
        this.close("finished");
        return;
      }
    }
    // Acknowledged bytes may have opened the congestion or the peer's window.
    this.owner.touch(this);
    const fin = (segment.flags & FIN) !== 0;
    let readable = false;
    if (segment.payload.length > 0 || fin) {
      if (this.canReceive) {
        const received = receiver.receive(segment.seq, segment.payload, fin);
        if (received === "out-of-order") this.duplicatesOwed += 1;
        else this.ackOwed = true;
        readable = received === "in-order";
        if (receiver.finished) this.onPeerFinished(now);
      } else {
        this.ackOwed = true;
      }
    }
    if (readable) this.handler?.onReadable();
    if (this.writeBlocked && sender.queue.length * 2 <= this.owner.config.sendBuffer) {
      this.writeBlocked = false;
      this.handler?.onDrained();
    }
    if (this.current === "TIME-WAIT") this.notifyClosed("finished");
  }

  private onPeerFinished(now: number): void {
    if (this.current === "ESTABLISHED") this.enter("CLOSE-WAIT");
    else if (this.current === "FIN-WAIT-1") this.enter("CLOSING");
    else if (this.current === "FIN-WAIT-2") this.enterTimeWait(now);
  }

  // ---- time and segments out -------------------------------------------------------------------------------------

  /** Does what is due at `now`; call `transmit` afterwards. */
  onTimer(now: number): void {
    if (now >= this.timer) {
      this.timer = Number.POSITIVE_INFINITY;
      if (this.current === "TIME-WAIT") {
        this.close("finished");
        return;
      }
      if (this.handshake.isExhausted) {
        this.close("timeout");
        return;
      }
      this.sender.rtt.backOff();
      this.handshake.owed = true;
      this.owner.touch(this);
    }
    if (this.keepAlive !== undefined && now >= this.keepAlive.deadline) this.onKeepAlive(this.keepAlive, now);
    if (now >= this.sender.timer) {
      if (!this.sender.onTimer(now)) {
        this.resetOwed = true;
        this.close("timeout");
      }
      this.owner.touch(this);
    }
  }

  private onKeepAlive(keepAlive: KeepAlive, now: number): void {
    const action = keepAlive.due(now, this.sender.timer < Number.POSITIVE_INFINITY);
    if (action === "wait") return;
    if (action === "give-up") {
      this.resetOwed = true;
      this.close("timeout");
    } else {
      this.owner.counters.keep_alive_probes += 1;
      this.keepAliveOwed = true;
    }
    this.owner.touch(this);
  }

  /**
   * Hands every segment that may leave at `now` to `emit`. The segment is used again for the next one: `emit` must
   * write it out before it returns.
   */
  transmit(now: number, emit: (segment: Segment) => void): void {
    const segment = out;
    if (this.strayAck !== undefined) {
      this.clear(segment, RST, this.strayAck);
      this.strayAck = undefined;
      emit(segment);
    }
    if (this.resetOwed) {
      this.resetOwed = false;
      this.clear(segment, RST | ACK, this.sender.nxt);
      this.acknowledge(segment, now);
      emit(segment);
      this.owner.counters.resets_out += 1;
    }
    switch (this.current) {
      case "CLOSED":
        return;
      case "SYN-SENT":
      case "SYN-RECEIVED":
        if (this.handshake.owed) this.transmitSyn(now, emit);
        return;
    }
    if (this.keepAliveOwed) {
      this.keepAliveOwed = false;
      // One before what the peer expects: nothing to take in, so that it has to answer.
      this.transmitAck(now, emit, seqAdd(this.sender.nxt, -1));
    }
    for (; this.duplicatesOwed > 0; this.duplicatesOwed--) this.transmitAck(now, emit);
    this.clear(segment, 0, 0);
    while (this.sender.next(now, segment)) {
      segment.flags |= ACK;
      this.acknowledge(segment, now);
      segment.window = this.receiver.announce(this.sender.mss);
      emit(segment);
      this.ackOwed = false;
    }
    if (this.ackOwed) this.transmitAck(now, emit);
    this.ackOwed = false;
  }

  private transmitAck(now: number, emit: (segment: Segment) => void, seq = this.sender.nxt): void {
    this.clear(out, ACK, seq);
    this.acknowledge(out, now);
    out.sacks = this.receiver.takeSackBlocks(
      this.timestamps.enabled ? MAX_SACK_BLOCKS_WITH_TIMESTAMPS : MAX_SACK_BLOCKS,
    );
    out.window = this.receiver.announce(this.sender.mss);
    emit(out);
  }

  private transmitSyn(now: number, emit: (segment: Segment) => void): void {
    this.clear(out, SYN, this.iss);
    if (this.current === "SYN-RECEIVED") {
      out.flags |= ACK;
      out.ack = this.receiver.nxt;
      this.timestamps.acknowledged(out.ack);
    }
    this.handshake.fill(out, now);
    this.timer = now + this.sender.rtt.rto;
    emit(out);
  }

  private acknowledge(segment: Segment, now: number): void {
    const { timestamps } = this;
    segment.ack = this.receiver.nxt;
    if (!timestamps.enabled) return;
    timestamps.stamp(segment, now);
    timestamps.acknowledged(segment.ack);
  }

  private clear(segment: Segment, flags: number, seq: number): void {
    segment.flags = flags;
    segment.seq = seq;
    segment.ack = 0;
    segment.window = 0;
    segment.mss = 0;
    segment.windowScale = -1;
    segment.timestamps = false;
    segment.sackPermitted = false;
    segment.sacks = NO_SACKS;
    segment.payload = NO_PAYLOAD;
  }

  // ---- changes of state ------------------------------------------------------------------------------------------

  private establish(segment: Segment, window: number, now: number): void {
    this.timer = Number.POSITIVE_INFINITY;
    this.handshake.complete(segment, window, now);
    this.keepAlive?.heard(now);
    this.enter("ESTABLISHED");
  }

  private get canSend(): boolean {
    return this.current === "ESTABLISHED" || this.current === "CLOSE-WAIT";
  }

  private get canReceive(): boolean {
    return this.current === "ESTABLISHED" || this.current === "FIN-WAIT-1" || this.current === "FIN-WAIT-2";
  }

  private oweAck(): void {
    this.ackOwed = true;
    this.owner.touch(this);
  }

  /** RFC 5961 section 7: says where we stand, so that an honest peer can prove itself. */
  private challenge(now: number): void {
    if (now - this.challengedAt < CHALLENGE_INTERVAL) return;
    this.challengedAt = now;
    this.owner.counters.challenge_acks += 1;
    this.oweAck();
  }

  private resetByPeer(): void {
    this.owner.counters.reset_by_peer += 1;
    this.close("reset");
  }

  private enterTimeWait(now: number): void {
    this.timer = now + this.owner.config.timeWait;
    this.sender.discard();
    this.keepAlive?.stop();
    this.enter("TIME-WAIT");
  }

  private close(reason: CloseReason): void {
    if (reason === "timeout") this.owner.counters.timed_out += 1;
    this.timer = Number.POSITIVE_INFINITY;
    this.sender.discard();
    this.keepAlive?.stop();
    if (reason !== "finished") this.receiver.discard();
    this.enter("CLOSED");
    this.notifyClosed(reason);
  }

  private notifyClosed(reason: CloseReason): void {
    const { handler } = this;
    this.handler = undefined;
    handler?.onClosed(reason);
  }

  private enter(state: State): void {
    const from = this.current;
    this.current = state;
    this.owner.moved(this, from);
  }
}

const NO_PAYLOAD = Buffer.alloc(0);
/** The one segment that `transmit` fills again and again. */
const out = emptySegment();
