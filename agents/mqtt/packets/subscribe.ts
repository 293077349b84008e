import { isShared, levelCount, malformed, PacketError, ReasonCode, topicFilterOf } from "@topicast/protocol";
import { type FilterRequest, type Subscribe, shareError } from "../codec/decode.js";
import { encodeGranted } from "../codec/encode.js";
import type { Connection } from "../connection.js";
import type { Limits } from "../limits.js";
import type { Verdict } from "../screen.js";
import type { Session } from "../session.js";
import { costOf } from "../subscriptions.js";
import { screened } from "./connect.js";

/**
 * SUBSCRIBE (MQTT 3.1.1 and 5, section 3.8). The SUBACK, with one reason code per filter in their order
 * (MQTT-3.8.4-6), waits until the uplink's barrier holds for each of them; retained messages follow it.
 * @throws PacketError 0x81 too many levels; 0x9E, 0xA1 or 0xA2 where an MQTT 5 client uses what it has been told is not offered
 */
export function handleSubscribe(connection: Connection, session: Session, packet: Subscribe): void {
  const { limits } = connection.server;
  checkLevels(packet, limits);
  if (connection.version === 5) checkFeatures(packet, limits);
  screened(connection, session.clientId, connection.guard?.subscribe(packet), (verdict) => {
    if (!connection.endedBy(verdict)) subscribe(connection, session, packet, verdict);
  });
}

function subscribe(connection: Connection, session: Session, packet: Subscribe, verdict: Verdict): void {
  const { server } = connection;
  const granted: number[] = [];
  const barriers: Promise<void>[] = [];
  const retained: FilterRequest[] = [];
  const madeAt = server.retained.moment();
  for (const [i, request] of packet.filters.entries()) {
    const refusal = codeOf(verdict, i) ?? refusalOf(connection, session, request);
    const qos = Math.min(request.qos, server.limits.maximumQos) as 0 | 1 | 2;
    if (refusal !== undefined) {
      server.stats.refused_subscriptions += 1;
      // MQTT 3.1.1 has one code for all of it (MQTT-3.9.3-2).
      granted.push(connection.version === 5 ? refusal : ReasonCode.UNSPECIFIED_ERROR);
      continue;
    }
    granted.push(qos);
    const given = { ...request, qos };
    const { isNew, barrier } = server.subscriptions.add(session, given, packet.subscriptionId);
    if (isNew && session.expiry > 0) session.heardSince = server.seen.begin();
    if (barrier !== undefined) barriers.push(barrier);
    if (!server.limits.without.includes("retain") && wantsRetained(given, isNew)) retained.push(given);
  }
  const answer = () => {
    connection.outbox.push(encodeGranted("suback", packet.id, granted, connection.version));
    if (!connection.isOpen) return;
    for (const request of retained) sendRetained(connection, session, request, packet.subscriptionId, madeAt);
  };
  if (barriers.length === 0) return connection.grants.giveInOrder(answer);
  const slot = connection.grants.reserve();
  connection.pend();
  Promise.all(barriers).then(() => {
    connection.grants.fill(slot, answer);
    connection.settled();
  });
}

/** What the screen has against one of the filters. */
function codeOf(verdict: Verdict, filter: number): number | undefined {
  return (verdict?.filters?.[filter] ?? verdict?.code) || undefined;
}

/** Why the client may not subscribe to this, as a reason code. */
function refusalOf({ server }: Connection, session: Session, { filter }: FilterRequest): number | undefined {
  // Of MQTT 5 it is a protocol error; versions that do not know shared subscriptions have no rule that it breaks.
  if (shareError(filter) !== undefined) return ReasonCode.TOPIC_FILTER_INVALID;
  const unsupported = featureOf(filter, server.limits);
  if (unsupported !== undefined) return unsupported.code;
  // As before MQTT 5, without a reason: nobody is told the rules.
  if (!server.authority.maySubscribe(session.client, topicFilterOf(filter)))
    return ReasonCode.UNSPECIFIED_ERROR;
  if (session.subscriptions.has(filter) || fits(session, filter, server.limits)) return undefined;
  return ReasonCode.QUOTA_EXCEEDED;
}

/** A filter of more levels than any topic has is nothing that a client in good order asks for. */
function checkLevels({ filters }: Subscribe, { topicLevels }: Limits): void {
  for (const { filter } of filters) {
    // One of fewer characters than that has fewer levels: no need to count.
    if (filter.length >= topicLevels && levelCount(filter) > topicLevels)
      throw malformed(`filter of more than ${topicLevels} levels`);
  }
}

/** What is not offered is a protocol error where the client has been told (MQTT 5, sections 3.2.2.3.11 to -13). */
function checkFeatures({ subscriptionId, filters }: Subscribe, limits: Limits): void {
  if (limits.without.length === 0) return;
  if (subscriptionId !== undefined && limits.without.includes("subscription-ids")) {
    throw new PacketError(ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "subscription identifier");
  }
  for (const { filter } of filters) {
    const error = featureOf(filter, limits);
    if (error !== undefined) throw error;
  }
}

/** What a filter uses that is not offered. */
function featureOf(filter: string, { without }: Limits): PacketError | undefined {
  if (without.includes("shared") && isShared(filter))
    return new PacketError(ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, filter);
  if (without.includes("wildcards") && /[+#]/.test(filter))
    return new PacketError(ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED, filter);
  return undefined;
}

function fits(session: Session, filter: string, limits: Limits): boolean {
  return (
    session.subscriptions.size < limits.subscriptionsPerClient &&
    session.subscriptionBytes + costOf(filter) <= limits.subscriptionBytes
  );
}

/** Retain Handling (MQTT-3.3.1-9 to -11); shared subscriptions get no retained messages (MQTT 5, section 4.8.2). */
function wantsRetained({ filter, retainHandling }: FilterRequest, isNew: boolean): boolean {
  if (isShared(filter)) return false;
  return retainHandling === 0 || (retainHandling === 1 && isNew);
}

/** @param madeAt when the client subscribed: what has come by live since then it has had */
function sendRetained(
  { server }: Connection,
  session: Session,
  { filter, qos }: FilterRequest,
  subscriptionId: number | undefined,
  madeAt: number,
): void {
  const { authority, retained, subscriptions } = server;
  subscriptions.feed(session, filter, retained.moment());
  const messages = retained
    .forSubscription(filter, madeAt)
    .filter(({ topic }) => authority.mayReceive(session.client, topic))
    .filter(({ source, topic }) => source === undefined || authority.mayPublish(source, topic));
  session.retained.add(messages, qos, subscriptionId === undefined ? [] : [subscriptionId]);
}
