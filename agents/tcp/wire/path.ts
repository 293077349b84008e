import { checksum, sumWords } from "./checksum.js";
import { ETHERTYPE_IPV4, writeEthernet, writeReplyHeader } from "./ethernet.js";
import type { Frame } from "./frame.js";
import { finishIpv4, formatIpv4, IPV4_HEADER, ipv4PseudoSum, parseIpv4, writeIpv4Template } from "./ipv4.js";
import { type Segment, TCP_HEADER, writeTcp } from "./tcp.js";

/** Both ends of a connection with everything below TCP; `vlans` are ids, outermost first. */
export interface Endpoints {
  localMac: Uint8Array;
  remoteMac: Uint8Array;
  vlans?: readonly number[];
  local: string;
  localPort: number;
  remote: string;
  remotePort: number;
}

/**
 * The way from here to one peer: the constant part of each frame (Ethernet with VLAN tags, IPv4, TCP ports), written
 * once per connection. Replies take the way their segment came, so neither ARP nor a route is needed.
 */
export class Path {
  private readonly tcpAt: number;
  /** Unfolded sums of the constant words of the IPv4 header, and of pseudo-header and ports. */
  private readonly ipSum: number;
  private readonly tcpSum: number;

  private constructor(
    private readonly header: Buffer,
    private readonly ipAt: number,
    source: number,
    destination: number,
  ) {
    this.tcpAt = writeIpv4Template(header, ipAt, source, destination);
    this.ipSum = sumWords(header, ipAt, this.tcpAt);
    this.tcpSum = ipv4PseudoSum(source, destination) + sumWords(header, this.tcpAt, this.tcpAt + 4);
  }

  /** The way back to the sender of `frame`. */
  static replyTo(frame: Frame): Path {
    const { ipAt } = frame;
    const header = Buffer.allocUnsafe(ipAt + IPV4_HEADER + 4);
    writeReplyHeader(frame.bytes, ipAt, header);
    header.writeUInt16BE(frame.destinationPort, ipAt + IPV4_HEADER);
    header.writeUInt16BE(frame.sourcePort, ipAt + IPV4_HEADER + 2);
    return new Path(header, ipAt, frame.destination, frame.source);
  }

  static between(ends: Endpoints): Path {
    const header = Buffer.alloc(64);
    const ipAt = writeEthernet(header, ends.remoteMac, ends.localMac, ends.vlans ?? [], ETHERTYPE_IPV4);
    header.writeUInt16BE(ends.localPort, ipAt + IPV4_HEADER);
    header.writeUInt16BE(ends.remotePort, ipAt + IPV4_HEADER + 2);
    return new Path(
      header.subarray(0, ipAt + IPV4_HEADER + 4),
      ipAt,
      parseIpv4(ends.local),
      parseIpv4(ends.remote),
    );
  }

  /** The peer, e.g. `192.168.1.102:50123`. */
  get peer(): string {
    return `${formatIpv4(this.header.readInt32BE(this.ipAt + 16))}:${this.header.readUInt16BE(this.tcpAt + 2)}`;
  }

  /** Our end, in the same form. */
  get local(): string {
    return `${formatIpv4(this.header.readInt32BE(this.ipAt + 12))}:${this.header.readUInt16BE(this.tcpAt)}`;
  }

  /** Our IPv4 address as a signed 32-bit integer. */
  get localAddress(): number {
    return this.header.readInt32BE(this.ipAt + 12);
  }

  get localPort(): number {
    return this.header.readUInt16BE(this.tcpAt);
  }

  /** The key that `Frame.key` gives for the peer's segments. */
  key(): string {
    const { header, ipAt, tcpAt } = this;
    return (
      header.toString("latin1", ipAt + 16, ipAt + 20) +
      header.toString("latin1", ipAt + 12, ipAt + 16) +
      header.toString("latin1", tcpAt + 2, tcpAt + 4) +
      header.toString("latin1", tcpAt, tcpAt + 2)
    );
  }

  /**
   * Whether `frame` came another way than this path goes back (station moved, gateway changed, other VLAN).
   */
  differsFrom(frame: Frame): boolean {
    const { header, ipAt } = this;
    if (frame.ipAt !== ipAt) return true;
    const { bytes } = frame;
    for (let i = 0; i < 6; i++) if (header[i] !== bytes[6 + i]) return true;
    for (let i = 12; i < ipAt; i++) if (header[i] !== bytes[i]) return true;
    return false;
  }

  /** Writes the whole frame for `segment` to `out`, checksums included. Returns its length. */
  write(segment: Segment, out: Buffer): number {
    const { header, ipAt, tcpAt } = this;
    out.set(header, 0);
    const end = writeTcp(out, tcpAt, segment);
    finishIpv4(out, ipAt, end - ipAt, this.ipSum);
    const length = end - tcpAt;
    out.writeUInt16BE(checksum(this.tcpSum + length + sumWords(out, tcpAt + 4, end)), tcpAt + 16);
    return end;
  }
}

/** Room that `Path.write` needs beside the payload: two VLAN tags and all TCP options. */
export const FRAME_OVERHEAD = 22 + IPV4_HEADER + 3 * TCP_HEADER;
