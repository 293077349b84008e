import type { SegmentSizes, TcpConfig } from "./config.js";
import type { TcpCounters } from "./counters.js";
import { Handshake } from "./handshake.js";
import type { MemoryBudget } from "./memory.js";
import { Receiver } from "./receiver.js";
import { Sender } from "./sender.js";
import { Timestamps } from "./timestamps.js";

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

/** What all connections of a stack share. */
export interface Shared {
  readonly config: TcpConfig;
  readonly counters: TcpCounters;
  readonly memory: MemoryBudget;
  /** Added to the clock in timestamps, so that they do not tell how long we have been running. */
  readonly timestampOffset: number;
}

/** What one connection is made of: the two halves and what both need. */
export class Parts {
  readonly timestamps: Timestamps;
  readonly sender: Sender;
  readonly receiver: Receiver;
  /** Until it is complete. */
  handshake: Handshake | undefined;

  constructor(
    readonly shared: Shared,
    readonly iss: number,
    sizes: SegmentSizes,
  ) {
    const { config, counters, memory } = shared;
    this.timestamps = new Timestamps(shared.timestampOffset);
    this.sender = new Sender(iss, config, counters, this.timestamps);
    this.receiver = new Receiver(config.receiveBuffer, memory, counters);
    this.handshake = new Handshake(config, sizes, iss, this.sender, this.receiver, this.timestamps);
  }
}
