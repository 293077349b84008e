import type { TcpConfig } from "./config.js";

/**
 * Keep-alive of one connection (RFC 9293 section 3.8.4): when nothing has come for `keepAliveIdle`, probes leave every
 * `keepAliveInterval`; after `keepAliveProbes` without an answer the peer is gone.
 */
export class KeepAlive {
  /** When `due` wants to be called. */
  deadline = Number.POSITIVE_INFINITY;
  private unanswered = 0;

  constructor(private readonly config: TcpConfig) {}

  /** An acceptable segment has come, at `now`. */
  heard(now: number): void {
    this.unanswered = 0;
    this.deadline = now + this.config.keepAliveIdle;
  }

  stop(): void {
    this.deadline = Number.POSITIVE_INFINITY;
  }

  /**
   * The time of `deadline` has come: what to do.
   *
   * @param busy data is on its way, and its own timer watches the peer
   */
  due(now: number, busy: boolean): "wait" | "probe" | "give-up" {
    if (busy) {
      this.heard(now);
      return "wait";
    }
    if (this.unanswered >= this.config.keepAliveProbes) return "give-up";
    this.unanswered += 1;
    this.deadline = now + this.config.keepAliveInterval;
    return "probe";
  }
}
