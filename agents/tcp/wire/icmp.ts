import { fold, sumWords } from "./checksum.js";
import type { Frame } from "./frame.js";
import { PROTOCOL_TCP } from "./ip.js";
import { IPV4 } from "./ipv4.js";
import { keyOf } from "./path.js";

/** ICMP errors (RFC 792, RFC 4443) about segments of ours. */

export interface IcmpError {
  /** The connection whose segment it was, as `Frame.key` names it. */
  readonly key: string;
  /** That segment's sequence number. */
  readonly seq: number;
  /** What the segment, IP header included, would have had to fit into; 0: it was lost for another reason. */
  readonly mtu: number;
}

/** What differs between the two versions; `at` is where the ICMP message stands, `quotedAt` the packet that caused it. */
interface Dialect {
  isError(type: number): boolean;
  /** Whether TCP's header follows IP's at once: we send neither options nor extension headers. */
  quotesUs(bytes: Buffer, quotedAt: number): boolean;
  /** 0 unless size was the reason, undefined where no link may be so small. */
  mtu(bytes: Buffer, at: number, quotedAt: number): number | undefined;
}

/** Type, code, checksum, and four bytes that depend on the type. */
const ICMP_HEADER = 8;
/** Ports and sequence number; RFC 792 promises no more. */
const QUOTED_TCP = 8;
/** Typical MTUs (RFC 1191 section 7.1), for routers that do not tell theirs. */
const PLATEAUS = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296, 68];
/** Destination unreachable: fragmentation needed, and don't-fragment set. */
const V4_TOO_BIG = 0x0304;
/** RFC 791 section 3.2. */
const V4_MIN_LINK_MTU = 68;
const V6_TOO_BIG = 2;

const ICMPV4: Dialect = {
  /** Destination unreachable, source quench, time exceeded, parameter problem. */
  isError: (type) => type === 3 || type === 4 || type === 11 || type === 12,
  quotesUs(bytes, quotedAt) {
    const isFirst = (bytes.readUInt16BE(quotedAt + 6) & 0x1fff) === 0;
    return bytes[quotedAt] === 0x45 && bytes[quotedAt + 9] === PROTOCOL_TCP && isFirst;
  },
  mtu(bytes, at, quotedAt) {
    if (bytes.readUInt16BE(at) !== V4_TOO_BIG) return 0;
    const told = bytes.readUInt16BE(at + 6);
    const quoted = bytes.readUInt16BE(quotedAt + 2);
    const mtu = told > 0 ? told : (PLATEAUS.find((plateau) => plateau < quoted) ?? 0);
    return mtu < V4_MIN_LINK_MTU ? undefined : mtu;
  },
};

const ICMPV6: Dialect = {
  isError: (type) => type >= 1 && type <= 4,
  quotesUs: (bytes, quotedAt) => bytes[quotedAt]! >> 4 === 6 && bytes[quotedAt + 6] === PROTOCOL_TCP,
  mtu(bytes, at) {
    if (bytes[at] !== V6_TOO_BIG) return 0;
    const mtu = bytes.readUInt32BE(at + 4);
    // RFC 8201 section 4: no report of less than every link takes is believed.
    return mtu < 1280 ? undefined : mtu;
  },
};

/** Reads the error in `frame`, whose content is ICMP; undefined where it is none, or is not sound. */
export function readIcmpError(frame: Frame): IcmpError | undefined {
  const { bytes, ip, payloadAt: at, end, destination } = frame;
  const quotedAt = at + ICMP_HEADER;
  const tcpAt = quotedAt + ip.headerLength;
  if (tcpAt + QUOTED_TCP > end) return undefined;
  const pseudoSum = ip === IPV4 ? 0 : frame.pseudoSum();
  if (fold(pseudoSum + sumWords(bytes, at, end)) !== 0xffff) return undefined;
  const dialect = ip === IPV4 ? ICMPV4 : ICMPV6;
  if (!dialect.isError(bytes[at]!) || !dialect.quotesUs(bytes, quotedAt)) return undefined;
  if (ip.readAddress(bytes, quotedAt + ip.addressesAt) !== destination) return undefined;
  const mtu = dialect.mtu(bytes, at, quotedAt);
  if (mtu === undefined) return undefined;
  return { key: keyOf(ip, bytes, quotedAt, tcpAt), seq: bytes.readInt32BE(tcpAt + 4), mtu };
}
