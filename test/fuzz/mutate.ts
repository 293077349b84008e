/** Frames as no sound sender makes them. Everything is drawn from one seeded source of numbers. */
import { checksum, sumWords } from "@topicast/agent/tcp/wire/checksum.js";
import { ETHERNET_HEADER } from "@topicast/agent/tcp/wire/ethernet.js";
import { seqAdd } from "@topicast/agent/tcp/wire/sequence.js";
import type { Segment } from "@topicast/agent/tcp/wire/tcp.js";

/** Numbers in [0, 1), with what is needed of them here. */
export class Chance {
  constructor(private readonly next: () => number) {}

  /** 0 to `limit - 1`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  of<T>(...choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }

  is(probability: number): boolean {
    return this.next() < probability;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }
}

/** Changes fields of a segment that could be right as it stands: numbers at the edges, any flags, any options. */
export function mutateSegment(segment: Segment, chance: Chance): void {
  const edge = () =>
    chance.of(
      0,
      0,
      0,
      1,
      -1,
      1_000,
      -1_000,
      8_191,
      8_192,
      65_535,
      65_536,
      2 ** 31 - 1,
      -(2 ** 31),
      chance.below(2 ** 32),
    );
  if (chance.is(0.5)) segment.seq = seqAdd(segment.seq, edge());
  if (chance.is(0.4)) segment.ack = seqAdd(segment.ack, edge());
  if (chance.is(0.4)) segment.flags = chance.below(32);
  if (chance.is(0.3)) segment.window = chance.of(0, 1, 255, 8_192, 65_535);
  if (chance.is(0.4)) segment.payload = Buffer.alloc(chance.of(0, 1, 2, 100, 1_400), chance.below(256));
  if (chance.is(0.2)) segment.timestamps = !segment.timestamps;
  if (chance.is(0.2)) segment.tsVal = seqAdd(segment.tsVal, edge());
  if (chance.is(0.2)) segment.tsEcr = seqAdd(segment.tsEcr, edge());
  if (chance.is(0.1)) segment.mss = chance.of(0, 1, 47, 48, 536, 1_460, 65_535);
  if (chance.is(0.1)) segment.windowScale = chance.of(-1, 0, 14, 255);
  if (chance.is(0.1)) segment.sackPermitted = !segment.sackPermitted;
  // Four blocks and timestamps do not fit into one header.
  if (chance.is(0.2) && segment.mss === 0)
    segment.sacks = Array.from({ length: 2 * (1 + chance.below(3)) }, () => seqAdd(segment.ack, edge()));
}

/** A frame with room behind it. */
export interface Wire {
  readonly bytes: Buffer;
  length: number;
}

type Mutation = (wire: Wire, chance: Chance) => void;

const flipBits: Mutation = ({ bytes, length }, chance) => {
  for (let flips = 1 + chance.below(8); flips > 0; flips--)
    bytes[6 + chance.below(length - 6)]! ^= 1 << chance.below(8);
};

const flipHeaderBits: Mutation = (wire, chance) => {
  const { bytes, length } = wire;
  const end = Math.min(length, ETHERNET_HEADER + 100);
  for (let flips = 1 + chance.below(4); flips > 0; flips--)
    bytes[ETHERNET_HEADER + chance.below(end - ETHERNET_HEADER)]! ^= 1 << chance.below(8);
  mendChecksums(wire);
};

const optionGarbage: Mutation = (wire, chance) => {
  const tcpAt = tcpOffset(wire);
  const dataAt = tcpAt + 20 + 4 * chance.below(11);
  if (dataAt > wire.length) return;
  wire.bytes[tcpAt + 12] = ((dataAt - tcpAt) / 4) << 4;
  chance.bytes(dataAt - tcpAt - 20).copy(wire.bytes, tcpAt + 20);
  mendChecksums(wire);
};

const wrongLengths: Mutation = (wire, chance) => {
  const { bytes } = wire;
  const at = ETHERNET_HEADER;
  const length = chance.of(0, 1, 19, 20, 39, 40, 41, chance.below(65_536), wire.length - at + 1);
  if (isIpv6(wire)) bytes.writeUInt16BE(length, at + 4);
  else if (chance.is(0.5)) bytes.writeUInt16BE(length, at + 2);
  else bytes[at] = 0x40 | chance.below(16);
  if (chance.is(0.3)) bytes[tcpOffset(wire) + 12] = chance.below(256);
  mendChecksums(wire);
};

const cut: Mutation = (wire, chance) => {
  wire.length = chance.below(wire.length);
};

const vlanTags: Mutation = (wire, chance) => {
  const tags = Buffer.concat(
    Array.from({ length: 1 + chance.below(4) }, () =>
      Buffer.concat([Buffer.from(chance.of("8100", "88a8", "9100"), "hex"), chance.bytes(2)]),
    ),
  );
  insert(wire, 12, tags);
};

/** For a frame of any kind. */
const BLUNT: readonly Mutation[] = [flipBits, cut, vlanTags];

/** The datagram becomes a fragment; its place may overlap others', repeat them, or leave a hole. */
const fragment: Mutation = (wire, chance) => {
  makeFragment(wire, chance.of(0, 0, 8, 16, 24, 64, 1_400, 65_528), chance.is(0.7), chance.below(4));
};

/** For a piece of at most 320 bytes, and what a mutation adds. */
const FRAGMENT_ROOM = 2_000;

/** Cuts a whole and sound frame into fragments, of which most come, in any order. */
export function cutInFragments(wire: Wire, chance: Chance): Wire[] {
  const payloadAt = tcpOffset(wire);
  const { bytes, length } = wire;
  const identification = chance.below(65_536);
  const pieces: Wire[] = [];
  for (let at = payloadAt; at < length; ) {
    const end = Math.min(at + 8 * (1 + chance.below(40)), length);
    const piece = { bytes: Buffer.alloc(FRAGMENT_ROOM), length: payloadAt + end - at };
    bytes.copy(piece.bytes, 0, 0, payloadAt);
    bytes.copy(piece.bytes, payloadAt, at, end);
    piece.bytes.writeUInt16BE(
      piece.length - (isIpv6(wire) ? payloadAt : ETHERNET_HEADER),
      lengthOffset(wire),
    );
    makeFragment(piece, at - payloadAt, end < length, identification);
    if (chance.is(0.1)) chance.of(...BLUNT)(piece, chance);
    if (!chance.is(0.03)) pieces.splice(chance.is(0.5) ? pieces.length : 0, 0, piece);
    if (chance.is(0.03)) pieces.push(piece);
    at = end;
  }
  return pieces;
}

function makeFragment(wire: Wire, offset: number, more: boolean, identification: number): void {
  const { bytes } = wire;
  if (isIpv6(wire)) {
    const header = Buffer.alloc(8);
    header[0] = bytes[ETHERNET_HEADER + 6]!;
    header.writeUInt16BE(offset | (more ? 1 : 0), 2);
    header.writeUInt16BE(identification, 6);
    bytes[ETHERNET_HEADER + 6] = 44;
    insert(wire, ETHERNET_HEADER + 40, header);
    bytes.writeUInt16BE(wire.length - ETHERNET_HEADER - 40, ETHERNET_HEADER + 4);
  } else {
    bytes.writeUInt16BE(identification, ETHERNET_HEADER + 4);
    bytes.writeUInt16BE((offset / 8) | (more ? 0x2000 : 0), ETHERNET_HEADER + 6);
    mendIpv4(wire);
  }
}

/** IPv6: further headers in front of TCP; IPv4: options. */
const moreHeaders: Mutation = (wire, chance) => {
  const { bytes } = wire;
  if (isIpv6(wire)) {
    for (let count = 1 + chance.below(10); count > 0; count--) {
      const header = chance.bytes(8);
      header[0] = bytes[ETHERNET_HEADER + 6]!;
      header[1] = chance.of(0, 0, 0, 0, 1, 255);
      bytes[ETHERNET_HEADER + 6] = chance.of(0, 43, 60, 60, 44, 50, 51, 59);
      insert(wire, ETHERNET_HEADER + 40, header);
    }
    bytes.writeUInt16BE(wire.length - ETHERNET_HEADER - 40, ETHERNET_HEADER + 4);
  } else if (bytes[ETHERNET_HEADER] === 0x45) {
    const options = chance.bytes(4 * (1 + chance.below(10)));
    bytes[ETHERNET_HEADER] = 0x45 + options.length / 4;
    insert(wire, ETHERNET_HEADER + 20, options);
    bytes.writeUInt16BE(wire.length - ETHERNET_HEADER, ETHERNET_HEADER + 2);
    mendIpv4(wire);
  }
};

/** The frame as the quotation in an ICMP error to its own destination. */
const icmpError: Mutation = (wire, chance) => {
  const { bytes } = wire;
  const v6 = isIpv6(wire);
  const headerLength = v6 ? 40 : 20;
  const at = ETHERNET_HEADER + headerLength;
  const quoted = Buffer.from(bytes.subarray(ETHERNET_HEADER, wire.length));
  // It is to be one of ours, which went the other way.
  const addressesAt = v6 ? 8 : 12;
  const size = v6 ? 16 : 4;
  const ours = Buffer.from(quoted.subarray(addressesAt + size, addressesAt + 2 * size));
  quoted.copy(quoted, addressesAt + size, addressesAt, addressesAt + size);
  ours.copy(quoted, addressesAt);
  const theirPort = quoted.readUInt16BE(headerLength);
  quoted.writeUInt16BE(quoted.readUInt16BE(headerLength + 2), headerLength);
  quoted.writeUInt16BE(theirPort, headerLength + 2);
  // Their acknowledgement number is the sequence number of what we send.
  quoted.copy(quoted, headerLength + 4, headerLength + 8, headerLength + 12);
  const message = Buffer.alloc(8);
  message[0] = v6 ? chance.of(1, 2, 2, 2, 3, 4, 128) : chance.of(3, 3, 3, 4, 5, 11, 12, 8);
  message[1] = v6 ? 0 : chance.of(4, 4, 4, 0, 1, 13);
  if (v6) message.writeUInt32BE(chance.of(0, 1_279, 1_280, 1_400, 65_536, 2 ** 32 - 1), 4);
  else message.writeUInt16BE(chance.of(0, 67, 68, 552, 1_400, 1_500, 65_535), 6);
  const kept = quoted.subarray(0, chance.of(quoted.length, 28, 48, chance.below(quoted.length + 1)));
  const body = Buffer.concat([message, kept]);
  body.copy(bytes, at);
  wire.length = at + body.length;
  bytes[ETHERNET_HEADER + (v6 ? 6 : 9)] = v6 ? 58 : 1;
  if (v6) bytes.writeUInt16BE(body.length, ETHERNET_HEADER + 4);
  else bytes.writeUInt16BE(wire.length - ETHERNET_HEADER, ETHERNET_HEADER + 2);
  mendIpv4(wire);
  let sum = sumWords(bytes, at, wire.length);
  if (v6) sum += sumWords(bytes, ETHERNET_HEADER + 8, at) + 58 + body.length;
  bytes.writeUInt16BE(checksum(sum), at + 2);
};

const garbage: Mutation = (wire, chance) => {
  wire.length = chance.below(200);
  chance.bytes(wire.length).copy(wire.bytes, 6);
};

const nothing: Mutation = () => {};

const MUTATIONS: readonly Mutation[] = [
  ...[nothing, nothing, nothing, nothing],
  ...[
    flipBits,
    flipHeaderBits,
    optionGarbage,
    wrongLengths,
    cut,
    vlanTags,
    fragment,
    moreHeaders,
    icmpError,
    garbage,
  ],
];

/** Does one or two things to a whole and sound frame without VLAN tags. */
export function mutateFrame(wire: Wire, chance: Chance): void {
  chance.of(...MUTATIONS)(wire, chance);
  if (chance.is(0.1) && wire.length > 60) chance.of(...BLUNT)(wire, chance);
}

function isIpv6({ bytes }: Wire): boolean {
  return bytes.readUInt16BE(12) === 0x86dd;
}

function lengthOffset(wire: Wire): number {
  return ETHERNET_HEADER + (isIpv6(wire) ? 4 : 2);
}

function tcpOffset(wire: Wire): number {
  return ETHERNET_HEADER + (isIpv6(wire) ? 40 : 20);
}

function insert(wire: Wire, at: number, more: Buffer): void {
  wire.bytes.copy(wire.bytes, at + more.length, at, wire.length);
  more.copy(wire.bytes, at);
  wire.length += more.length;
}

/** Makes the checksums right, as far as the lengths leave it clear where they stand. */
function mendChecksums(wire: Wire): void {
  mendIpv4(wire);
  const { bytes, length } = wire;
  const v6 = isIpv6(wire);
  const tcpAt = tcpOffset(wire);
  if (length < tcpAt + 20) return;
  bytes.writeUInt16BE(0, tcpAt + 16);
  const addresses = sumWords(bytes, tcpAt - (v6 ? 32 : 8), tcpAt);
  bytes.writeUInt16BE(checksum(addresses + 6 + length - tcpAt + sumWords(bytes, tcpAt, length)), tcpAt + 16);
}

function mendIpv4(wire: Wire): void {
  if (isIpv6(wire)) return;
  const { bytes } = wire;
  const end = ETHERNET_HEADER + Math.max((bytes[ETHERNET_HEADER]! & 0x0f) * 4, 20);
  bytes.writeUInt16BE(0, ETHERNET_HEADER + 10);
  bytes.writeUInt16BE(checksum(sumWords(bytes, ETHERNET_HEADER, end)), ETHERNET_HEADER + 10);
}
