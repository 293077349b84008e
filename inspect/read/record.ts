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

/** Microseconds and what is left of a time of `ticks`, `perSecond` ticks a second. */
export function splitTime(ticks: bigint, perSecond: bigint): { timeUs: number; nanos: number } {
  const nanos = perSecond === 1_000_000_000n ? ticks : (ticks * 1_000_000_000n) / perSecond;
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
