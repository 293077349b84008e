import { packetSize } from "@topicast/protocol";
import type { Budget } from "../tcp/budget.js";
import type { Moment } from "../tcp/direction.js";

/** Longest part of a packet that is kept for decoding; of a longer one only the payload's end is missing. */
export const MAX_KEPT_BYTES = 256 * 1024;
const FIXED_HEADER_MAX = 5;
const NOTHING = Buffer.alloc(0);

export interface CutterEvents {
  /** A packet of `length` bytes; `bytes` are its first, a view valid during the call. `missing`: some are not captured. */
  onPacket(bytes: Buffer, length: number, missing: boolean, at: Moment): void;
  /** The bytes are no packets from here on; `onProblem` once, until it goes on. */
  onProblem(reason: string, at: Moment): void;
}

/** Cuts one direction's bytes into MQTT packets, and finds its way back in after a hole. */
export class Cutter {
  private kept: Buffer = NOTHING;
  private have = 0;
  /** How many of them are kept: the packet's first. */
  private stored = 0;
  /** Size of the packet that is begun; 0: not known yet. */
  private need = 0;
  /** From some byte on they are not kept; are not captured. */
  private unkept = false;
  private holed = false;
  private isLost = false;

  /** @param isMiddle the stream's beginning is not captured: packets must be found first */
  constructor(
    private readonly budget: Budget,
    private readonly events: CutterEvents,
    isMiddle = false,
  ) {
    this.isLost = isMiddle;
  }

  push(bytes: Buffer, at: Moment): void {
    let from = 0;
    if (this.isLost) {
      // Programs rarely write half packets: a segment's first byte is where one begins.
      if (!isPlausible(bytes)) return;
      this.isLost = false;
    }
    while (from < bytes.length && !this.isLost) {
      from = this.have > 0 || this.need > 0 ? this.go(bytes, from, at) : this.begin(bytes, from, at);
    }
  }

  gap(missing: number, at: Moment): void {
    if (this.isLost) return;
    if (this.need > 0 && missing <= this.need - this.have) {
      this.have += missing;
      this.holed = true;
      if (this.have === this.need) this.emit(at);
      return;
    }
    if (this.have > 0) this.events.onProblem("a packet is not wholly in the capture", at);
    this.lose();
  }

  /** Tells of a packet that the stream ends in. */
  end(at: Moment): void {
    if (this.have > 0 && !this.isLost) this.events.onProblem("the stream ends inside a packet", at);
    this.lose();
  }

  private begin(bytes: Buffer, from: number, at: Moment): number {
    const size = packetSize(bytes, from, bytes.length);
    if (size < 0) return this.fail(at);
    if (size > 0 && from + size <= bytes.length) {
      const isAll = from === 0 && size === bytes.length;
      this.events.onPacket(isAll ? bytes : bytes.subarray(from, from + size), size, false, at);
      return from + size;
    }
    this.need = size;
    return this.go(bytes, from, at);
  }

  /** Adds to the packet that is begun. */
  private go(bytes: Buffer, from: number, at: Moment): number {
    if (this.need === 0) {
      const upTo = Math.min(bytes.length, from + FIXED_HEADER_MAX - this.have);
      const had = this.have;
      this.keep(bytes.subarray(from, upTo));
      const size = packetSize(this.kept, 0, this.have);
      if (size < 0) return this.fail(at);
      if (size === 0) return upTo;
      this.need = size;
      // What was looked at too far belongs to the next packet.
      const taken = Math.min(size, this.have);
      this.have = taken;
      this.stored = taken;
      if (taken === size) this.emit(at);
      return from + taken - had;
    }
    const take = Math.min(this.need - this.have, bytes.length - from);
    this.keep(bytes.subarray(from, from + take));
    if (this.have === this.need) this.emit(at);
    return from + take;
  }

  private keep(bytes: Buffer): void {
    const room = Math.min(MAX_KEPT_BYTES, this.need || FIXED_HEADER_MAX);
    if (this.have < room && !this.unkept && !this.holed) {
      const wanted = Math.min(room, this.have + bytes.length);
      if (wanted > this.kept.length && !this.grow(Math.min(room, Math.max(wanted, 2 * this.kept.length)))) {
        this.unkept = true;
      } else {
        bytes.copy(this.kept, this.have, 0, wanted - this.have);
        this.stored = wanted;
      }
    }
    this.have += bytes.length;
  }

  private grow(size: number): boolean {
    if (this.budget.isSpent && size > FIXED_HEADER_MAX) return false;
    const grown = Buffer.alloc(size);
    this.kept.copy(grown);
    this.budget.used += size - this.kept.length;
    this.kept = grown;
    return true;
  }

  private emit(at: Moment): void {
    const { kept, need, stored, holed } = this;
    this.reset();
    this.events.onPacket(kept.subarray(0, stored), need, holed, at);
  }

  private fail(at: Moment): number {
    this.events.onProblem("remaining length of more than four bytes: no MQTT packet", at);
    this.lose();
    return 0;
  }

  private lose(): void {
    this.reset();
    this.isLost = true;
  }

  private reset(): void {
    this.budget.used -= this.kept.length;
    this.kept = NOTHING;
    this.have = 0;
    this.stored = 0;
    this.need = 0;
    this.unkept = false;
    this.holed = false;
  }
}

/** Whether `bytes` look like packets one behind the other up to their end, or one that goes on. */
export function isPlausible(bytes: Buffer): boolean {
  let at = 0;
  let whole = 0;
  while (at < bytes.length) {
    const first = bytes[at]!;
    if (!isFirstByte(first)) return false;
    const size = packetSize(bytes, at, bytes.length);
    if (size < 0) return false;
    // The last one may be cut anywhere; alone it has to be a PUBLISH, the only long packet in most streams.
    if (size === 0 || at + size > bytes.length) return whole > 0 || first >> 4 === 3;
    if (size < 4 && first < 0xc0) return false;
    at += size;
    whole += 1;
  }
  return whole > 0;
}

function isFirstByte(first: number): boolean {
  const type = first >> 4;
  const flags = first & 15;
  if (type === 0) return false;
  if (type === 3) return (flags & 6) !== 6;
  return type === 6 || type === 8 || type === 10 ? (flags & 7) === 2 : flags === 0;
}
