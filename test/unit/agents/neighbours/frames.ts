/** Frames of ARP (RFC 826) and ND (RFC 4861), written independently of the code under test. */
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";

export const OURS = parseMac("02:00:00:00:00:01");
export const CLIENT = parseMac("02:00:00:00:00:02");
export const OWNER = parseMac("02:00:00:00:00:03");
export const OTHER_AGENT = parseMac("02:00:00:00:00:04");
export const ALL = parseMac("ff:ff:ff:ff:ff:ff");
const NOBODY = Buffer.alloc(6);

export interface Arp {
  to: Buffer;
  from: Buffer;
  op?: number;
  sender: string;
  target: string;
  targetMac?: Buffer;
  vlan?: number;
}

export function arpFrame({ to, from, op = 1, sender, target, targetMac = NOBODY, vlan }: Arp): Buffer {
  const ip = (text: string) => Buffer.from(text.split(".").map(Number));
  const head = Buffer.from([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, op]);
  return Buffer.concat([to, from, tag(vlan), head, from, ip(sender), targetMac, ip(target)]);
}

export interface Nd {
  to: Buffer;
  from: Buffer;
  /** 135 solicitation, 136 advertisement. */
  type?: number;
  source: string;
  destination: string;
  target: string;
  /** The first byte behind the checksum: 0x80 router, 0x40 solicited, 0x20 override. */
  flags?: number;
  options?: Buffer;
  vlan?: number;
  hopLimit?: number;
  code?: number;
  nextHeader?: number;
  version?: number;
  /** Added to the right one. */
  checksum?: number;
}

/** All words of an address written out, no `::`. */
export function ip6(text: string): Buffer {
  const [left, right] = text.split("::").map((side) => (side === "" ? [] : side.split(":")));
  const words =
    right === undefined ? left! : [...left!, ...Array(8 - left!.length - right.length).fill("0"), ...right];
  return Buffer.from(words.map((word) => word.padStart(4, "0")).join(""), "hex");
}

export function option(type: number, mac: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, 1]), mac]);
}

export function ndFrame(nd: Nd): Buffer {
  const { type = 135, flags = 0, code = 0, hopLimit = 255, nextHeader = 58, version = 6, vlan } = nd;
  const options = nd.options ?? option(type === 135 ? 1 : 2, nd.from);
  const icmp = Buffer.concat([Buffer.from([type, code, 0, 0, flags, 0, 0, 0]), ip6(nd.target), options]);
  const length = Buffer.from([icmp.length >> 8, icmp.length & 255]);
  const addresses = Buffer.concat([ip6(nd.source), ip6(nd.destination)]);
  const pseudo = Buffer.concat([addresses, Buffer.from([0, 0]), length, Buffer.from([0, 0, 0, nextHeader])]);
  const sum = (onesComplement(Buffer.concat([pseudo, icmp])) + (nd.checksum ?? 0)) & 0xffff;
  icmp.writeUInt16BE(sum, 2);
  const head = Buffer.from([version << 4, 0, 0, 0, ...length, nextHeader, hopLimit]);
  return Buffer.concat([nd.to, nd.from, tag(vlan), Buffer.from([0x86, 0xdd]), head, addresses, icmp]);
}

function tag(vlan: number | undefined): Buffer {
  return vlan === undefined ? Buffer.alloc(0) : Buffer.from([0x81, 0x00, vlan >> 8, vlan & 255]);
}

function onesComplement(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65_536);
  return ~sum & 0xffff;
}

/** One of the two protocols as the stations of a segment speak it, about the broker's address. */
export interface Language {
  readonly name: string;
  readonly broker: string;
  readonly second: string;
  /** To all stations, where a request for the broker's address goes. */
  readonly all: Buffer;
  request(to?: Buffer, target?: string, from?: Buffer, vlan?: number): Buffer;
  /** What we answer to `request()`. */
  answer(vlan?: number): Buffer;
  /** What the owner of the broker's address says to our probe. */
  ownersReply(): Buffer;
  /** By what else an owner shows. */
  readonly signs: readonly (readonly [string, Buffer])[];
  /** What other agents say, and must not be mistaken for the owner. */
  readonly ofAgents: readonly Buffer[];
  /** Whether a frame of ours is a probe for the broker's address, or an answer. */
  kindOf(frame: Buffer): "probe" | "answer" | "other";
  /** Frames that must be dropped. */
  readonly unsound: readonly (readonly [string, Buffer])[];
}

const groupStation = parseMac("03:00:00:00:00:02");

const A = {
  broker: "192.168.1.250",
  second: "192.168.1.251",
  client: "192.168.1.102",
  agent: "192.168.1.101",
};
const arpRequest: Language["request"] = (to = OURS, target = A.broker, from = CLIENT, vlan) =>
  arpFrame({ to, from, sender: A.client, target, ...(vlan === undefined ? {} : { vlan }) });
const ownersArp = { from: OWNER, sender: A.broker };

export const ARP: Language = {
  name: "ARP",
  broker: A.broker,
  second: A.second,
  all: ALL,
  request: arpRequest,
  answer: (vlan) =>
    arpFrame({
      ...{ to: CLIENT, from: OURS, op: 2, sender: A.broker, target: A.client, targetMac: CLIENT },
      ...(vlan === undefined ? {} : { vlan }),
    }),
  ownersReply: () => arpFrame({ ...ownersArp, to: OURS, op: 2, target: "0.0.0.0", targetMac: OURS }),
  signs: [
    ["an announcement", arpFrame({ ...ownersArp, to: ALL, target: A.broker })],
    ["an announcement as an answer", arpFrame({ ...ownersArp, to: ALL, op: 2, target: A.broker })],
    ["a request of the owner's", arpFrame({ ...ownersArp, to: ALL, target: "192.168.1.9" })],
  ],
  ofAgents: [
    // An answer to a request of this host's kernel; a probe.
    arpFrame({ to: OURS, from: OTHER_AGENT, op: 2, sender: A.broker, target: A.agent, targetMac: OURS }),
    arpFrame({ to: ALL, from: OTHER_AGENT, sender: "0.0.0.0", target: A.broker }),
  ],
  kindOf(frame) {
    const at = frame.readUInt16BE(12) === 0x8100 ? 18 : 14;
    if (frame.readUInt16BE(at - 2) !== 0x0806) return "other";
    if (frame[at + 7] === 2) return "answer";
    const wanted = Buffer.from(A.broker.split(".").map(Number));
    return frame.subarray(at + 24, at + 28).equals(wanted) ? "probe" : "other";
  },
  unsound: [
    ["a group address as sender", arpRequest(OURS, A.broker, groupStation)],
    ["another hardware kind", Buffer.from(arpRequest()).fill(6, 15, 16)],
    ["a frame that is cut short", arpRequest().subarray(0, 41)],
  ],
};

const N = { broker: "fd00::250", second: "fd00::251", client: "fd00::102" };
const GROUP = "ff02::1:ff00:250";
const GROUP_MAC = parseMac("33:33:ff:00:02:50");
const ALL_NODES = { to: parseMac("33:33:00:00:00:01"), destination: "ff02::1" };
/** fe80::/64, and the MAC address with its "universal" bit turned and "tc" in the middle. */
const PROBE = { ours: "fe80::74:6300:1", other: "fe80::74:6300:4" };
const ndRequest: Language["request"] = (to = OURS, target = N.broker, from = CLIENT, vlan) =>
  ndFrame({
    ...{ to, from, source: N.client, target },
    destination: to === GROUP_MAC ? GROUP : target,
    ...(vlan === undefined ? {} : { vlan }),
  });
const ownersNd = { from: OWNER, type: 136, source: N.broker, target: N.broker, flags: 0x20 };
const soundNd = { to: OURS, from: CLIENT, source: N.client, destination: GROUP, target: N.broker };

export const ND: Language = {
  name: "ND",
  broker: N.broker,
  second: N.second,
  all: GROUP_MAC,
  request: ndRequest,
  answer: (vlan) =>
    ndFrame({
      ...{ to: CLIENT, from: OURS, type: 136, source: N.broker, destination: N.client, target: N.broker },
      flags: 0x40,
      ...(vlan === undefined ? {} : { vlan }),
    }),
  ownersReply: () => ndFrame({ ...ownersNd, to: OURS, destination: PROBE.ours, flags: 0x60 }),
  signs: [
    ["an announcement", ndFrame({ ...ownersNd, ...ALL_NODES })],
    [
      "a router's announcement without an option",
      ndFrame({ ...ownersNd, ...ALL_NODES, flags: 0xa0, options: Buffer.alloc(0) }),
    ],
    [
      "an answer of who answers for others",
      ndFrame({ ...ownersNd, to: OURS, destination: PROBE.ours, flags: 0x40 }),
    ],
    [
      "a solicitation of the owner's",
      ndFrame({
        ...soundNd,
        from: OWNER,
        to: OURS,
        source: N.broker,
        target: "fd00::9",
        destination: "ff02::1:ff00:9",
      }),
    ],
    [
      "a machine that is about to have it",
      ndFrame({ ...soundNd, from: OWNER, to: GROUP_MAC, source: "::", options: Buffer.alloc(0) }),
    ],
    [
      "the same with a nonce (RFC 7527)",
      ndFrame({ ...soundNd, from: OWNER, to: GROUP_MAC, source: "::", options: option(14, OWNER) }),
    ],
  ],
  ofAgents: [
    ndFrame({ ...ownersNd, from: OTHER_AGENT, to: OURS, destination: "fd00::101", flags: 0x40 }),
    // To this kernel's own link-local address, from which it asks when it looks whether somebody is still there.
    ndFrame({ ...ownersNd, from: OTHER_AGENT, to: OURS, destination: "fe80::ff:fe00:1", flags: 0x40 }),
    ndFrame({ ...soundNd, from: OTHER_AGENT, to: GROUP_MAC, source: PROBE.other }),
  ],
  kindOf(frame) {
    const at = frame.readUInt16BE(12) === 0x8100 ? 18 : 14;
    if (frame.readUInt16BE(at - 2) !== 0x86dd) return "other";
    if (frame[at + 40] === 136) return "answer";
    return frame.subarray(at + 48, at + 64).equals(ip6(N.broker)) ? "probe" : "other";
  },
  unsound: [
    ["a group address as sender", ndRequest(OURS, N.broker, groupStation)],
    ["a frame that is cut short", ndRequest().subarray(0, 77)],
    ["a hop limit that a router has counted down", ndFrame({ ...soundNd, hopLimit: 254 })],
    ["a wrong checksum", ndFrame({ ...soundNd, checksum: 1 })],
    ["a code", ndFrame({ ...soundNd, code: 1 })],
    ["another version", ndFrame({ ...soundNd, version: 5 })],
    ["a group as target", ndFrame({ ...soundNd, target: "ff02::1" })],
    ["a group as source", ndFrame({ ...soundNd, source: "ff02::1" })],
    ["an option of length 0", ndFrame({ ...soundNd, options: Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]) })],
    [
      "an option that ends behind the message",
      ndFrame({ ...soundNd, options: Buffer.from([1, 2, 0, 0, 0, 0, 0, 0]) }),
    ],
    ["half an option", ndFrame({ ...soundNd, options: Buffer.from([1]) })],
    ["a test for an address that names a MAC address", ndFrame({ ...soundNd, source: "::" })],
    [
      "a test for an address that goes to one station",
      ndFrame({ ...soundNd, source: "::", destination: N.broker, options: Buffer.alloc(0) }),
    ],
    ["an answer to all that claims to be asked for", ndFrame({ ...ownersNd, ...ALL_NODES, flags: 0x60 })],
  ],
};
