import type { Connection } from "./connection.js";

/** One filter of one client. */
export interface Subscription {
  readonly session: Session;
  readonly filter: string;
  /** What it counts for towards `Limits.subscriptionBytes`. */
  readonly bytes: number;
  /** Greatest QoS that the client asked for; what is granted is decided when messages leave. */
  requestedQos: 0 | 1 | 2;
}

/** What the server keeps for one client identifier (MQTT 3.1.1, section 3.1.2.4). */
export class Session {
  readonly subscriptions = new Map<string, Subscription>();
  /** What the filters take, see `Limits.subscriptionBytes`. */
  subscriptionBytes = 0;
  /** Identifiers of QoS 2 messages received and not yet released (MQTT-4.3.3-2). */
  readonly unreleased = new Set<number>();
  /** Where the client is connected; undefined once the connection has ended. */
  connection: Connection | undefined;
  /** Mark of the fan-out that reached this session last, to serve overlapping subscriptions once. */
  reached = 0;

  constructor(
    readonly clientId: string,
    connection: Connection,
  ) {
    this.connection = connection;
  }
}
