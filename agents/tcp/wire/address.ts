import { parseIPv4, parseIPv6 } from "@topicast/protocol";
import type { Address, IpVersion } from "./ip.js";
import { IPV4 } from "./ipv4.js";
import { IPV6 } from "./ipv6.js";

/** `192.168.1.101` or `fd00::1` to a key. */
export function parseAddress(text: string): Address {
  const v4 = parseIPv4(text);
  if (v4 !== undefined) return v4 | 0;
  const v6 = parseIPv6(text);
  if (v6 === undefined) throw new RangeError(`${text} is no IP address`);
  return v6.toString("latin1");
}

/** The version of IP that an address belongs to. */
export function versionOf(address: Address): IpVersion {
  return typeof address === "number" ? IPV4 : IPV6;
}

/** What `parseAddress` reads, in one form (RFC 5952). */
export function formatAddress(address: Address): string {
  return versionOf(address).formatAddress(address);
}
