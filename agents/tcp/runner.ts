import type { Clock, Timer } from "@topicast/protocol";
import type { TcpConfig } from "./config.js";
import type { IsnGenerator } from "./isn.js";
import { type StationAddresses, TcpStack } from "./stack.js";

/** Where a stack meets the world. */
export interface Rim {
  clock: Clock;
  /** Calls `fn` once, when the events at hand are dealt with (`setImmediate`). */
  defer(fn: () => void): void;
  /** Sends `frame[0, length)`, which is used again after the call. */
  send(frame: Buffer, length: number): void;
  /** See `StackIo`. */
  bars?(address: string): boolean;
}

/**
 * Runs a stack: tells it the time, flushes once per turn of the event loop, and keeps one timer for all connections.
 */
export class StackRunner {
  readonly stack: TcpStack;
  private timer: Timer | undefined;
  private timerAt = Number.POSITIVE_INFINITY;

  constructor(
    station: StationAddresses,
    private readonly rim: Rim,
    config: Partial<TcpConfig> = {},
    chooseIsn?: IsnGenerator,
  ) {
    const flush = () => this.flush();
    const io = {
      send: (frame: Buffer, length: number) => rim.send(frame, length),
      wake: () => rim.defer(flush),
      ...(rim.bars === undefined ? {} : { bars: (address: string) => rim.bars!(address) }),
    };
    this.stack = new TcpStack(station, io, config, chooseIsn);
  }

  receive(frame: Buffer, length: number): void {
    this.stack.receive(frame, length, this.rim.clock.now());
  }

  flush(): void {
    this.stack.flush(this.rim.clock.now());
    this.arm();
  }

  /** Stops accepting, see `TcpStack.beginClose`; what leaves now leaves before this returns. */
  beginClose(): void {
    this.flush();
    this.stack.beginClose();
    this.flush();
  }

  /** Resets every connection and stops. */
  close(): void {
    this.stack.close();
    this.flush();
    this.timer?.cancel();
    this.timer = undefined;
  }

  private arm(): void {
    const { deadline } = this.stack;
    if (deadline >= this.timerAt) return;
    this.timer?.cancel();
    this.timerAt = deadline;
    this.timer = this.rim.clock.setTimer(Math.max(deadline - this.rim.clock.now(), 0), () => {
      this.timerAt = Number.POSITIVE_INFINITY;
      this.flush();
    });
  }
}
