/** One captured frame. `bytes` is a view that is valid only during the call that hands it over. */
export interface CapturedFrame {
  /** Since 1970, in whole microseconds. */
  readonly timeUs: number;
  /** What microseconds leave over, 0..999. */
  readonly nanos: number;
  /** LINKTYPE_ number of the tcpdump registry. */
  readonly linkType: number;
  /** What was captured. */
  readonly bytes: Buffer;
  /** Length on the wire, in bytes. */
  readonly length: number;
  /** Name of the interface where the capture tells it. */
  readonly interface: string | undefined;
}

/** What a parser of capture files tells. */
export interface CaptureEvents {
  onFrame(frame: CapturedFrame): void;
  /** The file itself has a name for an address. */
  onName?(address: string, name: string): void;
  /** The file is damaged here. After `isEnd` nothing more can be read. */
  onDamage(reason: string, isEnd: boolean): void;
}

/** Takes a capture file piece by piece. */
export interface CaptureParser {
  push(chunk: Buffer): void;
  /** The file ends here. */
  end(): void;
}

/** No capture program writes longer records: a larger one is damage, and not worth memory. */
export const MAX_RECORD_BYTES = 1 << 20;

const MICRO = 1_000_000n;
const NANO = 1_000_000_000n;
const TWO_TO_32 = 2 ** 32;

/**
 * Microseconds, and what is left of them, of a time in two halves of 32 bits.
 * @param perSecond ticks a second
 * @param offset in seconds
 */
export function splitTime(high: number, low: number, perSecond: bigint, offset: bigint) {
  if (offset === 0n && perSecond === MICRO) return { timeUs: high * TWO_TO_32 + low, nanos: 0 };
  if (offset === 0n && perSecond === NANO) {
    // 2^32 ns are 4,294,967 µs and 296 ns: exact in doubles, and without the allocations of BigInt.
    const rest = high * 296 + low;
    return { timeUs: high * 4_294_967 + Math.floor(rest / 1000), nanos: rest % 1000 };
  }
  const ticks = (BigInt(high) << 32n) + BigInt(low) + offset * perSecond;
  const nanos = (ticks * NANO) / perSecond;
  // Floor division, also before 1970.
  const rest = ((nanos % 1000n) + 1000n) % 1000n;
  return { timeUs: Number((nanos - rest) / 1000n), nanos: Number(rest) };
}

/** The bytes of chunks as one run, cut where the parser has read: at most one record and one chunk are kept. */
export class Window {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;

  push(chunk: Buffer): void {
    const rest = this.bytes.length - this.at;
    this.bytes = rest === 0 ? chunk : Buffer.concat([this.bytes.subarray(this.at), chunk]);
    this.at = 0;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  /** Drops up to `count` bytes and returns how many were there. */
  skip(count: number): number {
    const skipped = Math.min(count, this.left);
    this.at += skipped;
    return skipped;
  }
}
