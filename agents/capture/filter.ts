import type { Endpoint } from "@topicast/protocol";
import { parseIpv4 } from "../tcp/wire/ipv4.js";
import type { InterfaceFacts } from "./interface.js";

/**
 * The pcap filter for frames to this station's `port` and for what it intercepts (TCP to these endpoints, ARP about
 * their addresses): untagged, or with one or two VLAN tags. Everything else stays in the kernel, so that other traffic
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
  const addresses = new Set(intercepts.map((i) => i.address));
  if (addresses.size > 0) {
    // Requests for an address come to all stations; so do its owner's, and announcements.
    const about = [...addresses].map((address) => {
      const number = `0x${(parseIpv4(address) >>> 0).toString(16)}`;
      return `arp[24:4] = ${number} or arp[14:4] = ${number}`;
    });
    wanted.push(`(arp and (${about.join(" or ")}))`);
  }
  const any = `(${wanted.join(" or ")})`;
  // Each "vlan" moves the offsets of all that follows it, so the alternatives must stand in this order.
  return `${any} or (vlan and (${any} or (vlan and ${any})))`;
}
