import { isIPv6 } from "node:net";

/** IP addresses and endpoints as text, numbers and bytes. Nothing here throws: what is no address is undefined. */

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

/** `ADDRESS:PORT`, the address a dotted quad; undefined where it is not one. */
export function parseIPv4Endpoint(text: string): { address: string; port: number } | undefined {
  const [, address, digits] = /^([0-9.]+):([0-9]{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (address === undefined || parseIPv4(address) === undefined || port < 1 || port > 65_535)
    return undefined;
  return { address, port };
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
