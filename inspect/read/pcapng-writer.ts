import { Block, BYTE_ORDER_MAGIC } from "./pcapng.js";
import type { CapturedFrame } from "./record.js";

/** Encodes frames as one pcapng section with nanosecond times, an interface for each link type and name. */
export class PcapngEncoder {
  private readonly interfaces = new Map<string, number>();

  /** What a file begins with. */
  header(): Buffer {
    const body = Buffer.alloc(16);
    body.writeUInt32LE(BYTE_ORDER_MAGIC, 0);
    body.writeUInt16LE(1, 4);
    body.writeBigInt64LE(-1n, 8);
    return block(Block.SECTION_HEADER, body);
  }

  /** One frame, behind the description of its interface where this is the first of it. */
  encode(frame: CapturedFrame): Buffer {
    const key = `${frame.linkType}/${frame.interface ?? ""}`;
    const known = this.interfaces.get(key);
    const index = known ?? this.interfaces.size;
    const body = Buffer.alloc(20 + padded(frame.bytes.length));
    const nanos = BigInt(frame.timeUs) * 1000n + BigInt(frame.nanos);
    body.writeUInt32LE(index, 0);
    body.writeUInt32LE(Number(BigInt.asUintN(32, nanos >> 32n)), 4);
    body.writeUInt32LE(Number(BigInt.asUintN(32, nanos)), 8);
    body.writeUInt32LE(frame.bytes.length, 12);
    body.writeUInt32LE(frame.length, 16);
    frame.bytes.copy(body, 20);
    const packet = block(Block.ENHANCED_PACKET, body);
    if (known !== undefined) return packet;
    this.interfaces.set(key, index);
    return Buffer.concat([describe(frame), packet]);
  }
}

function describe({ linkType, interface: name = "" }: CapturedFrame): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16LE(linkType, 0);
  const options = [option(9, Buffer.from([9])), option(0, Buffer.alloc(0))];
  if (name !== "") options.unshift(option(2, Buffer.from(name)));
  return block(Block.INTERFACE, Buffer.concat([head, ...options]));
}

function option(code: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc(4 + padded(value.length));
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt16LE(value.length, 2);
  value.copy(bytes, 4);
  return bytes;
}

function block(type: number, body: Buffer): Buffer {
  const bytes = Buffer.alloc(12 + body.length);
  bytes.writeUInt32LE(type, 0);
  bytes.writeUInt32LE(bytes.length, 4);
  body.copy(bytes, 8);
  bytes.writeUInt32LE(bytes.length, bytes.length - 4);
  return bytes;
}

function padded(length: number): number {
  return length + (-length & 3);
}
