import type { Endpoint } from "../addresses.js";

/** An edge of a group as the forwarder names it: `$fabric/group`. */
export interface Edge {
  /** Agent number. */
  readonly number: number;
  readonly endpoint: Endpoint;
  /** The epoch of its streams: which of its lives belongs to the group. */
  readonly epoch: number;
}

/** Reports do not come although asked: the others wait for this edge no longer than this... */
export const STALL_MS = 1_000;
/** ...and publishers no longer than this. */
export const SILENT_MS = 10_000;

/** One edge of a stream's group; numbers are counted from 0 without wrapping. */
export interface Member {
  readonly number: number;
  endpoint: Endpoint;
  epoch: number;
  /** It was not in the group before this number. */
  from: number;
  /** It has everything before this number. */
  position: number;
  /** When the position last moved, and when it was last heard (ms). */
  movedAt: number;
  heardAt: number;
  /** Nobody waits for it until it reports again. */
  given: boolean;
}

/** The edges that one stream goes to, and what all of them have. */
export class Members {
  private readonly members = new Map<number, Member>();
  private floorValue = Number.POSITIVE_INFINITY;
  /** Members whose position is the floor. */
  private atFloor = 0;
  /** Some are given up. */
  hasGiven = false;

  /** Everyone has everything before this number; infinite where nobody is to be waited for. */
  get floor(): number {
    return this.floorValue;
  }

  get size(): number {
    return this.members.size;
  }

  get(number: number): Member | undefined {
    return this.members.get(number);
  }

  values(): IterableIterator<Member> {
    return this.members.values();
  }

  /** These are the edges now: those who are new begin at `end`. */
  set(edges: readonly Edge[], end: number, now: number): void {
    const wanted = new Set(edges.map((e) => e.number));
    for (const number of this.members.keys()) if (!wanted.has(number)) this.members.delete(number);
    for (const { number, endpoint, epoch } of edges) {
      const known = this.members.get(number);
      if (known?.epoch === epoch) known.endpoint = endpoint;
      else {
        const fresh = { from: end, position: end, movedAt: now, heardAt: now, given: false };
        this.members.set(number, { number, endpoint, epoch, ...fresh });
      }
    }
    this.refresh();
  }

  delete(number: number): void {
    if (this.members.delete(number)) this.refresh();
  }

  /** A member's report. */
  report(member: Member, position: number, now: number): void {
    member.heardAt = now;
    const wasGiven = member.given;
    const before = member.position;
    member.given = false;
    if (position > before) {
      member.position = position;
      member.movedAt = now;
    }
    if (wasGiven || (before === this.floorValue && position > before && --this.atFloor === 0)) this.refresh();
  }

  /** Numbers of those who are given up. */
  *given(): IterableIterator<number> {
    for (const { number, given } of this.members.values()) if (given) yield number;
  }

  giveUp(member: Member): void {
    member.given = true;
    this.refresh();
  }

  /**
   * What those who are not stalled have, where the oldest datagram that somebody lacks left at `since`; 0 where
   * everyone is.
   */
  floorOfMoving(since: number, now: number): number {
    let floor = Number.POSITIVE_INFINITY;
    for (const m of this.members.values()) {
      if (!m.given && m.position < floor && !isStalled(m, since, now)) floor = m.position;
    }
    return Number.isFinite(floor) ? floor : 0;
  }

  /** Works the floor out anew after a member has changed. */
  private refresh(): void {
    this.floorValue = Number.POSITIVE_INFINITY;
    this.atFloor = 0;
    this.hasGiven = false;
    for (const { given, position } of this.members.values()) {
      this.hasGiven ||= given;
      if (given || position > this.floorValue) continue;
      this.atFloor = position === this.floorValue ? this.atFloor + 1 : 1;
      this.floorValue = position;
    }
  }
}

function isStalled(member: Member, since: number, now: number): boolean {
  return now - Math.max(since, member.movedAt) >= STALL_MS;
}
