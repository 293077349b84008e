import { formatIPv4, formatIPv6 } from "@topicast/protocol";
import { type CaptureEvents, type CaptureParser, MAX_RECORD_BYTES, splitTime, Window } from "./record.js";

/** The pcapng file format (draft-ietf-opsawg-pcapng): sections of blocks, interfaces numbered within each section. */

export const Block = {
  SECTION_HEADER: 0x0a0d0d0a,
  INTERFACE: 1,
  PACKET: 2,
  SIMPLE_PACKET: 3,
  NAME_RESOLUTION: 4,
  ENHANCED_PACKET: 6,
} as const;

export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** By the kind of a record in a Name Resolution Block: IPv4, IPv6. */
const ADDRESS_BYTES = new Map([
  [1, 4],
  [2, 16],
]);
const OPTION_NAME = 2;
const OPTION_TSRESOL = 9;
const OPTION_TSOFFSET = 14;
/** Type, length, and the length again at the end. */
const BLOCK_OVERHEAD = 12;
const MAX_INTERFACES = 65_536;

interface Interface {
  readonly linkType: number;
  readonly snapLength: number;
  readonly name: string | undefined;
  readonly perSecond: bigint;
  /** In seconds. */
  readonly offset: bigint;
}

export function isPcapng(magic: Buffer): boolean {
  return magic.readUInt32BE(0) === Block.SECTION_HEADER;
}

export class PcapngParser implements CaptureParser {
  private readonly window = new Window();
  private stopped = false;
  private littleEndian = false;
  private interfaces: Interface[] = [];
  /** What is left of a block that is too large to keep and holds no frame. */
  private skipping = 0;

  constructor(private readonly events: CaptureEvents) {}

  push(chunk: Buffer): void {
    if (this.stopped) return;
    this.window.push(chunk);
    while (!this.stopped && this.readBlock());
  }

  end(): void {
    if (this.stopped || (this.window.left === 0 && this.skipping === 0)) return;
    this.events.onDamage("the file ends inside a block", true);
  }

  private readBlock(): boolean {
    const { window } = this;
    if (this.skipping > 0) this.skipping -= window.skip(this.skipping);
    if (window.left < BLOCK_OVERHEAD) return false;
    const { bytes, at } = window;
    let type = this.uint32(at);
    if (bytes.readUInt32BE(at) === Block.SECTION_HEADER) {
      type = Block.SECTION_HEADER;
      if (!this.startSection(at + 8)) return false;
    }
    const length = this.uint32(at + 4);
    if (length < BLOCK_OVERHEAD || length % 4 !== 0) return this.stop(`a block of ${length} bytes`);
    if (length > MAX_RECORD_BYTES) {
      if (type !== Block.ENHANCED_PACKET && type !== Block.PACKET && type !== Block.SIMPLE_PACKET) {
        this.skipping = length;
        return true;
      }
      return this.stop(`a packet block of ${length} bytes`);
    }
    if (window.left < length) return false;
    window.at = at + length;
    if (this.uint32(at + length - 4) !== length) return this.stop("the two lengths of a block differ");
    this.readBody(type, at + 8, at + length - 4);
    return true;
  }

  private startSection(magicAt: number): boolean {
    const magic = this.window.bytes.readUInt32LE(magicAt);
    this.littleEndian = magic === BYTE_ORDER_MAGIC;
    this.interfaces = [];
    if (this.littleEndian || this.window.bytes.readUInt32BE(magicAt) === BYTE_ORDER_MAGIC) return true;
    return this.stop("a section without its byte-order magic");
  }

  private readBody(type: number, at: number, end: number): void {
    if (type === Block.INTERFACE && end - at >= 8) this.readInterface(at, end);
    else if (type === Block.ENHANCED_PACKET && end - at >= 20) {
      this.frame(this.uint32(at), at + 4, this.uint32(at + 12), this.uint32(at + 16), at + 20, end);
    } else if (type === Block.PACKET && end - at >= 20) {
      this.frame(this.uint16(at), at + 4, this.uint32(at + 12), this.uint32(at + 16), at + 20, end);
    } else if (type === Block.SIMPLE_PACKET && end - at >= 4) {
      const length = this.uint32(at);
      const snap = this.interfaces[0]?.snapLength || length;
      // These blocks have no time of their own.
      this.frame(0, undefined, Math.min(length, snap, end - at - 4), length, at + 4, end);
    } else if (type === Block.NAME_RESOLUTION) {
      this.readNames(at, end);
    } else if (type === Block.INTERFACE || type === Block.ENHANCED_PACKET || type === Block.PACKET) {
      this.events.onDamage(`a block of type ${type} that is too short`, false);
    }
  }

  private frame(
    index: number,
    timeAt: number | undefined,
    captured: number,
    length: number,
    at: number,
    end: number,
  ): void {
    const from = this.interfaces[index];
    if (from === undefined)
      return this.events.onDamage(`a frame of interface ${index}, which is not described`, false);
    if (captured > end - at) return this.events.onDamage("a frame that is longer than its block", false);
    const [high, low] = timeAt === undefined ? [0, 0] : [this.uint32(timeAt), this.uint32(timeAt + 4)];
    const { timeUs, nanos } = splitTime(high, low, from.perSecond, from.offset);
    this.events.onFrame({
      timeUs,
      nanos,
      linkType: from.linkType,
      bytes: this.window.bytes.subarray(at, at + captured),
      length,
      interface: from.name,
    });
  }

  private readInterface(at: number, end: number): void {
    if (this.interfaces.length >= MAX_INTERFACES) {
      this.stop(`more than ${MAX_INTERFACES} interfaces`);
      return;
    }
    const { bytes } = this.window;
    let name: string | undefined;
    let perSecond = 1_000_000n;
    let offset = 0n;
    for (let option = at + 8; option + 4 <= end; ) {
      const code = this.uint16(option);
      const length = this.uint16(option + 2);
      const value = option + 4;
      if (code === 0 || value + length > end) break;
      if (code === OPTION_NAME) name = bytes.toString("utf8", value, value + length);
      if (code === OPTION_TSRESOL && length === 1) perSecond = resolution(bytes[value]!);
      if (code === OPTION_TSOFFSET && length === 8) {
        offset = this.littleEndian ? bytes.readBigInt64LE(value) : bytes.readBigInt64BE(value);
      }
      option = value + length + (-length & 3);
    }
    this.interfaces.push({
      linkType: this.uint16(at),
      snapLength: this.uint32(at + 4),
      name,
      perSecond,
      offset,
    });
  }

  /** Records of an address and the names that it has, each ended by a zero byte. */
  private readNames(at: number, end: number): void {
    const { bytes } = this.window;
    for (let record = at; record + 4 <= end; ) {
      const kind = this.uint16(record);
      const length = this.uint16(record + 2);
      const value = record + 4;
      const addressBytes = ADDRESS_BYTES.get(kind);
      if (kind === 0 || value + length > end) return;
      if (addressBytes !== undefined && addressBytes <= length) {
        const address = addressBytes === 4 ? formatIPv4(bytes.readUInt32BE(value)) : formatIPv6(bytes, value);
        const names = bytes.toString("utf8", value + addressBytes, value + length).split("\0");
        for (const name of names) if (name !== "") this.events.onName?.(address, name);
      }
      record = value + length + (-length & 3);
    }
  }

  private stop(reason: string): false {
    this.stopped = true;
    this.events.onDamage(reason, true);
    return false;
  }

  private uint16(at: number): number {
    const { bytes } = this.window;
    return this.littleEndian ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
  }

  private uint32(at: number): number {
    const { bytes } = this.window;
    return this.littleEndian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
  }
}

/** Ticks a second of if_tsresol: a negative power of 10, or of 2 where the top bit is set. */
function resolution(value: number): bigint {
  return (value & 0x80) === 0 ? 10n ** BigInt(value) : 2n ** BigInt(value & 0x7f);
}
