import { isIPv4, isIPv6 } from "node:net";
import { FormatError } from "./errors.js";

export type AddressType = "mac" | "ipv4" | "ipv6";

const WIDTH = { mac: 48, ipv4: 32, ipv6: 128 } as const;

/**
 * Brings an address, with or without a mask, to the one form in which equal matches are equal texts: MAC in lower
 * case, IPv6 as in RFC 5952, masks written out (`10.0.0.0/255.0.0.0`), bits under a zero mask bit cleared, a mask of
 * all ones left out. Returns undefined for a mask of zeros: it matches everything. Throws FormatError.
 */
export function normalizeAddress(type: AddressType, text: string): string | undefined {
  const [address = "", mask, more] = text.split("/");
  if (more !== undefined) throw new FormatError(`"${text}" is no ${type} address with a mask`);
  const value = parseAddress(type, address, text);
  if (mask === undefined) return formatAddress(type, value);
  const bits = /^[0-9]+$/.test(mask) ? prefixMask(type, Number(mask), text) : parseAddress(type, mask, text);
  if (bits === 0n) return undefined;
  if (bits === ones(type)) return formatAddress(type, value);
  return `${formatAddress(type, value & bits)}/${formatAddress(type, bits)}`;
}

function ones(type: AddressType): bigint {
  return (1n << BigInt(WIDTH[type])) - 1n;
}

function prefixMask(type: AddressType, length: number, text: string): bigint {
  const width = WIDTH[type];
  if (type === "mac" || length > width) throw new FormatError(`"${text}" has no valid ${type} mask`);
  return ones(type) ^ ((1n << BigInt(width - length)) - 1n);
}

function parseAddress(type: AddressType, address: string, text: string): bigint {
  if (type === "mac") {
    if (!/^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(address)) {
      throw new FormatError(`"${text}" is no MAC address (six hexadecimal bytes with colons)`);
    }
    return address.split(":").reduce((sum, byte) => (sum << 8n) | BigInt(`0x${byte}`), 0n);
  }
  if (type === "ipv4") {
    if (!isIPv4(address)) throw new FormatError(`"${text}" is no IPv4 address`);
    return ipv4Value(address);
  }
  if (!isIPv6(address) || address.includes("%")) throw new FormatError(`"${text}" is no IPv6 address`);
  return ipv6Value(address);
}

function ipv4Value(address: string): bigint {
  return address.split(".").reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function ipv6Value(address: string): bigint {
  const dotted = address.includes(".") ? address.slice(address.lastIndexOf(":") + 1) : undefined;
  let text = address;
  if (dotted !== undefined) {
    const low = ipv4Value(dotted);
    text = `${address.slice(0, -dotted.length)}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
  }
  const [head = "", tail] = text.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = new Array<string>(8 - left.length - right.length).fill("0");
  return [...left, ...zeros, ...right].reduce((sum, word) => (sum << 16n) | BigInt(`0x${word}`), 0n);
}

function formatAddress(type: AddressType, value: bigint): string {
  const hex = value.toString(16).padStart(WIDTH[type] / 4, "0");
  if (type === "mac") return hex.match(/../g)!.join(":");
  if (type === "ipv4")
    return hex
      .match(/../g)!
      .map((byte) => Number.parseInt(byte, 16))
      .join(".");
  return compressIpv6(hex.match(/..../g)!.map((word) => Number.parseInt(word, 16).toString(16)));
}

/** RFC 5952 section 4.2: the first longest run of at least two zero words becomes `::`. */
function compressIpv6(words: string[]): string {
  let start = 0;
  let length = 1;
  for (let i = 0; i < words.length; i++) {
    let run = 0;
    while (words[i + run] === "0") run += 1;
    if (run > length) [start, length] = [i, run];
  }
  if (length < 2) return words.join(":");
  return `${words.slice(0, start).join(":")}::${words.slice(start + length).join(":")}`;
}
