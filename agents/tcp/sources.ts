import { TokenBucket } from "@topicast/protocol";
import type { TcpConfig } from "./config.js";
import type { TcpCounters } from "./counters.js";

/** An IPv4 connection's key, see `Frame.key`. */
const IPV4_KEY = 12;
const IPV4_ADDRESS = 4;
/** A host is given a whole /64 and may take each frame's address from it anew. */
const IPV6_PREFIX = 8;

/** A byte rate below it must still let one through. */
const LARGEST_FRAME = 65_536;

/** What counts as one source: an IPv4 address, or the /64 of an IPv6 address. @param key of a connection */
export function sourceOf(key: string): string {
  return key.slice(0, key.length === IPV4_KEY ? IPV4_ADDRESS : IPV6_PREFIX);
}

/** Whoever connects: how much of us it has, and how fast it may take more. */
export interface Source {
  readonly key: string;
  /** Connections that are not closed and not in TIME-WAIT; half-open ones are among them. */
  connections: number;
  halfOpen: number;
  /** Undefined where the rate is not limited. */
  readonly arrivals: TokenBucket | undefined;
  readonly frames: TokenBucket | undefined;
  readonly bytes: TokenBucket | undefined;
}

/** What a source sends too much of; also the names of the counters. */
export type Excess = "drop_source_frames" | "drop_source_bytes";

/**
 * The sources that have connections, and those that had some so lately that their rate still counts. The first are
 * bounded by the connections; of the others, the one longest without a connection goes when there are too many.
 */
export class Sources {
  private readonly active = new Map<string, Source>();
  /** In the order in which the last connection ended. */
  private readonly resting = new Map<string, Source>();

  constructor(
    private readonly config: TcpConfig,
    private readonly counters: TcpCounters,
  ) {}

  get size(): number {
    return this.active.size + this.resting.size;
  }

  find(key: string): Source | undefined {
    return this.active.get(key) ?? this.resting.get(key);
  }

  /** Why a frame of one of its connections is to be dropped. */
  excess({ frames, bytes }: Source, length: number, now: number): Excess | undefined {
    if (frames?.take(1, now) === false) return "drop_source_frames";
    return bytes?.take(length, now) === false ? "drop_source_bytes" : undefined;
  }

  /** A source gets a connection. */
  enter(key: string, now: number): Source {
    this.forgetRested(now);
    let source = this.active.get(key);
    if (source === undefined) {
      source = this.resting.get(key) ?? this.create(key, now);
      this.resting.delete(key);
      this.active.set(key, source);
    }
    source.connections += 1;
    return source;
  }

  /** One of its connections has ended. */
  leave(source: Source): void {
    source.connections -= 1;
    if (source.connections > 0) return;
    this.active.delete(source.key);
    if (source.arrivals === undefined && source.frames === undefined && source.bytes === undefined) return;
    this.resting.set(source.key, source);
    if (this.resting.size <= this.config.maxRestingSources) return;
    for (const longest of this.resting.keys()) {
      this.counters.sources_evicted += 1;
      this.resting.delete(longest);
      return;
    }
  }

  private create(key: string, now: number): Source {
    const { connectionRatePerSource, connectionBurstPerSource, frameRatePerSource, byteRatePerSource } =
      this.config;
    const bucket = (perSecond: number, burst = perSecond) =>
      perSecond === 0 ? undefined : new TokenBucket({ perSecond, burst }, now);
    return {
      key,
      connections: 0,
      halfOpen: 0,
      arrivals: bucket(connectionRatePerSource, connectionBurstPerSource),
      frames: bucket(frameRatePerSource),
      bytes: bucket(byteRatePerSource, Math.max(byteRatePerSource, LARGEST_FRAME)),
    };
  }

  /** Those whose rate counts no more, from the longest without a connection on. */
  private forgetRested(now: number): void {
    for (const [key, { arrivals, frames, bytes }] of this.resting) {
      if (arrivals?.isFull(now) === false || frames?.isFull(now) === false || bytes?.isFull(now) === false)
        return;
      this.resting.delete(key);
    }
  }
}
