import type { Packet } from "mqtt-packet";
import type { Clock, Timer } from "../clock.js";
import { type Datagram, END, type Header, Kind, START, serialDistance, serialNext, WHOLE } from "./header.js";
import { PacketReader } from "./packets.js";

/** Datagrams in flight at most; also how far ahead of a hole a receiver keeps datagrams. */
export const WINDOW = 32;
export const RTO_MIN_MS = 100;
export const RTO_MAX_MS = 2_000;
/** A datagram reported missing is repeated at most this often. */
const HOLE_REPEAT_MS = 20;
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/** `ready` waits above so many bytes: far enough below the bound for whatever is sent without asking. */
const READY_BYTES = 4 * 1024 * 1024;
const PACKET_BYTES_MAX = 256 * 1024 * 1024;

export interface ChannelOptions {
  readonly clock: Clock;
  /** This side's number and epoch, the peer's epoch (0 while unknown). */
  readonly source: number;
  readonly epoch: number;
  readonly peerEpoch: number;
  /** Bytes of payload that fit one datagram. */
  readonly payloadBytes: number;
  /** Puts one datagram on the wire; may lose it. */
  readonly transmit: (header: Header, payload: Buffer) => void;
  /** Resolves when what was taken so far is durable; undefined, or absent: it is. It is acknowledged then. */
  readonly durable?: (() => Promise<void> | undefined) | undefined;
  /** One packet of the peer, in order, once. */
  readonly onPacket: (packet: Packet) => void;
  /** The channel cannot go on (counter-style reason); it is closed by then. */
  readonly onBroken: (reason: "overflow" | "malformed" | "too_large") => void;
}

interface Waiting {
  readonly bytes: Buffer;
  readonly done: (delivered: boolean) => void;
}

interface InFlight {
  readonly number: number;
  readonly flags: number;
  readonly payload: Buffer;
  readonly done: Array<(delivered: boolean) => void>;
  sentAt: number;
  /** The peer has it, though not everything before it. */
  here: boolean;
}

/**
 * Reliable, ordered exchange of MQTT packets over datagrams between an agent and the forwarder: protocol/README.md,
 * section "The channel". The same class serves both sides.
 */
export class ControlChannel {
  peerEpoch: number;
  private nextNumber = 0;
  private readonly inFlight: InFlight[] = [];
  private readonly waiting: Waiting[] = [];
  /** Bytes of the first waiting packet that are already in flight. */
  private cut = 0;
  private waitingByteCount = 0;
  private rto = RTO_MIN_MS;
  private timer: Timer | undefined;
  private expected = 0;
  private readonly early = new Map<number, Datagram>();
  private partial: Buffer[] = [];
  private partialBytes = 0;
  private readonly reader = new PacketReader();
  private readonly onReady: Array<() => void> = [];
  private paused = false;
  private closed = false;

  constructor(private readonly options: ChannelOptions) {
    this.peerEpoch = options.peerEpoch;
  }

  /** Bytes that wait for the peer, in flight or before. */
  get waitingBytes(): number {
    return this.waitingByteCount;
  }

  /**
   * Sends one encoded MQTT packet. Resolves with true when the peer's side has processed it, with false when the
   * channel ended before. Over the bound the channel breaks.
   */
  send(packet: Buffer): Promise<boolean> {
    if (this.closed) return Promise.resolve(false);
    return new Promise((done) => {
      this.waiting.push({ bytes: packet, done });
      this.waitingByteCount += packet.length;
      if (this.waitingByteCount > WAITING_BYTES_MAX) this.break("overflow");
      else this.fill();
    });
  }

  /** Resolves when there is room for more (or the channel has ended): for senders of much. */
  async ready(): Promise<void> {
    while (!this.closed && this.waitingByteCount > READY_BYTES) {
      await new Promise<void>((resolve) => this.onReady.push(resolve));
    }
  }

  /**
   * Takes no more packets from the peer until `resume`; its acknowledgements are still handled. What the peer sends
   * meanwhile stays with it, but for one window.
   */
  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused || this.closed) return;
    this.paused = false;
    this.takeInOrder();
    if (!this.closed) this.acknowledge();
  }

  /** Handles a CONTROL or ACK datagram that belongs to this channel. */
  onDatagram(datagram: Datagram): void {
    if (this.closed) return;
    if (this.peerEpoch === 0) this.peerEpoch = datagram.epoch;
    if (datagram.kind === Kind.ACK) this.onAck(datagram);
    else if (datagram.kind === Kind.CONTROL) this.onControl(datagram);
  }

  /** Ends the channel without a word; pending sends resolve with false. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.timer?.cancel();
    this.early.clear();
    this.partial = [];
    const pending = [...this.inFlight.flatMap((d) => d.done), ...this.waiting.map((w) => w.done)];
    this.inFlight.length = 0;
    this.waiting.length = 0;
    this.waitingByteCount = 0;
    for (const done of pending) done(false);
    this.wakeReady();
  }

  private wakeReady(): void {
    for (const wake of this.onReady.splice(0)) wake();
  }

  // --- sending ---

  private fill(): void {
    while (this.inFlight.length < WINDOW && this.waiting.length > 0) {
      const datagram = this.nextDatagram();
      this.inFlight.push(datagram);
      this.transmit(datagram);
    }
    this.armTimer();
  }

  /** Takes as many whole packets as fit, or the next piece of one that does not. */
  private nextDatagram(): InFlight {
    const room = this.options.payloadBytes;
    const done: InFlight["done"] = [];
    const head = this.waiting[0]!;
    let flags: number = WHOLE;
    let payload: Buffer;
    if (this.cut > 0 || head.bytes.length > room) {
      const end = Math.min(this.cut + room, head.bytes.length);
      payload = head.bytes.subarray(this.cut, end);
      flags = (this.cut === 0 ? START : 0) | (end === head.bytes.length ? END : 0);
      this.cut = end;
      if (end === head.bytes.length) {
        done.push(head.done);
        this.waiting.shift();
        this.cut = 0;
      }
    } else {
      let count = 0;
      let bytes = 0;
      for (const next of this.waiting) {
        if (bytes + next.bytes.length > room) break;
        bytes += next.bytes.length;
        count += 1;
      }
      const taken = this.waiting.splice(0, count);
      payload = taken.length === 1 ? taken[0]!.bytes : Buffer.concat(taken.map((w) => w.bytes));
      for (const w of taken) done.push(w.done);
    }
    const number = this.nextNumber;
    this.nextNumber = serialNext(number);
    return { number, flags, payload, done, sentAt: 0, here: false };
  }

  private transmit(datagram: InFlight): void {
    datagram.sentAt = this.options.clock.now();
    this.options.transmit(this.header(Kind.CONTROL, datagram.flags, datagram.number), datagram.payload);
  }

  private header(kind: Kind, flags: number, number: number): Header {
    const { source, epoch } = this.options;
    return { kind, flags, source, epoch, stream: this.peerEpoch, number };
  }

  private onAck(ack: Datagram): void {
    const acked = this.inFlight.findIndex((d) => serialDistance(ack.number, d.number) >= 0);
    const arrived = this.inFlight.splice(0, acked < 0 ? this.inFlight.length : acked);
    if (arrived.length > 0) {
      this.rto = RTO_MIN_MS;
      this.timer?.cancel();
      this.timer = undefined;
    }
    for (const datagram of arrived) {
      this.waitingByteCount -= datagram.payload.length;
      for (const done of datagram.done) done(true);
    }
    // A `done` may have closed the channel.
    if (this.closed) return;
    if (this.waitingByteCount <= READY_BYTES) this.wakeReady();
    this.repeatHoles(ack);
    this.fill();
  }

  private repeatHoles(ack: Datagram): void {
    const bits = ack.payload.length >= 4 ? ack.payload.readUInt32BE(0) : 0;
    if (bits === 0) return;
    const highest = 31 - Math.clz32(bits);
    const now = this.options.clock.now();
    for (const datagram of this.inFlight) {
      const bit = serialDistance(ack.number, datagram.number) - 1;
      if (bit > highest) break;
      if (bit >= 0 && (bits >>> bit) & 1) datagram.here = true;
      else if (now - datagram.sentAt >= HOLE_REPEAT_MS) this.repeat(datagram);
    }
  }

  private repeat(datagram: InFlight): void {
    this.transmit(datagram);
  }

  private armTimer(): void {
    if (this.timer !== undefined || this.inFlight.length === 0 || this.closed) return;
    this.timer = this.options.clock.setTimer(this.rto, () => {
      this.timer = undefined;
      const oldest = this.inFlight.find((d) => !d.here);
      if (oldest !== undefined) this.repeat(oldest);
      this.rto = Math.min(this.rto * 2, RTO_MAX_MS);
      this.armTimer();
    });
  }

  // --- receiving ---

  private onControl(datagram: Datagram): void {
    const ahead = serialDistance(this.expected, datagram.number);
    const duplicate = ahead < 0 || this.early.has(datagram.number);
    if (!duplicate && ahead <= WINDOW) {
      this.early.set(datagram.number, datagram);
      this.takeInOrder();
    }
    if (!this.closed) this.acknowledge();
  }

  /** Accepts what has come without a hole; a packet may pause or close the channel. */
  private takeInOrder(): void {
    while (!this.paused && !this.closed) {
      const next = this.early.get(this.expected);
      if (next === undefined) return;
      this.early.delete(this.expected);
      this.expected = serialNext(this.expected);
      this.accept(next);
    }
  }

  private acknowledge(): void {
    const { expected } = this;
    const written = this.options.durable?.();
    if (written === undefined) return this.sendAck(expected);
    void written.then(() => {
      if (!this.closed) this.sendAck(expected);
    });
  }

  private sendAck(expected: number): void {
    let bits = 0;
    for (const number of this.early.keys()) {
      const bit = serialDistance(expected, number) - 1;
      if (bit >= 0 && bit < 32) bits |= 1 << bit;
    }
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(bits >>> 0, 0);
    this.options.transmit(this.header(Kind.ACK, 0, expected), payload);
  }

  /** Puts a cut packet together again; hands whole packets on. */
  private accept(datagram: Datagram): void {
    const begins = (datagram.flags & START) !== 0;
    const ends = (datagram.flags & END) !== 0;
    if (begins !== (this.partial.length === 0)) {
      this.break("malformed");
      return;
    }
    let bytes = datagram.payload;
    if (!begins || !ends) {
      this.partial.push(bytes);
      this.partialBytes += bytes.length;
      if (this.partialBytes > PACKET_BYTES_MAX) this.break("too_large");
      if (!ends || this.closed) return;
      bytes = Buffer.concat(this.partial);
      this.partial = [];
      this.partialBytes = 0;
    }
    const packets = this.reader.read(bytes);
    if (packets === undefined) {
      this.break("malformed");
      return;
    }
    for (const packet of packets) {
      this.options.onPacket(packet);
      if (this.closed) return;
    }
  }

  private break(reason: "overflow" | "malformed" | "too_large"): void {
    this.close();
    this.options.onBroken(reason);
  }
}
