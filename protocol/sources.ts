import { addressBytes, canonicalAddress, formatIPv6, parseIPv6 } from "./addresses.js";

/** An address range: its bytes, and how many bits of them count. */
export interface Network {
  readonly bytes: Buffer;
  readonly bits: number;
}

/** Bytes of an IPv6 address that one host is given: it may take the rest of it anew for each connection. */
const IPV6_PREFIX = 8;

/** The address in `192.168.1.102:50123` or `[fe80::1%eth0]:50123`, without zone. */
export function addressOf(peer: string): string {
  const end = peer.lastIndexOf(":");
  const address = end === -1 ? peer : peer.slice(0, end);
  return address.startsWith("[") ? address.slice(1, -1).replace(/%.*$/, "") : address;
}

/**
 * What counts as one source, as text: an IPv4 address, or the /64 of an IPv6 address (but not fe80::/64, which all hosts of a
 * link share). IPv4 that is mapped into IPv6 is IPv4; what is no address is a source by itself.
 */
export function sourceOf(address: string): string {
  const bytes = parseIPv6(address);
  if (bytes === undefined) return address;
  const mapped = mappedIPv4(bytes);
  if (mapped !== undefined) return mapped.join(".");
  // fe80::/10
  if (bytes.readUInt16BE(0) >> 6 === 0xfe80 >> 6) return formatIPv6(bytes);
  return `${formatIPv6(Buffer.concat([bytes.subarray(0, IPV6_PREFIX), Buffer.alloc(16 - IPV6_PREFIX)]))}/${8 * IPV6_PREFIX}`;
}

/** A source as `sourceOf` says it, from the address of any of its hosts or from itself; undefined where it is neither. */
export function parseSource(text: string): string | undefined {
  const address = canonicalAddress(text.endsWith("/64") ? text.slice(0, -3) : text);
  return address === undefined ? undefined : sourceOf(address);
}

/** ADDRESS or ADDRESS/BITS; undefined where it is neither. */
export function parseNetwork(text: string): Network | undefined {
  const [, address = "", bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const bytes = addressBytes(address);
  if (bytes === undefined) return undefined;
  const length = bits === undefined ? 8 * bytes.length : Number(bits);
  return length <= 8 * bytes.length ? { bytes, bits: length } : undefined;
}

export function isIn(networks: readonly Network[], address: string): boolean {
  if (networks.length === 0) return false;
  const given = addressBytes(address);
  if (given === undefined) return false;
  const bytes = (given.length === 16 && mappedIPv4(given)) || given;
  return networks.some((network) => contains(network, bytes));
}

/** Whether shutting out a source would shut out somebody in these networks: it may be the /64 of one address there. */
export function isSourceOfAny(networks: readonly Network[], source: string): boolean {
  if (isIn(networks, source.replace(/\/.*$/, ""))) return true;
  const within = parseNetwork(source);
  if (within === undefined || within.bits === 8 * within.bytes.length) return false;
  return networks.some(({ bytes, bits }) => bits >= within.bits && contains(within, bytes));
}

function contains({ bytes, bits }: Network, address: Uint8Array): boolean {
  if (bytes.length !== address.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== address[i]) return false;
  const rest = bits & 7;
  return rest === 0 || (bytes[whole]! ^ address[whole]!) >> (8 - rest) === 0;
}

/** `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2). */
function mappedIPv4(bytes: Buffer): Buffer | undefined {
  const isMapped = bytes.readUInt32BE(8) === 0xffff && bytes.subarray(0, 8).every((byte) => byte === 0);
  return isMapped ? bytes.subarray(12) : undefined;
}
