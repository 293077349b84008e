import type { Clock, Message } from "@topicast/protocol";
import type { ByteStream } from "../transport/transport.js";
import type { Authority } from "./authority.js";
import { Connection } from "./connection.js";
import { restoreSessions } from "./durable/adopt.js";
import type { Entries } from "./durable/journal.js";
import type { Limits } from "./limits.js";
import type { Log } from "./log.js";
import { Publication } from "./publication.js";
import type { Screen } from "./screen.js";
import { Server } from "./server.js";
import { type SysOptions, SysTopics } from "./sys.js";
import type { Uplink } from "./uplink.js";

/** Where sessions outlive the process. */
export interface SessionStore {
  /** `Store` of `@topicast/protocol/store`, or what does the same. */
  readonly entries: Entries;
  /** Milliseconds since 1970. */
  readonly unixTime: () => number;
}

export interface BrokerOptions {
  /** Default: the system's clock. */
  readonly clock?: Clock;
  /** The world beyond this agent; without it the broker stands alone. */
  readonly uplink?: Uplink;
  /** Who may connect and do what; without it everybody may do everything. */
  readonly authority?: Authority;
  /** Judges what clients send before it is acted on; without it nothing does. */
  readonly screen?: Screen;
  readonly limits?: Partial<Limits>;
  /** Keeps sessions that outlive their connection; without it they are gone with the process. See `Broker.restore`. */
  readonly store?: SessionStore;
  /** Publishes `$SYS` topics; without it there are none. */
  readonly sys?: SysOptions;
  readonly log?: Log;
  /** Calls its argument at the end of this turn of the event loop. Default: setImmediate. */
  readonly defer?: (fn: () => void) => void;
}

/** What `Broker.revoke` judges by. */
export interface ConnectedClient {
  readonly username: string | undefined;
  /** Who its stream has proven it to be. */
  readonly identity: string | undefined;
  readonly listener: string | undefined;
}

/** An MQTT server over byte streams: this agent's clients, and through the uplink everybody else's. */
export class Broker {
  private readonly server: Server;
  private readonly sys: SysTopics | undefined;
  private closing: Promise<void> | undefined;

  constructor(options: BrokerOptions = {}) {
    this.server = new Server(options);
    this.sys = options.sys && new SysTopics(this.server, options.sys);
  }

  /** Brings the stored sessions back; before the first client is accepted. Rejects where the store cannot be read. */
  restore(): Promise<void> {
    return restoreSessions(this.server);
  }

  /** Serves one client until its stream closes. */
  accept(stream: ByteStream): void {
    const { connections, limits, stats, screen } = this.server;
    if (this.closing !== undefined || connections.size >= limits.connections) {
      return this.refuse(stream, "refused_connections");
    }
    const guard = screen?.open(stream, (code) => connection.close("screened", undefined, true, code));
    if (guard === "refused") return this.refuse(stream, "refused_screened");
    stats.connections_total += 1;
    const connection = new Connection(this.server, stream, guard);
    connections.add(connection);
  }

  private refuse(stream: ByteStream, counter: "refused_connections" | "refused_screened"): void {
    this.server.stats[counter] += 1;
    stream.on("error", () => {});
    stream.destroy();
  }

  /** Disconnects the clients that `loses` is true for: they may not be connected any more. Their sessions stay. */
  revoke(loses: (client: ConnectedClient) => boolean): void {
    for (const connection of [...this.server.connections]) {
      const { session, stream } = connection;
      if (session === undefined) continue;
      const { username, listener } = session.client;
      if (loses({ username, listener, identity: stream.identity })) connection.close("revoked");
    }
  }

  /** Delivers a message from the fabric to local subscribers. */
  deliver(message: Message): void {
    const { server } = this;
    server.stats.publish_delivered += 1;
    const isWanted = server.deliver(Publication.of(message, server.now()), undefined);
    if (!isWanted) server.stats.publish_unwanted += 1;
  }

  /** Resolves when everything that sessions hold is written; undefined: it is. */
  unwritten(): Promise<void> | undefined {
    return this.server.journal?.unwritten();
  }

  /** Counters since start and gauges of now, by snake_case name. */
  stats(): Readonly<Record<string, number>> {
    const { stats, connections, sessions, subscriptions, retained, queued, journal } = this.server;
    return {
      ...stats,
      connections: connections.size,
      clients: this.server.connected,
      sessions: sessions.size,
      subscriptions: subscriptions.size,
      filters: subscriptions.filters,
      shared_groups: subscriptions.groups,
      retained_messages: retained.size,
      retained_bytes: retained.bytes,
      queued_bytes: queued.bytes,
      stored_messages: journal?.size ?? 0,
    };
  }

  /**
   * Closes every client in order, publishing the wills, and takes no new one. Resolves when all streams are closed,
   * at the latest when those that do not close their side have been reset (`Limits.lingerMs`).
   */
  close(): Promise<void> {
    this.closing ??= new Promise((resolve) => {
      const { server } = this;
      server.onEmpty = resolve;
      for (const connection of [...server.connections]) connection.close("shutdown");
      server.stopTimers();
      this.sys?.close();
      if (server.connections.size === 0) resolve();
    });
    return this.closing;
  }
}
