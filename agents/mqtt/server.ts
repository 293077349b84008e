import { createHash, timingSafeEqual } from "node:crypto";
import { type Clock, type Message, systemClock } from "@topicast/protocol";
import type { BrokerOptions } from "./broker.js";
import type { CloseReason } from "./codec/errors.js";
import type { Connection } from "./connection.js";
import { Fanout } from "./fanout.js";
import { DEFAULT_LIMITS, type Limits } from "./limits.js";
import type { Log } from "./log.js";
import { Flusher } from "./outbox.js";
import { Session } from "./session.js";
import { Stats } from "./stats.js";
import { Subscriptions } from "./subscriptions.js";
import type { Uplink } from "./uplink.js";

/** What all connections of one broker share. */
export class Server {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log | undefined;
  readonly stats = new Stats();
  readonly flusher: Flusher;
  readonly subscriptions: Subscriptions;
  readonly fanout: Fanout;
  readonly connections = new Set<Connection>();
  readonly sessions = new Map<string, Session>();
  /** Called when the last connection has gone. */
  onEmpty: (() => void) | undefined;
  private readonly uplink: Uplink | undefined;
  private readonly credentials: { readonly username: Buffer; readonly password: Buffer } | undefined;

  constructor(options: BrokerOptions) {
    this.clock = options.clock ?? systemClock;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.log = options.log;
    this.flusher = new Flusher(options.defer ?? setImmediate);
    this.uplink = options.uplink;
    this.subscriptions = new Subscriptions(options.uplink);
    this.fanout = new Fanout(this.subscriptions, this.stats);
    this.credentials = options.credentials && {
      username: digest(options.credentials.username),
      password: digest(options.credentials.password),
    };
  }

  /** Whether a client with this user name and password may connect; takes the same time for any wrong one. */
  authenticate(username: string | undefined, password: Buffer | undefined): boolean {
    if (this.credentials === undefined) return true;
    const usernameRight = timingSafeEqual(digest(username ?? ""), this.credentials.username);
    const passwordRight = timingSafeEqual(digest(password ?? ""), this.credentials.password);
    return usernameRight && passwordRight;
  }

  /** Opens the session of a client that has been let in; one with the same identifier is closed (MQTT-3.1.4-2). */
  openSession(clientId: string, connection: Connection): Session {
    this.sessions.get(clientId)?.connection?.close("taken_over");
    const session = new Session(clientId, connection);
    this.sessions.set(clientId, session);
    return session;
  }

  /**
   * Publishes a local client's message: to local subscribers at once, then to the uplink.
   * @returns what an acknowledgement waits for, or undefined when nothing
   */
  publish(message: Message): Promise<void> | undefined {
    // Only the server itself publishes there (4.7.2).
    if (message.topic.startsWith("$SYS/")) {
      this.stats.publish_denied += 1;
      return undefined;
    }
    this.fanout.deliver(message);
    return this.uplink?.publish(message);
  }

  /** The connection is closing: ends its session and publishes its will where one is due. */
  endSession(connection: Connection, reason: CloseReason): void {
    const { session, will } = connection;
    if (session === undefined || session.connection !== connection) return;
    session.connection = undefined;
    this.sessions.delete(session.clientId);
    try {
      this.subscriptions.removeAll(session);
      if (will === undefined || reason === "disconnect") return;
      this.stats.wills_published += 1;
      this.publish(will)?.catch((error: unknown) => this.uplinkFailed(error));
    } catch (error) {
      this.uplinkFailed(error);
    }
  }

  /** The connection's stream is closed. */
  remove(connection: Connection): void {
    this.connections.delete(connection);
    if (this.connections.size === 0) this.onEmpty?.();
  }

  private uplinkFailed(error: unknown): void {
    this.log?.error({ err: error }, "uplink failed");
  }
}

/** Digests are compared instead of the texts, so that neither content nor length shows in the time it takes. */
function digest(text: string | Buffer): Buffer {
  return createHash("sha256").update(text).digest();
}
