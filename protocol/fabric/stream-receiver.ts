import type { Packet } from "mqtt-packet";
import type { Endpoint } from "../addresses.js";
import type { Clock } from "../clock.js";
import { ASK, BEGIN, type Datagram, FENCE, type Header, Kind, serialDistance, serialNext } from "./header.js";
import { InStream, WINDOW } from "./in-stream.js";
import { PacketReader } from "./packets.js";
import { Reassembly } from "./reassembly.js";
import { decodeFence, decodeHeartbeat, encodeStatus, FENCE_BYTES } from "./status.js";
import { DEAD_MS } from "./timing.js";

/** A gap may be mere reordering: it is asked about after this time and up to so much more. */
const NAK_MS = 1;
const NAK_SPREAD_MS = 1;
/** Without an answer it is asked again after this time, doubled each time up to the second. */
const NAK_REPEAT_MS = 10;
const NAK_REPEAT_MAX_MS = 320;
/** STATUS datagrams that ask, in so many milliseconds at most: whoever invents streams does not make a flood of it. */
const NAKS_MAX = 100;
const NAKS_MS = 10;
/** Datagrams that wait for missing ones, over all streams. */
const EARLY_BYTES_MAX = 64 * 1024 * 1024;
/** Streams that a receiver remembers; beyond it the one silent for longest is forgotten. */
const STREAMS_MAX = 65_536;

export interface ReceiverOptions {
  readonly clock: Clock;
  /** This agent's number and the epoch of its own streams: who reports. */
  readonly source: number;
  readonly epoch: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Puts one datagram on the wire; may lose it. */
  readonly transmit: (header: Header, payload: Buffer, to: Endpoint) => void;
  /**
   * Resolves when what was delivered so far is durable; undefined: it is. A position that is told promises that. Absent: nobody
   * keeps anything.
   */
  readonly durable?: (() => Promise<void> | undefined) | undefined;
  /** Calls `fn` when what is going on now has ended: positions are reported once then. */
  readonly defer: (fn: () => void) => void;
  /** One packet, in the stream's order, once. */
  readonly onPacket: (packet: Packet) => void;
}

/** Receives the data streams of all agents: protocol/README.md, section "Data". */
export class StreamReceiver {
  private readonly streams = new Map<string, InStream>();
  private readonly reader = new PacketReader();
  private readonly reassembly: Reassembly;
  private earlyBytes = 0;
  private asks = 0;
  private asksSince = Number.NEGATIVE_INFINITY;
  /** Streams whose position is to be told. */
  private readonly due = new Set<InStream>();
  /** Streams that may go on. */
  private readonly ready: InStream[] = [];

  /** Counters since start, in datagrams. */
  readonly stats = {
    received: 0,
    duplicates: 0,
    old_epoch: 0,
    not_source: 0,
    lost: 0,
    repaired: 0,
    naks: 0,
    naks_held_back: 0,
    reports: 0,
    entered: 0,
    fences: 0,
    reordered: 0,
    beyond_window: 0,
    incomplete: 0,
    malformed: 0,
    early_dropped: 0,
    streams_forgotten: 0,
  };

  constructor(private readonly options: ReceiverOptions) {
    this.reassembly = new Reassembly((bytes) => this.deliver(bytes), this.stats);
  }

  get size(): number {
    return this.streams.size;
  }

  /** A DATA or HEARTBEAT datagram. */
  onDatagram(datagram: Datagram, from: Endpoint): void {
    const stream = this.streamOf(datagram, from);
    if (stream === undefined) return;
    if (datagram.kind === Kind.DATA) this.onData(stream, datagram);
    else this.onHeartbeat(stream, datagram);
    this.goOn();
    this.armNak(stream);
  }

  close(): void {
    for (const stream of this.streams.values()) stream.timer?.cancel();
    this.streams.clear();
  }

  // --- streams ---

  /** The stream's state, made anew for a newer epoch; undefined for a datagram of an older one. */
  private streamOf(datagram: Datagram, from: Endpoint): InStream | undefined {
    const now = this.options.clock.now();
    const { source, epoch } = datagram;
    const key = `${source}/${datagram.stream}`;
    let stream = this.streams.get(key);
    if (stream !== undefined) {
      if (this.isOver(epoch, stream)) {
        this.stats.old_epoch += 1;
        return undefined;
      }
      if (stream.epoch !== epoch) {
        this.forget(key, stream);
        stream = undefined;
      } else if (!stream.isFrom(from)) {
        this.stats.not_source += 1;
        return undefined;
      }
    }
    stream ??= this.open(key, new InStream(source, datagram.stream, epoch, from, datagram.number));
    stream.heardAt = now;
    // Last in the map is heard last: the first one is the one to forget.
    this.streams.delete(key);
    this.streams.set(key, stream);
    return stream;
  }

  /** Whether `stream` belongs to a later life of its source than `epoch` does. */
  private isOver(epoch: number, stream: InStream): boolean {
    const age = serialDistance(stream.epoch, epoch);
    // A sender whose clock was set back starts with an older epoch; its former life has long been silent then.
    return age < 0 && this.options.clock.now() - stream.heardAt < DEAD_MS;
  }

  private open(key: string, stream: InStream): InStream {
    stream.heardAt = this.options.clock.now();
    if (stream.entering) this.stats.entered += 1;
    this.streams.set(key, stream);
    if (this.streams.size > STREAMS_MAX) {
      const [oldest, forgotten] = this.streams.entries().next().value!;
      this.forget(oldest, forgotten);
      this.stats.streams_forgotten += 1;
    }
    return stream;
  }

  /** What waits behind a gap goes with it; what waited for this stream goes on. */
  private forget(key: string, stream: InStream): void {
    stream.forgotten = true;
    stream.timer?.cancel();
    this.dropEarly(stream);
    this.reassembly.skip(stream);
    this.due.delete(stream);
    this.streams.delete(key);
    this.release(stream);
  }

  private dropEarly(stream: InStream): void {
    this.earlyBytes -= stream.earlyBytes;
    this.stats.early_dropped += stream.dropEarly();
  }

  // --- what arrives ---

  private onData(stream: InStream, datagram: Datagram): void {
    const { number, flags } = datagram;
    if (stream.entering && number === 0) stream.enter(0);
    const ahead = serialDistance(stream.next, number);
    if (!stream.entering && ahead < 0) {
      this.stats.duplicates += 1;
      if ((flags & ASK) !== 0) this.report(stream);
      return;
    }
    stream.sawNumber(number);
    if ((flags & ASK) !== 0) stream.ask(number);
    if (ahead === 0 && !stream.entering && !stream.blocked && (flags & FENCE) === 0) {
      this.stats.received += 1;
      this.take(stream, datagram);
      if (stream.early.size > 0 || stream.isNextGone()) this.ready.push(stream);
      return;
    }
    if (stream.early.has(number)) {
      this.stats.duplicates += 1;
      return;
    }
    if (Math.abs(ahead) >= WINDOW || this.earlyBytes + datagram.payload.length > EARLY_BYTES_MAX) {
      this.stats.beyond_window += 1;
      return;
    }
    this.stats.received += 1;
    if (ahead > 0) this.stats.reordered += 1;
    stream.hold(datagram);
    this.earlyBytes += datagram.payload.length;
    this.ready.push(stream);
  }

  private onHeartbeat(stream: InStream, datagram: Datagram): void {
    const heartbeat = decodeHeartbeat(datagram.payload);
    if (heartbeat === undefined) {
      this.stats.malformed += 1;
      return;
    }
    const { oldest, gone } = heartbeat;
    if (stream.entering) {
      if ((datagram.flags & BEGIN) === 0) return stream.sawEnd(datagram.number);
      this.earlyBytes -= stream.enter(oldest);
      stream.timer?.cancel();
      stream.timer = undefined;
      this.passed(stream);
    }
    stream.sawEnd(datagram.number);
    this.skipTo(stream, oldest);
    for (const range of gone) stream.markGone(range);
    if ((datagram.flags & ASK) !== 0) {
      if (serialDistance(stream.next, datagram.number) <= 0) this.report(stream);
      else stream.ask((datagram.number - 1) >>> 0);
    }
    this.ready.push(stream);
  }

  /** The source has nothing before `number` any more: what is here of it is delivered, the rest is lost. */
  private skipTo(stream: InStream, number: number): void {
    if (serialDistance(stream.next, number) <= 0) return;
    for (const datagram of stream.earlyBefore(number)) {
      const gap = serialDistance(stream.next, datagram.number);
      if (gap > 0) this.lose(stream, gap);
      this.earlyBytes -= stream.letGo(datagram);
      this.take(stream, datagram);
    }
    const gap = serialDistance(stream.next, number);
    if (gap > 0) this.lose(stream, gap);
  }

  private lose(stream: InStream, count: number): void {
    this.stats.lost += count;
    stream.advanceTo((stream.next + count) >>> 0);
    this.reassembly.skip(stream);
    this.passed(stream);
  }

  /** Lets every stream that may go on do so, and those that wait for it. */
  private goOn(): void {
    for (let stream = this.ready.pop(); stream !== undefined; stream = this.ready.pop()) {
      if (stream.entering) continue;
      stream.blocked = false;
      for (;;) {
        const datagram = stream.early.get(stream.next);
        if (datagram === undefined) {
          if (!stream.isNextGone()) break;
          this.lose(stream, 1);
          continue;
        }
        if ((datagram.flags & FENCE) !== 0 && this.isFenced(stream, datagram)) {
          stream.blocked = true;
          break;
        }
        this.earlyBytes -= stream.letGo(datagram);
        this.take(stream, datagram);
      }
      this.armNak(stream);
    }
  }

  /** Whether another stream has to come first; then this one goes on when that is there. */
  private isFenced(stream: InStream, datagram: Datagram): boolean {
    const fence = decodeFence(datagram.payload);
    if (fence === undefined) return false;
    const key = `${stream.source}/${fence.stream}`;
    let other = this.streams.get(key);
    if (other === stream) return false;
    if (other !== undefined && other.epoch !== stream.epoch) {
      // Of the source's next life: this one is over. Of a former one: it says nothing of this.
      if (this.isOver(stream.epoch, other)) return false;
      this.forget(key, other);
      other = undefined;
    }
    other ??= this.open(
      key,
      new InStream(stream.source, fence.stream, stream.epoch, stream.from, fence.number),
    );
    if (!other.entering && serialDistance(other.next, fence.number) <= 0) return false;
    this.stats.fences += 1;
    // The source is there, however long it has said nothing on that stream.
    other.heardAt = Math.max(other.heardAt, stream.heardAt);
    other.sawEnd(fence.number);
    other.waiters.add(stream);
    this.armNak(other);
    return true;
  }

  private take(stream: InStream, datagram: Datagram): void {
    if (stream.wasAsked(datagram.number)) this.stats.repaired += 1;
    stream.advanceTo(serialNext(datagram.number));
    const fenced = (datagram.flags & FENCE) !== 0;
    this.reassembly.take(
      stream,
      datagram.flags,
      fenced ? datagram.payload.subarray(FENCE_BYTES) : datagram.payload,
    );
    this.passed(stream);
  }

  private passed(stream: InStream): void {
    if (stream.hasPassedAsked()) this.report(stream);
    if (stream.waiters.size > 0) this.release(stream);
  }

  private release(stream: InStream): void {
    for (const waiter of stream.waiters) this.ready.push(waiter);
    stream.waiters.clear();
  }

  private deliver(bytes: Buffer): void {
    const packets = this.reader.read(bytes);
    if (packets === undefined) {
      this.stats.malformed += 1;
      return;
    }
    for (const packet of packets) this.options.onPacket(packet);
  }

  // --- what is told to the source ---

  /** Tells the position, once for all that arrives at a time. */
  private report(stream: InStream): void {
    stream.reported();
    if (this.due.size === 0) this.options.defer(() => this.reportDue());
    this.due.add(stream);
  }

  private reportDue(): void {
    const written = this.options.durable?.();
    const reports = [...this.due].map((stream) => ({ stream, position: stream.next }));
    this.due.clear();
    const tell = () => {
      for (const { stream, position } of reports) {
        if (stream.entering || stream.forgotten) continue;
        if (serialDistance(stream.safe, position) > 0) stream.safe = position;
        this.stats.reports += 1;
        this.tell(stream, []);
      }
    };
    if (written === undefined) tell();
    else void written.then(tell);
  }

  private tell(stream: InStream, missing: ReturnType<InStream["missing"]>): void {
    const { source, epoch, transmit } = this.options;
    const { group, entering } = stream;
    if (this.options.durable?.() === undefined) stream.safe = stream.next;
    const flags = entering ? BEGIN : 0;
    const header = { kind: Kind.STATUS, flags, source, epoch, stream: group, number: stream.safe };
    transmit(header, encodeStatus({ epoch: stream.epoch, missing }), stream.from);
  }

  private mayAsk(): boolean {
    const now = this.options.clock.now();
    if (now - this.asksSince >= NAKS_MS) {
      this.asksSince = now;
      this.asks = 0;
    }
    this.asks += 1;
    if (this.asks <= NAKS_MAX) return true;
    this.stats.naks_held_back += 1;
    return false;
  }

  private armNak(stream: InStream): void {
    if (stream.timer !== undefined || !stream.lacks()) return;
    stream.askAgainMs = NAK_REPEAT_MS;
    stream.progress();
    // Where the stream begins is asked at once: nothing can be reordered with it.
    const wait = stream.entering ? 0 : NAK_MS + NAK_SPREAD_MS * this.options.random();
    this.setNakTimer(stream, wait);
  }

  private setNakTimer(stream: InStream, wait: number): void {
    stream.timer = this.options.clock.setTimer(wait, () => {
      stream.timer = undefined;
      this.nak(stream);
    });
  }

  private nak(stream: InStream): void {
    if (!stream.lacks()) return;
    if (this.options.clock.now() - stream.heardAt >= DEAD_MS) {
      // Nobody answers. When the source is heard again it is asked for all of it.
      this.dropEarly(stream);
      return;
    }
    if (!this.mayAsk()) return this.setNakTimer(stream, NAK_REPEAT_MAX_MS * this.options.random());
    this.stats.naks += 1;
    this.tell(stream, stream.missing());
    const repeat = stream.progress() ? NAK_REPEAT_MS : stream.askAgainMs;
    stream.askAgainMs = Math.min(repeat * 2, NAK_REPEAT_MAX_MS);
    this.setNakTimer(stream, repeat);
  }
}
