import { fold, sumWords } from "./checksum.js";
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, ethernetPayload, etherType, hasGroupSource } from "./ethernet.js";
import { type Address, type Datagram, type IpFault, type IpVersion, PROTOCOL_TCP } from "./ip.js";
import { IPV4 } from "./ipv4.js";
import { IPV6, isExtension } from "./ipv6.js";
import { emptySegment, parseTcp, type Segment, TCP_HEADER } from "./tcp.js";

/** Why a frame was not taken in; also the names of the counters. */
export type FrameFault =
  | IpFault
  | "drop_ethernet"
  | "drop_not_ip"
  | "drop_not_tcp"
  | "drop_source_address"
  | "drop_tcp_checksum"
  | "drop_tcp_header";

/** What a sound frame holds beside a whole segment. */
export type FrameContent = "fragment" | "icmp";

/**
 * A received frame taken apart. One object is used again for each frame: everything in it, the payload above all, is
 * valid only until the next `parse`.
 */
export class Frame implements Datagram {
  readonly segment: Segment = emptySegment();
  bytes: Buffer = Buffer.alloc(0);
  ip: IpVersion = IPV4;
  ipAt = 0;
  protocol = 0;
  /** Offset of the TCP header, where there is one. */
  payloadAt = 0;
  end = 0;
  isFragment = false;
  nextHeaderAt = 0;
  source: Address = 0;
  destination: Address = 0;
  sourcePort = 0;
  destinationPort = 0;

  /** Takes `bytes[0, length)` apart. Returns undefined when it holds a sound TCP segment. */
  parse(bytes: Buffer, length: number): FrameFault | FrameContent | undefined {
    this.bytes = bytes;
    const ipAt = ethernetPayload(bytes, length);
    if (ipAt < 0 || hasGroupSource(bytes)) return "drop_ethernet";
    const type = etherType(bytes, ipAt);
    if (type !== ETHERTYPE_IPV4 && type !== ETHERTYPE_IPV6) return "drop_not_ip";
    const ip = type === ETHERTYPE_IPV4 ? IPV4 : IPV6;
    this.ip = ip;
    this.ipAt = ipAt;
    const fault = ip.parse(bytes, length, this);
    if (fault !== undefined) return fault;
    const addressesAt = ipAt + ip.addressesAt;
    this.source = ip.readAddress(bytes, addressesAt);
    this.destination = ip.readAddress(bytes, addressesAt + ip.addressLength);
    // RFC 1122 section 4.2.3.10: a source that is no single host's, or our own, must not be answered.
    if (!ip.isUnicast(this.source) || this.source === this.destination) return "drop_source_address";
    if (this.protocol !== PROTOCOL_TCP) return this.otherContent();
    return this.isFragment ? "fragment" : this.parseSegment();
  }

  /**
   * The connection the frame belongs to: source and destination address and port, as the bytes stand in the headers.
   * A string of 12 characters, 36 with IPv6, because a Map finds those fast.
   */
  key(): string {
    const { bytes, ip, ipAt, payloadAt } = this;
    const addressesAt = ipAt + ip.addressesAt;
    if (payloadAt === ipAt + ip.headerLength) return bytes.toString("latin1", addressesAt, payloadAt + 4);
    return (
      bytes.toString("latin1", addressesAt, addressesAt + 2 * ip.addressLength) +
      bytes.toString("latin1", payloadAt, payloadAt + 4)
    );
  }

  /** Unfolded sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1) for the payload. */
  pseudoSum(): number {
    const { bytes, ip, ipAt, end, payloadAt } = this;
    const addressesAt = ipAt + ip.addressesAt;
    const addresses = sumWords(bytes, addressesAt, addressesAt + 2 * ip.addressLength);
    return addresses + this.protocol + end - payloadAt;
  }

  private otherContent(): FrameFault | FrameContent {
    // TCP may be behind further headers, which are cut with it.
    if (this.isFragment) return this.ip === IPV6 && isExtension(this.protocol) ? "fragment" : "drop_not_tcp";
    return this.protocol === this.ip.icmp ? "icmp" : "drop_not_tcp";
  }

  private parseSegment(): FrameFault | undefined {
    const { bytes, payloadAt, end } = this;
    if (end - payloadAt < TCP_HEADER) return "drop_tcp_header";
    this.sourcePort = bytes.readUInt16BE(payloadAt);
    this.destinationPort = bytes.readUInt16BE(payloadAt + 2);
    if (!this.hasGoodChecksum()) return "drop_tcp_checksum";
    return parseTcp(bytes, payloadAt, end, this.segment) ? undefined : "drop_tcp_header";
  }

  /**
   * A sender on this host leaves the checksum to a network card that a veth or bridge does not have, and the kernel's
   * receive coalescing (GRO) does the same to what it has checked and merged: the field then holds the folded
   * pseudo-header sum alone (Linux: CHECKSUM_PARTIAL). Those frames cannot have been damaged on a wire.
   */
  private hasGoodChecksum(): boolean {
    const { bytes, payloadAt, end } = this;
    const pseudo = this.pseudoSum();
    if (bytes.readUInt16BE(payloadAt + 16) === fold(pseudo)) return true;
    return fold(pseudo + sumWords(bytes, payloadAt, end)) === 0xffff;
  }
}
