import { ETHERNET_HEADER, ethernetPayload, etherType, hasGroupSource } from "../tcp/wire/ethernet.js";

/** ARP for IPv4 over Ethernet (RFC 826): 28 bytes behind the Ethernet header. */

export const ETHERTYPE_ARP = 0x0806;
export const REQUEST = 1;
export const REPLY = 2;
const ARP_BYTES = 28;
/** Ethernet (1), IPv4, address lengths 6 and 4: the first six bytes of every packet here. */
const KIND = Buffer.from([0, 1, 0x08, 0x00, 6, 4]);
const BROADCAST = Buffer.alloc(6, 0xff);
/** Two VLAN tags and the packet. */
export const ARP_FRAME_MAX = ETHERNET_HEADER + 8 + ARP_BYTES;

/** Where things stand in a received packet; addresses as signed 32-bit integers. */
export interface ArpPacket {
  /** Offset behind the Ethernet header. */
  readonly at: number;
  readonly operation: number;
  readonly senderAddress: number;
  readonly targetAddress: number;
}

/** Whether a frame is ARP, tagged or not. */
export function isArp(frame: Buffer, length: number): boolean {
  const at = ethernetPayload(frame, length);
  return at > 0 && etherType(frame, at) === ETHERTYPE_ARP;
}

/** Reads a frame; undefined for anything but a sound ARP packet of a single station. */
export function readArp(frame: Buffer, length: number): ArpPacket | undefined {
  const at = ethernetPayload(frame, length);
  if (at < 0 || at + ARP_BYTES > length || etherType(frame, at) !== ETHERTYPE_ARP) return undefined;
  if (frame.compare(KIND, 0, KIND.length, at, at + KIND.length) !== 0) return undefined;
  // The answer goes to whom the packet names: no group address.
  if (hasGroupSource(frame) || (frame[at + 8]! & 1) !== 0) return undefined;
  return {
    at,
    operation: frame.readUInt16BE(at + 6),
    senderAddress: frame.readInt32BE(at + 14),
    targetAddress: frame.readInt32BE(at + 24),
  };
}

/** Whether the frame goes to all stations, not to this one alone. */
export function isBroadcast(frame: Buffer): boolean {
  return (frame[0]! & 1) !== 0;
}

/** Whether `mac` is the packet's sender, by its Ethernet header or by its own words. */
export function isSentBy(frame: Buffer, { at }: ArpPacket, mac: Buffer): boolean {
  return frame.compare(mac, 0, 6, 6, 12) === 0 || frame.compare(mac, 0, 6, at + 8, at + 14) === 0;
}

/** Writes the answer to a request: the address that was asked for is at `mac`. Tags are kept. Returns its length. */
export function writeReply(request: Buffer, { at }: ArpPacket, mac: Buffer, out: Buffer): number {
  request.copy(out, 0, 6, 12);
  mac.copy(out, 6);
  request.copy(out, 12, 12, at + 6);
  out.writeUInt16BE(REPLY, at + 6);
  mac.copy(out, at + 8);
  request.copy(out, at + 14, at + 24, at + 28);
  request.copy(out, at + 18, at + 8, at + 18);
  return at + ARP_BYTES;
}

/** Writes a probe (RFC 5227 section 2.1.1): who has `address`? Untagged. Returns its length. */
export function writeProbe(address: number, mac: Buffer, out: Buffer): number {
  const at = ETHERNET_HEADER;
  out.fill(0, 0, at + ARP_BYTES);
  BROADCAST.copy(out, 0);
  mac.copy(out, 6);
  out.writeUInt16BE(ETHERTYPE_ARP, 12);
  KIND.copy(out, at);
  out.writeUInt16BE(REQUEST, at + 6);
  mac.copy(out, at + 8);
  out.writeInt32BE(address, at + 24);
  return at + ARP_BYTES;
}
