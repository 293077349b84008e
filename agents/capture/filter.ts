import { isIPv6 } from "node:net";
import { addressBytes, type Endpoint } from "@topicast/protocol";
import type { InterfaceFacts } from "./interface.js";

/**
 * The pcap filter for frames to this station's `port`, for TCP to endpoints of other stations that are answered here, and
 * for ARP and ND about `neighbours`, the addresses whose owners are looked for: untagged, or with one or two VLAN tags.
 * With the segments come their fragments and the ICMP errors about our own. Everything else stays in the kernel, so that
 * other traffic on the interface costs this process nothing.
 */
export function captureFilter(
  station: Pick<InterfaceFacts, "mac" | "ipv4" | "ipv6">,
  port: number,
  intercepts: readonly Endpoint[] = [],
  neighbours: readonly string[] = [],
): string {
  const mac = station.mac.toString("hex").replace(/..(?!$)/g, "$&:");
  const served = new Map([[port, [...station.ipv4, ...station.ipv6]]]);
  for (const { address, port } of intercepts) served.set(port, [...(served.get(port) ?? []), address]);
  const tcp = [...served].flatMap(([port, addresses]) => {
    const v6 = addresses.filter((address) => isIPv6(address));
    const v4 = addresses.filter((address) => !isIPv6(address));
    return [...toPort(v4, about4(port)), ...toPort(v6, about6(port))];
  });
  const wanted = [`(ether dst ${mac} and (${tcp.join(" or ")}))`];
  wanted.push(...neighbourFilters(neighbours));
  const any = `(${wanted.join(" or ")})`;
  // Each "vlan" moves the offsets of all that follows it, so the alternatives must stand in this order.
  return `${any} or (vlan and (${any} or (vlan and ${any})))`;
}

function toPort(addresses: readonly string[], about: readonly string[]): string[] {
  if (addresses.length === 0) return [];
  const hosts = addresses.map((address) => `dst host ${address}`);
  return [`((${hosts.join(" or ")}) and (${about.join(" or ")}))`];
}

/** Segments to `port`; of cut ones the rest, which names no port; errors that quote a segment of ours from it. */
function about4(port: number): string[] {
  return [
    `tcp dst port ${port}`,
    "(ip proto 6 and ip[6:2] & 0x1fff != 0)",
    `(icmp and icmp[17] = 6 and icmp[28:2] = ${port})`,
  ];
}

/** The same where TCP follows at once, behind one extension header, or behind the fragment header. */
function about6(port: number): string[] {
  const extension = "(ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 60)";
  return [
    `tcp dst port ${port}`,
    `(${extension} and ip6[40] = 6 and ip6[42 + 8 * (ip6[41] + 1):2] = ${port})`,
    `(ip6[6] = 44 and ip6[40] = 6 and (ip6[42:2] & 0xfff8 != 0 or ip6[50:2] = ${port}))`,
    `(ip6[6] = 58 and ip6[40] < 5 and ip6[54] = 6 and ip6[88:2] = ${port})`,
  ];
}

/** ARP and ND about these addresses, also to all stations: requests, their owners' answers, announcements. */
function neighbourFilters(addresses: readonly string[]): string[] {
  const filters: string[] = [];
  const words = addresses.map((address) => wordsOf(addressBytes(address)!));
  const v4 = words
    .filter(({ length }) => length === 1)
    .map(([word]) => `arp[24:4] = ${word} or arp[14:4] = ${word}`);
  if (v4.length > 0) filters.push(`(arp and (${v4.join(" or ")}))`);
  // The target of a message, or its source.
  const v6 = words
    .filter(({ length }) => length === 4)
    .flatMap((address) => [equalsAt(48, address), equalsAt(8, address)]);
  // Next header and hop limit, then the message's type.
  const nd = "ip6[6:2] = 0x3aff and (ip6[40] = 135 or ip6[40] = 136)";
  if (v6.length > 0) filters.push(`(${nd} and (${v6.join(" or ")}))`);
  return filters;
}

function equalsAt(offset: number, words: readonly string[]): string {
  return `(${words.map((word, i) => `ip6[${offset + 4 * i}:4] = ${word}`).join(" and ")})`;
}

/** An address as numbers of 32 bits. */
function wordsOf(bytes: Buffer): string[] {
  return Array.from({ length: bytes.length / 4 }, (_, i) => `0x${bytes.readUInt32BE(4 * i).toString(16)}`);
}
