import { decodeDeferred, encodeDeferral } from "@topicast/protocol";
import type { Registration } from "./registration.js";

/** Above so many bytes on the channel, or so many without an answer, deferrals wait here. */
const CHANNEL_BYTES_MAX = 8 * 1024 * 1024;
const UNANSWERED_MAX = 10_000;
/** What the forwarder has not answered, away as it may be; beyond these the oldest goes. */
const PENDING_MAX = 100_000;
const PENDING_BYTES_MAX = 64 * 1024 * 1024;

interface Deferral {
  readonly edges: readonly number[];
  /** The message's PUBLISH, encoded. */
  readonly packet: Buffer;
  /** Told once, when it is kept, or the forwarder is away. */
  done: (() => void) | undefined;
}

/**
 * Messages for edges that are away, to the forwarder, which keeps them: in their order, and again after it was away itself.
 * protocol/README.md, "Edges that are away".
 */
export class Deferrals {
  /** By number, in their order; those from `nextToSend` on have not been sent. */
  private readonly pending = new Map<number, Deferral>();
  private bytes = 0;
  private nextNumber = 1;
  private nextToSend = 1;
  private unanswered = 0;

  readonly stats = { deferred: 0, deferred_dropped: 0 };

  constructor(private readonly registration: Pick<Registration, "registered" | "waitingBytes" | "send">) {}

  /** Messages that the forwarder has not kept yet. */
  get size(): number {
    return this.pending.size;
  }

  /** @param done called when the message is kept, or the forwarder is away: nobody waits for it then */
  defer(edges: readonly number[], packet: Buffer, done: () => void): void {
    this.stats.deferred += 1;
    const deferral: Deferral = { edges, packet, done };
    this.pending.set(this.nextNumber++, deferral);
    this.bytes += packet.length;
    this.bound();
    if (this.registration.registered) this.flush();
    else release(deferral);
  }

  /** `$fabric/deferred`. Returns false where it is malformed. */
  onDeferred(payload: Buffer): boolean {
    const number = decodeDeferred(payload);
    if (number === undefined) return false;
    if (this.drop(number)) this.unanswered -= 1;
    this.flush();
    return true;
  }

  /** A new registration: what has no answer is sent again, in its order. */
  onRegistered(): void {
    this.flush();
  }

  onLost(): void {
    this.nextToSend = this.pending.keys().next().value ?? this.nextNumber;
    this.unanswered = 0;
    for (const deferral of [...this.pending.values()]) release(deferral);
  }

  close(): void {
    for (const deferral of [...this.pending.values()]) release(deferral);
  }

  private bound(): void {
    for (const number of this.pending.keys()) {
      if (this.pending.size <= PENDING_MAX && this.bytes <= PENDING_BYTES_MAX) return;
      this.stats.deferred_dropped += 1;
      if (this.drop(number) && number < this.nextToSend) this.unanswered -= 1;
    }
  }

  private drop(number: number): boolean {
    const deferral = this.pending.get(number);
    if (deferral === undefined) return false;
    this.pending.delete(number);
    this.bytes -= deferral.packet.length;
    release(deferral);
    return true;
  }

  private flush(): void {
    const { registration } = this;
    for (; this.nextToSend < this.nextNumber; this.nextToSend++) {
      const isFull = registration.waitingBytes > CHANNEL_BYTES_MAX || this.unanswered >= UNANSWERED_MAX;
      if (!registration.registered || isFull) return;
      const deferral = this.pending.get(this.nextToSend);
      if (deferral === undefined) continue;
      this.unanswered += 1;
      void registration.send(encodeDeferral(this.nextToSend >>> 0, deferral.edges, deferral.packet));
    }
  }
}

function release(deferral: Deferral): void {
  const { done } = deferral;
  deferral.done = undefined;
  done?.();
}
