import { fold, sumWords } from "./checksum.js";
import { ETHERTYPE_IPV4, ethernetPayload, etherType, hasGroupSource } from "./ethernet.js";
import {
  checkIpv4,
  type Ipv4Fault,
  ipv4Destination,
  ipv4HeaderLength,
  ipv4PseudoSum,
  ipv4Source,
  ipv4TotalLength,
  isUnicastIpv4,
} from "./ipv4.js";
import { emptySegment, parseTcp, type Segment, TCP_HEADER } from "./tcp.js";

/** Why a frame was not taken in; also the names of the counters. */
export type FrameFault =
  | Ipv4Fault
  | "drop_ethernet"
  | "drop_not_ip"
  | "drop_source_address"
  | "drop_tcp_checksum"
  | "drop_tcp_header";

/**
 * A received frame taken apart. One object is used again for each frame: everything in it, the payload above all, is
 * valid only until the next `parse`.
 */
export class Frame {
  readonly segment: Segment = emptySegment();
  bytes: Buffer = Buffer.alloc(0);
  /** Offsets of the IP and TCP headers in `bytes`. */
  ipAt = 0;
  tcpAt = 0;
  source = 0;
  destination = 0;
  sourcePort = 0;
  destinationPort = 0;

  /** Takes `bytes[0, length)` apart. Returns undefined when it holds a sound TCP segment. */
  parse(bytes: Buffer, length: number): FrameFault | undefined {
    this.bytes = bytes;
    const ipAt = ethernetPayload(bytes, length);
    if (ipAt < 0 || hasGroupSource(bytes)) return "drop_ethernet";
    if (etherType(bytes, ipAt) !== ETHERTYPE_IPV4) return "drop_not_ip";
    const fault = checkIpv4(bytes, ipAt, length);
    if (fault !== undefined) return fault;
    const tcpAt = ipAt + ipv4HeaderLength(bytes, ipAt);
    const end = ipAt + ipv4TotalLength(bytes, ipAt);
    if (end - tcpAt < TCP_HEADER) return "drop_tcp_header";
    this.ipAt = ipAt;
    this.tcpAt = tcpAt;
    this.source = ipv4Source(bytes, ipAt);
    this.destination = ipv4Destination(bytes, ipAt);
    this.sourcePort = bytes.readUInt16BE(tcpAt);
    this.destinationPort = bytes.readUInt16BE(tcpAt + 2);
    // RFC 1122 section 4.2.3.10: a source that is no single host's, or our own, must not be answered.
    if (!isUnicastIpv4(this.source) || this.source === this.destination) return "drop_source_address";
    if (!this.hasGoodChecksum(end)) return "drop_tcp_checksum";
    return parseTcp(bytes, tcpAt, end, this.segment) ? undefined : "drop_tcp_header";
  }

  /**
   * The connection the frame belongs to: source and destination address and port, as the bytes stand in the headers.
   * A string of 12 characters, because a Map finds those fast and IPv6 needs only longer ones.
   */
  key(): string {
    const { bytes, ipAt, tcpAt } = this;
    if (tcpAt === ipAt + 20) return bytes.toString("latin1", ipAt + 12, ipAt + 24);
    return bytes.toString("latin1", ipAt + 12, ipAt + 20) + bytes.toString("latin1", tcpAt, tcpAt + 4);
  }

  /**
   * A sender on this host leaves the checksum to a network card that a veth or bridge does not have, and the kernel's
   * receive coalescing (GRO) does the same to what it has checked and merged: the field then holds the folded
   * pseudo-header sum alone (Linux: CHECKSUM_PARTIAL). Those frames cannot have been damaged on a wire.
   */
  private hasGoodChecksum(end: number): boolean {
    const { bytes, tcpAt } = this;
    const pseudo = ipv4PseudoSum(this.source, this.destination) + (end - tcpAt);
    if (bytes.readUInt16BE(tcpAt + 16) === fold(pseudo)) return true;
    return fold(pseudo + sumWords(bytes, tcpAt, end)) === 0xffff;
  }
}
