import { formatIPv6 } from "@topicast/protocol";
import { ETHERTYPE_IPV6 } from "./ethernet.js";
import { type Address, type Datagram, type IpFault, type IpVersion, PROTOCOL_TCP, TTL } from "./ip.js";

/** IPv6 (RFC 8200), without extension headers on the way out; those on the way in are looked through for TCP. */

export const IPV6_HEADER = 40;
const NEXT_HEADER = 6;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
const FRAGMENT_HEADER = 8;
/** Nobody sends as many: the limit bounds the work for one frame (RFC 8504 section 5.3 allows it). */
const MAX_EXTENSIONS = 8;
/** One byte, without a length. */
const OPTION_PAD1 = 0;
/** What to do with an option that is not known (RFC 8200 section 4.2): skip it, if these bits are 0. */
const OPTION_REFUSE = 0xc0;

function parse(bytes: Buffer, length: number, into: Datagram): IpFault | undefined {
  const at = into.ipAt;
  const payloadAt = at + IPV6_HEADER;
  if (payloadAt > length) return "drop_truncated";
  if (bytes[at]! >> 4 !== 6) return "drop_ip_header";
  const payload = bytes.readUInt16BE(at + 4);
  // RFC 2675; Linux leaves it 0 in what it has merged beyond 64 KB (BIG TCP), too.
  if (payload === 0) return "drop_jumbogram";
  if (payloadAt + payload > length) return "drop_truncated";
  into.protocol = bytes[at + NEXT_HEADER]!;
  into.payloadAt = payloadAt;
  into.end = payloadAt + payload;
  into.isFragment = false;
  return into.protocol === PROTOCOL_TCP ? undefined : skipExtensions(bytes, into);
}

/** Moves `into` behind the extension headers, or behind the first one that makes it a fragment. */
function skipExtensions(bytes: Buffer, into: Datagram): IpFault | undefined {
  into.nextHeaderAt = into.ipAt + NEXT_HEADER;
  for (let n = 0; isExtension(into.protocol); n++) {
    if (n === MAX_EXTENSIONS) return "drop_ip_extension";
    const { payloadAt: at, protocol } = into;
    if (at + 8 > into.end) return "drop_ip_header";
    const length = protocol === FRAGMENT ? FRAGMENT_HEADER : (bytes[at + 1]! + 1) * 8;
    if (at + length > into.end) return "drop_ip_header";
    into.protocol = bytes[at]!;
    into.payloadAt = at + length;
    if (protocol === FRAGMENT) {
      into.isFragment = (bytes.readUInt16BE(at + 2) & 0xfff9) !== 0;
      if (into.isFragment) return undefined;
    } else if (protocol === ROUTING) {
      // We are no router: segments left means that the way goes on (RFC 8200 section 4.4, RFC 5095).
      if (bytes[at + 3] !== 0) return "drop_ip_extension";
    } else {
      if (protocol === HOP_BY_HOP && n > 0) return "drop_ip_extension";
      const fault = checkOptions(bytes, at + 2, at + length);
      if (fault !== undefined) return fault;
    }
    into.nextHeaderAt = at;
  }
  return undefined;
}

/** Whether an extension header comes next that is understood here. */
export function isExtension(protocol: number): boolean {
  return (
    protocol === HOP_BY_HOP ||
    protocol === ROUTING ||
    protocol === FRAGMENT ||
    protocol === DESTINATION_OPTIONS
  );
}

function checkOptions(bytes: Buffer, start: number, end: number): IpFault | undefined {
  for (let at = start; at < end; ) {
    const type = bytes[at]!;
    if (type === OPTION_PAD1) {
      at += 1;
      continue;
    }
    if ((type & OPTION_REFUSE) !== 0) return "drop_ip_extension";
    const next = at + 1 < end ? at + 2 + bytes[at + 1]! : end + 1;
    if (next > end) return "drop_ip_header";
    at = next;
  }
  return undefined;
}

export const IPV6: IpVersion = {
  etherType: ETHERTYPE_IPV6,
  headerLength: IPV6_HEADER,
  addressesAt: 8,
  addressLength: 16,
  icmp: 58,
  defaultMss: 1_220,
  minMtu: 1280,

  parse,

  readAddress(bytes, at) {
    return bytes.toString("latin1", at, at + 16);
  },

  /** Not unspecified, loopback or multicast, nor an IPv4 address in disguise (RFC 4291 sections 2.5 and 2.7). */
  isUnicast(address: Address) {
    const text = String(address);
    if (text.charCodeAt(0) === 0xff) return false;
    return !text.startsWith(EMBEDDED) && !text.startsWith(MAPPED);
  },

  formatAddress(address) {
    return formatIPv6(Buffer.from(String(address), "latin1"));
  },

  writeTemplate(out, at) {
    out.fill(0, at, at + IPV6_HEADER);
    out[at] = 0x60;
    out[at + NEXT_HEADER] = PROTOCOL_TCP;
    out[at + 7] = TTL;
  },

  finish(out, at, total) {
    out.writeUInt16BE(total - IPV6_HEADER, at + 4);
  },

  readFragment(bytes, { payloadAt }) {
    const at = payloadAt - FRAGMENT_HEADER;
    const field = bytes.readUInt16BE(at + 2);
    return { identification: bytes.readUInt32BE(at + 4), offset: field & 0xfff8, more: (field & 1) !== 0 };
  },

  uncutHeader(bytes, { ipAt, payloadAt, protocol, nextHeaderAt }) {
    const header = Buffer.from(bytes.subarray(0, payloadAt - FRAGMENT_HEADER));
    header.writeUInt16BE(0, ipAt + 4);
    header[nextHeaderAt] = protocol;
    return header;
  },
};

/** `::`, `::1` and IPv4-compatible addresses; IPv4-mapped ones, which never stand in a packet. */
const EMBEDDED = "\0".repeat(12);
const MAPPED = `${"\0".repeat(10)}\xff\xff`;
