import type { Publication } from "../publication.js";
import type { Session } from "../session.js";
import type { Subscriptions } from "../subscriptions.js";

/** Publishers' topics that are remembered. */
const ENTRIES_MAX = 65_536;

/** Times that are told apart in what was here of one publisher and topic: before them it is not known. */
const MARKS_MAX = 64;

interface Entry {
  readonly topic: string;
  /** The count of the last message. */
  last: number;
  /** The first one of each time in which there was any, oldest first. */
  readonly marks: { readonly time: number; readonly first: number }[];
}

/** Which messages were here, by publisher and topic: from some first one to the last. See `Message.origin`. */
export class Seen {
  private readonly entries = new Map<string, Entry>();
  private time = 0;

  /** From now on: for `has`. */
  begin(): number {
    this.time += 1;
    return this.time;
  }

  note({ origin, topic }: Publication): void {
    if (origin === undefined) return;
    const { time } = this;
    const { key, count } = split(origin, topic);
    const entry = this.entries.get(key) ?? { topic, last: count, marks: [] };
    // One that was kept while this edge was away may be older than others that came before it.
    entry.last = Math.max(entry.last, count);
    if (entry.marks.at(-1)?.time !== time) entry.marks.push({ time, first: count });
    if (entry.marks.length > MARKS_MAX) entry.marks.shift();
    this.entries.delete(key);
    this.entries.set(key, entry);
    if (this.entries.size > ENTRIES_MAX) this.entries.delete(this.entries.keys().next().value!);
  }

  /** Whether the message was here since `begin` answered `since`. */
  has({ origin, topic }: Publication, since: number): boolean {
    if (origin === undefined) return false;
    const { key, count } = split(origin, topic);
    const entry = this.entries.get(key);
    const first = entry?.marks.find(({ time }) => time >= since)?.first;
    return first !== undefined && count >= first && count <= entry!.last;
  }

  /** The last counts of the topics that a session is subscribed to. */
  of(session: Session, subscriptions: Subscriptions): Map<string, number> {
    const counts = new Map<string, number>();
    for (const [key, { topic, last }] of this.entries) {
      if (subscriptions.match(topic).recipients.some((recipient) => recipient.session === session)) {
        counts.set(key, last);
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
