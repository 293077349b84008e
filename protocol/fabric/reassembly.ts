import { END, START } from "./header.js";

/** Bytes of unfinished packets: of one, and of all streams together. */
const PACKET_BYTES_MAX = 256 * 1024 * 1024;
const TOTAL_BYTES_MAX = 512 * 1024 * 1024;

/** A stream's place for the packet that is being put together. */
interface Partial {
  partial: Buffer[] | undefined;
  partialBytes: number;
}

/** Puts packets that were cut into several datagrams together again. */
export class Reassembly {
  private bytes = 0;

  constructor(
    private readonly deliver: (bytes: Buffer) => void,
    private readonly stats: { incomplete: number },
  ) {}

  /** One datagram's payload, in its stream's order. */
  take(stream: Partial, flags: number, payload: Buffer): void {
    const begins = (flags & START) !== 0;
    const ends = (flags & END) !== 0;
    if (begins) this.skip(stream);
    if (begins && ends) return this.deliver(payload);
    if (begins) stream.partial = [];
    // A piece without its beginning: a piece was lost, or the stream was entered in the middle of a packet.
    if (stream.partial === undefined) return;
    stream.partial.push(payload);
    stream.partialBytes += payload.length;
    this.bytes += payload.length;
    if (stream.partialBytes > PACKET_BYTES_MAX || this.bytes > TOTAL_BYTES_MAX) this.skip(stream);
    else if (ends) {
      const whole = Buffer.concat(stream.partial);
      this.empty(stream);
      this.deliver(whole);
    }
  }

  /** A piece will never come: the packet is dropped. */
  skip(stream: Partial): void {
    if (stream.partial === undefined) return;
    this.stats.incomplete += 1;
    this.empty(stream);
  }

  private empty(stream: Partial): void {
    this.bytes -= stream.partialBytes;
    stream.partial = undefined;
    stream.partialBytes = 0;
  }
}
