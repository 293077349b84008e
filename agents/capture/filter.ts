import type { InterfaceFacts } from "./interface.js";

/**
 * The pcap filter for frames to this station's `port`: untagged, or with one or two VLAN tags. Everything else stays in
 * the kernel, so that other traffic on the interface costs this process nothing.
 */
export function captureFilter(station: Pick<InterfaceFacts, "mac" | "ipv4">, port: number): string {
  const mac = station.mac.toString("hex").replace(/..(?!$)/g, "$&:");
  const hosts = station.ipv4.map((address) => `dst host ${address}`).join(" or ");
  const wanted = `(tcp dst port ${port} and (${hosts}))`;
  // Each "vlan" moves the offsets of all that follows it, so the alternatives must stand in this order.
  return `ether dst ${mac} and (${wanted} or (vlan and (${wanted} or (vlan and ${wanted}))))`;
}
