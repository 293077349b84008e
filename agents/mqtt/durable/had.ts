import type { Journal } from "./journal.js";
import { keyOf, numberIn, Prefix } from "./records.js";

/** So many are remembered. */
const SLOTS = 16_384;

/**
 * The last QoS 2 messages of other edges that sessions here were given, by origin, over the agent's end: what its publisher
 * does not know to be here, because the agent died before it said so, may come again.
 */
export class Had {
  private readonly slots: string[] = [];
  private readonly known = new Set<string>();
  private next = 0;

  constructor(private readonly journal: Journal | undefined) {}

  has(origin: string): boolean {
    return this.known.has(origin);
  }

  /** @param isDurable a session that outlives its connection was given it */
  note(origin: string, isDurable: boolean): void {
    const slot = this.take(this.next, origin);
    if (isDurable) this.journal?.put(keyOf.had(slot), Buffer.from(origin));
  }

  /** What an earlier process has noted. */
  async restore(journal: Journal): Promise<void> {
    for await (const [key, value] of journal.entries.entries(Prefix.HAD)) {
      this.take(numberIn.slot(key), value.toString());
    }
  }

  private take(slot: number, origin: string): number {
    const oldest = this.slots[slot];
    if (oldest !== undefined) this.known.delete(oldest);
    this.slots[slot] = origin;
    this.known.add(origin);
    this.next = (slot + 1) % SLOTS;
    return slot;
  }
}
