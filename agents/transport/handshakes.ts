import { type Clock, systemClock, type Timer } from "@topicast/protocol";
import type { ByteStream } from "./transport.js";

/** A handshake that came to nothing, for the log. */
export interface HandshakeFailure {
  /** The client, as `ByteStream.peer`. */
  readonly peer: string;
  /** The counter that counted it, e.g. `tls_timeout`. */
  readonly counter: string;
  readonly detail: string | undefined;
}

export interface HandshakeOptions {
  /** Time for a handshake from its first byte on, in ms. */
  readonly timeoutMs?: number | undefined;
  /** Handshakes under way at a time; beyond it the oldest is given up. */
  readonly maxHandshakes?: number | undefined;
  /** Default: the system's clock. */
  readonly clock?: Clock | undefined;
  readonly onFailure?: ((failure: HandshakeFailure) => void) | undefined;
}

const TIMEOUT = 10_000;
const MAX_HANDSHAKES = 1_024;

/** One handshake. Only the first of the calls has an effect; none of them once the stream is closed. */
export interface Handshake {
  /** It is through: the stream belongs to the next one. */
  succeed(): void;
  /** It has failed: the stream is destroyed. */
  fail(reason: string, detail?: string): void;
  /** It has failed and the client is being told: the stream has the rest of the time limit to close. */
  refuse(reason: string, detail?: string): void;
}

interface Watched {
  readonly stream: ByteStream;
  readonly timer: Timer;
  readonly onClose: () => void;
  refused: boolean;
}

/** Keeps time limit, bound and counters of one layer's handshakes. */
export class Handshakes {
  private readonly count: Record<string, number> = {};
  /** In the order of their start. */
  private readonly open = new Set<Watched>();
  private readonly timeoutMs: number;
  private readonly max: number;
  private readonly clock: Clock;

  /**
   * @param name begins the counters' names
   * @param reasons of failures, so that each has its counter from the start; `timeout`, `evicted` and `aborted` (closed
   *   by the client) are always there
   */
  constructor(
    private readonly name: string,
    reasons: readonly string[],
    private readonly options: HandshakeOptions,
  ) {
    for (const each of ["accepted", "timeout", "evicted", "aborted", ...reasons])
      this.count[`${name}_${each}`] = 0;
    this.timeoutMs = options.timeoutMs ?? TIMEOUT;
    this.max = options.maxHandshakes ?? MAX_HANDSHAKES;
    this.clock = options.clock ?? systemClock;
  }

  begin(stream: ByteStream): Handshake {
    if (this.open.size >= this.max)
      for (const oldest of this.open) {
        this.fail(oldest, "evicted");
        break;
      }
    const watched: Watched = {
      stream,
      timer: this.clock.setTimer(this.timeoutMs, () => this.fail(watched, "timeout")),
      onClose: () => this.fail(watched, "aborted"),
      refused: false,
    };
    this.open.add(watched);
    stream.once("close", watched.onClose);
    return {
      succeed: () => {
        if (!watched.refused && this.forget(watched)) this.add("accepted");
      },
      fail: (reason, detail) => this.fail(watched, reason, detail),
      refuse: (reason, detail) => {
        if (watched.refused || !this.open.has(watched)) return;
        watched.refused = true;
        this.failed(watched, reason, detail);
      },
    };
  }

  /** Counts something that went wrong after a handshake. */
  add(reason: string): void {
    const counter = `${this.name}_${reason}`;
    this.count[counter] = (this.count[counter] ?? 0) + 1;
  }

  counters(): Readonly<Record<string, number>> {
    return { ...this.count, [`${this.name}_handshakes`]: this.open.size };
  }

  private fail(watched: Watched, reason: string, detail?: string): void {
    if (!this.forget(watched)) return;
    if (!watched.refused) this.failed(watched, reason, detail);
    watched.stream.destroy();
  }

  private failed({ stream }: Watched, reason: string, detail: string | undefined): void {
    this.add(reason);
    this.options.onFailure?.({ peer: stream.peer, counter: `${this.name}_${reason}`, detail });
  }

  private forget(watched: Watched): boolean {
    if (!this.open.delete(watched)) return false;
    watched.timer.cancel();
    watched.stream.removeListener("close", watched.onClose);
    return true;
  }
}
