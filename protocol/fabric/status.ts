/** Payloads of STATUS, HEARTBEAT and of fenced DATA: protocol/README.md, section "Data". */

/** Consecutive numbers of a stream's datagrams. */
export interface Range {
  /** u32 */
  readonly first: number;
  readonly count: number;
}

/** Most ranges in one STATUS or HEARTBEAT. */
export const RANGES_MAX = 64;
const RANGE_BYTES = 8;

export interface Status {
  /** The source's epoch: which of its lives the numbers belong to. */
  readonly epoch: number;
  /** What is missing from the position on. */
  readonly missing: readonly Range[];
}

export interface Heartbeat {
  /** Nothing before this number will be sent again. */
  readonly oldest: number;
  /** Numbers from there on that will not be sent again either. */
  readonly gone: readonly Range[];
}

export function encodeStatus({ epoch, missing }: Status): Buffer {
  return encode(epoch, missing);
}

/** Undefined where it is malformed. */
export function decodeStatus(payload: Buffer): Status | undefined {
  const missing = decodeRanges(payload);
  return missing && { epoch: payload.readUInt32BE(0), missing };
}

export function encodeHeartbeat({ oldest, gone }: Heartbeat): Buffer {
  return encode(oldest, gone);
}

/** Undefined where it is malformed. */
export function decodeHeartbeat(payload: Buffer): Heartbeat | undefined {
  const gone = decodeRanges(payload);
  return gone && { oldest: payload.readUInt32BE(0), gone };
}

/** What stands before the packets of a datagram with FENCE. */
export interface Fence {
  /** The other stream's group address. */
  readonly stream: number;
  /** Everything before this number of it comes first. */
  readonly number: number;
}

export const FENCE_BYTES = 8;

export function encodeFence({ stream, number }: Fence): Buffer {
  const out = Buffer.allocUnsafe(FENCE_BYTES);
  out.writeUInt32BE(stream, 0);
  out.writeUInt32BE(number, 4);
  return out;
}

/** Undefined where it is too short. */
export function decodeFence(payload: Buffer): Fence | undefined {
  if (payload.length < FENCE_BYTES) return undefined;
  return { stream: payload.readUInt32BE(0), number: payload.readUInt32BE(4) };
}

function encode(first: number, ranges: readonly Range[]): Buffer {
  const out = Buffer.allocUnsafe(4 + ranges.length * RANGE_BYTES);
  out.writeUInt32BE(first, 0);
  ranges.forEach((range, i) => {
    out.writeUInt32BE(range.first, 4 + i * RANGE_BYTES);
    out.writeUInt32BE(range.count, 8 + i * RANGE_BYTES);
  });
  return out;
}

function decodeRanges(payload: Buffer): Range[] | undefined {
  const count = (payload.length - 4) / RANGE_BYTES;
  if (!Number.isInteger(count) || count < 0 || count > RANGES_MAX) return undefined;
  return Array.from({ length: count }, (_, i) => ({
    first: payload.readUInt32BE(4 + i * RANGE_BYTES),
    count: payload.readUInt32BE(8 + i * RANGE_BYTES),
  }));
}
