import { type Clock, DEAD_MS, encodePacket, PING_MS } from "@topicast/protocol";
import type { Registration } from "./registration.js";

/**
 * The longest that a SUBACK waits for the barrier. It covers a publisher that has died without a word (5 s until the
 * forwarder gives it up, 1 s for its next look) and rules that no switch takes (1 s).
 */
const BARRIER_MS = DEAD_MS + PING_MS + 2_000;
/** Filters in one SUBSCRIBE when a registration begins. */
const BATCH = 64;

/** Retain Handling (MQTT 5, section 3.8.3.1). */
const SEND_RETAINED = 0;
const HAS_RETAINED = 2;

/** One filter with local subscribers. */
interface Filter {
  /** Those who wait for its barrier. */
  readonly waiting: Set<() => void>;
  /** Its retained messages are here. */
  hasRetained: boolean;
}

/** The filters that this agent has local subscribers for, and who waits for their barrier. */
export class Subscriptions {
  private readonly filters = new Map<string, Filter>();
  /** SUBSCRIBEs under way by message id. */
  private readonly asked = new Map<number, Filter[]>();
  private nextMessageId = 1;

  readonly stats = { subscribe_timeouts: 0 };

  constructor(
    private readonly clock: Clock,
    private readonly registration: Registration,
  ) {}

  get size(): number {
    return this.filters.size;
  }

  subscribe(name: string): Promise<void> {
    const filter = this.filters.get(name) ?? { waiting: new Set(), hasRetained: false };
    const { waiting } = filter;
    this.filters.set(name, filter);
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
    if (this.registration.registered) void this.ask([name]);
    else if (this.registration.state !== "connecting") settle(filter);
    return barrier;
  }

  unsubscribe(name: string): void {
    const filter = this.filters.get(name);
    if (filter === undefined) return;
    this.filters.delete(name);
    settle(filter);
    if (!this.registration.registered) return;
    const messageId = this.messageId();
    void this.registration.send(encodePacket({ cmd: "unsubscribe", messageId, unsubscriptions: [name] }));
  }

  onSuback(messageId: number): void {
    for (const filter of this.asked.get(messageId) ?? []) {
      filter.hasRetained = true;
      settle(filter);
    }
    this.asked.delete(messageId);
  }

  /** The registration has ended: whoever waits goes on waiting, for the next one's answer. */
  onLost(): void {
    this.asked.clear();
  }

  /**
   * Tells a new registration every filter, as fast as it takes them; resolves with false when it has ended.
   * @param anew whether their retained messages are to be sent though they are here
   */
  async tellAll(anew: boolean): Promise<boolean> {
    if (anew) for (const filter of this.filters.values()) filter.hasRetained = false;
    const filters = [...this.filters.keys()];
    for (let i = 0; i < filters.length; i += BATCH) {
      const current = filters.slice(i, i + BATCH).filter((f) => this.filters.has(f));
      if (current.length > 0 && !(await this.ask(current))) return false;
    }
    return true;
  }

  close(): void {
    for (const filter of this.filters.values()) settle(filter);
  }

  private ask(names: readonly string[]): Promise<boolean> {
    const messageId = this.messageId();
    const filters = names.map((name) => this.filters.get(name)!);
    this.asked.set(messageId, filters);
    const subscriptions = names.map((topic, i) => ({
      topic,
      qos: 0 as const,
      rh: filters[i]!.hasRetained ? HAS_RETAINED : SEND_RETAINED,
    }));
    return this.registration.send(encodePacket({ cmd: "subscribe", messageId, subscriptions }));
  }

  private messageId(): number {
    do {
      this.nextMessageId = (this.nextMessageId % 0xffff) + 1;
    } while (this.asked.has(this.nextMessageId));
    return this.nextMessageId;
  }
}

function settle({ waiting }: Filter): void {
  for (const done of waiting) done();
}
