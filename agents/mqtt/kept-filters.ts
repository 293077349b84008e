import type { Session } from "./session.js";
import type { Subscription } from "./subscriptions.js";
import type { Uplink } from "./uplink.js";

/**
 * Which filters are held by sessions that outlive their connection, at QoS 1 or 2: the uplink is told of the first and the
 * last such session of each; shared subscriptions count by their whole names.
 */
export class KeptFilters {
  /** Sessions by filter, and the longest expiry that the uplink was told with it. */
  private readonly holders = new Map<string, { count: number; expiry: number }>();

  constructor(private readonly uplink: Uplink | undefined) {}

  /**
   * A subscription takes the place of another one, or of none, or is replaced by none.
   * @returns what its SUBACK waits for; undefined: nothing
   */
  replace(before: Subscription | undefined, after: Subscription | undefined): Promise<void> | undefined {
    const was = before !== undefined && isKept(before);
    const is = after !== undefined && isKept(after);
    // First the new one: the filter is never without a holder.
    const noted = is && !was ? this.add(after) : undefined;
    if (was && !is) this.remove(before);
    return noted;
  }

  /** Whether the session outlives its connection, and for how long, may have changed. */
  expiryChanged(session: Session): void {
    const keptFor = this.uplink?.keep === undefined ? 0 : session.expiry;
    // Told once with the longest, a filter need not be told with a shorter one.
    if (keptFor > 0 && keptFor <= session.keptFor) return;
    const before = session.keptFor;
    const held = before === keptFor ? [] : [...session.subscriptions.values()];
    if (before > 0) for (const one of held) if (isKept(one)) this.remove(one, keptFor > 0);
    session.keptFor = keptFor;
    if (keptFor > 0) for (const one of held) if (isKept(one)) void this.add(one);
  }

  private add({ filter, session }: Subscription): Promise<void> | undefined {
    const holders = this.holders.get(filter) ?? { count: 0, expiry: 0 };
    this.holders.set(filter, holders);
    holders.count += 1;
    if (session.keptFor <= holders.expiry) return undefined;
    holders.expiry = session.keptFor;
    return this.uplink?.keep?.(filter, session.keptFor);
  }

  /** @param isBack it is added again at once */
  private remove({ filter }: Subscription, isBack = false): void {
    const holders = this.holders.get(filter);
    if (holders === undefined) return;
    holders.count -= 1;
    if (holders.count > 0 || isBack) return;
    this.holders.delete(filter);
    this.uplink?.unkeep?.(filter);
  }
}

function isKept({ session, qos }: Subscription): boolean {
  return session.keptFor > 0 && qos > 0;
}
