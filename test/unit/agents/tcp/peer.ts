import assert from "node:assert/strict";
import type { CloseReason, ConnectionHandler } from "@topicast/agent/tcp/connection.js";
import type { StackConnection } from "@topicast/agent/tcp/stack.js";
import type { Clock } from "@topicast/protocol";
import { pattern } from "./pattern.js";

/**
 * A user of one connection: sends `total` bytes of the test stream as fast as it may, then FIN; checks that what it gets
 * is the other side's test stream.
 */
export class Peer implements ConnectionHandler {
  received = 0;
  ended = false;
  closed: CloseReason | undefined;
  /** When the last byte came in. */
  lastAt = 0;
  private sent = 0;

  constructor(
    readonly connection: StackConnection,
    private readonly clock: Clock,
    private readonly total: number,
    /** How long to pause between reads; 0 reads at once. */
    private readonly pause: () => number = () => 0,
    /** Sends nothing before the other side's stream has ended: data goes on over a half-closed connection. */
    private readonly afterEnd = false,
  ) {
    connection.handler = this;
    if (connection.state === "ESTABLISHED") this.send();
  }

  onReadable(): void {
    if (this.sent === 0) this.send();
    const pause = this.pause();
    if (pause > 0) this.clock.setTimer(pause, () => this.drain());
    else this.drain();
  }

  onDrained(): void {
    this.send();
  }

  onClosed(reason: CloseReason): void {
    this.closed = reason;
    this.drain();
  }

  /** Begins to send; an active opener calls it when it likes, bytes wait for the handshake. */
  send(): void {
    if (this.afterEnd && !this.ended) return;
    while (this.sent < this.total && this.connection.isWritable) {
      const size = Math.min(4_000, this.total - this.sent);
      this.connection.write(pattern(this.sent, size));
      this.sent += size;
    }
    if (this.sent === this.total) this.connection.shutdown();
  }

  private drain(): void {
    for (let chunk = this.connection.read(); chunk !== undefined; chunk = this.connection.read()) {
      assert(
        chunk.equals(pattern(this.received, chunk.length)),
        `stream differs at or after ${this.received}`,
      );
      this.received += chunk.length;
      this.lastAt = this.clock.now();
    }
    if (this.ended || !this.connection.isEnded) return;
    this.ended = true;
    if (this.afterEnd) this.send();
  }
}
