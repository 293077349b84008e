import { type SegmentSizes, type TcpConfig, windowShift } from "./config.js";
import type { TcpCounters } from "./counters.js";
import { type Source, Sources, sourceOf } from "./sources.js";
import { SynCookies, stampOptions } from "./syn-cookies.js";
import { seqAdd } from "./wire/sequence.js";
import { ACK, emptySegment, type Segment, SYN } from "./wire/tcp.js";

/** Why a connection is not let in; also the names of the counters. */
export type Refusal =
  | "drop_connections_full"
  | "drop_half_open_full"
  | "drop_source_connections"
  | "drop_source_rate";

/**
 * Who may open a connection. A refused SYN is dropped, not answered with RST: its sender tries again, ever more slowly, and
 * gets in once there is room, where a RST would have many a device try again at once. Beyond the bounds of half-open
 * connections nobody is refused: SYN cookies answer then.
 */
export class Admission {
  readonly sources: Sources;
  /** Passive connections in SYN-RECEIVED. */
  halfOpen = 0;
  private readonly cookies: SynCookies;

  constructor(
    private readonly config: TcpConfig,
    private readonly counters: TcpCounters,
  ) {
    this.sources = new Sources(config, counters);
    this.cookies = new SynCookies(config);
  }

  /**
   * What becomes of a SYN.
   *
   * @param open connections that are not closed, TIME-WAIT apart
   * @param reopening a connection in TIME-WAIT would have to be forgotten, which no cookie is worth
   */
  judge(key: string, open: number, reopening: boolean, now: number): "accept" | "cookie" | Refusal {
    const source = this.sources.find(sourceOf(key));
    const refusal = this.refusal(source, open, now);
    if (refusal !== undefined) return refusal;
    const { maxHalfOpen, maxHalfOpenPerSource } = this.config;
    const perSource = maxHalfOpenPerSource === 0 ? maxHalfOpen : maxHalfOpenPerSource;
    if (this.halfOpen < maxHalfOpen && (source?.halfOpen ?? 0) < perSource) return "accept";
    return reopening ? "drop_half_open_full" : "cookie";
  }

  /** The SYN-ACK that answers `syn` and lets us forget it. @param clock of our timestamps */
  answerWithCookie(key: string, syn: Segment, sizes: SegmentSizes, clock: number, now: number): Segment {
    const { config } = this;
    const remembering = config.timestamps && syn.timestamps;
    const answer = emptySegment();
    answer.flags = SYN | ACK;
    answer.seq = this.cookies.make(key, syn.seq, syn.mss === 0 ? sizes.assumed : syn.mss, now);
    answer.ack = seqAdd(syn.seq, 1);
    answer.window = Math.min(config.receiveBuffer, 0xffff);
    answer.mss = sizes.largest;
    if (remembering) {
      answer.timestamps = true;
      answer.tsVal = stampOptions(clock, syn);
      answer.tsEcr = syn.tsVal;
      answer.sackPermitted = config.sack && syn.sackPermitted;
      if (syn.windowScale >= 0) answer.windowScale = windowShift(config.receiveBuffer);
    }
    this.counters.cookies_sent += 1;
    return answer;
  }

  /** Whether an ACK of no connection may complete a handshake that a cookie stands for. */
  mayComplete(now: number): boolean {
    return this.cookies.isAwaiting(now);
  }

  /** The SYN of the handshake that `ack` completes by its cookie; undefined when it has no valid one. */
  complete(key: string, ack: Segment, open: number, now: number): Segment | Refusal | undefined {
    const syn = this.cookies.open(key, ack, now);
    if (syn === undefined) {
      this.counters.cookies_rejected += 1;
      return undefined;
    }
    const refusal = this.refusal(this.sources.find(sourceOf(key)), open, now);
    if (refusal !== undefined) return refusal;
    this.counters.cookies_accepted += 1;
    return syn;
  }

  /** A passive connection begins. Returns its source, for `established` and `left`. */
  entered(key: string, now: number): Source {
    const source = this.sources.enter(sourceOf(key), now);
    source.arrivals?.take(1, now);
    source.halfOpen += 1;
    this.halfOpen += 1;
    return source;
  }

  /** It is half-open no more, whatever it has become. */
  settled(source: Source): void {
    source.halfOpen -= 1;
    this.halfOpen -= 1;
  }

  /** It costs no more than TIME-WAIT does. */
  left(source: Source): void {
    this.sources.leave(source);
  }

  private refusal(source: Source | undefined, open: number, now: number): Refusal | undefined {
    const { maxConnections, maxConnectionsPerSource } = this.config;
    if (open >= maxConnections) return "drop_connections_full";
    if (source === undefined) return undefined;
    if (maxConnectionsPerSource > 0 && source.connections >= maxConnectionsPerSource)
      return "drop_source_connections";
    return source.arrivals?.holds(1, now) === false ? "drop_source_rate" : undefined;
  }
}
