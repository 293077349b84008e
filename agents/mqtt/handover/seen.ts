import type { Publication } from "../publication.js";
import type { Session } from "../session.js";
import type { Subscriptions } from "../subscriptions.js";

/** Publishers' topics that are remembered. */
const ENTRIES_MAX = 65_536;

/** The count of the last message that was here, by publisher and topic: see `Message.origin`. */
export class Seen {
  private readonly last = new Map<string, { readonly topic: string; readonly count: number }>();

  note({ origin, topic }: Publication): void {
    if (origin === undefined) return;
    const { key, count } = split(origin, topic);
    this.last.delete(key);
    this.last.set(key, { topic, count });
    if (this.last.size > ENTRIES_MAX) this.last.delete(this.last.keys().next().value!);
  }

  has({ origin, topic }: Publication): boolean {
    if (origin === undefined) return false;
    const { key, count } = split(origin, topic);
    const last = this.last.get(key);
    return last !== undefined && count <= last.count;
  }

  /** What was here of the topics that a session is subscribed to. */
  of(session: Session, subscriptions: Subscriptions): Map<string, number> {
    const counts = new Map<string, number>();
    for (const [key, { topic, count }] of this.last) {
      if (subscriptions.match(topic).recipients.some((recipient) => recipient.session === session)) {
        counts.set(key, count);
      }
    }
    return counts;
  }
}

/** Whether the edge that `counts` are of had the message. */
export function isKnown(counts: ReadonlyMap<string, number>, { origin, topic }: Publication): boolean {
  if (origin === undefined) return false;
  const { key, count } = split(origin, topic);
  const last = counts.get(key);
  return last !== undefined && count <= last;
}

function split(origin: string, topic: string): { key: string; count: number } {
  const cut = origin.lastIndexOf("-");
  return { key: `${origin.slice(0, cut)} ${topic}`, count: Number(origin.slice(cut + 1)) };
}
