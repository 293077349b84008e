import type { ClientIdentity } from "./authority.js";
import { NEVER, type WillRequest } from "./codec/connect.js";
import type { Connection } from "./connection.js";
import type { Deadline } from "./deadline.js";
import type { Delivery } from "./delivery.js";
import type { SessionJournal } from "./durable/journal.js";
import type { Publication } from "./publication.js";
import type { RetainedFeed } from "./retained-feed.js";
import type { Subscription } from "./subscriptions.js";

/** A message to publish when the client is gone (MQTT 5, section 3.1.2.5). */
export interface Will {
  /** As the client asked for it, its bytes its own. */
  readonly request: WillRequest;
  readonly message: (now: number) => Publication;
  /** In seconds. */
  readonly delay: number;
}

/** What stands for a QoS 2 message until its PUBREL. */
export interface Received {
  /** The origin that it left with for other edges; undefined: none. */
  readonly origin: string | undefined;
  /** What its PUBREC waits for; undefined: nothing any more. */
  acknowledged: Promise<unknown> | undefined;
  /** An earlier process of this agent received it: whether all other edges have it is not known. */
  isRestored: boolean;
}

/**
 * What the server keeps for one client identifier, connected or not (MQTT 5, section 4.1): it begins with the first
 * CONNECT and ends `expiry` seconds after the last connection.
 */
export class Session {
  readonly subscriptions = new Map<string, Subscription>();
  /** What the filters take, see `Limits.subscriptionBytes`. */
  subscriptionBytes = 0;
  /** QoS 2 messages received and not yet released, by identifier (MQTT-4.3.3-10). */
  readonly unreleased = new Map<number, Received>();
  /** It comes from another edge, and what waits for it there is not here: only the client's next session can be whole. */
  isPartial = false;
  /** What waited here for it has gone to another edge: of its groups' messages it takes no more. */
  hasLeft = false;
  /** Time of the clock from which on what is published is for the session that its client has begun elsewhere. */
  movedAt = Number.POSITIVE_INFINITY;
  /** Time of the clock at which it has begun, where that was here and by a client of this process. */
  beganAt = Number.NEGATIVE_INFINITY;
  /** Seconds that its filters are known to be held for beyond its connection: see `KeptFilters`. */
  keptFor = 0;
  /** When its client last connected, by the clock. */
  connectedAt = 0;
  /** The last counts of what it had at the edge that it came from, by publisher and topic. */
  hadElsewhere: ReadonlyMap<string, number> = new Map();
  /** Origins of what it has of a partial one that it took the place of. */
  carried: ReadonlySet<string> = new Set();
  /** Since then it has had all that was here of its subscriptions: see `Seen.begin`. */
  heardSince = 0;
  /** Where its changes are written; undefined where it ends with its connection, or there is no store. */
  journal: SessionJournal | undefined = undefined;
  /** Where the client is connected. */
  connection: Connection | undefined = undefined;
  /** Session expiry interval in seconds. */
  expiry = 0;
  /** Time of the clock at which its last connection ended; undefined: it is connected. */
  leftAt: number | undefined = undefined;
  /** Published when the connection ends without DISCONNECT, or its delay later. */
  will: Will | undefined = undefined;

  constructor(
    /** Who the client is, by its last CONNECT. */
    public client: ClientIdentity,
    readonly delivery: Delivery,
    readonly retained: RetainedFeed,
    readonly deadlines: { readonly end: Deadline; readonly will: Deadline },
  ) {}

  get clientId(): string {
    return this.client.clientId;
  }

  /** Milliseconds that it outlives its connection. */
  get expiryMs(): number {
    return this.expiry === NEVER ? Number.POSITIVE_INFINITY : this.expiry * 1_000;
  }

  /** Writes its changes from now on. */
  keepIn(journal: SessionJournal): void {
    this.journal = journal;
    this.delivery.journal = journal;
  }

  /** Sends what waits, as far as the connection takes it. */
  pump(): void {
    this.delivery.pump();
    this.retained.pump();
  }
}
