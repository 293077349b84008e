import { type CaptureEvents, type CaptureParser, MAX_RECORD_BYTES, Window } from "./record.js";

/** The libpcap file format (draft-ietf-opsawg-pcap): a 24-byte file header, 16 bytes in front of each frame. */

const MICRO = 0xa1b2c3d4;
const NANO = 0xa1b23c4d;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;

/** Whether these first four bytes begin a pcap file. */
export function isPcap(magic: Buffer): boolean {
  const [big, little] = [magic.readUInt32BE(0), magic.readUInt32LE(0)];
  return big === MICRO || big === NANO || little === MICRO || little === NANO;
}

export class PcapParser implements CaptureParser {
  private readonly window = new Window();
  private started = false;
  private stopped = false;
  private littleEndian = false;
  private nanosecond = false;
  private linkType = 0;

  constructor(private readonly events: CaptureEvents) {}

  push(chunk: Buffer): void {
    if (this.stopped) return;
    const { window } = this;
    window.push(chunk);
    if (!this.started) {
      if (window.left < FILE_HEADER) return;
      this.readFileHeader();
    }
    while (!this.stopped && window.left >= RECORD_HEADER) if (!this.readRecord()) return;
  }

  end(): void {
    if (this.stopped || (this.started && this.window.left === 0)) return;
    this.events.onDamage(
      this.started ? "the file ends inside a record" : "the file header is cut short",
      true,
    );
  }

  private readFileHeader(): void {
    const { bytes, at } = this.window;
    const magic = bytes.readUInt32LE(at);
    this.littleEndian = magic === MICRO || magic === NANO;
    this.nanosecond = this.uint32(at) === NANO;
    // The upper bits tell of frame check sequences.
    this.linkType = this.uint32(at + 20) & 0xffff;
    this.started = true;
    this.window.at = at + FILE_HEADER;
  }

  private readRecord(): boolean {
    const { bytes, at } = this.window;
    const captured = this.uint32(at + 8);
    if (captured > MAX_RECORD_BYTES) {
      this.stopped = true;
      this.events.onDamage(`a record of ${captured} bytes`, true);
      return false;
    }
    const end = at + RECORD_HEADER + captured;
    if (end > bytes.length) return false;
    const fraction = this.uint32(at + 4);
    const micros = this.nanosecond ? Math.floor(fraction / 1000) : fraction;
    this.window.at = end;
    this.events.onFrame({
      timeUs: this.uint32(at) * 1_000_000 + micros,
      nanos: this.nanosecond ? fraction % 1000 : 0,
      linkType: this.linkType,
      bytes: bytes.subarray(at + RECORD_HEADER, end),
      length: this.uint32(at + 12),
      interface: undefined,
    });
    return true;
  }

  private uint32(at: number): number {
    const { bytes } = this.window;
    return this.littleEndian ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
  }
}
