import { type Clock, type DurableUpdate, encodeFabricJson, FabricTopic, isShared } from "@topicast/protocol";
import { FilterCover } from "./cover.js";
import type { Registration } from "./registration.js";

/** Filters in one `$fabric/durable`, when a registration begins. */
const BATCH = 64;
/** The longest that a SUBACK waits for the forwarder to note them, as with the barrier. */
const NOTED_MS = 8_000;

/**
 * Tells the forwarder which filters are held here by sessions that outlive their connection, so that it keeps messages for
 * them while this edge is away: protocol/README.md, "Edges that are away".
 */
export class DurableFilters {
  private readonly filters = new Set<string>();
  /** One that contains others stands for them; each shared one is one by itself. */
  private readonly cover = new FilterCover();
  /** The longest session expiry of those told so far, seconds. */
  private expiry = 0;
  private number = 0;
  private noted = 0;
  /** Who waits for the answer to a number, or one behind it. */
  private readonly waiting: Array<{ readonly number: number; readonly done: () => void }> = [];

  readonly stats = { durable_timeouts: 0 };

  constructor(
    private readonly clock: Clock,
    private readonly registration: Pick<Registration, "registered" | "send">,
  ) {}

  get size(): number {
    return this.filters.size;
  }

  /**
   * @param expiry of the sessions, seconds
   * @returns what a SUBACK waits for; undefined: nothing. Never rejects
   */
  keep(filter: string, expiry: number): Promise<void> | undefined {
    const isLonger = expiry > this.expiry;
    this.expiry = Math.max(this.expiry, expiry);
    const isNew = !this.filters.has(filter);
    this.filters.add(filter);
    const isTold = isNew && (isShared(filter) || this.cover.add(filter) === undefined);
    if (!this.registration.registered) return undefined;
    if (isTold || isLonger) void this.tell(isTold ? [filter] : [], []);
    return this.number === this.noted ? undefined : this.whenNoted(this.number);
  }

  drop(filter: string): void {
    if (!this.filters.delete(filter)) return;
    const { told, uncovered } = isShared(filter) ? { told: true, uncovered: [] } : this.cover.remove(filter);
    if (!told || !this.registration.registered) return;
    void this.tell(uncovered, [filter]);
  }

  /** `$fabric/noted` */
  onNoted(number: number): void {
    this.noted = number;
    while (this.waiting.length > 0 && this.waiting[0]!.number <= number) this.waiting.shift()!.done();
  }

  /** The registration has ended: nobody waits for a forwarder that is away. */
  onLost(): void {
    this.noted = this.number;
    for (const { done } of this.waiting.splice(0)) done();
  }

  /** Tells a new registration all of them, as fast as it takes them; resolves with false when it has ended. */
  async tellAll(): Promise<boolean> {
    const all = [...this.filters];
    const names = this.cover.restart(all.filter((name) => !isShared(name))).concat(all.filter(isShared));
    const isTold = (name: string) => (isShared(name) ? this.filters.has(name) : this.cover.isTold(name));
    for (let i = 0; i < names.length; i += BATCH) {
      const current = names.slice(i, i + BATCH).filter(isTold);
      if (current.length > 0 && !(await this.tell(current, []))) return false;
    }
    return true;
  }

  close(): void {
    this.onLost();
  }

  private tell(add: readonly string[], remove: readonly string[]): Promise<boolean> {
    this.number += 1;
    const update: DurableUpdate = { number: this.number, add, remove, expiry: this.expiry };
    return this.registration.send(encodeFabricJson(FabricTopic.DURABLE, update));
  }

  private whenNoted(number: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        resolve();
      };
      const timer = this.clock.setTimer(NOTED_MS, () => {
        this.stats.durable_timeouts += 1;
        resolve();
      });
      this.waiting.push({ number, done });
    });
  }
}
