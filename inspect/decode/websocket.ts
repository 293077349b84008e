import type { Moment } from "../tcp/direction.js";

/** WebSocket frames of one direction (RFC 6455, section 5.2): gives the bytes of binary and text messages. */

const MAX_FRAME_BYTES = 2 ** 32;
const HEADER_MAX = 14;

export interface WebSocketEvents {
  onBytes(bytes: Buffer, at: Moment): void;
  onProblem(reason: string, at: Moment): void;
}

export class WebSocketReader {
  private readonly header = Buffer.alloc(HEADER_MAX);
  private headerHave = 0;
  private left = 0;
  private isData = false;
  private mask: Buffer | undefined;
  private maskAt = 0;
  private isLost = false;

  constructor(private readonly events: WebSocketEvents) {}

  push(bytes: Buffer, at: Moment): void {
    let from = 0;
    while (from < bytes.length && !this.isLost) {
      if (this.left > 0) {
        const take = Math.min(this.left, bytes.length - from);
        if (this.isData) this.events.onBytes(this.unmask(bytes.subarray(from, from + take)), at);
        this.left -= take;
        from += take;
      } else {
        this.header[this.headerHave++] = bytes[from++]!;
        if (this.headerHave === headerSize(this.header, this.headerHave)) this.beginFrame(at);
      }
    }
  }

  /** After a hole nobody can tell where a frame begins, unless the hole is inside a frame that is not needed. */
  gap(missing: number, at: Moment): void {
    if (this.isLost) return;
    if (this.left > missing && !this.isData) this.left -= missing;
    else {
      this.isLost = true;
      this.events.onProblem(
        "bytes are missing in the capture: the rest of this direction cannot be read",
        at,
      );
    }
  }

  private beginFrame(at: Moment): void {
    const { header, headerHave } = this;
    this.headerHave = 0;
    const opcode = header[0]! & 15;
    const isMasked = (header[1]! & 0x80) !== 0;
    const short = header[1]! & 0x7f;
    const length =
      short === 126 ? header.readUInt16BE(2) : short === 127 ? Number(header.readBigUInt64BE(2)) : short;
    if (length > MAX_FRAME_BYTES || (header[0]! & 0x70) !== 0 || (opcode > 2 && opcode < 8) || opcode > 10) {
      this.isLost = true;
      const why = header[0]! & 0x70 ? "an extension is in use (compressed?)" : "this is no frame";
      this.events.onProblem(`WebSocket: ${why}`, at);
      return;
    }
    this.mask = isMasked ? Buffer.from(header.subarray(headerHave - 4, headerHave)) : undefined;
    this.maskAt = 0;
    this.left = length;
    this.isData = opcode <= 2;
  }

  private unmask(bytes: Buffer): Buffer {
    const { mask } = this;
    if (mask === undefined) return bytes;
    const plain = Buffer.allocUnsafe(bytes.length);
    for (let i = 0; i < bytes.length; i++) plain[i] = bytes[i]! ^ mask[(this.maskAt + i) & 3]!;
    this.maskAt = (this.maskAt + bytes.length) & 3;
    return plain;
  }
}

/** Size of the frame header that begins with these bytes; more than `have` while that is not known. */
function headerSize(header: Buffer, have: number): number {
  if (have < 2) return 2;
  const short = header[1]! & 0x7f;
  return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (header[1]! & 0x80 ? 4 : 0);
}
