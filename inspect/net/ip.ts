import { formatIPv4, formatIPv6 } from "@topicast/protocol";
import { EtherType } from "./link.js";

/**
 * IP as an onlooker reads it: packets may be cut short by the capture, carry lengths of 0 (segmentation offload) and
 * checksums that a network card has yet to write, none of which a receiver's parser lets pass.
 */

export const Protocol = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58 } as const;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION = 60;
const MAX_EXTENSIONS = 16;
/** Formatted addresses kept; then all are forgotten. */
const MAX_CACHED = 65_536;

export interface IpPacket {
  version: number;
  source: string;
  destination: string;
  protocol: number;
  /** Time to live, hop limit. */
  ttl: number;
  /** Where the payload stands in `bytes`; `end` is no further than what was captured. */
  payloadAt: number;
  end: number;
  /** Bytes of the payload that the capture cut off. */
  missing: number;
  isFragment: boolean;
  /** Of a fragment: offset in bytes, whether more follow, whose it is. */
  offset: number;
  more: boolean;
  identification: number;
}

export function emptyIp(): IpPacket {
  return {
    version: 0,
    source: "",
    destination: "",
    protocol: 0,
    ttl: 0,
    payloadAt: 0,
    end: 0,
    missing: 0,
    isFragment: false,
    offset: 0,
    more: false,
    identification: 0,
  };
}

/** Reads the packet at `at`. Returns what is wrong with it, or undefined; a packet cut by the capture is not wrong. */
export function readIp(bytes: Buffer, at: number, etherType: number, into: IpPacket): string | undefined {
  return etherType === EtherType.IPV4 ? readIPv4(bytes, at, into) : readIPv6(bytes, at, into);
}

function readIPv4(bytes: Buffer, at: number, into: IpPacket): string | undefined {
  if (at + 20 > bytes.length) return "IPv4 header is cut short";
  const headerBytes = (bytes[at]! & 15) * 4;
  if (bytes[at]! >> 4 !== 4) return `IPv4 packet of version ${bytes[at]! >> 4}`;
  if (headerBytes < 20) return `IPv4 header of ${headerBytes} bytes`;
  const told = bytes.readUInt16BE(at + 2);
  // With segmentation offload a frame may be longer than the field can say.
  const total = told === 0 ? bytes.length - at : told;
  if (total < headerBytes) return `IPv4 packet of ${total} bytes`;
  if (at + headerBytes > bytes.length) return "IPv4 header is cut short";
  const field = bytes.readUInt16BE(at + 6);
  into.version = 4;
  into.ttl = bytes[at + 8]!;
  into.protocol = bytes[at + 9]!;
  into.source = ipv4Text(bytes.readUInt32BE(at + 12));
  into.destination = ipv4Text(bytes.readUInt32BE(at + 16));
  into.identification = bytes.readUInt16BE(at + 4);
  into.offset = (field & 0x1fff) * 8;
  into.more = (field & 0x2000) !== 0;
  into.isFragment = into.more || into.offset > 0;
  into.payloadAt = at + headerBytes;
  into.end = Math.min(at + total, bytes.length);
  into.missing = at + total - into.end;
  return undefined;
}

function readIPv6(bytes: Buffer, at: number, into: IpPacket): string | undefined {
  if (at + 40 > bytes.length) return "IPv6 header is cut short";
  if (bytes[at]! >> 4 !== 6) return `IPv6 packet of version ${bytes[at]! >> 4}`;
  const told = bytes.readUInt16BE(at + 4);
  const total = told === 0 ? bytes.length - at : 40 + told;
  into.version = 6;
  into.ttl = bytes[at + 7]!;
  into.source = ipv6Text(bytes, at + 8);
  into.destination = ipv6Text(bytes, at + 24);
  into.isFragment = false;
  into.offset = 0;
  into.more = false;
  into.identification = 0;
  into.end = Math.min(at + total, bytes.length);
  into.missing = at + total - into.end;
  return readExtensions(bytes, at + 40, bytes[at + 6]!, into);
}

function readExtensions(bytes: Buffer, start: number, first: number, into: IpPacket): string | undefined {
  let next = first;
  let at = start;
  for (let count = 0; isExtension(next); count++) {
    if (count === MAX_EXTENSIONS) return `more than ${MAX_EXTENSIONS} IPv6 extension headers`;
    if (at + 8 > into.end) return "IPv6 extension header is cut short";
    const header = next;
    next = bytes[at]!;
    if (header === FRAGMENT) {
      const field = bytes.readUInt16BE(at + 2);
      into.offset = field & 0xfff8;
      into.more = (field & 1) !== 0;
      into.identification = bytes.readUInt32BE(at + 4);
      into.isFragment = into.more || into.offset > 0;
      at += 8;
      if (into.isFragment) break;
    } else {
      at += header === AUTHENTICATION ? (bytes[at + 1]! + 2) * 4 : (bytes[at + 1]! + 1) * 8;
    }
    if (at > into.end) return "IPv6 extension header is cut short";
  }
  into.protocol = next;
  into.payloadAt = at;
  return undefined;
}

function isExtension(protocol: number): boolean {
  return (
    protocol === HOP_BY_HOP ||
    protocol === ROUTING ||
    protocol === FRAGMENT ||
    protocol === AUTHENTICATION ||
    protocol === DESTINATION
  );
}

const ipv4Texts = new Map<number, string>();
const ipv6Texts = new Map<string, string>();

function ipv4Text(value: number): string {
  return cached(ipv4Texts, value, () => formatIPv4(value));
}

function ipv6Text(bytes: Buffer, at: number): string {
  return cached(ipv6Texts, bytes.toString("latin1", at, at + 16), () => formatIPv6(bytes, at));
}

function cached<K>(texts: Map<K, string>, key: K, format: () => string): string {
  let text = texts.get(key);
  if (text === undefined) {
    if (texts.size >= MAX_CACHED) texts.clear();
    text = format();
    texts.set(key, text);
  }
  return text;
}
