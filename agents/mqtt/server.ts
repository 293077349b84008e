import { type Clock, systemClock } from "@topicast/protocol";
import { type Authority, allowAll, type ClientIdentity } from "./authority.js";
import type { BrokerOptions } from "./broker.js";
import type { Connect } from "./codec/connect.js";
import type { Connection } from "./connection.js";
import { Deadline } from "./deadline.js";
import { Delivery, type QueueBudget } from "./delivery.js";
import { Had } from "./durable/had.js";
import { Journal } from "./durable/journal.js";
import { Fanout } from "./fanout.js";
import { Handover } from "./handover/handover.js";
import { Seen } from "./handover/seen.js";
import { DEFAULT_LIMITS, type Limits } from "./limits.js";
import type { Log } from "./log.js";
import { Flusher } from "./outbox.js";
import { Publication } from "./publication.js";
import { Replica } from "./replica.js";
import { MemoryRetained, type RetainedStore } from "./retained.js";
import { RetainedFeed } from "./retained-feed.js";
import type { Screen } from "./screen.js";
import { Session, type Will } from "./session.js";
import { Stats } from "./stats.js";
import { Subscriptions } from "./subscriptions.js";
import { Turns } from "./turns.js";
import type { Uplink } from "./uplink.js";

/** What became of a message. */
export interface Published {
  /** A subscription here matches. */
  readonly isHeard: boolean;
  /** What an acknowledgement waits for: see `Uplink.publish`. */
  readonly uplink: Promise<boolean> | undefined;
}

/** What all connections of one broker share. */
export class Server {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly log: Log | undefined;
  readonly stats = new Stats();
  readonly flusher: Flusher;
  /** Of CONNECTs. */
  readonly turns: Turns;
  readonly authority: Authority;
  readonly screen: Screen | undefined;
  readonly subscriptions: Subscriptions;
  readonly retained: RetainedStore;
  /** Where sessions are written that outlive their connection; undefined: nowhere. */
  readonly journal: Journal | undefined;
  readonly connections = new Set<Connection>();
  /** By client identifier, connected or not. */
  readonly sessions = new Map<string, Session>();
  /** What was here of messages that can be told from others. */
  readonly seen = new Seen();
  /** QoS 2 messages of other edges that were here. */
  readonly had: Had;
  /** Sessions that are connected. */
  connected = 0;
  /** What waits for all clients. */
  readonly queued: QueueBudget = { bytes: 0 };
  /** Called when the last connection has gone. */
  onEmpty: (() => void) | undefined;
  private readonly uplink: Uplink | undefined;
  private readonly fanout: Fanout;
  readonly now: () => number;

  constructor(options: BrokerOptions) {
    this.clock = options.clock ?? systemClock;
    this.now = () => this.clock.now();
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.log = options.log;
    this.flusher = new Flusher(options.defer ?? setImmediate);
    this.turns = new Turns(this.now, options.defer ?? setImmediate);
    this.uplink = options.uplink;
    this.authority = options.authority ?? allowAll;
    this.screen = options.screen;
    this.subscriptions = new Subscriptions(options.uplink, options.defer ?? setImmediate);
    this.journal = options.store && new Journal(options.store.entries, this.now, options.store.unixTime);
    this.had = new Had(this.journal);
    this.retained = this.openRetained();
    this.fanout = new Fanout(this.subscriptions, this.stats, this.authority, this.now);
  }

  /** This agent's own retained messages, or its part of the network's. */
  private openRetained(): RetainedStore {
    const { limits, stats, now, uplink } = this;
    if (uplink?.attach === undefined) return new MemoryRetained(limits, stats, now, this.journal);
    const replica = new Replica(limits, stats, now, (topic) => this.subscriptions.wantsRetained(topic));
    uplink.attach({
      retained: replica,
      handover: new Handover(this),
      publishSys: (topic, value) => this.publishSys(topic, value),
      deliverMissed: (message, age) => this.deliverMissed(Publication.of(message, this.now()), age),
      deliverShared: (share, message) =>
        this.fanout.deliverShared(share, Publication.of(message, this.now())),
      discardWill: (clientId) => {
        const session = this.sessions.get(clientId);
        if (session !== undefined) session.will = undefined;
      },
    });
    return replica;
  }

  /** Changes of sessions that have to be written: what promises one of them leaves when it is. */
  get changes(): number {
    return this.journal?.changes ?? 0;
  }

  /**
   * Opens or resumes the session of a client that has been let in (MQTT-3.1.2-4, -5, -6). A connection with the same
   * client identifier is closed first (MQTT-3.1.4-3).
   * @returns undefined when there are too many sessions
   */
  openSession(
    connection: Connection,
    connect: Connect,
    client: ClientIdentity,
  ): { session: Session; isPresent: boolean } | undefined {
    const { clientId } = client;
    this.giveWay(clientId);
    const old = this.sessions.get(clientId);
    // Where its other half has not come the client must know that what it has of it is not known here.
    const isPresent = old !== undefined && !connect.clean && !old.isPartial;
    const waiting = old !== undefined && !connect.clean && !isPresent ? [...old.delivery.places()] : [];
    if (old !== undefined && !isPresent) this.endSession(old, { isReplaced: true, isMoved: !connect.clean });
    if (!isPresent && this.sessions.size >= this.limits.sessions) return undefined;
    const session = isPresent ? old : this.newSession(client);
    if (!isPresent) session.beganAt = this.now();
    session.movedAt = Number.POSITIVE_INFINITY;
    session.client = client;
    session.connection = connection;
    session.hasLeft = false;
    session.connectedAt = this.now();
    this.subscriptions.presenceChanged(session);
    session.leftAt = undefined;
    this.connected += 1;
    session.expiry = Math.min(connect.sessionExpiry, this.limits.sessionExpirySeconds);
    this.subscriptions.kept.expiryChanged(session);
    session.deadlines.end.cancel();
    session.deadlines.will.cancel();
    // A will that still waits for its delay is not published: the client is back (MQTT-3.1.3-9).
    this.setWill(session, undefined);
    if (isPresent) this.stats.sessions_resumed += 1;
    else if (this.journal !== undefined && session.expiry > 0) session.keepIn(this.journal.begin());
    session.carried = new Set(waiting.flatMap(({ delivered }) => delivered?.message.origin ?? []));
    for (const { delivered } of waiting)
      if (delivered !== undefined) session.delivery.offer({ ...delivered, place: 0 });
    return { session, isPresent };
  }

  /**
   * The client opens a new connection, here or elsewhere. One that it has is closed, and its will has its time as after any
   * other end. A will that waits for its delay is not published, although Clean Start ends its session (MQTT-3.1.2-8).
   */
  giveWay(clientId: string): void {
    const session = this.sessions.get(clientId);
    if (session?.connection !== undefined) session.connection.close("taken_over");
    else if (session !== undefined) this.setWill(session, undefined);
  }

  /**
   * Publishes a local client's message: to local subscribers at once, then to the uplink.
   * @param publisher whose message it is
   */
  publish(message: Publication, publisher: Session): Published {
    // Over several edges each may have rules of its own, which say nothing of the clients of others.
    if (message.retain && this.uplink === undefined) message.source = publisher.client;
    if (message.qos < 2 || publisher.journal === undefined || this.uplink === undefined) {
      const tagged = this.tagged(message);
      return { isHeard: this.deliver(tagged, publisher), uplink: this.publishElsewhere(tagged) };
    }
    // First it must be known for good that it was received: otherwise it would be published twice after a crash.
    const isHeard = this.deliver(message, publisher);
    const kept = message.kept();
    const durable = this.journal!.durable();
    const elsewhere = async () => (await this.publishElsewhere(this.tagged(kept))) ?? false;
    return { isHeard, uplink: durable.then(elsewhere) };
  }

  /** With a tag where it is to be retained: tags are in the order in which messages leave. */
  private tagged(message: Publication): Publication {
    const tag = message.retain ? this.uplink?.newTag?.() : undefined;
    return tag === undefined ? message : message.withTag(tag);
  }

  /** Publishes to the uplink alone. */
  publishElsewhere(message: Publication): Promise<boolean> | undefined {
    return this.uplink?.publish(message.toMessage(this.now()));
  }

  /** Tells a message of QoS 2 from all others, at every edge; undefined where it does not leave this one. */
  newOrigin(publisher: Session): string | undefined {
    return this.uplink?.newOrigin?.(publisher.journal?.number ?? 0);
  }

  /** Makes sure that no other edge has a session of the client: see `Uplink.claim`. Undefined: there are none. */
  claim(clientId: string, clean: boolean): Promise<boolean> | undefined {
    return this.uplink?.claim?.(clientId, clean);
  }

  /** The client that was claimed is not let in. */
  unclaim(clientId: string): void {
    if (!this.sessions.has(clientId)) this.uplink?.release?.(clientId);
  }

  /** Keeps a message where it is to be retained, and gives it to local subscribers; whether there are any. */
  deliver(message: Publication, publisher: Session | undefined): boolean {
    if (message.origin !== undefined) {
      if (publisher === undefined && !this.isFirst(message.origin, message.topic)) return true;
      this.seen.note(message);
    }
    const { retained, subscriptions } = this;
    if (!message.retain) return this.fanout.deliver(message, publisher);
    // It may come later than the word that it is the topic's retained message: who subscribed in between has it.
    const since = publisher === undefined ? retained.knownSince(message) : undefined;
    retained.set(message, publisher !== undefined);
    const served = since === undefined ? undefined : subscriptions.fedSince(message.topic, since);
    return this.fanout.deliver(message, publisher, served);
  }

  /** Whether a QoS 2 message of another edge was not here before; now it was. */
  private isFirst(origin: string, topic: string): boolean {
    if (this.had.has(origin)) {
      this.stats.publish_had += 1;
      return false;
    }
    this.had.note(origin, this.journal !== undefined && this.fanout.isDurable(topic));
    return true;
  }

  /** A message that was kept for this agent while it was away: see `Downlink.deliverMissed`. */
  private deliverMissed(message: Publication, age: number): void {
    const { origin, topic } = message;
    if (origin !== undefined) {
      if (!this.isFirst(origin, topic)) return;
      this.seen.note(message);
    }
    if (this.fanout.deliverLate(message, this.now() - age)) this.stats.publish_late += 1;
    else this.stats.publish_unwanted += 1;
  }

  /** Publishes a value below `$SYS/`, retained, for this agent's clients; undefined: there is none any more. */
  publishSys(topic: string, value: string | undefined): void {
    const never = Number.POSITIVE_INFINITY;
    const payload = Buffer.from(value ?? "");
    this.deliver(new Publication(`$SYS/${topic}`, payload, 0, true, undefined, never), undefined);
  }

  /** Tells the uplink this server's numbers: see `Uplink.report`. */
  report(values: ReadonlyMap<string, number>): void {
    this.uplink?.report?.(values);
  }

  /** The uplink has the wills published should this agent die. */
  get hasGuardian(): boolean {
    return this.uplink?.setWill !== undefined;
  }

  /** The session's will from now on; undefined: it has none any more. */
  setWill(session: Session, will: Will | undefined): void {
    if (session.will === undefined && will === undefined) return;
    session.will = will;
    this.uplink?.setWill?.(
      session.clientId,
      will && {
        message: will.message(this.now()).toMessage(this.now()),
        delay: Math.min(will.delay, session.expiry),
      },
    );
  }

  /** The connection is closing: ends its session or lets it wait for the client to come back. */
  detach(connection: Connection): void {
    const { session } = connection;
    if (session === undefined || session.connection !== connection) return;
    session.connection = undefined;
    this.connected -= 1;
    session.delivery.disconnect();
    session.retained.disconnect(session.expiry > 0);
    this.subscriptions.presenceChanged(session);
    this.left(session, this.now());
  }

  /** A session is without connection since `leftAt`: it waits for the client to come back, or ends. */
  left(session: Session, leftAt: number): void {
    // Where the system's clock was set back meanwhile, nothing waits longer than it was to.
    session.leftAt = Math.min(leftAt, this.now());
    const gone = this.now() - session.leftAt;
    if (session.expiryMs <= gone) {
      if (session.expiry > 0) this.stats.sessions_expired += 1;
      return this.endSession(session);
    }
    session.deadlines.end.set(session.expiryMs - gone);
    const { will } = session;
    if (will !== undefined && will.delay * 1_000 > gone) {
      session.deadlines.will.set(will.delay * 1_000 - gone);
    } else {
      this.publishWill(session);
    }
    session.journal?.head(session);
  }

  /** The connection's stream is closed. */
  remove(connection: Connection): void {
    this.connections.delete(connection);
    if (this.connections.size === 0) this.onEmpty?.();
  }

  /** Forgets the times that sessions wait for. */
  stopTimers(): void {
    for (const { deadlines } of this.sessions.values()) {
      deadlines.end.cancel();
      deadlines.will.cancel();
    }
  }

  newSession(client: ClientIdentity): Session {
    const { clock, limits, stats, retained, now } = this;
    const delivery = new Delivery(limits, stats, this.queued, now);
    const feed = new RetainedFeed(retained, delivery, limits, stats, now);
    const session: Session = new Session(client, delivery, feed, {
      end: new Deadline(clock, () => {
        stats.sessions_expired += 1;
        this.endSession(session);
      }),
      will: new Deadline(clock, () => {
        this.publishWill(session);
        session.journal?.head(session);
      }),
    });
    this.sessions.set(client.clientId, session);
    return session;
  }

  /**
   * Forgets a session; a will that waits is published now at the latest (MQTT-3.1.2-8, MQTT-3.1.3-9).
   * @param isReplaced the client begins another one here
   * @param isMoved what waits for it waits in another session
   */
  endSession(session: Session, { isReplaced = false, isMoved = false } = {}): void {
    this.sessions.delete(session.clientId);
    if (!isReplaced) this.uplink?.release?.(session.clientId);
    session.deadlines.end.cancel();
    session.deadlines.will.cancel();
    session.journal?.end(session);
    session.journal = undefined;
    const left = isMoved ? [] : [...session.delivery.leftToOthers()];
    session.delivery.clear();
    try {
      this.subscriptions.removeAll(session);
      for (const { share, message } of left) this.passOn(share, message);
    } catch (error) {
      this.uplinkFailed(error);
    }
    this.publishWill(session);
  }

  /** Gives a message to another member of a shared subscription, here or elsewhere. */
  private passOn(share: string, message: Publication): void {
    const now = this.now();
    if (message.hasExpired(now)) return;
    this.stats.shared_passed_on += 1;
    const isOwn = this.uplink?.passOn === undefined || message.topic.startsWith("$");
    if (isOwn) this.fanout.deliverShared(share, message);
    else this.uplink!.passOn!(share, message.toMessage(now));
  }

  /** Once at most (MQTT-3.1.2-10). */
  private publishWill(session: Session): void {
    const { will } = session;
    if (will === undefined) return;
    this.sendWill(session, will.message(this.now()));
    // Afterwards: should this agent die in between, others publish it.
    this.setWill(session, undefined);
  }

  private sendWill(session: Session, message: Publication): void {
    // The rules may be others than at CONNECT.
    if (!this.authority.mayPublish(session.client, message.topic)) {
      this.stats.publish_denied += 1;
      return;
    }
    this.stats.wills_published += 1;
    try {
      const { uplink } = this.publish(message, session);
      uplink?.catch((error: unknown) => this.uplinkFailed(error));
    } catch (error) {
      this.uplinkFailed(error);
    }
  }

  private uplinkFailed(error: unknown): void {
    this.log?.error({ err: error }, "uplink failed");
  }
}
