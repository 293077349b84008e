import { ACK, FIN, RST, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import type { Budget } from "./budget.js";
import { Direction, type Moment } from "./direction.js";

/** Streams followed at a time; beyond it the one that was silent longest of a sample is closed. */
const MAX_STREAMS = 65_536;
const EVICTION_SAMPLE = 64;

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** One of two directions: 0 is that of the stream's first segment. */
export type Side = 0 | 1;

/** What reads a stream's bytes. */
export interface StreamReader {
  onBytes(side: Side, bytes: Buffer, at: Moment): void;
  onGap(side: Side, missing: number, at: Moment): void;
  /** One side has sent everything. */
  onFin?(at: Moment): void;
  /** Nothing more comes from either side. */
  onEnd(at: Moment): void;
}

export interface Segment {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly payload: Buffer;
  /** Bytes of the payload that were not captured. */
  readonly cut: number;
}

/** A TCP connection as far as the capture shows it. */
export class Stream {
  readonly directions: readonly [Direction, Direction];
  reader: StreamReader | undefined;
  /** Which side opened it; undefined where the handshake was not captured and nobody has said yet. */
  clientSide: Side | undefined;
  hasSyn = false;
  initialSequence: number | undefined;
  frames = 0;
  end: "fin" | "reset" | undefined;
  last: Moment;
  /** What the streams' bytes are, once that is known. */
  application: string | undefined;

  constructor(
    readonly index: number,
    readonly key: string,
    readonly first: Moment,
    readonly ends: readonly [Endpoint, Endpoint],
    budget: Budget,
  ) {
    this.last = first;
    const direction = (side: Side) =>
      new Direction(budget, {
        onBytes: (bytes, at) => this.reader?.onBytes(side, bytes, at),
        onGap: (missing, at) => this.reader?.onGap(side, missing, at),
      });
    this.directions = [direction(0), direction(1)];
  }

  get client(): Endpoint {
    return this.ends[this.clientSide ?? 0];
  }

  get server(): Endpoint {
    return this.ends[this.clientSide === 1 ? 0 : 1];
  }

  finish(): void {
    for (const direction of this.directions) direction.end();
    this.reader?.onEnd(this.last);
    this.reader = undefined;
  }
}

export interface StreamEvents {
  /** Gives the stream its reader. */
  onOpen(stream: Stream): void;
  /** No more will be told of it. */
  onClose(stream: Stream): void;
}

/** Finds each segment's stream. Numbers them as tshark does: from 0, in the order of their first segments. */
export class Streams {
  private readonly streams = new Map<string, Stream>();
  /** That of the segment before: mostly the next one's, too. */
  private last: Stream | undefined;
  private count = 0;

  constructor(
    private readonly budget: Budget,
    private readonly events: StreamEvents,
  ) {}

  /** Returns the stream of a segment. */
  onSegment(segment: Segment, at: Moment): Stream {
    let stream = this.find(segment);
    if (stream !== undefined && (segment.flags & (SYN | ACK)) === SYN && isAnother(stream, segment.seq)) {
      this.close(stream);
      stream = undefined;
    }
    stream ??= this.open(segment, at);
    this.last = stream;
    take(stream, isFrom(stream.ends[0], segment) ? 0 : 1, segment, at);
    return stream;
  }

  end(): void {
    for (const stream of this.streams.values()) this.close(stream);
  }

  private find(segment: Segment): Stream | undefined {
    const { last } = this;
    if (last !== undefined) {
      const [a, b] = last.ends;
      if (isFrom(a, segment) ? isTo(b, segment) : isFrom(b, segment) && isTo(a, segment)) return last;
    }
    return this.streams.get(keyOf(segment));
  }

  private open(segment: Segment, at: Moment): Stream {
    const { source, sourcePort, destination, destinationPort, flags } = segment;
    if (this.streams.size >= MAX_STREAMS) this.evict();
    const ends = [
      { address: source, port: sourcePort },
      { address: destination, port: destinationPort },
    ] as const;
    const stream = new Stream(this.count++, keyOf(segment), at, ends, this.budget);
    if (flags & SYN) stream.clientSide = flags & ACK ? 1 : 0;
    this.streams.set(stream.key, stream);
    this.events.onOpen(stream);
    return stream;
  }

  private close(stream: Stream): void {
    this.streams.delete(stream.key);
    if (this.last === stream) this.last = undefined;
    stream.finish();
    this.events.onClose(stream);
  }

  private evict(): void {
    let oldest: Stream | undefined;
    let seen = 0;
    for (const stream of this.streams.values()) {
      if (oldest === undefined || stream.last.timeUs < oldest.last.timeUs) oldest = stream;
      if (++seen === EVICTION_SAMPLE) break;
    }
    if (oldest !== undefined) this.close(oldest);
  }
}

/** The same for both directions. */
function keyOf({ source, sourcePort, destination, destinationPort }: Segment): string {
  const from = `${source} ${sourcePort}`;
  const to = `${destination} ${destinationPort}`;
  return from < to ? `${from} ${to}` : `${to} ${from}`;
}

function isFrom({ address, port }: Endpoint, { source, sourcePort }: Segment): boolean {
  return port === sourcePort && address === source;
}

function isTo({ address, port }: Endpoint, { destination, destinationPort }: Segment): boolean {
  return port === destinationPort && address === destination;
}

/** A SYN with another sequence number begins another connection with the same addresses and ports. */
function isAnother(stream: Stream, seq: number): boolean {
  return stream.initialSequence === undefined ? stream.frames > 0 : stream.initialSequence !== seq;
}

function take(stream: Stream, side: Side, { flags, seq, ack, payload, cut }: Segment, at: Moment): void {
  stream.frames += 1;
  stream.last = at;
  const direction = stream.directions[side];
  const hadFinished = direction.finished;
  const data = flags & SYN ? (seq + 1) | 0 : seq;
  if (flags & SYN) {
    stream.hasSyn = true;
    if ((flags & ACK) === 0) stream.initialSequence ??= seq;
    stream.clientSide ??= flags & ACK ? (side === 0 ? 1 : 0) : side;
    direction.onSyn(seq);
  }
  if (flags & ACK) stream.directions[side === 0 ? 1 : 0].onAcknowledged(ack);
  if (payload.length + cut > 0 && (flags & RST) === 0) direction.take(data, payload, cut, at);
  if (flags & FIN) direction.onFin((data + payload.length + cut) | 0);
  if (stream.end !== undefined) return;
  if (direction.finished && !hadFinished) stream.reader?.onFin?.(at);
  if (flags & RST) stream.end = "reset";
  else if (stream.directions[0].finished && stream.directions[1].finished) stream.end = "fin";
  if (stream.end !== undefined) stream.finish();
}
