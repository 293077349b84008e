import type { ClientIdentity } from "./authority.js";
import { NEVER } from "./codec/connect.js";
import type { Connection } from "./connection.js";
import type { Deadline } from "./deadline.js";
import type { Delivery } from "./delivery.js";
import type { Publication } from "./publication.js";
import type { RetainedFeed } from "./retained-feed.js";
import type { Subscription } from "./subscriptions.js";

/** A message to publish when the client is gone (MQTT 5, section 3.1.2.5). */
export interface Will {
  readonly message: (now: number) => Publication;
  /** In seconds. */
  readonly delay: number;
}

/**
 * What the server keeps for one client identifier, connected or not (MQTT 5, section 4.1): it begins with the first
 * CONNECT and ends `expiry` seconds after the last connection.
 */
export class Session {
  readonly subscriptions = new Map<string, Subscription>();
  /** What the filters take, see `Limits.subscriptionBytes`. */
  subscriptionBytes = 0;
  /**
   * QoS 2 messages received and not yet released, by identifier (MQTT-4.3.3-10); with what their PUBREC waits for, until
   * the uplink has them.
   */
  readonly unreleased = new Map<number, Promise<void> | undefined>();
  /** Where the client is connected. */
  connection: Connection | undefined = undefined;
  /** Session expiry interval in seconds. */
  expiry = 0;
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

  /** Sends what waits, as far as the connection takes it. */
  pump(): void {
    this.delivery.pump();
    this.retained.pump();
  }
}
