import type { Packet } from "mqtt-packet";
import type { Clock, Timer } from "../clock.js";
import { type Datagram, END, type Header, Kind, START, serialDistance, serialNext, WHOLE } from "./header.js";
import { PacketReader } from "./packets.js";
import { DEAD_MS } from "./timing.js";

/** How long a datagram waits for missing ones before it, and how many may wait. */
export const REORDER_MS = 20;
export const REORDER_WINDOW = 1_024;
/** How many numbers before the one seen first may still come; leaves room in the window for those behind it. */
const JOIN_BACK = 512;
const REORDER_BYTES_MAX = 4 * 1024 * 1024;
const PACKET_BYTES_MAX = 256 * 1024 * 1024;
/** Streams that a receiver remembers; beyond it the one silent for longest is forgotten. */
const STREAMS_MAX = 16_384;

/** Numbers the datagrams of one stream: (this agent, its epoch, one group). */
export class StreamSender {
  private next = 0;

  constructor(
    private readonly source: number,
    private readonly epoch: number,
    private readonly group: number,
    private readonly payloadBytes: number,
  ) {}

  /** Calls `transmit` with each datagram that carries `packet` (one, unless it is larger than the payload). */
  send(packet: Buffer, transmit: (header: Header, payload: Buffer) => void): void {
    if (packet.length <= this.payloadBytes) {
      transmit(this.header(WHOLE), packet);
      return;
    }
    for (let at = 0; at < packet.length; at += this.payloadBytes) {
      const end = Math.min(at + this.payloadBytes, packet.length);
      const flags = (at === 0 ? START : 0) | (end === packet.length ? END : 0);
      transmit(this.header(flags), packet.subarray(at, end));
    }
  }

  private header(flags: number): Header {
    const number = this.next;
    this.next = serialNext(number);
    const { source, epoch, group } = this;
    return { kind: Kind.DATA, flags, source, epoch, stream: group, number };
  }
}

export interface ReceiverOptions {
  readonly clock: Clock;
  /** One packet, in the stream's order, once. */
  readonly onPacket: (packet: Packet) => void;
}

interface Stream {
  epoch: number;
  next: number;
  lastHeard: number;
  /** What is missing before the first datagram that waits may never have been for us. */
  joining: boolean;
  readonly early: Map<number, Datagram>;
  earlyBytes: number;
  timer: Timer | undefined;
  /** Pieces of a packet whose end is still to come; undefined: the pieces until the next START are to be skipped. */
  partial: Buffer[] | undefined;
  partialBytes: number;
}

/** Receives the data streams of all agents: protocol/README.md, section "Data". */
export class StreamReceiver {
  private readonly streams = new Map<string, Stream>();
  private readonly reader = new PacketReader();

  /** Counters since start, in datagrams. */
  readonly stats = {
    received: 0,
    duplicates: 0,
    old_epoch: 0,
    lost: 0,
    joins: 0,
    reordered: 0,
    incomplete: 0,
    malformed: 0,
    streams_forgotten: 0,
  };

  constructor(private readonly options: ReceiverOptions) {}

  onDatagram(datagram: Datagram): void {
    const stream = this.streamOf(datagram);
    if (stream === undefined) return;
    const ahead = serialDistance(stream.next, datagram.number);
    if (ahead < 0 || stream.early.has(datagram.number)) {
      this.stats.duplicates += 1;
      return;
    }
    this.stats.received += 1;
    if (ahead === 0) {
      this.advance(stream, datagram);
      this.drain(stream);
      return;
    }
    if (ahead > REORDER_WINDOW) {
      this.stats.joins += 1;
      this.flush(stream);
      stream.partial = undefined;
      join(stream, datagram.number);
    }
    if (!stream.joining) this.stats.reordered += 1;
    stream.early.set(datagram.number, datagram);
    stream.earlyBytes += datagram.payload.length;
    if (stream.earlyBytes > REORDER_BYTES_MAX) this.skipGap(stream);
    else stream.timer ??= this.options.clock.setTimer(REORDER_MS, () => this.skipGap(stream));
  }

  close(): void {
    for (const stream of this.streams.values()) stream.timer?.cancel();
    this.streams.clear();
  }

  /** The stream's state, made anew for a newer epoch; undefined for a datagram of an older one. */
  private streamOf(datagram: Datagram): Stream | undefined {
    const now = this.options.clock.now();
    const key = `${datagram.source}/${datagram.stream}`;
    let stream = this.streams.get(key);
    if (stream !== undefined) {
      const age = serialDistance(stream.epoch, datagram.epoch);
      // A sender whose clock was set back starts with an older epoch; its former life has long been silent then.
      const anew = age > 0 || (age < 0 && now - stream.lastHeard >= DEAD_MS);
      if (age < 0 && !anew) {
        this.stats.old_epoch += 1;
        return undefined;
      }
      if (anew) this.flush(stream);
      this.streams.delete(key);
      if (anew) stream = undefined;
    }
    stream ??= this.open(datagram);
    stream.lastHeard = now;
    // Last in the map is heard last: the first one is the one to forget.
    this.streams.set(key, stream);
    if (this.streams.size > STREAMS_MAX) {
      const [oldest, forgotten] = this.streams.entries().next().value!;
      forgotten.timer?.cancel();
      this.streams.delete(oldest);
      this.stats.streams_forgotten += 1;
    }
    return stream;
  }

  private open({ epoch, number }: Datagram): Stream {
    const stream: Stream = {
      epoch,
      lastHeard: 0,
      // Behind the number seen first as far as a stream is ever entered; 0 where that is its beginning.
      next: number <= REORDER_WINDOW ? 0 : (number - JOIN_BACK) >>> 0,
      joining: number !== 0,
      early: new Map(),
      earlyBytes: 0,
      timer: undefined,
      partial: undefined,
      partialBytes: 0,
    };
    if (stream.joining) this.stats.joins += 1;
    return stream;
  }

  private drain(stream: Stream): void {
    for (let d = stream.early.get(stream.next); d !== undefined; d = stream.early.get(stream.next)) {
      stream.early.delete(d.number);
      stream.earlyBytes -= d.payload.length;
      this.advance(stream, d);
    }
    stream.timer?.cancel();
    stream.timer =
      stream.early.size > 0 ? this.options.clock.setTimer(REORDER_MS, () => this.skipGap(stream)) : undefined;
  }

  /** Gives up on the numbers missing before the first datagram that waits. */
  private skipGap(stream: Stream): void {
    let gap = 0;
    while (!stream.early.has(stream.next) && gap <= REORDER_WINDOW) {
      stream.next = serialNext(stream.next);
      gap += 1;
    }
    if (!stream.joining) this.stats.lost += gap;
    stream.joining = false;
    if (stream.partial !== undefined) this.stats.incomplete += 1;
    stream.partial = undefined;
    this.drain(stream);
  }

  private flush(stream: Stream): void {
    while (stream.early.size > 0) this.skipGap(stream);
  }

  private advance(stream: Stream, datagram: Datagram): void {
    stream.next = serialNext(datagram.number);
    const begins = (datagram.flags & START) !== 0;
    const ends = (datagram.flags & END) !== 0;
    if (begins && ends) {
      this.deliver(datagram.payload);
      return;
    }
    if (begins) {
      stream.partial = [];
      stream.partialBytes = 0;
    }
    // A piece without its beginning: the stream was joined in the middle of a packet, or a piece was lost.
    if (stream.partial === undefined) return;
    stream.partial.push(datagram.payload);
    stream.partialBytes += datagram.payload.length;
    if (stream.partialBytes > PACKET_BYTES_MAX) {
      this.stats.incomplete += 1;
      stream.partial = undefined;
    } else if (ends) {
      const whole = Buffer.concat(stream.partial);
      stream.partial = undefined;
      this.deliver(whole);
    }
  }

  private deliver(bytes: Buffer): void {
    const packets = this.reader.read(bytes);
    if (packets === undefined) {
      this.stats.malformed += 1;
      return;
    }
    for (const packet of packets) this.options.onPacket(packet);
  }
}

/**
 * Enters a stream in its middle. The datagram seen first need not be the first of ours: those just before it may have
 * been overtaken, so they get the usual time to arrive.
 */
function join(stream: Stream, number: number): void {
  const back = (number - JOIN_BACK) >>> 0;
  // Never back behind what has been delivered.
  if (serialDistance(stream.next, back) > 0) stream.next = back;
  stream.joining = true;
}
