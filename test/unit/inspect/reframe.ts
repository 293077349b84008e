import type { CapturedFrame } from "@topicast/inspect/read/record.js";

/** The same packets as other kinds of links have them. Takes Ethernet frames that hold IP. */

export interface Framing {
  readonly name: string;
  /** LINKTYPE_ number of the tcpdump registry. */
  readonly linkType: number;
  /** What stands before the packet. */
  readonly head: (etherType: number, addresses: Buffer) => Buffer;
  /** The VLAN id that is told then. */
  readonly vlan?: number;
}

const IPV6 = 0x86dd;
const u16 = (...values: number[]) => Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]));
const family = (etherType: number, inet6: number) => (etherType === IPV6 ? inet6 : 2);

export const FRAMINGS: readonly Framing[] = [
  {
    name: "one VLAN tag",
    linkType: 1,
    head: (type, addresses) => Buffer.concat([addresses, u16(0x8100, 0x6000 | 42, type)]),
    vlan: 42,
  },
  {
    name: "two VLAN tags",
    linkType: 1,
    head: (type, addresses) => Buffer.concat([addresses, u16(0x88a8, 7, 0x8100, 42, type)]),
    vlan: 7,
  },
  {
    name: "Linux cooked",
    linkType: 113,
    head: (type, addresses) => Buffer.concat([u16(0, 1, 6), addresses.subarray(6), u16(0, type)]),
  },
  {
    name: "Linux cooked, version 2",
    linkType: 276,
    head: (type, addresses) =>
      Buffer.concat([u16(type, 0, 0, 3, 1), Buffer.from([0, 6]), addresses.subarray(6), u16(0)]),
  },
  {
    name: "BSD loopback, little-endian",
    linkType: 0,
    head: (type) => Buffer.from([family(type, 30), 0, 0, 0]),
  },
  {
    name: "BSD loopback, big-endian",
    linkType: 0,
    head: (type) => Buffer.from([0, 0, 0, family(type, 28)]),
  },
  { name: "OpenBSD loopback", linkType: 108, head: (type) => Buffer.from([0, 0, 0, family(type, 24)]) },
  { name: "raw IP", linkType: 101, head: () => Buffer.alloc(0) },
];

export function reframe(frame: CapturedFrame, { linkType, head }: Framing): CapturedFrame {
  const before = head(frame.bytes.readUInt16BE(12), frame.bytes.subarray(0, 12));
  const bytes = Buffer.concat([before, frame.bytes.subarray(14)]);
  return { ...frame, linkType, bytes, length: frame.length + before.length - 14 };
}
