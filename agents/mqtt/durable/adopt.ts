import type { WillRequest } from "../codec/connect.js";
import { Publication } from "../publication.js";
import { MemoryRetained } from "../retained.js";
import type { Server } from "../server.js";
import type { Session, Will } from "../session.js";
import type { Journal, SessionJournal } from "./journal.js";
import { decodeMessage, Prefix } from "./records.js";
import { readSessions, type SessionImage } from "./sessions.js";

/** Brings back every session that an earlier process has left; before the first client is accepted. */
export async function restoreSessions(server: Server): Promise<void> {
  const { journal, log, stats } = server;
  if (journal === undefined) return;
  const { sessions, messages, damaged } = await readSessions(journal.entries, journal.toUnix);
  for (const [key, reason] of damaged) {
    stats.sessions_damaged += 1;
    log?.error({ key, reason }, "a stored entry cannot be understood: its session is lost");
  }
  await restoreRetained(server, journal);
  await server.had.restore(journal);
  for (const [number, message] of messages) journal.know(message, number);
  for (const [number, image] of sessions) {
    const session = adopt(server, image, journal.resume(number));
    stats.sessions_restored += 1;
    server.left(session, image.leftAt === undefined ? server.now() : image.leftAt - journal.toUnix);
  }
  journal.sweep();
}

/** Where they are this agent's own; those of a network are the forwarder's to keep. */
async function restoreRetained({ retained, log, stats }: Server, journal: Journal): Promise<void> {
  if (!(retained instanceof MemoryRetained)) return;
  for await (const [key, value] of journal.entries.entries(Prefix.RETAINED)) {
    try {
      retained.restore(decodeMessage(value, journal.toUnix));
    } catch (error) {
      stats.retained_damaged += 1;
      log?.error({ key, reason: (error as Error).message }, "a stored retained message cannot be understood");
      journal.delete(key);
    }
  }
}

/** A session, not connected, as its image has it; `journal` has written it already. */
function adopt(server: Server, image: SessionImage, journal: SessionJournal): Session {
  const { clientId, username, listener, expiry, will, isPartial, connectedAt } = image;
  const { subscriptions, received, deliveries } = image;
  const session = server.newSession({ clientId, username, listener });
  session.expiry = expiry;
  server.subscriptions.kept.expiryChanged(session);
  session.isPartial = isPartial;
  session.connectedAt = connectedAt - (server.journal?.toUnix ?? 0);
  // Where others publish the wills of an agent that dies, they have done so by now.
  if (!server.hasGuardian) session.will = will && willOf(will);
  session.heardSince = server.seen.begin();
  for (const { subscriptionId, ...request } of subscriptions) {
    server.subscriptions.add(session, request, subscriptionId);
  }
  for (const [id, origin] of received) {
    session.unreleased.set(id, { origin, acknowledged: undefined, isRestored: true });
  }
  session.delivery.restore(deliveries, journal);
  session.keepIn(journal);
  return session;
}

/** @param request its bytes are its own */
export function willOf(request: WillRequest): Will {
  return {
    request,
    delay: request.delay,
    message: (now) => Publication.ofWill(request, now),
  };
}
