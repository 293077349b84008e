import { DEAD_MS, type SessionEntry } from "@topicast/protocol";
import type { DeliveryImage } from "../durable/sessions.js";
import type { Publication } from "../publication.js";
import type { Server } from "../server.js";
import type { Session } from "../session.js";
import type { SessionHandover } from "../uplink.js";
import { decodeHead, decodeRest, encodeHead, encodeRest, type Rest } from "./entries.js";
import { isKnown } from "./seen.js";

/** For so long after a session has arrived here, messages that the other edge had may still arrive here, too. */
const KNOWN_MS = 10_000;

/**
 * A client that has connected elsewhere, and is told there that it has no session, has subscribed anew after so long; and what
 * was on its way here has been kept: what was kept until then is for its session here.
 */
const SUBSCRIBED_MS = 2 * DEAD_MS;

/** Sessions between this edge and others: what `Uplink` calls when a client has gone to another one, or comes from there. */
export class Handover implements SessionHandover {
  /** Those of the sessions on their way here that were partial where they come from. */
  private readonly partial = new WeakSet<Session>();

  constructor(private readonly server: Server) {}

  *clients(): IterableIterator<string> {
    yield* this.server.sessions.keys();
  }

  age(clientId: string): number {
    const { sessions, now } = this.server;
    const session = sessions.get(clientId);
    if (session === undefined || session.isPartial) return Number.POSITIVE_INFINITY;
    return now() - session.connectedAt;
  }

  yield(clientId: string, clean: boolean, since: number): SessionEntry[] | undefined {
    const { server } = this;
    server.giveWay(clientId);
    const session = server.sessions.get(clientId);
    if (session === undefined) return undefined;
    if (clean) {
      server.endSession(session);
      return undefined;
    }
    session.movedAt = since + SUBSCRIBED_MS;
    session.deadlines.end.cancel();
    session.deadlines.will.cancel();
    // The client is back, only elsewhere (MQTT-3.1.3-9).
    server.setWill(session, undefined);
    return encodeHead(session);
  }

  async rest(clientId: string): Promise<SessionEntry[] | undefined> {
    const { server } = this;
    const session = server.sessions.get(clientId);
    if (session === undefined || session.connection !== undefined) return undefined;
    // What the client believes to be received must be on its way for good before another edge answers for it.
    await Promise.all([...session.unreleased.values()].map(({ acknowledged }) => acknowledged));
    if (server.sessions.get(clientId) !== session || session.connection !== undefined) return undefined;
    session.hasLeft = true;
    return encodeRest(session, server.seen.of(session, server.subscriptions), server.now());
  }

  end(clientId: string): void {
    const session = this.server.sessions.get(clientId);
    if (session !== undefined && session.connection === undefined)
      this.server.endSession(session, { isMoved: true });
  }

  keep(clientId: string): boolean {
    const session = this.server.sessions.get(clientId);
    if (session === undefined) return false;
    session.hasLeft = false;
    session.movedAt = Number.POSITIVE_INFINITY;
    if (session.connection === undefined) this.server.left(session, session.leftAt ?? this.server.now());
    return true;
  }

  async prepare(clientId: string, entries: readonly SessionEntry[]): Promise<boolean> {
    const { server } = this;
    if (server.sessions.has(clientId)) return true;
    const image = decodeHead(clientId, entries);
    if (image === undefined || server.sessions.size >= server.limits.sessions) {
      server.stats.handover_refused += 1;
      return false;
    }
    const { username, listener, expiry, subscriptions } = image;
    const session = server.newSession({ clientId, username, listener });
    session.expiry = Math.min(expiry, server.limits.sessionExpirySeconds);
    server.subscriptions.kept.expiryChanged(session);
    session.isPartial = true;
    if (image.isPartial) this.partial.add(session);
    if (server.journal !== undefined) {
      session.keepIn(server.journal.begin());
      session.journal?.leaveRoom();
    }
    session.heardSince = server.seen.begin();
    const barriers = subscriptions.map(({ subscriptionId, ...request }) => {
      return server.subscriptions.add(session, request, subscriptionId).barrier;
    });
    server.left(session, server.now());
    await Promise.all(barriers);
    return true;
  }

  async complete(clientId: string, entries: readonly SessionEntry[]): Promise<void> {
    const { server } = this;
    const session = server.sessions.get(clientId);
    const rest = decodeRest(entries, server.now());
    if (rest === undefined || session === undefined) {
      server.stats.handover_refused += 1;
      return;
    }
    if (session.isPartial) this.precede(session, rest);
    else this.merge(session, rest.deliveries);
    session.isPartial = this.partial.has(session);
    session.hadElsewhere = rest.seen;
    session.journal?.head(session);
    server.stats.handover_messages += rest.deliveries.length;
    await server.journal?.durable();
  }

  /** What the other edge had comes before what has come here since, and is not taken twice. */
  private precede(session: Session, { received, deliveries, seen }: Rest): void {
    for (const [id, origin] of received) {
      session.unreleased.set(id, { origin, acknowledged: undefined, isRestored: false });
      session.journal?.received(id, origin);
    }
    session.delivery.precede(deliveries, seen);
    this.server.clock.setTimer(KNOWN_MS, () => session.delivery.forgetKnown(seen));
  }

  /** Whether the session has had the message, here or where it came from. */
  private has(session: Session, message: Publication): boolean {
    const { origin } = message;
    if (origin === undefined) return false;
    const { carried, hadElsewhere, heardSince } = session;
    return carried.has(origin) || isKnown(hadElsewhere, message) || this.server.seen.has(message, heardSince);
  }

  /** The client has another session here by now: what waited for the old one is for it, too, where it persists. */
  private merge(session: Session, deliveries: readonly DeliveryImage[]): void {
    const { stats } = this.server;
    for (const { content, progress, qos, retain, subscriptionIds } of deliveries) {
      if (content === undefined || progress === "release" || this.has(session, content)) continue;
      if (session.expiry === 0) stats.handover_dropped += 1;
      else session.delivery.offer({ message: content, qos, retain, subscriptionIds, place: 0 });
    }
  }
}
