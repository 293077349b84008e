import type { Clock, Timer } from "../clock.js";

/** One datagram that was sent and may be asked for again. */
export interface Sent {
  /** Counted from 0 without wrapping. */
  readonly number: number;
  readonly flags: number;
  readonly payload: Buffer;
  /** In milliseconds. */
  readonly sentAt: number;
  /** Somebody's acknowledgement waits for it: it stays until everyone has it. */
  readonly pinned: boolean;
  /** When and to whom it was sent again last: an agent number, or EVERYONE. */
  repairedAt: number;
  repairedTo: number;
}

/** Datagrams of one stream that are still here, by number, oldest first. */
export type Kept = Map<number, Sent>;

export interface HistoryLimits {
  /** Bytes, and age in milliseconds, of what nobody waits for. */
  readonly looseBytes: number;
  readonly looseMs: number;
}

const HISTORY_LIMITS: HistoryLimits = { looseBytes: 32 * 1024 * 1024, looseMs: 2_000 };
/** What a datagram takes besides its payload, about. */
const OVERHEAD_BYTES = 200;

/**
 * What one agent has sent on all its streams. Pinned datagrams stay until they are removed; the others go when they are
 * too old or, the oldest first, when they are too many.
 */
export class SendHistory {
  private readonly loose = new Map<Sent, Kept>();
  private looseBytes = 0;
  private timer: Timer | undefined;
  pinnedBytes = 0;
  /** Datagrams given up before their time, for room. */
  evicted = 0;

  constructor(
    private readonly clock: Clock,
    private readonly limits: HistoryLimits = HISTORY_LIMITS,
  ) {}

  get bytes(): number {
    return this.looseBytes + this.pinnedBytes;
  }

  add(sent: Sent, kept: Kept): void {
    kept.set(sent.number, sent);
    if (sent.pinned) {
      this.pinnedBytes += size(sent);
      return;
    }
    this.loose.set(sent, kept);
    this.looseBytes += size(sent);
    while (this.looseBytes > this.limits.looseBytes) {
      this.evicted += 1;
      this.removeOldest();
    }
    this.timer ??= this.clock.setTimer(this.limits.looseMs / 2, () => this.sweep());
  }

  remove(sent: Sent, kept: Kept): void {
    if (!kept.delete(sent.number)) return;
    if (sent.pinned) this.pinnedBytes -= size(sent);
    else if (this.loose.delete(sent)) this.looseBytes -= size(sent);
  }

  close(): void {
    this.timer?.cancel();
    this.loose.clear();
    this.looseBytes = 0;
  }

  private sweep(): void {
    this.timer = undefined;
    const before = this.clock.now() - this.limits.looseMs;
    for (const [sent, kept] of this.loose) {
      if (sent.sentAt > before) break;
      this.remove(sent, kept);
    }
    if (this.loose.size > 0) this.timer = this.clock.setTimer(this.limits.looseMs / 2, () => this.sweep());
  }

  private removeOldest(): void {
    const [sent, kept] = this.loose.entries().next().value!;
    this.remove(sent, kept);
  }
}

function size(sent: Sent): number {
  return sent.payload.length + OVERHEAD_BYTES;
}
