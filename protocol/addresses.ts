import { isIPv6 } from "node:net";

/** IP addresses and endpoints as text, numbers and bytes. Nothing here throws: what is no address is undefined. */

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** Dotted quad to u32; undefined where it is not one. */
export function parseIPv4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    value = value * 256 + Number(part);
  }
  return value;
}

export function formatIPv4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** Any text form of an IPv6 address (RFC 4291 section 2.2), without a zone, to its 16 bytes; undefined for others. */
export function parseIPv6(text: string): Buffer | undefined {
  if (!isIPv6(text) || text.includes("%")) return undefined;
  const [head = "", tail] = text.split("::");
  const left = wordsOf(head);
  const right = wordsOf(tail ?? "");
  const bytes = Buffer.alloc(16);
  for (const [i, word] of left.entries()) bytes.writeUInt16BE(word, 2 * i);
  for (const [i, word] of right.entries()) bytes.writeUInt16BE(word, 16 - 2 * (right.length - i));
  return bytes;
}

/** Words of one side of the `::`, the last two of them perhaps as a dotted quad. */
function wordsOf(side: string): number[] {
  if (side === "") return [];
  return side.split(":").flatMap((part) => {
    const quad = part.includes(".") ? parseIPv4(part) : undefined;
    return quad === undefined ? [Number.parseInt(part, 16)] : [quad >>> 16, quad & 0xffff];
  });
}

/** The 16 bytes from `at` on in the one form of RFC 5952, all words in hexadecimal. */
export function formatIPv6(bytes: Uint8Array, at = 0): string {
  const words = Array.from({ length: 8 }, (_, i) => (bytes[at + 2 * i]! << 8) | bytes[at + 2 * i + 1]!);
  // The first longest run of at least two zero words (section 4.2).
  let start = 0;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (words[i + run] === 0) run += 1;
    if (run > length) [start, length] = [i, run];
  }
  const text = words.map((word) => word.toString(16));
  if (length < 2) return text.join(":");
  return `${text.slice(0, start).join(":")}::${text.slice(start + length).join(":")}`;
}

/** The 4 or 16 bytes of an address; undefined where it is none. */
export function addressBytes(text: string): Buffer | undefined {
  const v4 = parseIPv4(text);
  if (v4 === undefined) return parseIPv6(text);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(v4);
  return bytes;
}

/** The one text of an address, so that equal addresses are equal texts; undefined where it is none. */
export function canonicalAddress(text: string): string | undefined {
  const bytes = addressBytes(text);
  if (bytes === undefined) return undefined;
  return bytes.length === 4 ? text : formatIPv6(bytes);
}

/** Order of addresses: IPv4 before IPv6, each by number. What is no address comes first. */
export function compareAddresses(a: string, b: string): number {
  const [x, y] = [addressBytes(a) ?? Buffer.alloc(0), addressBytes(b) ?? Buffer.alloc(0)];
  return x.length - y.length || x.compare(y);
}

/** `ADDRESS:PORT`, the address a dotted quad; undefined where it is not one. */
export function parseIPv4Endpoint(text: string): Endpoint | undefined {
  const endpoint = parseEndpoint(text);
  return endpoint === undefined || isIPv6(endpoint.address) ? undefined : endpoint;
}

/** `192.0.2.1:1883` or `[2001:db8::1]:1883`, the address in its canonical form; undefined where it is neither. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const [, v6, v4, digits] = /^(?:\[([^[\]]*)\]|([0-9.]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const bytes = v6 === undefined ? undefined : parseIPv6(v6);
  const address = bytes === undefined ? v4 : formatIPv6(bytes);
  const port = Number(digits);
  if (address === undefined || port < 1 || port > 65_535) return undefined;
  return bytes === undefined && parseIPv4(address) === undefined ? undefined : { address, port };
}

/** What `parseEndpoint` reads. */
export function formatEndpoint({ address, port }: Endpoint): string {
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
}
