/** From a captured frame to the packet in it, by link type (https://www.tcpdump.org/linktypes.html). */

const LINK = {
  NULL: 0,
  ETHERNET: 1,
  RAW: 101,
  LOOP: 108,
  SLL: 113,
  IPV4: 228,
  IPV6: 229,
  SLL2: 276,
} as const;
/** How some systems write RAW. */
const RAW_ALIASES = new Set<number>([12, 14]);

export const EtherType = {
  IPV4: 0x0800,
  ARP: 0x0806,
  VLAN: 0x8100,
  IPV6: 0x86dd,
  SERVICE_VLAN: 0x88a8,
  QINQ: 0x9100,
};
/** Nobody nests more; the bound is for damaged frames. */
const MAX_VLANS = 4;

/** Address families of IPv6 in Linux, NetBSD/OpenBSD, FreeBSD, macOS. */
const AF_INET = 2;
const AF_INET6 = new Set([10, 24, 28, 30]);

export interface LinkLayer {
  /** EtherType of the packet; 0: none is known. */
  etherType: number;
  /** Where the packet begins; -1: the frame is cut short before. */
  at: number;
  /** Outermost VLAN id, -1 without. */
  vlan: number;
  /** Of a cooked frame, a number for the interface and the direction in which it was captured. */
  way: number;
}

/** Finds the packet in a frame. Returns false for a link type that is not known. */
export function readLink(bytes: Buffer, linkType: number, into: LinkLayer): boolean {
  into.vlan = -1;
  into.etherType = 0;
  into.at = -1;
  into.way = 0;
  const { length } = bytes;
  if (linkType === LINK.ETHERNET) {
    if (length >= 14) behindEtherType(bytes, 12, into);
  } else if (linkType === LINK.SLL) {
    if (length < 16) return true;
    into.way = bytes.readUInt16BE(0);
    behindEtherType(bytes, 14, into);
  } else if (linkType === LINK.SLL2) {
    if (length < 20) return true;
    into.way = bytes.readUInt32BE(4) * 256 + bytes[10]!;
    behindTags(bytes, bytes.readUInt16BE(0), 20, into);
  } else if (
    linkType === LINK.RAW ||
    linkType === LINK.IPV4 ||
    linkType === LINK.IPV6 ||
    RAW_ALIASES.has(linkType)
  ) {
    if (length >= 1) byVersion(bytes, 0, into);
  } else if (linkType === LINK.NULL || linkType === LINK.LOOP) {
    if (length >= 4) byFamily(bytes, into);
  } else {
    return false;
  }
  return true;
}

function behindEtherType(bytes: Buffer, at: number, into: LinkLayer): void {
  behindTags(bytes, bytes.readUInt16BE(at), at + 2, into);
}

function behindTags(bytes: Buffer, first: number, start: number, into: LinkLayer): void {
  let type = first;
  let at = start;
  for (let tags = 0; tags < MAX_VLANS && isTag(type); tags++) {
    if (at + 4 > bytes.length) return;
    if (tags === 0) into.vlan = bytes.readUInt16BE(at) & 0x0fff;
    type = bytes.readUInt16BE(at + 2);
    at += 4;
  }
  into.etherType = type;
  into.at = at;
}

function isTag(type: number): boolean {
  return type === EtherType.VLAN || type === EtherType.SERVICE_VLAN || type === EtherType.QINQ;
}

function byVersion(bytes: Buffer, at: number, into: LinkLayer): void {
  into.at = at;
  const version = bytes[at]! >> 4;
  into.etherType = version === 4 ? EtherType.IPV4 : version === 6 ? EtherType.IPV6 : 0;
}

/** The family stands in the byte order of the machine that captured. */
function byFamily(bytes: Buffer, into: LinkLayer): void {
  into.at = 4;
  for (const family of [bytes.readUInt32LE(0), bytes.readUInt32BE(0)]) {
    if (family === AF_INET) into.etherType = EtherType.IPV4;
    if (AF_INET6.has(family)) into.etherType = EtherType.IPV6;
  }
}
