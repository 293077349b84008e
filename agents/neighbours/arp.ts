import { ETHERNET_HEADER, ethernetPayload, etherType, hasGroupSource } from "../tcp/wire/ethernet.js";
import type { NeighbourCodec, Reading } from "./codec.js";

/** ARP for IPv4 over Ethernet (RFC 826): 28 bytes behind the Ethernet header. */

const ETHERTYPE_ARP = 0x0806;
const REQUEST = 1;
const REPLY = 2;
const ARP_BYTES = 28;
/** Ethernet (1), IPv4, address lengths 6 and 4: the first six bytes of every packet here. */
const KIND = Buffer.from([0, 1, 0x08, 0x00, 6, 4]);
const BROADCAST = Buffer.alloc(6, 0xff);
const NOBODY = "00000000";
/** Offsets in the packet. */
const OPERATION = 6;
const SENDER_MAC = 8;
const SENDER = 14;
const TARGET_MAC = 18;
const TARGET = 24;

export const arp: NeighbourCodec = {
  takes(frame, length) {
    const at = ethernetPayload(frame, length);
    return at > 0 && etherType(frame, at) === ETHERTYPE_ARP;
  },

  read(frame, length, mac): Reading | undefined {
    const at = ethernetPayload(frame, length);
    if (at < 0 || at + ARP_BYTES > length) return undefined;
    if (frame.compare(KIND, 0, KIND.length, at, at + KIND.length) !== 0) return undefined;
    // The answer goes to whom the packet names: no group address.
    const senderMac = at + SENDER_MAC;
    if (hasGroupSource(frame) || (frame[senderMac]! & 1) !== 0) return undefined;
    if (mac.equals(frame.subarray(6, 12)) || mac.equals(frame.subarray(senderMac, senderMac + 6))) return {};
    const operation = frame.readUInt16BE(at + OPERATION);
    const sender = frame.toString("hex", at + SENDER, at + SENDER + 4);
    const target = frame.toString("hex", at + TARGET, at + TARGET + 4);
    if (operation === REQUEST) return sender === NOBODY ? {} : { owned: sender, asked: target };
    // Agents answer, too, but never a probe: only owners speak to 0.0.0.0 or announce.
    return operation !== REPLY || target === NOBODY || target === sender ? { owned: sender } : {};
  },

  writeAnswer(request, length, mac, out) {
    const at = ethernetPayload(request, length);
    request.copy(out, 0, 6, 12);
    mac.copy(out, 6);
    request.copy(out, 12, 12, at + OPERATION);
    out.writeUInt16BE(REPLY, at + OPERATION);
    mac.copy(out, at + SENDER_MAC);
    request.copy(out, at + SENDER, at + TARGET, at + TARGET + 4);
    request.copy(out, at + TARGET_MAC, at + SENDER_MAC, at + TARGET_MAC);
    return at + ARP_BYTES;
  },

  /** RFC 5227 section 2.1.1. */
  writeProbe(address, mac, out) {
    const at = ETHERNET_HEADER;
    out.fill(0, 0, at + ARP_BYTES);
    BROADCAST.copy(out, 0);
    mac.copy(out, 6);
    out.writeUInt16BE(ETHERTYPE_ARP, 12);
    KIND.copy(out, at);
    out.writeUInt16BE(REQUEST, at + OPERATION);
    mac.copy(out, at + SENDER_MAC);
    address.copy(out, at + TARGET);
    return at + ARP_BYTES;
  },
};
