import { type Clock, DEAD_MS, encodePacket, PING_MS } from "@topicast/protocol";
import type { Registration } from "./registration.js";

/**
 * The longest that a SUBACK waits for the barrier. It covers a publisher that has died without a word (5 s until the
 * forwarder gives it up, 1 s for its next look) and rules that no switch takes (1 s).
 */
const BARRIER_MS = DEAD_MS + PING_MS + 2_000;
/** Filters in one SUBSCRIBE when a registration begins. */
const BATCH = 64;

/** Those who wait for the subscribe barrier of one filter. */
type Waiting = Set<() => void>;

/** The filters that this agent has local subscribers for, and who waits for their barrier. */
export class Subscriptions {
  private readonly filters = new Map<string, Waiting>();
  /** SUBSCRIBEs under way: by message id, who waits for the answer. */
  private readonly asked = new Map<number, Waiting[]>();
  private nextMessageId = 1;

  readonly stats = { subscribe_timeouts: 0 };

  constructor(
    private readonly clock: Clock,
    private readonly registration: Registration,
  ) {}

  get size(): number {
    return this.filters.size;
  }

  subscribe(filter: string): Promise<void> {
    const waiting: Waiting = this.filters.get(filter) ?? new Set();
    this.filters.set(filter, waiting);
    const barrier = new Promise<void>((resolve) => {
      const done = () => {
        timer.cancel();
        waiting.delete(done);
        resolve();
      };
      const timer = this.clock.setTimer(BARRIER_MS, () => {
        this.stats.subscribe_timeouts += 1;
        done();
      });
      waiting.add(done);
    });
    if (this.registration.registered) void this.ask([filter]);
    else if (this.registration.state !== "connecting") settle(waiting);
    return barrier;
  }

  unsubscribe(filter: string): void {
    const waiting = this.filters.get(filter);
    if (waiting === undefined) return;
    this.filters.delete(filter);
    settle(waiting);
    if (!this.registration.registered) return;
    const messageId = this.messageId();
    void this.registration.send(encodePacket({ cmd: "unsubscribe", messageId, unsubscriptions: [filter] }));
  }

  onSuback(messageId: number): void {
    for (const waiting of this.asked.get(messageId) ?? []) settle(waiting);
    this.asked.delete(messageId);
  }

  /** The registration has ended: whoever waits goes on waiting, for the next one's answer. */
  onLost(): void {
    this.asked.clear();
  }

  /** Tells a new registration every filter, as fast as it takes them; resolves with false when it has ended. */
  async tellAll(): Promise<boolean> {
    const filters = [...this.filters.keys()];
    for (let i = 0; i < filters.length; i += BATCH) {
      const current = filters.slice(i, i + BATCH).filter((f) => this.filters.has(f));
      if (current.length > 0 && !(await this.ask(current))) return false;
    }
    return true;
  }

  close(): void {
    for (const waiting of this.filters.values()) settle(waiting);
  }

  private ask(filters: readonly string[]): Promise<boolean> {
    const messageId = this.messageId();
    this.asked.set(
      messageId,
      filters.map((f) => this.filters.get(f)!),
    );
    const subscriptions = filters.map((topic) => ({ topic, qos: 0 as const }));
    return this.registration.send(encodePacket({ cmd: "subscribe", messageId, subscriptions }));
  }

  private messageId(): number {
    do {
      this.nextMessageId = (this.nextMessageId % 0xffff) + 1;
    } while (this.asked.has(this.nextMessageId));
    return this.nextMessageId;
  }
}

function settle(waiting: Waiting): void {
  for (const done of waiting) done();
}
