/** The TCP header and its options (RFC 9293 section 3.1, RFC 7323 for the window scale). */

export const TCP_HEADER = 20;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
/** The flags this stack knows; URG, ECE, CWR and the reserved bits are ignored. */
const KNOWN_FLAGS = 0x1f;

/** RFC 7323 section 2.3: a larger shift is taken as 14. */
const MAX_WINDOW_SHIFT = 14;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_WINDOW_SCALE = 3;

/** A segment as it stands on the wire, ports and checksum apart. */
export interface Segment {
  /** Signed 32-bit, see sequence.ts. */
  seq: number;
  /** Signed 32-bit; without meaning unless ACK is set. */
  ack: number;
  flags: number;
  /** The window field, 0..65535, not yet scaled. */
  window: number;
  /** Maximum segment size option in bytes, 0 where absent. */
  mss: number;
  /** Window scale option as a shift of 0..14, -1 where absent. */
  windowScale: number;
  /** A view that is valid only during the call that hands the segment over. */
  payload: Buffer;
}

const NO_PAYLOAD = Buffer.alloc(0);

export function emptySegment(): Segment {
  return { seq: 0, ack: 0, flags: 0, window: 0, mss: 0, windowScale: -1, payload: NO_PAYLOAD };
}

/** Sequence space the segment occupies: its bytes, and one each for SYN and FIN. */
export function segmentLength(segment: Segment): number {
  const { flags } = segment;
  return segment.payload.length + ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0);
}

/**
 * Reads the segment in `bytes[start, end)` into `into`.
 *
 * @returns false when the header does not fit or an option's length is impossible
 */
export function parseTcp(bytes: Buffer, start: number, end: number, into: Segment): boolean {
  if (end - start < TCP_HEADER) return false;
  const dataAt = start + (bytes[start + 12]! >> 4) * 4;
  if (dataAt < start + TCP_HEADER || dataAt > end) return false;
  into.seq = bytes.readInt32BE(start + 4);
  into.ack = bytes.readInt32BE(start + 8);
  into.flags = bytes[start + 13]! & KNOWN_FLAGS;
  into.window = bytes.readUInt16BE(start + 14);
  into.mss = 0;
  into.windowScale = -1;
  into.payload = dataAt === end ? NO_PAYLOAD : bytes.subarray(dataAt, end);
  return dataAt === start + TCP_HEADER || parseOptions(bytes, start + TCP_HEADER, dataAt, into);
}

function parseOptions(bytes: Buffer, start: number, end: number, into: Segment): boolean {
  for (let at = start; at < end; ) {
    const kind = bytes[at]!;
    if (kind === OPTION_END) return true;
    if (kind === OPTION_NOP) {
      at += 1;
      continue;
    }
    const length = at + 1 < end ? bytes[at + 1]! : 0;
    if (length < 2 || at + length > end) return false;
    if (kind === OPTION_MSS && length === 4) into.mss = bytes.readUInt16BE(at + 2);
    else if (kind === OPTION_WINDOW_SCALE && length === 3)
      into.windowScale = Math.min(bytes[at + 2]!, MAX_WINDOW_SHIFT);
    at += length;
  }
  return true;
}

/**
 * Writes header, options and payload at `start`; ports and checksum (bytes 0..3 and 16..17) are left to the caller.
 *
 * @returns the offset behind the payload
 */
export function writeTcp(out: Buffer, start: number, segment: Segment): number {
  out.writeInt32BE(segment.seq, start + 4);
  out.writeInt32BE(segment.ack, start + 8);
  out[start + 13] = segment.flags;
  out.writeUInt16BE(segment.window, start + 14);
  out.writeUInt32BE(0, start + 16);
  let at = start + TCP_HEADER;
  if (segment.mss > 0) {
    out[at] = OPTION_MSS;
    out[at + 1] = 4;
    at = out.writeUInt16BE(segment.mss, at + 2);
  }
  if (segment.windowScale >= 0) {
    out[at] = OPTION_NOP;
    out[at + 1] = OPTION_WINDOW_SCALE;
    out[at + 2] = 3;
    out[at + 3] = segment.windowScale;
    at += 4;
  }
  out[start + 12] = ((at - start) / 4) << 4;
  if (segment.payload.length > 0) out.set(segment.payload, at);
  return at + segment.payload.length;
}
