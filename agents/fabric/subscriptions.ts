import { type Clock, DEAD_MS, encodePacket, PING_MS } from "@topicast/protocol";
import { FilterCover } from "./cover.js";
import type { Registration } from "./registration.js";

/**
 * The longest that a SUBACK waits for the barrier. It covers a publisher that has died without a word (5 s until the
 * forwarder gives it up, 1 s for its next look) and rules that no switch takes (1 s).
 */
const BARRIER_MS = DEAD_MS + PING_MS + 2_000;
/** Where its retained messages are on their way it waits on, for as long as they come, but no longer than this. */
const RETAINED_MS = 120_000;
/** Filters in one SUBSCRIBE when a registration begins. */
const BATCH = 64;

/** Retain Handling (MQTT 5, section 3.8.3.1). */
const SEND_RETAINED = 0;
const HAS_RETAINED = 2;

/** One filter with local subscribers. */
interface Filter {
  readonly name: string;
  /** Those who wait for its barrier. */
  readonly waiting: Set<() => void>;
  /** The forwarder has answered for it, in this registration. */
  answered: boolean;
  /** Its retained messages are here. */
  hasRetained: boolean;
}

/** The filters that this agent has local subscribers for, and who waits for their barrier. */
export class Subscriptions {
  private readonly filters = new Map<string, Filter>();
  private readonly cover = new FilterCover();
  /** SUBSCRIBEs under way by message id. */
  private readonly asked = new Map<number, Filter[]>();
  private nextMessageId = 1;
  /** When the last retained message came. */
  private toldAt = Number.NEGATIVE_INFINITY;

  readonly stats = { subscribe_timeouts: 0 };

  constructor(
    private readonly clock: Clock,
    private readonly registration: Pick<Registration, "registered" | "state" | "send">,
  ) {}

  get size(): number {
    return this.filters.size;
  }

  /** Those that the forwarder is not told, because it is told one that contains them. */
  get contained(): number {
    return this.cover.hidden;
  }

  subscribe(name: string): Promise<void> {
    const known = this.filters.get(name);
    const filter = known ?? fresh(name);
    const { waiting } = filter;
    this.filters.set(name, filter);
    const container = this.cover.add(name);
    const barrier = new Promise<void>((resolve) => {
      const done = () => {
        timer.cancel();
        waiting.delete(done);
        resolve();
      };
      const since = this.clock.now();
      const wait = (ms: number) =>
        this.clock.setTimer(ms, () => {
          const now = this.clock.now();
          const left = filter.hasRetained || now - since >= RETAINED_MS ? 0 : this.toldAt + BARRIER_MS - now;
          if (left > 0) {
            timer = wait(left);
            return;
          }
          this.stats.subscribe_timeouts += 1;
          done();
        });
      let timer = wait(BARRIER_MS);
      waiting.add(done);
    });
    if (!this.registration.registered) {
      if (this.registration.state !== "connecting") settle(filter);
    } else if (container !== undefined) {
      if (this.filters.get(container)?.answered) this.answered(filter);
    } else if (known === undefined) void this.ask([name]);
    // Asked for already: the answer is there, or is this one's, too.
    else if (filter.answered) settle(filter);
    return barrier;
  }

  unsubscribe(name: string): void {
    const filter = this.filters.get(name);
    if (filter === undefined) return;
    this.filters.delete(name);
    settle(filter);
    const { told, uncovered } = this.cover.remove(name);
    if (!told || !this.registration.registered) return;
    // In this order on the channel, and at once: what is told while the other is still there needs nothing new.
    for (let i = 0; i < uncovered.length; i += BATCH) void this.ask(uncovered.slice(i, i + BATCH));
    const messageId = this.messageId();
    void this.registration.send(encodePacket({ cmd: "unsubscribe", messageId, unsubscriptions: [name] }));
  }

  /** A retained message has come. */
  onRetained(): void {
    this.toldAt = this.clock.now();
  }

  onSuback(messageId: number): void {
    for (const filter of this.asked.get(messageId) ?? []) {
      if (this.filters.get(filter.name) !== filter) continue;
      this.answered(filter);
      for (const name of this.cover.contentsOf(filter.name)) this.answered(this.filters.get(name)!);
    }
    this.asked.delete(messageId);
  }

  /** The registration has ended: whoever waits goes on waiting, for the next one's answer. */
  onLost(): void {
    this.asked.clear();
    for (const filter of this.filters.values()) filter.answered = false;
  }

  /**
   * Tells a new registration every filter that no other contains, as fast as it takes them; resolves with false when it
   * has ended.
   * @param anew whether their retained messages are to be sent though they are here
   */
  async tellAll(anew: boolean): Promise<boolean> {
    if (anew) for (const filter of this.filters.values()) filter.hasRetained = false;
    const names = this.cover.restart(this.filters.keys());
    for (let i = 0; i < names.length; i += BATCH) {
      const current = names.slice(i, i + BATCH).filter((name) => this.cover.isTold(name));
      if (current.length > 0 && !(await this.ask(current))) return false;
    }
    return true;
  }

  close(): void {
    for (const filter of this.filters.values()) settle(filter);
  }

  /** The barrier stands, and the retained messages are here. */
  private answered(filter: Filter): void {
    filter.answered = true;
    filter.hasRetained = true;
    settle(filter);
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

function fresh(name: string): Filter {
  return { name, waiting: new Set(), answered: false, hasRetained: false };
}

function settle({ waiting }: Filter): void {
  for (const done of waiting) done();
}
