/** Cuts an untagged frame as a router (IPv4) or its sender (IPv6) would. */
import { checksum, sumWords } from "@topicast/agent/tcp/wire/checksum.js";

const ETHERNET = 14;
const FRAGMENT_HEADER = 8;

/** Fragments of `frame`, whose payload is cut at these multiples of 8 bytes. */
export function cut(frame: Buffer, cuts: readonly number[], identification: number): Buffer[] {
  const isV4 = frame.readUInt16BE(12) === 0x0800;
  const payloadAt = ETHERNET + (isV4 ? 20 : 40);
  const end = payloadAt + (isV4 ? frame.readUInt16BE(16) - 20 : frame.readUInt16BE(18));
  const payload = frame.subarray(payloadAt, end);
  const edges = [0, ...cuts, payload.length];
  return edges.slice(1).map((edge, i) => {
    const offset = edges[i]!;
    const piece = payload.subarray(offset, edge);
    const more = edge < payload.length;
    const header = Buffer.from(frame.subarray(0, payloadAt));
    return isV4
      ? fragment4(header, piece, offset, more, identification)
      : fragment6(header, piece, offset, more, identification);
  });
}

export function fragment4(header: Buffer, piece: Buffer, offset: number, more: boolean, id: number): Buffer {
  const bytes = Buffer.concat([header, piece]);
  bytes.writeUInt16BE(20 + piece.length, 16);
  bytes.writeUInt16BE(id & 0xffff, 18);
  bytes.writeUInt16BE((more ? 0x2000 : 0) | (offset / 8), 20);
  bytes.writeUInt16BE(0, 24);
  bytes.writeUInt16BE(checksum(sumWords(bytes, ETHERNET, ETHERNET + 20)), 24);
  return bytes;
}

export function fragment6(header: Buffer, piece: Buffer, offset: number, more: boolean, id: number): Buffer {
  const extension = Buffer.alloc(FRAGMENT_HEADER);
  extension[0] = header[20]!;
  extension.writeUInt16BE(offset | (more ? 1 : 0), 2);
  extension.writeUInt32BE(id >>> 0, 4);
  const bytes = Buffer.concat([header, extension, piece]);
  bytes[20] = 44;
  bytes.writeUInt16BE(FRAGMENT_HEADER + piece.length, 18);
  return bytes;
}

/** An IPv6 frame with destination options that say nothing. */
export function withOptions(frame: Buffer): Buffer {
  const bytes = Buffer.concat([
    frame.subarray(0, 54),
    Buffer.from("0600010400000000", "hex"),
    frame.subarray(54),
  ]);
  bytes[20] = 60;
  bytes.writeUInt16BE(bytes.length - 54, 18);
  return bytes;
}
