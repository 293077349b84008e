import { addressBytes, type Endpoint } from "@topicast/protocol";
import type { InterfaceFacts } from "./interface.js";

/**
 * The pcap filter for frames to this station's `port` and for what it intercepts (TCP to these endpoints, ARP and ND
 * about their addresses): untagged, or with one or two VLAN tags. Everything else stays in the kernel, so that other traffic
 * on the interface costs this process nothing.
 */
export function captureFilter(
  station: Pick<InterfaceFacts, "mac" | "ipv4">,
  port: number,
  intercepts: readonly Endpoint[] = [],
): string {
  const mac = station.mac.toString("hex").replace(/..(?!$)/g, "$&:");
  const hosts = station.ipv4.map((address) => `dst host ${address}`).join(" or ");
  const tcp = [
    `(tcp dst port ${port} and (${hosts}))`,
    ...intercepts.map((i) => `(tcp dst port ${i.port} and dst host ${i.address})`),
  ];
  const wanted = [`(ether dst ${mac} and (${tcp.join(" or ")}))`];
  wanted.push(...neighbourFilters([...new Set(intercepts.map((i) => i.address))]));
  const any = `(${wanted.join(" or ")})`;
  // Each "vlan" moves the offsets of all that follows it, so the alternatives must stand in this order.
  return `${any} or (vlan and (${any} or (vlan and ${any})))`;
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
