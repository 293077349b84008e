import { filterMatches } from "@topicast/protocol";
import type { FilterOptions } from "../decode/mqtt-types.js";
import { Recent } from "../recent.js";
import type { Row } from "../tables/schema.js";
import type { HeldRows } from "./held.js";

/** Of one session; beyond it subscriptions are listed but do not explain deliveries. */
const MAX_SUBSCRIPTIONS = 65_536;
/** PUBLISHes and the like without their acknowledgement, of one session; beyond it the oldest is no longer awaited. */
const MAX_OPEN = 65_536;

export type SubscriptionRow = Row<"mqtt_subscriptions">;
export type PacketRow = Row<"mqtt">;

/** What a server keeps for a client id over connections (MQTT 5, section 4.1), as far as the capture tells. */
export class Session {
  readonly subscriptions = new Map<string, SubscriptionRow>();
  /** Rows that wait for an acknowledgement, by who sent them, its type and the packet identifier. */
  private readonly open = new Recent<string, PacketRow[]>(MAX_OPEN);

  constructor(private readonly held: HeldRows<"mqtt_subscriptions">) {}

  /** A filter that is subscribed to again replaces the former subscription (MQTT-3.8.4-3). */
  subscribe(row: SubscriptionRow): void {
    this.unsubscribe(row.filter!, row.frame!, "replaced");
    this.held.hold(row);
    if (this.subscriptions.size < MAX_SUBSCRIPTIONS) this.subscriptions.set(row.filter!, row);
  }

  unsubscribe(filter: string, frame: number, end: string): void {
    const row = this.subscriptions.get(filter);
    if (row === undefined) return;
    this.subscriptions.delete(filter);
    row.end_frame = frame;
    row.end = end;
    this.held.release(row);
  }

  /** Ends all subscriptions, or those that `concerns` picks. */
  end(frame: number, concerns: (row: SubscriptionRow) => boolean = () => true): void {
    for (const [filter, row] of [...this.subscriptions]) {
      if (concerns(row)) this.unsubscribe(filter, frame, "session end");
    }
  }

  /** Subscriptions that a topic is delivered by; refused ones do not count. */
  matching(topic: string): SubscriptionRow[] {
    const found: SubscriptionRow[] = [];
    for (const row of this.subscriptions.values()) {
      if ((row.granted ?? 0) < 128 && filterMatches(row.match_filter!, topic)) found.push(row);
    }
    return found;
  }

  await(key: string, row: PacketRow): void {
    const rows = this.open.get(key);
    if (rows !== undefined) rows.push(row);
    else this.open.set(key, [row]);
  }

  /** The rows that waited for this. */
  answered(key: string): readonly PacketRow[] {
    const rows = this.open.get(key);
    if (rows === undefined) return [];
    this.open.delete(key);
    return rows;
  }
}

/** The row of one filter of a SUBSCRIBE, but for whose it is. */
export function describeFilter({ filter, qos, noLocal, retainAsPublished, retainHandling }: FilterOptions) {
  const [, shareName, rest] = /^\$share\/([^/]*)\/(.*)$/s.exec(filter) ?? [];
  const matchFilter = rest ?? filter;
  const levels = matchFilter.split("/");
  const [single, multi] = [levels.includes("+"), levels.includes("#")];
  return {
    filter,
    match_filter: matchFilter,
    share_name: shareName,
    single_level: single,
    multi_level: multi,
    has_wildcard: single || multi,
    qos,
    no_local: noLocal,
    retain_as_published: retainAsPublished,
    retain_handling: retainHandling,
  };
}
