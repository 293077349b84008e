import { END, FENCE, START, serialDistance, WHOLE } from "./header.js";
import { encodeFence, FENCE_BYTES, type Fence } from "./status.js";

/** Fences that a stream remembers to have said; more of them are said again. */
const FENCES_MAX = 64;
/** Datagrams taken out before the array is cut. */
const CUT = 1_024;

/** A datagram that has its number and has not left yet. */
export interface Unsent {
  readonly flags: number;
  readonly parts: Buffer[];
  bytes: number;
  /** Somebody waits until everyone has it. */
  pinned: boolean;
}

/** Packets on their way into the datagrams of one stream. */
export class OutQueue {
  /** The number that the next new datagram gets, counted from 0 without wrapping. */
  end = 0;
  /** Bytes of what waits. */
  bytes = 0;
  private readonly unsent: Unsent[] = [];
  private head = 0;
  /** What this stream has said of others: stream, number. */
  private readonly said = new Map<number, number>();

  /** @param room bytes of payload in a datagram */
  constructor(private readonly room: number) {}

  get length(): number {
    return this.unsent.length - this.head;
  }

  /** Those of the fences that this stream has not said yet; from now on it has. */
  unsaid(fences: readonly Fence[] | undefined): readonly Fence[] {
    return fences === undefined || fences.length === 0 ? [] : fences.filter((f) => this.say(f));
  }

  /** Adds a packet: to the last datagram where it fits, otherwise in as many as it takes. */
  add(packet: Buffer, pinned: boolean, fence: Fence | undefined): void {
    if (fence === undefined && this.addToLast(packet, pinned)) return;
    const fenceBytes = fence === undefined ? 0 : FENCE_BYTES;
    let at = 0;
    do {
      const space = at === 0 ? this.room - fenceBytes : this.room;
      const end = Math.min(at + space, packet.length);
      const flags = (at === 0 ? START : 0) | (end === packet.length ? END : 0);
      const piece = packet.subarray(at, end);
      if (at === 0 && fence !== undefined) this.push(flags | FENCE, [encodeFence(fence), piece], pinned);
      else this.push(flags, [piece], pinned);
      at = end;
    } while (at < packet.length);
  }

  peek(): Unsent | undefined {
    return this.unsent[this.head];
  }

  /** Takes the first one out; nothing is added to it any more. */
  shift(): void {
    this.bytes -= this.unsent[this.head]!.bytes;
    this.head += 1;
    if (this.head < this.unsent.length && this.head < CUT) return;
    this.unsent.splice(0, this.head);
    this.head = 0;
  }

  private addToLast(packet: Buffer, pinned: boolean): boolean {
    const last = this.length === 0 ? undefined : this.unsent.at(-1)!;
    if (last === undefined || (last.flags & WHOLE) !== WHOLE || last.bytes + packet.length > this.room)
      return false;
    last.parts.push(packet);
    last.bytes += packet.length;
    last.pinned ||= pinned;
    this.bytes += packet.length;
    return true;
  }

  private push(flags: number, parts: Buffer[], pinned: boolean): void {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    this.unsent.push({ flags, parts, bytes, pinned });
    this.bytes += bytes;
    this.end += 1;
  }

  private say({ stream, number }: Fence): boolean {
    const said = this.said.get(stream);
    if (said !== undefined && serialDistance(said, number) <= 0) return false;
    if (this.said.size >= FENCES_MAX) this.said.clear();
    this.said.set(stream, number);
    return true;
  }
}
