import { DelayedAck } from "./delayed-ack.js";
import type { Parts, State } from "./parts.js";
import { seqAdd } from "./wire/sequence.js";
import {
  ACK,
  emptySegment,
  MAX_SACK_BLOCKS,
  MAX_SACK_BLOCKS_WITH_TIMESTAMPS,
  NO_SACKS,
  RST,
  type Segment,
  SYN,
} from "./wire/tcp.js";

/** Takes a segment to the wire. The segment is used again for the next one: write it out before returning. */
export type Emit = (segment: Segment) => void;

/**
 * What a connection owes its peer, and the segments that pay it: data with the acknowledgement on it, else an empty
 * acknowledgement, SYN, RST.
 */
export class Output {
  /** An acknowledgement; data does as well. */
  ackOwed = false;
  /** Acknowledgements that must go out empty, so that the peer counts them as duplicates. */
  duplicatesOwed = 0;
  resetOwed = false;
  keepAliveOwed = false;
  /** An acknowledgement number that never was ours, to be answered with RST (RFC 9293 section 3.10.7.4). */
  strayAck: number | undefined;

  readonly delayedAck: DelayedAck;

  constructor(private readonly parts: Parts) {
    this.delayedAck = new DelayedAck(parts.shared.config.ackDelay);
  }

  /** Hands every segment that may leave at `now` in `state` to `emit`. */
  transmit(state: State, now: number, emit: Emit): void {
    if (this.strayAck !== undefined) {
      clear(out, RST, this.strayAck);
      this.strayAck = undefined;
      emit(out);
    }
    if (this.resetOwed) this.transmitReset(now, emit);
    switch (state) {
      case "CLOSED":
        return;
      case "SYN-SENT":
      case "SYN-RECEIVED":
        this.transmitSyn(state, now, emit);
        if (state === "SYN-RECEIVED" && this.ackOwed) this.transmitAck(now, emit);
        this.ackOwed = false;
        return;
    }
    const { sender, receiver } = this.parts;
    // One before what the peer expects: nothing to take in, so that it has to answer.
    if (this.keepAliveOwed) this.transmitAck(now, emit, seqAdd(sender.nxt, -1));
    this.keepAliveOwed = false;
    for (; this.duplicatesOwed > 0; this.duplicatesOwed--) this.transmitAck(now, emit);
    clear(out, 0, 0);
    while (sender.next(now, out)) {
      out.flags |= ACK;
      this.acknowledge(out, now);
      out.window = receiver.announce(sender.mss);
      this.delayedAck.onSent(true, now);
      emit(out);
      this.ackOwed = false;
    }
    if (this.ackOwed) this.transmitAck(now, emit);
    this.ackOwed = false;
  }

  private transmitReset(now: number, emit: Emit): void {
    const { sender, shared } = this.parts;
    this.resetOwed = false;
    clear(out, RST | ACK, sender.nxt);
    this.acknowledge(out, now);
    emit(out);
    shared.counters.resets_out += 1;
  }

  private transmitSyn(state: State, now: number, emit: Emit): void {
    const { handshake, receiver, timestamps, iss } = this.parts;
    if (!handshake?.owed) return;
    clear(out, SYN, iss);
    if (state === "SYN-RECEIVED") {
      out.flags |= ACK;
      out.ack = receiver.nxt;
      timestamps.acknowledged(out.ack);
    }
    handshake.fill(out, now);
    emit(out);
  }

  private transmitAck(now: number, emit: Emit, seq = this.parts.sender.nxt): void {
    const { sender, receiver, timestamps } = this.parts;
    clear(out, ACK, seq);
    this.acknowledge(out, now);
    out.sacks = receiver.takeSackBlocks(
      timestamps.enabled ? MAX_SACK_BLOCKS_WITH_TIMESTAMPS : MAX_SACK_BLOCKS,
    );
    out.window = receiver.announce(sender.mss);
    this.delayedAck.onSent(false, now);
    emit(out);
  }

  private acknowledge(segment: Segment, now: number): void {
    const { timestamps, receiver } = this.parts;
    segment.ack = receiver.nxt;
    if (!timestamps.enabled) return;
    timestamps.stamp(segment, now);
    timestamps.acknowledged(segment.ack);
  }
}

function clear(segment: Segment, flags: number, seq: number): void {
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

const NO_PAYLOAD = Buffer.alloc(0);
/** The one segment that is filled again and again. */
const out = emptySegment();
