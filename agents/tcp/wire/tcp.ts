/** The TCP header (RFC 9293 section 3.1) and its options: MSS, window scale and timestamps (RFC 7323), SACK (RFC 2018). */

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
const OPTION_SACK_PERMITTED = 4;
const OPTION_SACK = 5;
const OPTION_TIMESTAMPS = 8;
/** NOP, NOP, kind and length of the timestamps option, as RFC 7323 appendix A lays them out. */
const TIMESTAMPS_WORD = 0x0101080a;

/** What the timestamps option takes of every segment, padding included. */
export const TIMESTAMPS_SIZE = 12;
/** Blocks that fit into 40 bytes of options, without and with timestamps. */
export const MAX_SACK_BLOCKS = 4;
export const MAX_SACK_BLOCKS_WITH_TIMESTAMPS = 3;
/** No SACK block; never changed. */
export const NO_SACKS: readonly number[] = [];

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
  /** Whether the timestamps option is there; without it the two values mean nothing. Both are signed 32-bit. */
  timestamps: boolean;
  tsVal: number;
  tsEcr: number;
  sackPermitted: boolean;
  /** SACK blocks as left and right edge in turn, as they stand in the option. */
  sacks: readonly number[];
  /** A view that is valid only during the call that hands the segment over. */
  payload: Buffer;
}

const NO_PAYLOAD = Buffer.alloc(0);

export function emptySegment(): Segment {
  return {
    seq: 0,
    ack: 0,
    flags: 0,
    window: 0,
    mss: 0,
    windowScale: -1,
    timestamps: false,
    tsVal: 0,
    tsEcr: 0,
    sackPermitted: false,
    sacks: NO_SACKS,
    payload: NO_PAYLOAD,
  };
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
  into.timestamps = false;
  into.sackPermitted = false;
  into.sacks = NO_SACKS;
  into.payload = dataAt === end ? NO_PAYLOAD : bytes.subarray(dataAt, end);
  const optionsAt = start + TCP_HEADER;
  if (dataAt === optionsAt) return true;
  // What nearly every segment of a connection with timestamps carries, and nothing else.
  if (dataAt === optionsAt + TIMESTAMPS_SIZE && bytes.readInt32BE(optionsAt) === TIMESTAMPS_WORD) {
    readTimestamps(bytes, optionsAt + 4, into);
    return true;
  }
  return parseOptions(bytes, optionsAt, dataAt, into);
}

function readTimestamps(bytes: Buffer, at: number, into: Segment): void {
  into.timestamps = true;
  into.tsVal = bytes.readInt32BE(at);
  into.tsEcr = bytes.readInt32BE(at + 4);
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
    else if (kind === OPTION_SACK_PERMITTED && length === 2) into.sackPermitted = true;
    else if (kind === OPTION_TIMESTAMPS && length === 10) readTimestamps(bytes, at + 2, into);
    else if (kind === OPTION_SACK && length > 2 && length % 8 === 2) {
      const sacks: number[] = [];
      for (let edge = at + 2; edge < at + length; edge += 4) sacks.push(bytes.readInt32BE(edge));
      into.sacks = sacks;
    }
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
  if (segment.sackPermitted) {
    out[at] = OPTION_NOP;
    out[at + 1] = OPTION_NOP;
    out[at + 2] = OPTION_SACK_PERMITTED;
    out[at + 3] = 2;
    at += 4;
  }
  if (segment.timestamps) {
    out.writeInt32BE(TIMESTAMPS_WORD, at);
    out.writeInt32BE(segment.tsVal, at + 4);
    at = out.writeInt32BE(segment.tsEcr, at + 8);
  }
  const { sacks } = segment;
  if (sacks.length > 0) {
    out[at] = OPTION_NOP;
    out[at + 1] = OPTION_NOP;
    out[at + 2] = OPTION_SACK;
    out[at + 3] = 2 + 4 * sacks.length;
    at += 4;
    for (const edge of sacks) at = out.writeInt32BE(edge, at);
  }
  out[start + 12] = ((at - start) / 4) << 4;
  if (segment.payload.length > 0) out.set(segment.payload, at);
  return at + segment.payload.length;
}
