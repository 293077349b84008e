/**
 * Ethernet II with up to two VLAN tags (IEEE 802.1Q, 802.1ad): destination (6), source (6), tags (4 each), EtherType (2).
 */

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_SERVICE_VLAN = 0x88a8;
const MAX_TAGS = 2;

/** Length of the header of an untagged frame. */
export const ETHERNET_HEADER = 14;
export const VLAN_TAG = 4;

/** Offset of the first byte behind the EtherType, or -1 where the frame ends before or has more than two tags. */
export function ethernetPayload(frame: Buffer, length: number): number {
  let at = ETHERNET_HEADER;
  for (let tags = 0; at <= length; tags++, at += VLAN_TAG) {
    const type = etherType(frame, at);
    if (type !== ETHERTYPE_VLAN && type !== ETHERTYPE_SERVICE_VLAN) return at;
    if (tags === MAX_TAGS) return -1;
  }
  return -1;
}

/** The EtherType in front of the payload that starts at `payloadAt`. */
export function etherType(frame: Buffer, payloadAt: number): number {
  return (frame[payloadAt - 2]! << 8) | frame[payloadAt - 1]!;
}

/** Whether the frame's destination address is `mac` (six bytes). */
export function isFor(frame: Buffer, mac: Uint8Array): boolean {
  for (let i = 0; i < 6; i++) if (frame[i] !== mac[i]) return false;
  return true;
}

/** Whether the source is a group address: no station sends with one, so nothing may be answered to it. */
export function hasGroupSource(frame: Buffer): boolean {
  return (frame[6]! & 1) !== 0;
}

/** Copies the header in front of `payloadAt` to `out` with source and destination exchanged, tags kept. */
export function writeReplyHeader(frame: Buffer, payloadAt: number, out: Buffer): void {
  frame.copy(out, 0, 6, 12);
  frame.copy(out, 6, 0, 6);
  frame.copy(out, 12, 12, payloadAt);
}

/**
 * Writes a header from scratch.
 *
 * @param vlans VLAN ids (0..4095), outermost first; the outer of two gets the service tag's EtherType
 * @returns the offset behind it
 */
export function writeEthernet(
  out: Buffer,
  destination: Uint8Array,
  source: Uint8Array,
  vlans: readonly number[],
  type: number,
): number {
  out.set(destination, 0);
  out.set(source, 6);
  let at = 12;
  vlans.forEach((vlan, i) => {
    const service = vlans.length === MAX_TAGS && i === 0;
    at = out.writeUInt16BE(service ? ETHERTYPE_SERVICE_VLAN : ETHERTYPE_VLAN, at);
    at = out.writeUInt16BE(vlan, at);
  });
  return out.writeUInt16BE(type, at);
}

/** `02:00:00:00:00:01` to six bytes. */
export function parseMac(text: string): Buffer {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw new RangeError(`${text} is no MAC address`);
  return Buffer.from(text.replaceAll(":", ""), "hex");
}
