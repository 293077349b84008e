import { createHmac, randomBytes } from "node:crypto";
import type { TcpConfig } from "./config.js";
import { seqAdd } from "./wire/sequence.js";
import { emptySegment, type Segment } from "./wire/tcp.js";

/** Each secret makes cookies for so long, and checks them for as long again: a cookie lives 1 to 2 minutes. */
const PERIOD = 60_000;
const SECRET_BYTES = 32;

/** What a cookie can say of the peer's MSS: the largest of these that is not above it. */
const SEGMENT_SIZES = [48, 256, 536, 1220, 1380, 1440, 1460, 8960] as const;

/** The lowest bits of a timestamp, which carry options: window scale (15: none) and SACK-permitted. */
const STAMP_BITS = 5;
const STAMP_MASK = (1 << STAMP_BITS) - 1;
const NO_SCALE = 0x0f;
const SACK_BIT = 0x10;

interface Secret {
  period: number;
  bytes: Buffer;
}

/**
 * SYN cookies (RFC 4987 section 3.6): what a half-open connection would have to remember stands in our initial sequence
 * number, and comes back with the ACK that completes the handshake. As in Linux, window scale and SACK-permitted stand
 * in the lowest bits of our timestamp; without timestamps on both sides they are not agreed to.
 *
 * A cookie is 28 bits of a keyed hash (connection, peer's number, MSS), 3 bits of MSS, and one that tells which of the
 * two living secrets it is. A guess gets through once in 2^28.
 */
export class SynCookies {
  private readonly secrets: Array<Secret | undefined> = [undefined, undefined];

  /** @param newSecret gives the secret of the next minute */
  constructor(
    private readonly config: Pick<TcpConfig, "timestamps" | "sack">,
    private readonly newSecret: () => Buffer = () => randomBytes(SECRET_BYTES),
  ) {}

  /** Our initial sequence number for the SYN-ACK to a peer that begins with `irs` and takes segments of `mss` bytes. */
  make(key: string, irs: number, mss: number, now: number): number {
    const period = Math.floor(now / PERIOD);
    const slot = period & 1;
    let secret = this.secrets[slot];
    if (secret?.period !== period) {
      secret = { period, bytes: this.newSecret() };
      this.secrets[slot] = secret;
    }
    return cookie(secret.bytes, key, irs, sizeIndex(mss), slot);
  }

  /** Whether any cookie that was made can still be valid: without that no ACK is worth a hash. */
  isAwaiting(now: number): boolean {
    const period = Math.floor(now / PERIOD);
    return this.secrets.some((secret) => secret !== undefined && period - secret.period <= 1);
  }

  /**
   * The SYN that `ack` completes, with everything that was agreed; undefined where `ack` holds no valid cookie.
   * The key is that of `make`.
   */
  open(key: string, ack: Segment, now: number): Segment | undefined {
    const number = seqAdd(ack.ack, -1);
    const slot = number & 1;
    const secret = this.secrets[slot];
    const period = Math.floor(now / PERIOD);
    if (secret === undefined || period - secret.period > 1) return undefined;
    const index = (number >>> 1) & 7;
    const irs = seqAdd(ack.seq, -1);
    if (cookie(secret.bytes, key, irs, index, slot) !== number) return undefined;
    const syn = { ...emptySegment(), seq: irs, mss: SEGMENT_SIZES[index]! };
    if (ack.timestamps && this.config.timestamps) {
      const scale = ack.tsEcr & NO_SCALE;
      syn.timestamps = true;
      syn.tsVal = ack.tsVal;
      syn.windowScale = scale === NO_SCALE ? -1 : scale;
      syn.sackPermitted = this.config.sack && (ack.tsEcr & SACK_BIT) !== 0;
    }
    return syn;
  }
}

/** The timestamp, not after `clock`, whose lowest bits tell what `syn` offered. */
export function stampOptions(clock: number, syn: Segment): number {
  const bits = (syn.windowScale < 0 ? NO_SCALE : syn.windowScale) | (syn.sackPermitted ? SACK_BIT : 0);
  const back = (clock - bits) & STAMP_MASK;
  return seqAdd(clock, -back);
}

function cookie(secret: Buffer, key: string, irs: number, sizeIndex: number, slot: number): number {
  const hash = createHmac("sha256", secret).update(key, "latin1").update(`${irs},${sizeIndex}`).digest();
  return (hash.readInt32BE(0) & ~0x0f) | (sizeIndex << 1) | slot;
}

function sizeIndex(mss: number): number {
  let index = SEGMENT_SIZES.length - 1;
  while (index > 0 && SEGMENT_SIZES[index]! > mss) index -= 1;
  return index;
}
