/**
 * The binary header of the PROXY protocol, version 2 (The PROXY protocol, HAProxy, section 2.2):
 *
 *   0  signature, 12 bytes
 *  12  version (4 bits, 2) and command (4 bits: 0 LOCAL, 1 PROXY)
 *  13  address family (4 bits) and transport protocol (4 bits)
 *  14  length of what follows, 16 bits
 *  16  addresses by family, then type-length-value vectors
 */

/** What tells a header from everything else; shorter than any MQTT CONNECT and any line of version 1. */
export const SIGNATURE_BYTES = 12;
/** Bytes before the variable part. */
export const FIXED_BYTES = 16;
/** Longest header that is taken, in bytes. A proxy that passes a client certificate's names on needs some hundred. */
export const MAX_HEADER_BYTES = 4_096;

const SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a", "hex");

const Command = { LOCAL: 0, PROXY: 1 } as const;
/** Byte 13. */
const Family = { UNSPEC: 0x00, TCP_IPV4: 0x11, TCP_IPV6: 0x21 } as const;
/** UDP, and UNIX sockets of both kinds: defined, but nothing that could stand before MQTT. */
const OTHER_FAMILIES: readonly number[] = [0x12, 0x22, 0x31, 0x32];
const PP2_TYPE_CRC32C = 0x03;

export const PROXY_FAULTS = ["missing_header", "malformed", "unsupported", "too_long", "checksum"] as const;
export type ProxyFault = (typeof PROXY_FAULTS)[number];

/** The client's end as the proxy saw it; undefined where the connection speaks for itself (LOCAL, UNSPEC). */
export interface ProxySource {
  /** `192.0.2.1`, `2001:db8::1` */
  readonly address: string;
  readonly port: number;
}

/** @returns why what begins with these 12 bytes is no header of version 2 */
export function checkSignature(start: Buffer): ProxyFault | undefined {
  return start.subarray(0, SIGNATURE_BYTES).equals(SIGNATURE) ? undefined : "missing_header";
}

/** @returns the whole header's length by its first 16 bytes, or why they cannot begin one */
export function headerLength(fixed: Buffer): number | ProxyFault {
  const versionAndCommand = fixed[12]!;
  if (versionAndCommand >> 4 !== 2 || (versionAndCommand & 0xf) > Command.PROXY) return "malformed";
  const length = FIXED_BYTES + fixed.readUInt16BE(14);
  return length > MAX_HEADER_BYTES ? "too_long" : length;
}

/**
 * @param header all of it, as long as `headerLength` says
 * @returns what it says of the client, or why it is not to be believed
 */
export function parseHeader(header: Buffer): { readonly source: ProxySource | undefined } | ProxyFault {
  // The block of a LOCAL command is to be discarded, its family included.
  if ((header[12]! & 0xf) === Command.LOCAL) return { source: undefined };
  const family = header[13]!;
  const block = header.subarray(FIXED_BYTES);
  if (family === Family.UNSPEC) return { source: undefined };
  if (OTHER_FAMILIES.includes(family)) return "unsupported";
  const bytes = family === Family.TCP_IPV4 ? 4 : family === Family.TCP_IPV6 ? 16 : 0;
  if (bytes === 0) return "malformed";
  // Source and destination address, source and destination port.
  const addresses = 2 * bytes + 4;
  if (block.length < addresses) return "malformed";
  const fault = checkVectors(header, FIXED_BYTES + addresses);
  if (fault !== undefined) return fault;
  const address = bytes === 4 ? block.subarray(0, 4).join(".") : ipv6Text(block);
  return { source: { address, port: block.readUInt16BE(2 * bytes) } };
}

/** Walks the vectors (type, 16 bits of length, value), and checks the checksum where there is one (section 2.2.3). */
function checkVectors(header: Buffer, start: number): ProxyFault | undefined {
  let at = start;
  while (at < header.length) {
    if (at + 3 > header.length) return "malformed";
    const end = at + 3 + header.readUInt16BE(at + 1);
    if (end > header.length) return "malformed";
    if (header[at] === PP2_TYPE_CRC32C) {
      if (end - at !== 7) return "malformed";
      const blank = Buffer.from(header);
      blank.fill(0, at + 3, end);
      if (crc32c(blank) !== header.readUInt32BE(at + 3)) return "checksum";
    }
    at = end;
  }
  return undefined;
}

function ipv6Text(bytes: Buffer): string {
  const groups = [0, 2, 4, 6, 8, 10, 12, 14].map((i) => bytes.readUInt16BE(i).toString(16));
  // IPv4-mapped (RFC 4291 section 2.5.5.2) as `peerName` knows it.
  if (groups.slice(0, 6).join(":") === "0:0:0:0:0:ffff") return `::ffff:${bytes.subarray(12, 16).join(".")}`;
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

/** CRC-32C (RFC 3720 appendix B.4): polynomial 0x1edc6f41, bits reflected. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1));
  }
  return (crc ^ 0xffffffff) >>> 0;
}
