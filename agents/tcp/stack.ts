import { Admission } from "./admission.js";
import { DEFAULT_CONFIG, type SegmentSizes, type TcpConfig } from "./config.js";
import { Connection, type ConnectionOwner } from "./connection.js";
import { createCounters, type TcpCounters } from "./counters.js";
import { Deadlines } from "./deadlines.js";
import { Fragments } from "./fragments.js";
import { createIsnGenerator, type IsnGenerator } from "./isn.js";
import { MemoryBudget } from "./memory.js";
import type { State } from "./parts.js";
import type { Source } from "./sources.js";
import { timestampClock } from "./timestamps.js";
import { formatAddress, parseAddress } from "./wire/address.js";
import { isFor } from "./wire/ethernet.js";
import { Frame } from "./wire/frame.js";
import { readIcmpError } from "./wire/icmp.js";
import type { Address, IpVersion } from "./wire/ip.js";
import { IPV4, IPV4_HEADER } from "./wire/ipv4.js";
import { IPV6 } from "./wire/ipv6.js";
import { FRAME_OVERHEAD, Path } from "./wire/path.js";
import { seqAdd, seqAfter } from "./wire/sequence.js";
import { ACK, emptySegment, RST, type Segment, SYN, segmentLength, TCP_HEADER } from "./wire/tcp.js";

/** Where the stack lives: frames for other stations are not its business. */
export interface StationAddresses {
  mac: Uint8Array;
  ipv4: readonly string[];
  ipv6?: readonly string[];
}

/** What the stack asks of its surroundings. */
export interface StackIo {
  /** Sends `frame[0, length)`; the buffer is used again after the call. */
  send(frame: Buffer, length: number): void;
  /** There is work for `flush`. Called once until the next `flush`. */
  wake(): void;
  /** Whether this address gets no answer when it opens a connection; undefined: everybody gets one. */
  bars?(address: string): boolean;
}

type Accept = (connection: StackConnection) => void;

/** A connection in the stack's table. */
export class StackConnection extends Connection {
  /** Whose bounds it counts against; undefined where we opened it. */
  source: Source | undefined;

  constructor(
    owner: ConnectionOwner,
    iss: number,
    passive: boolean,
    readonly key: string,
    public path: Path,
    sizes: SegmentSizes,
  ) {
    super(owner, iss, passive, sizes);
  }

  /**
   * A router tells that our segment with number `seq` did not fit into the `mtu` of its next link (RFC 1191, RFC 8201).
   * Returns false where that cannot be, see `onPathMtu`.
   */
  onTooBig(mtu: number, seq: number, now: number): boolean {
    const { path } = this;
    const { minMtu, headerLength } = path.ip;
    if (!this.onPathMtu(Math.max(mtu, minMtu) - headerLength - TCP_HEADER, seq, now)) return false;
    if (mtu < minMtu) path.allowFragments();
    return true;
  }
}

function segmentSizes(ip: IpVersion, mss: number): SegmentSizes {
  return { largest: mss + IPV4_HEADER - ip.headerLength, assumed: ip.defaultMss };
}

function addressesOf({ ipv4, ipv6 = [] }: StationAddresses): ReadonlySet<Address> {
  return new Set([...ipv4, ...ipv6].map(parseAddress));
}

/**
 * Many connections at one station: frames and the time in, frames and connections out. Nothing leaves during
 * `receive` or a call of a connection's user; everything leaves with the next `flush`, so that all that was written in
 * one turn shares segments and acknowledgements travel with data.
 */
export class TcpStack implements ConnectionOwner {
  readonly config: TcpConfig;
  readonly counters: TcpCounters = createCounters();
  readonly memory: MemoryBudget;
  readonly timestampOffset: number;

  private readonly connections = new Map<string, StackConnection>();
  private readonly timeWait = new Set<StackConnection>();
  private readonly admission: Admission;
  private readonly deadlines = new Deadlines<StackConnection>();
  private touched: StackConnection[] = [];
  private awake = false;
  private readonly frame = new Frame();
  private readonly out: Buffer;
  private mac: Uint8Array;
  private addresses: ReadonlySet<Address>;
  private readonly listeners = new Map<number, Accept>();
  /** Addresses of other stations that we answer for, with the ports at which we do. */
  private readonly intercepts = new Map<Address, Map<number, Accept>>();
  private readonly fragments: Fragments;
  private readonly sizes: ReadonlyMap<IpVersion, SegmentSizes>;

  constructor(
    station: StationAddresses,
    private readonly io: StackIo,
    config: Partial<TcpConfig> = {},
    private readonly chooseIsn: IsnGenerator = createIsnGenerator(),
  ) {
    this.config = { ...DEFAULT_CONFIG, ...config };
    this.memory = new MemoryBudget(this.config.receiveMemory);
    this.admission = new Admission(this.config, this.counters);
    this.timestampOffset = this.chooseIsn("timestamps", 0);
    this.sizes = new Map([IPV4, IPV6].map((ip) => [ip, segmentSizes(ip, this.config.mss)]));
    this.out = Buffer.alloc(this.config.mss + FRAME_OVERHEAD);
    this.mac = station.mac;
    this.addresses = addressesOf(station);
    this.fragments = new Fragments(this.config, this.counters);
  }

  /** The station's addresses have changed. Connections go on; those to an address that is gone will time out. */
  setStation(station: StationAddresses): void {
    this.mac = station.mac;
    this.addresses = addressesOf(station);
  }

  /** Accepts connections to `port`; `accept` gets each one when its handshake is complete, before its first byte. */
  listen(port: number, accept: Accept): void {
    this.listeners.set(port, accept);
  }

  /** Accepts connections to `port` of `address`, which is not this station's: frames for it come to our MAC address. */
  intercept(address: string, port: number, accept: Accept): void {
    const key = parseAddress(address);
    const ports = this.intercepts.get(key);
    if (ports === undefined) this.intercepts.set(key, new Map([[port, accept]]));
    else ports.set(port, accept);
  }

  /** Opens a connection along `path`. */
  connect(path: Path, now: number): StackConnection {
    const key = path.key();
    const connection = this.add(path, key, this.chooseIsn(key, now), false);
    this.touch(connection);
    return connection;
  }

  /** Takes in `bytes[0, length)` as it came from the interface. */
  receive(bytes: Buffer, length: number, now: number): void {
    const { frame, counters } = this;
    counters.frames_in += 1;
    counters.bytes_in += length;
    if (!isFor(bytes, this.mac)) {
      counters.drop_other_host += 1;
      return;
    }
    const content = frame.parse(bytes, length);
    if (content === undefined || content === "fragment" || content === "icmp") {
      if (!this.addresses.has(frame.destination) && !this.intercepts.has(frame.destination))
        counters.drop_other_host += 1;
      else if (content === undefined) this.receiveSegment(now);
      else if (content === "fragment") this.receiveFragment(now);
      else this.receiveIcmp(now);
    } else counters[content] += 1;
  }

  private receiveSegment(now: number): void {
    const { frame, counters } = this;
    const key = frame.key();
    const connection = this.connections.get(key);
    if (connection === undefined) {
      this.receiveUnknown(key, now);
      return;
    }
    const excess = connection.source && this.admission.sources.excess(connection.source, frame.end, now);
    if (excess !== undefined) counters[excess] += 1;
    else if (connection.state === "TIME-WAIT" && this.isReopening(connection, frame.segment))
      this.receiveSyn(key, connection, now);
    else if (connection.receive(frame.segment, now) && connection.path.differsFrom(frame)) {
      connection.path = Path.replyTo(frame);
      counters.path_changes += 1;
    }
  }

  private receiveFragment(now: number): void {
    const { frame, counters } = this;
    const whole = this.fragments.take(frame, now);
    if (whole === undefined) {
      this.wake();
      return;
    }
    const content = frame.parse(whole, whole.length);
    if (content === undefined) this.receiveSegment(now);
    // A fragment of a fragment.
    else if (content === "fragment" || content === "icmp") counters.drop_fragment += 1;
    else counters[content] += 1;
  }

  /** Only the reported size counts: other errors pass, or are a forger's (RFC 5927 section 4.2: all are soft). */
  private receiveIcmp(now: number): void {
    const { counters } = this;
    const error = readIcmpError(this.frame);
    const connection = error && this.connections.get(error.key);
    if (error === undefined) counters.drop_icmp += 1;
    else if (connection === undefined) counters.drop_icmp_stray += 1;
    else if (error.mtu === 0) counters.icmp_soft_errors += 1;
    else if (connection.onTooBig(error.mtu, error.seq, now)) counters.icmp_too_big += 1;
    else counters.drop_icmp_stray += 1;
  }

  /** Does what is due by `now` and sends everything that may leave. */
  flush(now: number): void {
    this.awake = true;
    this.deadlines.expire(now, (connection) => connection.onTimer(now));
    this.fragments.expire(now);
    const { touched } = this;
    this.touched = [];
    this.awake = false;
    for (const connection of touched) {
      connection.touched = false;
      connection.transmit(now, (segment) => this.send(connection.path, segment));
      if (this.holds(connection)) this.deadlines.update(connection);
    }
  }

  /** When `flush` must be called at the latest, Infinity while nothing runs. Fresh after each `flush`. */
  get deadline(): number {
    return Math.min(this.deadlines.next, this.fragments.deadline);
  }

  /** Bytes held in fragments. */
  get fragmentMemory(): number {
    return this.fragments.inUse;
  }

  /** Connections by what they cost: open ones, and those in TIME-WAIT. */
  get size(): { open: number; halfOpen: number; timeWait: number } {
    return { open: this.open, halfOpen: this.admission.halfOpen, timeWait: this.timeWait.size };
  }

  /** Sources that are remembered. */
  get sources(): number {
    return this.admission.sources.size;
  }

  private get open(): number {
    return this.connections.size - this.timeWait.size;
  }

  /**
   * Stops listening and resets every connection that we have not closed ourselves; the others go on towards their end. A
   * `flush` must follow.
   */
  beginClose(): void {
    this.stopListening();
    for (const connection of [...this.connections.values()]) if (!connection.isClosing) connection.abort();
  }

  /** Resets every connection that is left, and forgets all. A `flush` must follow. */
  close(): void {
    this.stopListening();
    for (const connection of [...this.connections.values()]) {
      if (connection.state === "TIME-WAIT") this.forget(connection);
      else connection.abort();
    }
  }

  touch(connection: Connection): void {
    if (!connection.touched) {
      connection.touched = true;
      this.touched.push(connection as StackConnection);
    }
    this.wake();
  }

  moved(moving: Connection, from: State): void {
    const connection = moving as StackConnection;
    const { state, source } = connection;
    if (source !== undefined) {
      if (from === "SYN-RECEIVED") this.admission.settled(source);
      if (state === "TIME-WAIT" || (state === "CLOSED" && from !== "TIME-WAIT")) this.admission.left(source);
    }
    if (state === "ESTABLISHED") this.onEstablished(connection);
    else if (state === "TIME-WAIT") this.onTimeWait(connection);
    else if (state === "CLOSED") {
      if (from === "SYN-RECEIVED" && connection.passive) this.counters.half_open_expired += 1;
      else if (from !== "TIME-WAIT") this.counters.closed += 1;
      this.forget(connection);
    }
  }

  private onEstablished(connection: StackConnection): void {
    if (!connection.passive) {
      this.counters.connected += 1;
      return;
    }
    this.counters.accepted += 1;
    this.acceptor(connection.path.localAddress, connection.path.localPort)?.(connection);
  }

  private onTimeWait(connection: StackConnection): void {
    this.timeWait.add(connection);
    this.counters.closed += 1;
    if (this.timeWait.size <= this.config.maxTimeWait) return;
    for (const oldest of this.timeWait) {
      this.counters.time_wait_evicted += 1;
      this.forget(oldest);
      return;
    }
  }

  private forget(connection: StackConnection): void {
    this.timeWait.delete(connection);
    this.deadlines.remove(connection);
    if (this.connections.get(connection.key) === connection) this.connections.delete(connection.key);
  }

  /** Whether `connection` still is one of ours: one in TIME-WAIT may have been forgotten. */
  private holds(connection: StackConnection): boolean {
    const { state } = connection;
    return state === "TIME-WAIT" ? this.timeWait.has(connection) : state !== "CLOSED";
  }

  private wake(): void {
    if (this.awake) return;
    this.awake = true;
    this.io.wake();
  }

  /** A SYN that may end TIME-WAIT early (RFC 9293 section 3.10.7.4). */
  private isReopening(connection: StackConnection, segment: Segment): boolean {
    return (segment.flags & (SYN | ACK | RST)) === SYN && connection.isReopenedBy(segment);
  }

  private receiveUnknown(key: string, now: number): void {
    const { frame, counters } = this;
    const { segment } = frame;
    const kind = segment.flags & (SYN | ACK | RST);
    if (this.acceptor(frame.destination, frame.destinationPort) !== undefined) {
      if (kind === SYN) return this.receiveSyn(key, undefined, now);
      if (kind === ACK && this.admission.mayComplete(now) && this.completeByCookie(key, now)) return;
      // RFC 9293 section 3.10.7.2: a listener says nothing to what neither opens nor acknowledges.
      if (kind === 0) {
        counters.drop_no_ack += 1;
        return;
      }
    }
    counters.drop_no_connection += 1;
    if ((kind & RST) === 0) this.refuse(segment);
  }

  /** @param before the connection in TIME-WAIT that the SYN would end */
  private receiveSyn(key: string, before: StackConnection | undefined, now: number): void {
    const { frame, admission, counters, io } = this;
    if (io.bars?.(formatAddress(frame.source)) === true) {
      counters.drop_barred += 1;
      return;
    }
    const verdict = admission.judge(key, this.open, before !== undefined, now);
    if (verdict === "cookie") {
      counters.segments_taken += 1;
      const path = Path.replyTo(frame);
      const clock = timestampClock(now, this.timestampOffset);
      this.send(path, admission.answerWithCookie(key, frame.segment, this.sizes.get(path.ip)!, clock, now));
      return;
    }
    if (verdict !== "accept") {
      counters[verdict] += 1;
      return;
    }
    let iss = this.chooseIsn(key, now);
    if (before !== undefined) {
      // The new incarnation's numbers must lie above the old one's.
      if (!seqAfter(iss, before.sendNext)) iss = seqAdd(before.sendNext, 0x10000);
      counters.time_wait_recycled += 1;
      this.forget(before);
    }
    counters.segments_taken += 1;
    this.admit(key, iss, now).open(frame.segment, now);
  }

  /** Whether the ACK at hand has been dealt with. */
  private completeByCookie(key: string, now: number): boolean {
    const { segment } = this.frame;
    const syn = this.admission.complete(key, segment, this.open, now);
    if (syn === undefined) return false;
    if (typeof syn === "string") {
      this.counters[syn] += 1;
      return true;
    }
    const connection = this.admit(key, seqAdd(segment.ack, -1), now);
    connection.resume(syn, now);
    connection.receive(segment, now);
    return true;
  }

  private admit(key: string, iss: number, now: number): StackConnection {
    const connection = this.add(Path.replyTo(this.frame), key, iss, true);
    connection.source = this.admission.entered(key, now);
    return connection;
  }

  private add(path: Path, key: string, iss: number, passive: boolean): StackConnection {
    const connection = new StackConnection(this, iss, passive, key, path, this.sizes.get(path.ip)!);
    this.connections.set(key, connection);
    return connection;
  }

  private acceptor(address: Address, port: number): Accept | undefined {
    const own = this.addresses.has(address) ? this.listeners.get(port) : undefined;
    return own ?? this.intercepts.get(address)?.get(port);
  }

  private stopListening(): void {
    this.listeners.clear();
    // The addresses stay: open connections there go on towards their end.
    for (const ports of this.intercepts.values()) ports.clear();
  }

  /** RST for a segment that belongs to no connection (RFC 9293 section 3.10.7.1). */
  private refuse(segment: Segment): void {
    const reset = emptySegment();
    if ((segment.flags & ACK) !== 0) {
      reset.flags = RST;
      reset.seq = segment.ack;
    } else {
      reset.flags = RST | ACK;
      reset.ack = seqAdd(segment.seq, segmentLength(segment));
    }
    this.counters.resets_out += 1;
    this.send(Path.replyTo(this.frame), reset);
  }

  private send(path: Path, segment: Segment): void {
    const length = path.write(segment, this.out);
    this.counters.frames_out += 1;
    this.counters.bytes_out += length;
    this.io.send(this.out, length);
  }
}
