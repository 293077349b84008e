/**
 * When the acknowledgement of data in order may wait (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2): while an answer
 * can be expected that will carry it. A user who answered the last data in time is expected to answer the next; as soon as
 * a wait was in vain every acknowledgement leaves at once again, from the beginning of a connection on too.
 */
export class DelayedAck {
  /** When the waiting acknowledgement must leave. */
  deadline = Number.POSITIVE_INFINITY;
  private answers = false;
  /** Bytes that wait for their acknowledgement, and when data came last. */
  private waiting = 0;
  private heardAt = Number.NEGATIVE_INFINITY;

  /** @param delay in ms, 0: never wait */
  constructor(private readonly delay: number) {}

  /** Data has come in order. Returns whether it is to be acknowledged with this turn. */
  onData(bytes: number, mss: number, now: number): boolean {
    this.heardAt = now;
    if (!this.answers) return true;
    this.waiting += bytes;
    if (this.waiting >= 2 * mss) return true;
    this.deadline = Math.min(this.deadline, now + this.delay);
    return false;
  }

  /** Something that acknowledges all has left; `data`: it was the user's data. */
  onSent(data: boolean, now: number): void {
    if (data) this.answers = now - this.heardAt < this.delay;
    this.waiting = 0;
    this.stop();
  }

  /** The time of `deadline` has come: nobody answered. */
  onTimer(): void {
    this.answers = false;
    this.stop();
  }

  stop(): void {
    this.deadline = Number.POSITIVE_INFINITY;
  }
}
