import { createHash } from "node:crypto";

/** The fabric header's layout and meaning: protocol/README.md, section "Datagram". */
export const HEADER_BYTES = 20;
export const VERSION = 0x01;
export const FORWARDER_NUMBER = 0;

export const Kind = {
  DATA: 1,
  CONTROL: 2,
  ACK: 3,
  RESET: 4,
  ANNOUNCE: 5,
  STATUS: 6,
  HEARTBEAT: 7,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** Flags: a packet begins at the payload's first byte; a packet ends at its last. */
export const START = 0x01;
export const END = 0x02;
export const WHOLE = START | END;
/** DATA, HEARTBEAT: tell the source your position when you have everything up to here. */
export const ASK = 0x04;
/** STATUS: where does this stream begin for me? HEARTBEAT: it begins at the oldest number given here. */
export const BEGIN = 0x08;
/** DATA: another stream goes before this datagram; the payload begins with which one, up to which number. */
export const FENCE = 0x10;

/** The flags that each kind may carry. */
const FLAGS: Record<Kind, number> = {
  [Kind.DATA]: WHOLE | ASK | FENCE,
  [Kind.CONTROL]: WHOLE,
  [Kind.ACK]: 0,
  [Kind.RESET]: 0,
  [Kind.ANNOUNCE]: 0,
  [Kind.STATUS]: BEGIN,
  [Kind.HEARTBEAT]: ASK | BEGIN,
};

export interface Header {
  readonly kind: Kind;
  /** START, END and the others, as the kind allows. */
  readonly flags: number;
  /** Agent number, 0 for the forwarder (u32). */
  readonly source: number;
  readonly epoch: number;
  readonly stream: number;
  readonly number: number;
}

export interface Datagram extends Header {
  readonly payload: Buffer;
}

/** Why a datagram cannot be read; also the counter's name. */
export type HeaderFault = "plain" | "bad_version" | "bad_kind" | "bad_flags" | "truncated";

export function encodeHeader(h: Header): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES);
  out[0] = VERSION;
  out[1] = h.kind;
  out[2] = h.flags;
  out[3] = HEADER_BYTES / 4;
  out.writeUInt32BE(h.source, 4);
  out.writeUInt32BE(h.epoch, 8);
  out.writeUInt32BE(h.stream, 12);
  out.writeUInt32BE(h.number, 16);
  return out;
}

/** Whether this is the plain form: an MQTT packet's type where a fabric header has its version. */
export function isPlain(bytes: Buffer): boolean {
  return bytes.length > 0 && bytes[0]! >> 4 !== 0;
}

/** Decodes one datagram; the payload is a view, not a copy. Never throws. */
export function decodeDatagram(bytes: Buffer): Datagram | HeaderFault {
  const first = bytes[0];
  if (first === undefined) return "truncated";
  if (isPlain(bytes)) return "plain";
  if (first !== VERSION) return "bad_version";
  if (bytes.length < HEADER_BYTES) return "truncated";
  const headerBytes = bytes[3]! * 4;
  if (headerBytes < HEADER_BYTES || headerBytes > bytes.length) return "truncated";
  const kind = bytes[1]! as Kind;
  const allowed = FLAGS[kind];
  if (allowed === undefined) return "bad_kind";
  const flags = bytes[2]!;
  if ((flags & ~allowed) !== 0) return "bad_flags";
  return {
    kind,
    flags,
    source: bytes.readUInt32BE(4),
    epoch: bytes.readUInt32BE(8),
    stream: bytes.readUInt32BE(12),
    number: bytes.readUInt32BE(16),
    payload: bytes.subarray(headerBytes),
  };
}

/** Distance from `a` to `b` on the 32-bit circle, −2^31 … 2^31 − 1 (RFC 1982): positive where `b` is newer. */
export function serialDistance(a: number, b: number): number {
  return (b - a) | 0;
}

export function serialNext(a: number): number {
  return (a + 1) >>> 0;
}

/** The agent's number on the wire: the first 4 bytes of SHA-256 of its id, never 0 (that is the forwarder). */
export function agentNumber(id: string): number {
  return createHash("sha256").update(id, "utf8").digest().readUInt32BE(0) || 1;
}

/** An epoch for a start or registration at `unixMs`, newer than `previous` where one is given; never 0. */
export function epochAt(unixMs: number, previous?: number): number {
  const ticks = Math.floor(unixMs / 100) >>> 0 || 1;
  if (previous === undefined || serialDistance(previous, ticks) > 0) return ticks;
  return serialNext(previous) || 1;
}
