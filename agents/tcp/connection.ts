import { judge } from "./acceptance.js";
import { CHALLENGE_INTERVAL, type SegmentSizes } from "./config.js";
import { KeepAlive } from "./keep-alive.js";
import { type Emit, Output } from "./output.js";
import { Parts, type Shared, type State } from "./parts.js";
import { Persist } from "./persist.js";
import { seqAfter, seqDiff } from "./wire/sequence.js";
import { FIN, type Segment } from "./wire/tcp.js";

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
export interface ConnectionOwner extends Shared {
  /** The connection has something to send, or a nearer deadline. */
  touch(connection: Connection): void;
  /** The state has changed from `from`. */
  moved(connection: Connection, from: State): void;
}

const NEVER = Number.POSITIVE_INFINITY;

/**
 * One TCP connection (RFC 9293): a pure state machine. Segments, calls of the user and the time go in; segments come
 * out of `transmit`, news out of the handler. It knows no addresses, timers or sockets.
 */
export class Connection {
  handler: ConnectionHandler | undefined;
  /** For the stack's tables, see deadlines.ts. */
  scheduledAt = NEVER;
  heapIndex = -1;
  touched = false;

  private readonly parts: Parts;
  private readonly output: Output;
  private readonly keepAlive: KeepAlive | undefined;
  private current: State;
  /** When TIME-WAIT ends, or FIN-WAIT-2 is given up. */
  private waitEnd = NEVER;
  /** Undefined while the peer's window keeps nothing waiting. */
  private persist: Persist | undefined;
  private challengedAt = Number.NEGATIVE_INFINITY;
  private writeBlocked = false;

  /** @param passive begins in SYN-RECEIVED by a peer's SYN (see `open`), else in SYN-SENT */
  constructor(
    private readonly owner: ConnectionOwner,
    iss: number,
    readonly passive: boolean,
    sizes: SegmentSizes,
  ) {
    this.parts = new Parts(owner, iss, sizes);
    this.output = new Output(this.parts);
    if (owner.config.keepAliveIdle > 0) this.keepAlive = new KeepAlive(owner.config);
    this.current = passive ? "SYN-RECEIVED" : "SYN-SENT";
  }

  get state(): State {
    return this.current;
  }

  /** When `onTimer` must be called at the latest; Infinity for an idle connection. */
  get deadline(): number {
    const { sender, handshake } = this.parts;
    const own = Math.min(this.waitEnd, sender.timer, this.output.delayedAck.deadline);
    if (handshake !== undefined) return Math.min(own, handshake.deadline);
    return this.keepAlive === undefined ? own : Math.min(own, this.keepAlive.deadline);
  }

  /** SND.NXT and RCV.NXT, for choosing the next incarnation's numbers and for tests. */
  get sendNext(): number {
    return this.parts.sender.nxt;
  }

  get receiveNext(): number {
    return this.parts.receiver.nxt;
  }

  /** Whether `syn` can only be of a new incarnation of this connection in TIME-WAIT (RFC 6191 section 2). */
  isReopenedBy(syn: Segment): boolean {
    if (syn.timestamps && this.owner.config.timestamps) {
      if (!this.parts.timestamps.enabled) return true;
      const later = seqDiff(syn.tsVal, this.parts.timestamps.recent);
      if (later !== 0) return later > 0;
    }
    return seqAfter(syn.seq, this.parts.receiver.nxt);
  }

  // ---- the user's side -------------------------------------------------------------------------------------------

  get isWritable(): boolean {
    return this.parts.sender.queue.length < this.owner.config.sendBuffer;
  }

  /** Queues bytes; they leave with the next `transmit`. The buffer must not change afterwards. */
  write(chunk: Buffer): void {
    if (!this.canSend) return;
    this.parts.sender.write(chunk);
    if (!this.isWritable) this.writeBlocked = true;
    this.owner.touch(this);
  }

  /** The next received bytes, or undefined when there are none now (see `isEnded`). */
  read(): Buffer | undefined {
    const chunk = this.parts.receiver.read();
    if (chunk !== undefined && this.parts.receiver.isWindowUpdateDue(this.parts.sender.mss)) this.oweAck();
    return chunk;
  }

  /** The peer has closed its direction, and everything before has been read. */
  get isEnded(): boolean {
    return this.parts.receiver.finished && !this.parts.receiver.hasUnread;
  }

  /** Whether `shutdown` was called: the connection ends by itself when the peer plays along. */
  get isClosing(): boolean {
    return !this.canSend && this.current !== "SYN-SENT" && this.current !== "SYN-RECEIVED";
  }

  /** FIN after everything written; receiving goes on. */
  shutdown(): void {
    if (!this.canSend) return;
    this.parts.sender.finish();
    this.enter(this.current === "CLOSE-WAIT" ? "LAST-ACK" : "FIN-WAIT-1");
    this.owner.touch(this);
  }

  /** Ends the connection at once: RST to the peer, everything queued is forgotten, the handler hears no more. */
  abort(): void {
    this.parts.receiver.discard();
    this.handler = undefined;
    // In TIME-WAIT both sides are done: there is nothing to end, and the state must last.
    if (this.current === "CLOSED" || this.current === "TIME-WAIT") return;
    this.output.resetOwed = this.current !== "SYN-SENT";
    this.owner.touch(this);
    this.close("aborted");
  }

  /** Nobody uses the connection any more; it finishes by itself, within the user time-out. */
  release(): void {
    this.handler = undefined;
    this.parts.sender.orphaned = true;
    this.parts.receiver.discard();
  }

  // ---- segments in -----------------------------------------------------------------------------------------------

  /** Begins a passive connection with the peer's SYN. */
  open(syn: Segment, now: number): void {
    this.parts.handshake?.take(syn, now);
    this.owner.touch(this);
  }

  /** Begins a passive connection whose SYNs have been exchanged by a cookie; `receive` of the ACK must follow. */
  resume(syn: Segment, now: number): void {
    this.parts.handshake?.take(syn, now);
    this.parts.handshake?.sentByCookie();
  }

  /** Takes in one segment. Returns whether it belonged to this connection by its sequence number. */
  receive(segment: Segment, now: number): boolean {
    if (this.current === "CLOSED") return false;
    const { parts, output } = this;
    switch (judge(parts, this.current, this.passive, segment, now)) {
      case "accept":
        this.accept(segment, now);
        return true;
      case "syn":
        // Simultaneous open: answer with SYN and ACK.
        parts.handshake?.take(segment, now);
        this.enter("SYN-RECEIVED");
        this.oweSyn();
        return true;
      case "syn-ack":
        parts.handshake?.take(segment, now);
        this.establish(segment, segment.window, now);
        this.oweAck();
        return true;
      case "crossed":
        this.establish(segment, segment.window, now);
        this.oweAck();
        return false;
      case "repeat-syn":
        this.oweSyn();
        return false;
      case "answer-fin":
        this.waitEnd = now + this.owner.config.timeWait;
        this.answer(segment);
        return false;
      case "answer":
        this.answer(segment);
        return false;
      case "challenge":
        this.challenge(now);
        return false;
      case "refuse":
        output.strayAck = segment.ack;
        this.owner.touch(this);
        return false;
      case "reset": {
        const { current } = this;
        this.owner.counters.reset_by_peer += 1;
        this.close("reset");
        return current === "SYN-SENT";
      }
      case "restart":
        this.close("aborted");
        return false;
      case "drop":
        return false;
    }
  }

  /**
   * A router told that our segment with number `quotedSeq` was too big (RFC 1191, RFC 8201): from now on segments take
   * `mss` bytes at most, options of TCP included; `mss` never rises by this, and never falls below MIN_MSS. What is out
   * and too big is sent again in smaller pieces, without slowing down: it says nothing of congestion.
   *
   * @returns false when nothing with that number is in flight (RFC 5927 section 4.1: nobody on our path saw it)
   */
  onPathMtu(mss: number, quotedSeq: number, now: number): boolean {
    const { sender } = this.parts;
    if (!sender.isInFlight(quotedSeq)) return false;
    if (sender.limitSegmentSize(mss, now)) this.owner.touch(this);
    return true;
  }

  private accept(segment: Segment, now: number): void {
    const { sender, timestamps } = this.parts;
    if (this.current === "SYN-RECEIVED") {
      this.establish(segment, segment.window << sender.scale, now);
      // The user may have ended it already.
      if (this.state !== "ESTABLISHED") return;
    }
    timestamps.take(segment, now);
    if (this.current !== "TIME-WAIT") this.keepAlive?.heard(now);
    this.receiveSynchronized(segment, now);
  }

  private receiveSynchronized(segment: Segment, now: number): void {
    const { sender, receiver } = this.parts;
    const { output } = this;
    const { finWait2 } = this.owner.config;
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
    const { length } = segment.payload;
    let readable = false;
    if (length > 0 || fin) {
      if (this.canReceive) {
        const received = receiver.receive(segment.seq, segment.payload, fin);
        readable = received === "in-order" || received === "filled";
        if (received === "out-of-order") output.duplicatesOwed += 1;
        else if (received !== "in-order" || fin || output.delayedAck.onData(length, sender.mss, now))
          output.ackOwed = true;
        if (receiver.finished) this.onPeerFinished(now);
      } else {
        output.ackOwed = true;
      }
    }
    if (readable) this.handler?.onReadable();
    if (this.writeBlocked && sender.queue.length * 2 <= this.owner.config.sendBuffer) {
      this.writeBlocked = false;
      this.handler?.onDrained();
    }
    if (this.current === "TIME-WAIT") this.notifyClosed("finished");
    else if (this.current === "FIN-WAIT-2" && (segment.payload.length > 0 || this.waitEnd === NEVER))
      this.waitEnd = finWait2 > 0 ? now + finWait2 : NEVER;
    if (sender.una === sender.nxt && sender.queue.length === 0) this.persist = undefined;
    else this.persist?.advanced(sender.una, sender.mss, now);
  }

  private onPeerFinished(now: number): void {
    if (this.current === "ESTABLISHED") this.enter("CLOSE-WAIT");
    else if (this.current === "FIN-WAIT-1") this.enter("CLOSING");
    else if (this.current === "FIN-WAIT-2") this.enterTimeWait(now);
  }

  // ---- time and segments out -------------------------------------------------------------------------------------

  /** Does what is due at `now`; call `transmit` afterwards. */
  onTimer(now: number): void {
    const { handshake, sender } = this.parts;
    if (now >= this.waitEnd) {
      if (this.current === "TIME-WAIT") this.close("finished");
      else {
        this.owner.counters.fin_wait_2_expired += 1;
        this.giveUp();
      }
      return;
    }
    if (handshake !== undefined && now >= handshake.deadline) {
      if (!handshake.onTimer()) {
        this.close("timeout");
        return;
      }
      this.owner.touch(this);
    }
    if (this.keepAlive !== undefined && now >= this.keepAlive.deadline) this.onKeepAlive(this.keepAlive, now);
    const { delayedAck } = this.output;
    if (now >= delayedAck.deadline) {
      delayedAck.onTimer();
      this.oweAck();
    }
    if (now >= sender.timer) {
      if (!sender.onTimer(now) || this.isPersistExpired(now)) this.giveUp();
      else this.owner.touch(this);
    }
  }

  /** A timer of the sender's has gone off: whether the peer's window has kept it waiting for too long. */
  private isPersistExpired(now: number): boolean {
    const { sender } = this.parts;
    const { persistTimeout } = this.owner.config;
    if (persistTimeout === 0 || sender.window >= sender.mss) return false;
    this.persist ??= new Persist(sender.una, now);
    if (this.persist.waited(now) < persistTimeout) return false;
    this.owner.counters.persist_expired += 1;
    return true;
  }

  /** Ends the connection for want of an answer, and says so to whoever may still be there. */
  private giveUp(): void {
    this.output.resetOwed = true;
    this.owner.touch(this);
    this.close("timeout");
  }

  private onKeepAlive(keepAlive: KeepAlive, now: number): void {
    const action = keepAlive.due(now, this.parts.sender.timer < NEVER);
    if (action === "wait") return;
    if (action === "give-up") {
      this.giveUp();
      return;
    }
    this.owner.counters.keep_alive_probes += 1;
    this.output.keepAliveOwed = true;
    this.owner.touch(this);
  }

  /** Hands every segment that may leave at `now` to `emit`. */
  transmit(now: number, emit: Emit): void {
    this.output.transmit(this.current, now, emit);
  }

  // ---- changes of state ------------------------------------------------------------------------------------------

  private establish(segment: Segment, window: number, now: number): void {
    this.parts.handshake?.complete(segment, window, now);
    this.parts.handshake = undefined;
    this.keepAlive?.heard(now);
    this.enter("ESTABLISHED");
  }

  private get canSend(): boolean {
    return this.current === "ESTABLISHED" || this.current === "CLOSE-WAIT";
  }

  private get canReceive(): boolean {
    return this.current === "ESTABLISHED" || this.current === "FIN-WAIT-1" || this.current === "FIN-WAIT-2";
  }

  private oweSyn(): void {
    if (this.parts.handshake !== undefined) this.parts.handshake.owed = true;
    this.owner.touch(this);
  }

  private oweAck(): void {
    this.output.ackOwed = true;
    this.owner.touch(this);
  }

  /** Says where we stand, and that these bytes have come before. */
  private answer(segment: Segment): void {
    this.parts.receiver.repeated(segment.seq, segment.payload.length);
    this.oweAck();
  }

  /** RFC 5961 section 7: says where we stand, so that an honest peer can prove itself. */
  private challenge(now: number): void {
    if (now - this.challengedAt < CHALLENGE_INTERVAL) return;
    this.challengedAt = now;
    this.owner.counters.challenge_acks += 1;
    this.oweAck();
  }

  private enterTimeWait(now: number): void {
    this.waitEnd = now + this.owner.config.timeWait;
    this.parts.sender.discard();
    this.keepAlive?.stop();
    this.enter("TIME-WAIT");
  }

  private close(reason: CloseReason): void {
    if (reason === "timeout") this.owner.counters.timed_out += 1;
    this.waitEnd = NEVER;
    this.parts.handshake = undefined;
    this.output.delayedAck.stop();
    this.parts.sender.discard();
    this.keepAlive?.stop();
    if (reason !== "finished") this.parts.receiver.discard();
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
