import { PacketError, packetSize, protocolError, ReasonCode } from "@topicast/protocol";
import { FramingError } from "./errors.js";

const NOTHING = Buffer.alloc(0);
/** First allocation for a packet that is not whole yet; it grows with the bytes that really arrive. */
const FIRST_BYTES = 64;

/**
 * Cuts a byte stream into control packets. A packet that lies whole in one chunk is a view of the chunk; one that
 * spans chunks is gathered in a buffer that grows with what has arrived (at most doubled), whatever length it
 * announces, and one that announces too much is refused as soon as its length is read.
 */
export class FrameReader {
  private chunk: Buffer = NOTHING;
  private at = 0;
  /** A packet that began in an earlier chunk: `have` bytes of it; `need` is its size, 0 while that is unknown. */
  private partial: Buffer | undefined = undefined;
  private have = 0;
  private need = 0;

  /** @param maxBytes largest packet, fixed header included */
  constructor(private readonly maxBytes: number) {}

  /** Adds what has arrived; take the packets with `next`. */
  push(chunk: Buffer): void {
    const left = this.chunk.length - this.at;
    this.chunk = left === 0 ? chunk : Buffer.concat([this.chunk.subarray(this.at), chunk]);
    this.at = 0;
  }

  /**
   * The next whole packet, fixed header included, or undefined until more arrives.
   * @throws FramingError where the length has more than four bytes, PacketError 0x95 where it is above the limit, and
   *   0x82 where the first byte is of type 0, which no packet has (MQTT 5, table 2-1), whatever follows it
   */
  next(): Buffer | undefined {
    if (this.partial !== undefined) return this.continuePartial(this.partial);
    const { chunk, at } = this;
    const left = chunk.length - at;
    if (left === 0) return undefined;
    if (chunk[at]! < 0x10) throw protocolError("packet type 0");
    const size = this.size(chunk, at, chunk.length);
    if (size !== 0 && size <= left) {
      this.at = at + size;
      return left === chunk.length && size === left ? chunk : chunk.subarray(at, at + size);
    }
    this.need = size;
    this.have = left;
    this.partial = Buffer.allocUnsafeSlow(Math.max(left, FIRST_BYTES));
    chunk.copy(this.partial, 0, at);
    this.drop();
    return undefined;
  }

  private continuePartial(partial: Buffer): Buffer | undefined {
    const { chunk } = this;
    while (this.need === 0) {
      if (this.at === chunk.length) return this.drop();
      // The fixed header is at most five bytes: it always fits.
      partial[this.have++] = chunk[this.at++]!;
      this.need = this.size(partial, 0, this.have);
    }
    const take = Math.min(this.need - this.have, chunk.length - this.at);
    if (this.have + take > partial.length) {
      const grown = Buffer.allocUnsafeSlow(
        Math.min(this.need, Math.max(2 * partial.length, this.have + take)),
      );
      partial.copy(grown, 0, 0, this.have);
      partial = grown;
      this.partial = grown;
    }
    chunk.copy(partial, this.have, this.at, this.at + take);
    this.have += take;
    this.at += take;
    if (this.have < this.need) return this.drop();
    const frame = partial.subarray(0, this.need);
    this.partial = undefined;
    return frame;
  }

  /** Lets go of a chunk that is used up, so that an idle connection holds no memory of it. */
  private drop(): undefined {
    this.chunk = NOTHING;
    this.at = 0;
  }

  /** Size of the packet at `at`, fixed header included; 0 while its length is not there whole. */
  private size(bytes: Buffer, at: number, end: number): number {
    const size = packetSize(bytes, at, end);
    if (size < 0) throw new FramingError("remaining length of more than four bytes");
    if (size > this.maxBytes) {
      throw new PacketError(ReasonCode.PACKET_TOO_LARGE, `packet of ${size} bytes, at most ${this.maxBytes}`);
    }
    return size;
  }
}
