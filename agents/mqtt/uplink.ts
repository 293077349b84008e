import type { Message, SessionEntry } from "@topicast/protocol";

/**
 * What the sessions need of the world beyond this agent. Without a forwarder nothing is plugged in and the agent is a
 * complete broker by itself.
 */
export interface Uplink {
  /** Called once, before anything else, with what the sessions can be told. */
  attach?(sessions: Downlink): void;
  /**
   * Called for the first local subscriber of `filter`. The promise resolves when the subscribe barrier holds: every
   * PUBLISH that any client anywhere starts from then on reaches this agent. The client's SUBACK waits for it.
   * It never rejects: when the forwarder is away it resolves after a bounded wait, and the subscription is carried
   * over as soon as the forwarder is back.
   */
  subscribe(filter: string): Promise<void>;
  /** Called when the last local subscriber of `filter` has gone. */
  unsubscribe(filter: string): void;
  /**
   * Called for the first local session that outlives its connection and subscribes to `filter`, at QoS 1 or 2, and where
   * a later one's lasts longer: messages are kept for it while this agent is away.
   * @param filter `$share/NAME/FILTER` for a shared subscription
   * @param expiry the session's, seconds; 0xffffffff: it never expires
   * @returns what its SUBACK waits for; undefined: nothing. Never rejects
   */
  keep?(filter: string, expiry: number): Promise<void> | undefined;
  /** Called when the last such session has none any more. */
  unkeep?(filter: string): void;
  /**
   * How many members of a shared subscription are connected, of those that are here; undefined: there is no member any more.
   * From the first member on the uplink gives the messages of `publish` to one member of all edges' (`Downlink.deliverShared`).
   * Without this each server's members are a group of their own, and `subscribe` is called for their filters.
   * @param share `$share/NAME/FILTER`
   * @returns for the first member, what its SUBACK waits for, as with `subscribe`
   */
  setShare?(share: string, connected: number | undefined): Promise<void> | undefined;
  /** With `setShare`: a member has gone without having taken a message of its group; gives it to another one of all edges'. */
  passOn?(share: string, message: Message): void;
  /** Called when a client's will begins to count, and with undefined when it has been published or discarded. */
  setWill?(clientId: string, will: ClientWill | undefined): void;
  /**
   * Called once for each PUBLISH of a local client (local subscribers already have it). A promise, at QoS 1 and 2 only,
   * resolves when the client may be acknowledged: the message is then at every other edge of the set, or those that lack
   * it have left the set; with RETAIN it is also kept for later subscribers everywhere, unless the forwarder is away. It
   * resolves with whether anybody elsewhere is subscribed, true where that is not known.
   * Undefined: nothing to wait for, at QoS 1 and 2 because nobody elsewhere is subscribed.
   */
  publish(message: Message): Promise<boolean> | undefined;
  /**
   * A new `Message.origin`; absent where the uplink does not carry them.
   * @param publisher messages of one and the same are in the order of their counts; 0: those of many clients together
   */
  newOrigin?(publisher: number): string;
  /** A new `Message.tag`; absent where the uplink keeps no retained messages. */
  newTag?(): string;
  /**
   * A client connects: no other edge has its session any more when the promise resolves, and what the session was is
   * here (`Downlink.handover`); or the forwarder is away, or does not answer in time. False: it has connected to another
   * edge meanwhile.
   */
  claim?(clientId: string, clean: boolean): Promise<boolean>;
  /** There is no session of the client here any more. */
  release?(clientId: string): void;
  /** This server's numbers of now, by topic below `$SYS/broker`; called at each interval of `$SYS`. */
  report?(values: ReadonlyMap<string, number>): void;
}

/** What the fabric tells of the retained messages of the whole network; what it tells of them is in the forwarder's order. */
export interface RetainedReplica {
  /** That is the topic's message of now; without payload there is none. */
  apply(version: number, message: Message): void;
  /** What this agent's clients last published of the topic with RETAIN is in the forwarder's order by now, or given up. */
  settle(topic: string): void;
  /** There is no subscription to this filter any more. */
  trim(filter: string): void;
  /** The forwarder is there and knows this agent... */
  link(): void;
  /** ...and is away. */
  unlink(): void;
  /** From now on everything is told... */
  beginRound(): void;
  /** ...and has been told: what has not been is gone. */
  endRound(): void;
  /** What is known of the forwarder's order. */
  ordered(): Iterable<{ readonly version: number; readonly message: Message }>;
}

/** What is to be published for a client when this agent has died. */
export interface ClientWill {
  readonly message: Message;
  /** In seconds. */
  readonly delay: number;
}

/** Sessions on their way between edges. */
export interface SessionHandover {
  /** The clients that have a session here. */
  clients(): Iterable<string>;
  /** Milliseconds since the client last connected here, or what it had was complete here; infinite where it never was. */
  age(clientId: string): number;
  /**
   * The client is at another edge, since that time of the clock: its connection is closed. Returns the session and its subscriptions; what
   * comes for it goes on being queued. Undefined: there is none, or `clean` has ended it.
   */
  yield(clientId: string, clean: boolean, since: number): SessionEntry[] | undefined;
  /** What waits for a session that has yielded; undefined: it has not, or the client is back. */
  rest(clientId: string): Promise<SessionEntry[] | undefined>;
  /** The other edge has it all. */
  end(clientId: string): void;
  /** The other edge has not taken it; false where there is no such session any more. */
  keep(clientId: string): boolean;
  /** A session comes from another edge. Resolves when its subscriptions hold; false where it cannot be taken. */
  prepare(clientId: string, entries: readonly SessionEntry[]): Promise<boolean>;
  /** What waited for it there. Resolves when it is durable. */
  complete(clientId: string, entries: readonly SessionEntry[]): Promise<void>;
}

/** What the uplink tells the sessions. */
export interface Downlink {
  readonly retained: RetainedReplica;
  /** Gives a message to one member of the shared subscription that is here; false where none can take it. */
  deliverShared(share: string, message: Message): boolean;
  /**
   * A message that was kept while this agent was away: for the sessions that were here `age` milliseconds ago, and are still
   * their client's.
   */
  deliverMissed(message: Message, age: number): void;
  /** The client's will has been published elsewhere, because this agent was taken for dead. */
  discardWill(clientId: string): void;
  readonly handover: SessionHandover;
  /** Publishes a value below `$SYS/`, retained, for this agent's clients; undefined: there is none any more. */
  publishSys(topic: string, value: string | undefined): void;
}

/** What the fabric calls for each message that arrives from another edge: deliver to local subscribers only. */
export type DeliverFromFabric = (message: Message) => void;
