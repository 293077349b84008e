import type { TcpConfig } from "./config.js";
import type { TcpCounters } from "./counters.js";
import { sumWords } from "./wire/checksum.js";
import type { Frame } from "./wire/frame.js";
import type { Address, FragmentPlace, IpVersion } from "./wire/ip.js";
import { TCP_HEADER } from "./wire/tcp.js";

/** The longest datagram, header included; IPv6's 40 bytes more are not used by anyone. */
const MAX_DATAGRAM = 65_535;
/** What a held fragment costs beside its bytes, measured roughly. */
const PIECE_COST = 128;

interface Piece {
  /** Offsets in the datagram's payload. */
  readonly start: number;
  readonly end: number;
  readonly bytes: Buffer;
}

/**
 * Puts datagrams together again that were cut on their way (RFC 791 section 3.2, RFC 8200 section 4.5). Fragments that
 * overlap lose their datagram, and what still comes of it (RFC 5722, for IPv4 as well): only attacks send such.
 * Whatever is lost by a bound is TCP's to repair.
 */
export class Fragments {
  /** By what all fragments of a datagram have in common; the oldest first, so that it expires first. */
  private readonly datagrams = new Map<string, Datagram>();
  private held = 0;

  constructor(
    private readonly config: TcpConfig,
    private readonly counters: TcpCounters,
  ) {}

  /** Bytes held, overhead included. */
  get inUse(): number {
    return this.held;
  }

  /** Takes in the fragment in `frame`. Returns the frame of the whole datagram once nothing is missing. */
  take(frame: Frame, now: number): Buffer | undefined {
    this.expire(now);
    const { ip, bytes, payloadAt, end } = frame;
    const place = ip.readFragment(bytes, frame);
    if (!isSound(place, end - payloadAt)) {
      this.counters.drop_fragment += 1;
      return undefined;
    }
    const key = keyOf(frame, place);
    const datagram = this.datagrams.get(key) ?? this.begin(key, frame, now);
    const before = datagram.cost;
    const fault = datagram.add(frame, place);
    this.held += datagram.cost - before;
    if (fault !== undefined) this.counters[fault] += 1;
    else this.counters.fragments_in += 1;
    if (datagram.isComplete) {
      this.forget(key, datagram);
      return this.join(datagram);
    }
    this.makeRoom(key);
    return undefined;
  }

  /** When `expire` has something to do, Infinity while nothing waits. */
  get deadline(): number {
    return this.oldest?.[1].deadline ?? Number.POSITIVE_INFINITY;
  }

  /** Forgets what has waited for too long. */
  expire(now: number): void {
    for (const [key, datagram] of this.datagrams) {
      if (datagram.deadline > now) return;
      this.counters.fragments_expired += 1;
      this.forget(key, datagram);
    }
  }

  private begin(key: string, { ip, source }: Frame, now: number): Datagram {
    const { maxFragmented, maxFragmentedPerSource, fragmentTimeout } = this.config;
    const network = networkOf(source);
    const ofSource = [...this.datagrams].filter(([, datagram]) => datagram.network === network);
    if (ofSource.length >= maxFragmentedPerSource) this.evict(ofSource[0]);
    if (this.datagrams.size >= maxFragmented) this.evict(this.oldest);
    const datagram = new Datagram(ip, network, now + fragmentTimeout);
    this.datagrams.set(key, datagram);
    this.held += datagram.cost;
    return datagram;
  }

  private join(datagram: Datagram): Buffer | undefined {
    const whole = datagram.join();
    this.counters.fragments_joined += 1;
    if (whole === undefined) this.counters.drop_fragment += 1;
    return whole;
  }

  /** The newest, `key`, goes last. */
  private makeRoom(key: string): void {
    while (this.held > this.config.fragmentMemory) {
      const oldest = this.oldest!;
      this.evict(oldest);
      if (oldest[0] === key) return;
    }
  }

  private get oldest(): [string, Datagram] | undefined {
    return this.datagrams.entries().next().value;
  }

  private evict(entry: [string, Datagram] | undefined): void {
    if (entry === undefined) return;
    this.counters.fragments_evicted += 1;
    this.forget(...entry);
  }

  private forget(key: string, datagram: Datagram): void {
    this.datagrams.delete(key);
    this.held -= datagram.cost;
  }
}

class Datagram {
  /** In order, without overlap. */
  private pieces: Piece[] = [];
  /** Of the frame, as it was before the cut; there as soon as the first fragment. */
  private header: Buffer | undefined;
  private ipAt = 0;
  /** Bytes of payload; known from the last fragment. */
  private total = Number.POSITIVE_INFINITY;
  private received = 0;
  private refused = false;

  constructor(
    private readonly ip: IpVersion,
    readonly network: Address,
    readonly deadline: number,
  ) {}

  get cost(): number {
    return PIECE_COST * (1 + this.pieces.length) + this.received;
  }

  get isComplete(): boolean {
    return this.received === this.total;
  }

  /** Returns why the fragment is not taken, if so. */
  add(
    frame: Frame,
    { offset, more }: FragmentPlace,
  ): "drop_fragment_overlap" | "drop_fragment_again" | undefined {
    if (this.refused) return "drop_fragment_overlap";
    const { bytes, payloadAt, end } = frame;
    const piece = { start: offset, end: offset + end - payloadAt, bytes: bytes.subarray(payloadAt, end) };
    // How many pieces stand in front: most fragments come in order, so look from the end.
    let at = this.pieces.length;
    while (at > 0 && this.pieces[at - 1]!.start >= piece.start) at -= 1;
    const next = this.pieces[at];
    if (next !== undefined && isSame(next, piece)) return "drop_fragment_again";
    const isOverlapping =
      (this.pieces[at - 1]?.end ?? 0) > piece.start || (next?.start ?? Number.POSITIVE_INFINITY) < piece.end;
    const last = this.pieces.at(-1);
    const contradicts = more
      ? piece.end >= this.total
      : this.total < Number.POSITIVE_INFINITY || (last?.end ?? 0) > piece.end;
    if (isOverlapping || contradicts) {
      this.refuse();
      return "drop_fragment_overlap";
    }
    if (!more) this.total = piece.end;
    if (offset === 0) {
      this.header = this.ip.uncutHeader(bytes, frame);
      this.ipAt = frame.ipAt;
    }
    this.pieces.splice(at, 0, { ...piece, bytes: Buffer.from(piece.bytes) });
    this.received += piece.end - piece.start;
    return undefined;
  }

  /** The whole frame; undefined where it is longer than any datagram. */
  join(): Buffer | undefined {
    const header = this.header!;
    const length = header.length + this.total;
    if (length - this.ipAt > MAX_DATAGRAM) return undefined;
    const whole = Buffer.allocUnsafe(length);
    whole.set(header, 0);
    for (const { start, bytes } of this.pieces) whole.set(bytes, header.length + start);
    this.ip.finish(whole, this.ipAt, length - this.ipAt, sumWords(header, this.ipAt, header.length));
    return whole;
  }

  /** The datagram stays, empty, so that what still comes of it is known. */
  private refuse(): void {
    this.refused = true;
    this.pieces = [];
    this.received = 0;
    this.total = Number.POSITIVE_INFINITY;
    this.header = undefined;
  }
}

/**
 * A fragment holds something, in units of 8 bytes unless it is the last, and lies within the longest datagram. The
 * first one holds TCP's whole header (RFC 1858, RFC 7112): no router cuts as finely.
 */
function isSound({ offset, more }: FragmentPlace, length: number): boolean {
  if (length === 0 || (more && length % 8 !== 0)) return false;
  if (offset === 0 && length < TCP_HEADER) return false;
  return offset + length <= MAX_DATAGRAM;
}

/** An IPv6 host may take each datagram's source address anew from its /64. */
function networkOf(source: Address): Address {
  return typeof source === "number" ? source : source.slice(0, 8);
}

function isSame(a: Piece, b: Piece): boolean {
  return a.start === b.start && a.end === b.end && a.bytes.equals(b.bytes);
}

function keyOf({ ip, bytes, ipAt }: Frame, { identification }: FragmentPlace): string {
  const at = ipAt + ip.addressesAt;
  return bytes.toString("latin1", at, at + 2 * ip.addressLength) + identification;
}
