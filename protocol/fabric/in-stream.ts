import type { Endpoint } from "../addresses.js";
import type { Timer } from "../clock.js";
import { type Datagram, serialDistance, serialNext } from "./header.js";
import { RANGES_MAX, type Range } from "./status.js";

/** How far ahead of a missing datagram others are kept, in numbers. */
export const WINDOW = 2_048;
/** Numbers that one STATUS asks for. */
const ASKED_MAX = 256;

/** What a receiver knows of one stream: (source, its epoch, group). Numbers are u32. */
export class InStream {
  /** Everything before it is delivered or lost; while entering, the number seen first. */
  next: number;
  /** What the source may be told: what is delivered before it is durable. Behind `next` for as long as that is being written. */
  safe: number;
  /** The stream was seen in its middle: where it begins for us is asked of the source. */
  entering: boolean;
  /** A datagram of it waits for another stream. */
  blocked = false;
  /** Not remembered any more: nothing is asked for. */
  forgotten = false;
  heardAt = 0;
  timer: Timer | undefined;
  askAgainMs = 0;
  readonly early = new Map<number, Datagram>();
  earlyBytes = 0;
  /** Pieces of a packet whose end is still to come; undefined: the pieces until the next START are to be skipped. */
  partial: Buffer[] | undefined;
  partialBytes = 0;
  /** Streams with a datagram that waits for this one. */
  readonly waiters = new Set<InStream>();
  /** The source has sent everything before it. */
  private end: number;
  private readonly gone = new Set<number>();
  /** The number that the source wants to know about. */
  private asked: number | undefined;
  /** Everything missing before it has been asked for. */
  private askedEnd: number;
  private mark = { next: -1, early: -1 };

  constructor(
    readonly source: number,
    readonly group: number,
    readonly epoch: number,
    readonly from: Endpoint,
    first: number,
  ) {
    this.next = first;
    this.safe = first;
    this.end = first;
    this.askedEnd = first;
    this.entering = first !== 0;
  }

  isFrom({ address, port }: Endpoint): boolean {
    return this.from.address === address && this.from.port === port;
  }

  /** The stream begins for us at `begin`; returns the bytes that this makes free. */
  enter(begin: number): number {
    this.entering = false;
    this.next = begin;
    this.safe = begin;
    this.askedEnd = begin;
    if (serialDistance(begin, this.end) < 0) this.end = begin;
    let freed = 0;
    for (const datagram of [...this.early.values()]) {
      const ahead = serialDistance(begin, datagram.number);
      if (ahead < 0 || ahead >= WINDOW) freed += this.letGo(datagram);
    }
    return freed;
  }

  sawNumber(number: number): void {
    this.sawEnd(serialNext(number));
  }

  sawEnd(end: number): void {
    if (serialDistance(this.end, end) > 0) this.end = end;
  }

  /** The source wants to know when everything up to `number` is here. */
  ask(number: number): void {
    if (this.asked === undefined || serialDistance(this.asked, number) > 0) this.asked = number;
  }

  hasPassedAsked(): boolean {
    return this.asked !== undefined && serialDistance(this.asked, this.next) > 0;
  }

  reported(): void {
    if (this.hasPassedAsked()) this.asked = undefined;
  }

  hold(datagram: Datagram): void {
    this.early.set(datagram.number, datagram);
    this.earlyBytes += datagram.payload.length;
  }

  /** Takes a datagram out; returns its bytes. */
  letGo(datagram: Datagram): number {
    this.early.delete(datagram.number);
    this.earlyBytes -= datagram.payload.length;
    return datagram.payload.length;
  }

  /** Those before `number`, in order. */
  earlyBefore(number: number): Datagram[] {
    return [...this.early.values()]
      .filter((d) => serialDistance(d.number, number) > 0)
      .sort((a, b) => serialDistance(b.number, a.number));
  }

  /** Returns how many there were. */
  dropEarly(): number {
    const count = this.early.size;
    this.early.clear();
    this.earlyBytes = 0;
    return count;
  }

  /** These numbers will never come; those outside the window are told again. */
  markGone({ first, count }: Range): void {
    const from = Math.max(serialDistance(this.next, first), 0);
    const to = Math.min(serialDistance(this.next, first) + count, WINDOW);
    for (let ahead = from; ahead < to; ahead++) {
      const number = (this.next + ahead) >>> 0;
      if (!this.early.has(number)) this.gone.add(number);
    }
  }

  /** Whether the next number will never come. */
  isNextGone(): boolean {
    return this.gone.has(this.next);
  }

  /** Everything before `next` is delivered or lost now. */
  advanceTo(next: number): void {
    if (this.gone.size > 0) {
      if (serialDistance(this.next, next) === 1) this.gone.delete(this.next);
      // What is left of it is told again.
      else this.gone.clear();
    }
    this.next = next;
  }

  /** Something is known to have been sent that is not here. */
  lacks(): boolean {
    if (this.forgotten) return false;
    if (this.entering) return true;
    const outstanding = serialDistance(this.next, this.end);
    return outstanding > this.early.size;
  }

  /** What is missing in the window, as far as one STATUS asks; remembers that it was asked for. */
  missing(): Range[] {
    const ranges: Range[] = [];
    if (this.entering) return ranges;
    const window = Math.min(serialDistance(this.next, this.end), WINDOW);
    let left = ASKED_MAX;
    for (let ahead = 0; ahead < window && left > 0; ahead++) {
      const number = (this.next + ahead) >>> 0;
      if (this.early.has(number) || this.gone.has(number)) continue;
      left -= 1;
      const last = ranges.at(-1);
      if (last !== undefined && (last.first + last.count) >>> 0 === number) {
        ranges[ranges.length - 1] = { first: last.first, count: last.count + 1 };
      } else if (ranges.length < RANGES_MAX) {
        ranges.push({ first: number, count: 1 });
      } else break;
      if (serialDistance(this.askedEnd, number) >= 0) this.askedEnd = serialNext(number);
    }
    return ranges;
  }

  /** Whether the number had been missing and was asked for. */
  wasAsked(number: number): boolean {
    return serialDistance(number, this.askedEnd) > 0;
  }

  /** Whether anything has come since the last call. */
  progress(): boolean {
    const { next, early } = this.mark;
    this.mark = { next: this.next, early: this.early.size };
    return next !== this.next || early !== this.early.size;
  }
}
