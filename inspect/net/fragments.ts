import type { IpPacket } from "./ip.js";

/** Datagrams being put together at a time; beyond it the oldest is given up. */
const MAX_DATAGRAMS = 1024;
const MAX_PIECES = 128;
const MAX_BYTES = 65_535;
/** RFC 8200 section 4.5: 60 s; RFC 1122 section 3.3.2: 60 to 120 s. */
const TIMEOUT_US = 60_000_000;

interface Piece {
  readonly offset: number;
  readonly bytes: Buffer;
}

interface Datagram {
  readonly key: string;
  readonly frame: number;
  readonly startedUs: number;
  pieces: Piece[];
  /** Length of the whole; -1 until the last piece is there. */
  total: number;
}

/** Puts fragmented datagrams together again. `onLost` gets the first frame of each that stays in pieces. */
export class Fragments {
  private readonly datagrams = new Map<string, Datagram>();

  constructor(private readonly onLost: (frame: number, reason: string) => void) {}

  /** Takes a fragment. Returns the whole payload with its last piece. */
  add(bytes: Buffer, ip: IpPacket, frame: number, timeUs: number): Buffer | undefined {
    const key = `${ip.source} ${ip.destination} ${ip.protocol} ${ip.identification}`;
    let datagram = this.datagrams.get(key);
    if (datagram !== undefined && timeUs - datagram.startedUs > TIMEOUT_US) {
      this.lose(datagram, "fragments of a datagram are missing");
      datagram = undefined;
    }
    if (datagram === undefined) {
      const [oldest] = this.datagrams.values();
      if (this.datagrams.size >= MAX_DATAGRAMS && oldest !== undefined) {
        this.lose(oldest, "too many datagrams in fragments at a time");
      }
      datagram = { key, frame, startedUs: timeUs, pieces: [], total: -1 };
      this.datagrams.set(key, datagram);
    }
    const end = ip.offset + ip.end - ip.payloadAt;
    if (end > MAX_BYTES || datagram.pieces.length >= MAX_PIECES || ip.missing > 0) {
      this.lose(
        datagram,
        ip.missing > 0 ? "a fragment is cut short" : "fragments make an impossible datagram",
      );
      return undefined;
    }
    if (!ip.more) datagram.total = end;
    // The buffer of the frame is used again.
    datagram.pieces.push({ offset: ip.offset, bytes: Buffer.from(bytes.subarray(ip.payloadAt, ip.end)) });
    return datagram.total < 0 ? undefined : this.complete(datagram);
  }

  /** Tells what is still in pieces. */
  end(): void {
    for (const datagram of this.datagrams.values())
      this.lose(datagram, "fragments of a datagram are missing");
  }

  private complete(datagram: Datagram): Buffer | undefined {
    const pieces = datagram.pieces.toSorted((a, b) => a.offset - b.offset);
    const whole = Buffer.alloc(datagram.total);
    let at = 0;
    for (const { offset, bytes } of pieces) {
      if (offset > at) return undefined;
      bytes.copy(whole, offset);
      at = Math.max(at, offset + bytes.length);
    }
    if (at < datagram.total) return undefined;
    this.datagrams.delete(datagram.key);
    return whole;
  }

  private lose(datagram: Datagram, reason: string): void {
    this.datagrams.delete(datagram.key);
    this.onLost(datagram.frame, reason);
  }
}
