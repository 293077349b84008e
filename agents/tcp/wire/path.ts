import { formatEndpoint } from "@topicast/protocol";
import { formatAddress, parseAddress, versionOf } from "./address.js";
import { checksum, sumWords } from "./checksum.js";
import { writeEthernet, writeReplyHeader } from "./ethernet.js";
import type { Frame } from "./frame.js";
import { type Address, type IpVersion, PROTOCOL_TCP, writeAddress } from "./ip.js";
import { clearDontFragment, IPV4, IPV4_HEADER } from "./ipv4.js";
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
 * The way from here to one peer: the constant part of each frame (Ethernet with VLAN tags, IP, TCP ports), written
 * once per connection. Replies take the way their segment came, so neither ARP nor a route is needed.
 */
export class Path {
  private readonly tcpAt: number;
  /** Unfolded sums of the constant words of the IP header, and of pseudo-header and ports. */
  private ipSum: number;
  private readonly tcpSum: number;
  private mayBeCut = false;

  /** Completes `header`, where everything below IP stands. */
  private constructor(
    private readonly header: Buffer,
    private readonly ipAt: number,
    readonly ip: IpVersion,
    local: Address,
    localPort: number,
    remote: Address,
    remotePort: number,
  ) {
    const tcpAt = ipAt + ip.headerLength;
    const addressesAt = ipAt + ip.addressesAt;
    ip.writeTemplate(header, ipAt);
    writeAddress(header, addressesAt, local);
    writeAddress(header, addressesAt + ip.addressLength, remote);
    header.writeUInt16BE(localPort, tcpAt);
    header.writeUInt16BE(remotePort, tcpAt + 2);
    this.tcpAt = tcpAt;
    this.ipSum = sumWords(header, ipAt, tcpAt);
    const addresses = sumWords(header, addressesAt, addressesAt + 2 * ip.addressLength);
    this.tcpSum = addresses + PROTOCOL_TCP + sumWords(header, tcpAt, tcpAt + 4);
  }

  /** The way back to the sender of `frame`. */
  static replyTo(frame: Frame): Path {
    const { ip, ipAt, source, sourcePort, destination, destinationPort } = frame;
    const header = Buffer.allocUnsafe(ipAt + ip.headerLength + 4);
    writeReplyHeader(frame.bytes, ipAt, header);
    return new Path(header, ipAt, ip, destination, destinationPort, source, sourcePort);
  }

  /** @throws RangeError when an address is none, or they are of two versions of IP */
  static between(ends: Endpoints): Path {
    const local = parseAddress(ends.local);
    const remote = parseAddress(ends.remote);
    const ip = versionOf(local);
    if (versionOf(remote) !== ip)
      throw new RangeError(`there is no way from ${ends.local} to ${ends.remote}`);
    const header = Buffer.alloc(FRAME_OVERHEAD);
    const ipAt = writeEthernet(header, ends.remoteMac, ends.localMac, ends.vlans ?? [], ip.etherType);
    const used = header.subarray(0, ipAt + ip.headerLength + 4);
    return new Path(used, ipAt, ip, local, ends.localPort, remote, ends.remotePort);
  }

  /** The peer, e.g. `192.168.1.102:50123` or `[fd00::2]:50123`. */
  get peer(): string {
    const { header, ip, ipAt, tcpAt } = this;
    const address = ip.readAddress(header, ipAt + ip.addressesAt + ip.addressLength);
    return formatEndpoint({ address: formatAddress(address), port: header.readUInt16BE(tcpAt + 2) });
  }

  /** Our end, in the same form. */
  get local(): string {
    return formatEndpoint({ address: formatAddress(this.localAddress), port: this.localPort });
  }

  get localAddress(): Address {
    return this.ip.readAddress(this.header, this.ipAt + this.ip.addressesAt);
  }

  get localPort(): number {
    return this.header.readUInt16BE(this.tcpAt);
  }

  /** The key that `Frame.key` gives for the peer's segments. */
  key(): string {
    return keyOf(this.ip, this.header, this.ipAt, this.tcpAt);
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

  /** Lets routers cut what we send from now on, where segments cannot be made as small as the path wants them (IPv4). */
  allowFragments(): void {
    if (this.mayBeCut || this.ip !== IPV4) return;
    this.mayBeCut = true;
    clearDontFragment(this.header, this.ipAt);
    // Two connections of one pair of hosts begin at different numbers.
    this.header.writeUInt16BE(this.tcpSum & 0xffff, this.ipAt + 4);
    this.ipSum = sumWords(this.header, this.ipAt, this.tcpAt);
  }

  /** Writes the whole frame for `segment` to `out`, checksums included. Returns its length. */
  write(segment: Segment, out: Buffer): number {
    const { header, ip, ipAt, tcpAt } = this;
    if (this.mayBeCut) this.identify();
    out.set(header, 0);
    const end = writeTcp(out, tcpAt, segment);
    ip.finish(out, ipAt, end - ipAt, this.ipSum);
    const length = end - tcpAt;
    out.writeUInt16BE(checksum(this.tcpSum + length + sumWords(out, tcpAt + 4, end)), tcpAt + 16);
    return end;
  }

  /** The next identification; the checksum follows. */
  private identify(): void {
    const at = this.ipAt + 4;
    const before = this.header.readUInt16BE(at);
    const next = (before + 1) & 0xffff;
    this.header.writeUInt16BE(next, at);
    this.ipSum += next - before;
  }
}

/** The key that `Frame.key` gives for the answers to the segment whose headers stand in `bytes`. */
export function keyOf(ip: IpVersion, bytes: Buffer, ipAt: number, tcpAt: number): string {
  const source = ipAt + ip.addressesAt;
  const destination = source + ip.addressLength;
  return (
    bytes.toString("latin1", destination, destination + ip.addressLength) +
    bytes.toString("latin1", source, destination) +
    bytes.toString("latin1", tcpAt + 2, tcpAt + 4) +
    bytes.toString("latin1", tcpAt, tcpAt + 2)
  );
}

/**
 * Room that `Path.write` needs beside the payload: two VLAN tags, the IP header and all TCP options. With IPv6 as much
 * as the larger header takes is missing in the payload.
 */
export const FRAME_OVERHEAD = 22 + IPV4_HEADER + 3 * TCP_HEADER;
