import { checksum, fold, sumWords } from "./checksum.js";

/** IPv4 (RFC 791), without options on the way out; options on the way in are skipped. */

export const IPV4_HEADER = 20;
export const PROTOCOL_TCP = 6;
/** Don't fragment: the segment size follows the MTU, and an atomic datagram needs no identification (RFC 6864). */
const DONT_FRAGMENT = 0x4000;
const FRAGMENT_BITS = 0x3fff;
const TTL = 64;

export type Ipv4Fault =
  | "drop_truncated"
  | "drop_ip_header"
  | "drop_ip_checksum"
  | "drop_fragment"
  | "drop_not_tcp";

/**
 * Checks the header at `at` of a frame of `length` bytes.
 *
 * @returns undefined for a whole TCP datagram, else the reason to drop it
 */
export function checkIpv4(frame: Buffer, at: number, length: number): Ipv4Fault | undefined {
  if (at + IPV4_HEADER > length) return "drop_truncated";
  const headerLength = ipv4HeaderLength(frame, at);
  if (frame[at]! >> 4 !== 4 || headerLength < IPV4_HEADER) return "drop_ip_header";
  const total = ipv4TotalLength(frame, at);
  if (total < headerLength) return "drop_ip_header";
  if (at + total > length) return "drop_truncated";
  if (fold(sumWords(frame, at, at + headerLength)) !== 0xffff) return "drop_ip_checksum";
  if ((frame.readUInt16BE(at + 6) & FRAGMENT_BITS) !== 0) return "drop_fragment";
  if (frame[at + 9] !== PROTOCOL_TCP) return "drop_not_tcp";
  return undefined;
}

export function ipv4HeaderLength(frame: Buffer, at: number): number {
  return (frame[at]! & 0x0f) * 4;
}

/** Header and payload, without the Ethernet padding that may follow. */
export function ipv4TotalLength(frame: Buffer, at: number): number {
  return frame.readUInt16BE(at + 2);
}

/** Source address as a signed 32-bit integer. */
export function ipv4Source(frame: Buffer, at: number): number {
  return frame.readInt32BE(at + 12);
}

export function ipv4Destination(frame: Buffer, at: number): number {
  return frame.readInt32BE(at + 16);
}

/**
 * Whether one host may have this address: not this-network, loopback, multicast, reserved or broadcast
 * (RFC 1122 section 3.2.1.3). Anything else as a source must not be answered.
 */
export function isUnicastIpv4(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

/** Unfolded sum of TCP's pseudo-header (RFC 9293 section 3.1), the TCP length apart. */
export function ipv4PseudoSum(source: number, destination: number): number {
  return (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + PROTOCOL_TCP;
}

/** Writes a header whose length and checksum are still 0. Returns the offset behind it. */
export function writeIpv4Template(out: Buffer, at: number, source: number, destination: number): number {
  out.fill(0, at, at + IPV4_HEADER);
  out[at] = 0x45;
  out.writeUInt16BE(DONT_FRAGMENT, at + 6);
  out[at + 8] = TTL;
  out[at + 9] = PROTOCOL_TCP;
  out.writeInt32BE(source, at + 12);
  out.writeInt32BE(destination, at + 16);
  return at + IPV4_HEADER;
}

/** Completes a template; `templateSum` is the unfolded sum of its words. */
export function finishIpv4(out: Buffer, at: number, totalLength: number, templateSum: number): void {
  out.writeUInt16BE(totalLength, at + 2);
  out.writeUInt16BE(checksum(templateSum + totalLength), at + 10);
}

/** `192.168.1.101` to a signed 32-bit integer. */
export function parseIpv4(text: string): number {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((p) => p > 255)) throw new RangeError(`${text} is no IPv4 address`);
  return parts.reduce((sum, part) => (sum << 8) | part, 0);
}

export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}
