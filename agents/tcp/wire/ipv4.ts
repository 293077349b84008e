import { formatIPv4 } from "@topicast/protocol";
import { checksum, fold, sumWords } from "./checksum.js";
import { ETHERTYPE_IPV4 } from "./ethernet.js";
import { type Address, type Datagram, type IpFault, type IpVersion, PROTOCOL_TCP, TTL } from "./ip.js";

/** IPv4 (RFC 791), without options on the way out; options on the way in are skipped. */

export const IPV4_HEADER = 20;
/** Don't fragment: the segment size follows the path's MTU, and such a datagram needs no identification (RFC 6864). */
const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET = 0x1fff;

function parse(bytes: Buffer, length: number, into: Datagram): IpFault | undefined {
  const at = into.ipAt;
  if (at + IPV4_HEADER > length) return "drop_truncated";
  const headerLength = (bytes[at]! & 0x0f) * 4;
  if (bytes[at]! >> 4 !== 4 || headerLength < IPV4_HEADER) return "drop_ip_header";
  // Without the Ethernet padding that may follow.
  const total = bytes.readUInt16BE(at + 2);
  if (total < headerLength) return "drop_ip_header";
  if (at + total > length) return "drop_truncated";
  if (fold(sumWords(bytes, at, at + headerLength)) !== 0xffff) return "drop_ip_checksum";
  into.protocol = bytes[at + 9]!;
  into.payloadAt = at + headerLength;
  into.end = at + total;
  into.isFragment = (bytes.readUInt16BE(at + 6) & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) !== 0;
  return undefined;
}

export const IPV4: IpVersion = {
  etherType: ETHERTYPE_IPV4,
  headerLength: IPV4_HEADER,
  addressesAt: 12,
  addressLength: 4,
  icmp: 1,
  defaultMss: 536,
  // As Linux (min_pmtu): 512 bytes of payload. Below it our datagrams may be cut, see Path.allowFragments.
  minMtu: 552,

  parse,

  readAddress(bytes, at) {
    return bytes.readInt32BE(at);
  },

  /** Not this-network, loopback, multicast, reserved or broadcast (RFC 1122 section 3.2.1.3). */
  isUnicast(address: Address) {
    const first = Number(address) >>> 24;
    return first !== 0 && first !== 127 && first < 224;
  },

  formatAddress(address) {
    return formatIPv4(Number(address));
  },

  writeTemplate(out, at) {
    out.fill(0, at, at + IPV4_HEADER);
    out[at] = 0x45;
    out.writeUInt16BE(DONT_FRAGMENT, at + 6);
    out[at + 8] = TTL;
    out[at + 9] = PROTOCOL_TCP;
  },

  finish(out, at, total, templateSum) {
    out.writeUInt16BE(total, at + 2);
    out.writeUInt16BE(checksum(templateSum + total), at + 10);
  },

  readFragment(bytes, { ipAt }) {
    const field = bytes.readUInt16BE(ipAt + 6);
    return {
      identification: bytes.readUInt16BE(ipAt + 4),
      offset: (field & FRAGMENT_OFFSET) * 8,
      more: (field & MORE_FRAGMENTS) !== 0,
    };
  },

  uncutHeader(bytes, { ipAt, payloadAt }) {
    const header = Buffer.from(bytes.subarray(0, payloadAt));
    header.writeUInt16BE(0, ipAt + 2);
    header.writeUInt16BE(0, ipAt + 6);
    header.writeUInt16BE(0, ipAt + 10);
    return header;
  },
};

/** Makes a template whose datagrams may be cut: each needs an identification then (RFC 6864). */
export function clearDontFragment(template: Buffer, at: number): void {
  template.writeUInt16BE(0, at + 6);
}
