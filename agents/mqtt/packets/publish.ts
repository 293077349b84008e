import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { levelCount, malformed, PacketError, protocolError, ReasonCode } from "@topicast/protocol";
import { type PublishPacket, Type } from "../codec/decode.js";
import { encodeAck } from "../codec/encode.js";
import type { Connection } from "../connection.js";
import { expiresAt, Publication } from "../publication.js";
import type { Verdict } from "../screen.js";
import type { Server } from "../server.js";
import type { Session } from "../session.js";
import { isReserved, screened, unsupportedOf } from "./connect.js";

/**
 * PUBLISH (MQTT 3.1.1 and 5, section 3.3): published once, acknowledged as its QoS demands (section 4.3).
 * @throws PacketError 0x81 too many topic levels, 0x93 receive maximum exceeded, 0x94 topic alias invalid, 0x9A or 0x9B retained
 *   messages or this QoS are not offered
 */
export function handlePublish(connection: Connection, session: Session, packet: PublishPacket): void {
  const { server } = connection;
  const { stats } = server;
  const { qos, id } = packet;
  const unsupported = unsupportedOf(packet, server.limits);
  if (unsupported !== undefined) throw unsupported;
  const topic = topicOf(connection, packet);
  stats.publish_received += 1;
  stats.publish_received_bytes += packet.payload.length;
  if (qos === 2 && session.unreleased.has(id)) {
    return repeat(connection, session, packet, topic);
  }
  if (qos > 0) checkReceiveMaximum(connection);
  const verdict = connection.guard?.publish(topic, packet);
  if (!(verdict instanceof Promise)) return take(connection, session, packet, topic, verdict);
  screened(connection, session.clientId, verdict, (refusal) =>
    take(connection, session, packet, topic, refusal),
  );
}

/** A message that was not here before, once the screen has seen it. */
function take(
  connection: Connection,
  session: Session,
  packet: PublishPacket,
  topic: string,
  verdict: Verdict,
): void {
  const { server } = connection;
  const { qos, id } = packet;
  if (connection.endedBy(verdict)) return;
  if (verdict !== undefined) server.stats.publish_screened += 1;
  const refusal = verdict?.code ?? refusalOf(connection, session, topic, packet);
  if (refusal !== undefined) {
    // Before MQTT 5 a client cannot be told: it is acknowledged (MQTT 3.1.1: MQTT-3.3.5-2).
    const code = connection.version === 5 ? refusal : 0;
    if (qos === 2 && code === 0) open(connection, session, id, undefined);
    if (qos > 0) connection.acks.giveInOrder(encodeAck(qos === 1 ? Type.PUBACK : Type.PUBREC, id, code));
    return;
  }
  const message = publicationOf(server, packet, topic, qos === 2 ? server.newOrigin(session) : undefined);
  if (qos === 2) open(connection, session, id, message.origin);
  const { isHeard, uplink } = server.publish(message, session);
  if (qos === 0) return settleWith(connection, uplink, undefined, undefined);
  if (qos === 2) {
    waitFor(uplink, session, id);
    return settleWith(connection, uplink, () => encodeAck(Type.PUBREC, id), undefined);
  }
  const isTold = connection.version === 5 && !isHeard;
  const puback = (isHeardElsewhere: boolean) =>
    encodeAck(Type.PUBACK, id, isTold && !isHeardElsewhere ? ReasonCode.NO_MATCHING_SUBSCRIBERS : 0);
  settleWith(connection, uplink, puback, id);
}

/**
 * A QoS 2 message that was here before: answered as the first time. Where an earlier process of this agent received it,
 * other edges may lack it; those who have it know it by its origin.
 */
function repeat(connection: Connection, session: Session, packet: PublishPacket, topic: string): void {
  const { server } = connection;
  const received = session.unreleased.get(packet.id)!;
  server.stats.publish_repeated += 1;
  if (received.acknowledged === undefined) checkPatience(connection, packet, topic);
  if (received.isRestored && received.origin !== undefined) {
    const message = publicationOf(server, packet, topic, received.origin);
    waitFor(server.publishElsewhere(message), session, packet.id);
    received.isRestored = false;
  }
  settleWith(connection, received.acknowledged, () => encodeAck(Type.PUBREC, packet.id), undefined);
}

/**
 * Once on a connection the same message may come again; a client that repeats it although it has had its PUBREC breaks the
 * protocol (MQTT-4.4.0-1) and would go on for ever. Its session stays, and a PUBREC awaits it on the next connection.
 * @throws PacketError 0x82
 */
function checkPatience(
  { repeated, receiving }: Connection,
  { id, payload }: PublishPacket,
  topic: string,
): void {
  if (!receiving.has(id)) {
    // It comes from an earlier connection: this is the repetition that the standard asks for.
    receiving.add(id);
    return;
  }
  const digest = createHash("sha256").update(`${topic}\0`).update(payload).digest("base64");
  if (repeated.get(id) === digest) throw protocolError(`message ${id} again and again`);
  repeated.set(id, digest);
}

function publicationOf(
  { now }: Server,
  { payload, qos, retain, forward, expiry }: PublishPacket,
  topic: string,
  origin: string | undefined,
): Publication {
  const end = expiresAt(expiry, expiry === undefined ? 0 : now());
  return new Publication(topic, payload, qos, retain, forward, end, origin);
}

/** The topic, by its alias where that stands for it; learns a new alias (MQTT-3.3.2-8 to -12). */
function topicOf(connection: Connection, { topic, alias }: PublishPacket): string {
  const { topicLevels, topicAliases } = connection.server.limits;
  // A topic of fewer characters than that has fewer levels: no need to count.
  if (topic.length >= topicLevels && levelCount(topic) > topicLevels) {
    throw malformed(`topic of more than ${topicLevels} levels`);
  }
  if (alias === undefined) return topic;
  if (alias === 0 || alias > topicAliases) {
    throw new PacketError(ReasonCode.TOPIC_ALIAS_INVALID, `topic alias ${alias}, at most ${topicAliases}`);
  }
  if (topic !== "") {
    connection.aliases.set(alias, topic);
    return topic;
  }
  const known = connection.aliases.get(alias);
  if (known === undefined)
    throw new PacketError(ReasonCode.PROTOCOL_ERROR, `topic alias ${alias} is not set`);
  return known;
}

/** MQTT-3.3.4-9: an MQTT 5 client has been told how many messages it may have unacknowledged. */
function checkReceiveMaximum(connection: Connection): void {
  const { receiveMaximum } = connection.server.limits;
  if (connection.version === 5 && connection.receiving.size >= receiveMaximum) {
    throw new PacketError(
      ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
      `more than ${receiveMaximum} messages unacknowledged`,
    );
  }
}

/** Why the client may not publish this, as a reason code. */
function refusalOf(
  { server }: Connection,
  session: Session,
  topic: string,
  packet: PublishPacket,
): number | undefined {
  if (isReserved(topic) || !server.authority.mayPublish(session.client, topic)) {
    server.stats.publish_denied += 1;
    return ReasonCode.NOT_AUTHORIZED;
  }
  if (packet.text && !isUtf8(packet.payload)) {
    server.stats.publish_not_text += 1;
    return ReasonCode.PAYLOAD_FORMAT_INVALID;
  }
  return undefined;
}

/** From now on until PUBREL the identifier stands for this message (MQTT-4.3.3-10). */
function open(connection: Connection, session: Session, id: number, origin: string | undefined): void {
  session.unreleased.set(id, { origin, acknowledged: undefined, isRestored: false });
  session.journal?.received(id, origin);
  connection.receiving.add(id);
}

/** The identifier's PUBREC waits for the uplink; where that fails the identifier stands for nothing any more. */
function waitFor(uplink: Promise<unknown> | undefined, session: Session, id: number): void {
  const received = session.unreleased.get(id);
  if (uplink === undefined || received === undefined) return;
  received.acknowledged = uplink;
  uplink.then(
    () => {
      received.acknowledged = undefined;
    },
    () => {
      if (session.unreleased.get(id) !== received) return;
      session.unreleased.delete(id);
      session.journal?.released(id);
    },
  );
}

/**
 * Sends `ack`, if any, in its turn once the uplink has the message; until then it counts as pending.
 * @param ack is told whether anybody at another edge is subscribed
 * @param id of a QoS 1 message, which the client waits for until its PUBACK
 */
function settleWith(
  connection: Connection,
  published: Promise<unknown> | undefined,
  ack: ((isHeardElsewhere: boolean) => Buffer) | undefined,
  id: number | undefined,
): void {
  if (published === undefined) {
    if (ack !== undefined) connection.acks.giveInOrder(ack(false));
    return;
  }
  const slot = ack === undefined ? undefined : connection.acks.reserve();
  if (id !== undefined) connection.receiving.add(id);
  connection.pend();
  published.then(
    (isHeardElsewhere) => {
      if (id !== undefined) connection.receiving.delete(id);
      if (ack !== undefined && slot !== undefined) connection.acks.fill(slot, ack(isHeardElsewhere === true));
      connection.settled();
    },
    // Without an acknowledgement the client knows that it must send the message again.
    (error: unknown) => connection.close("uplink_error", String(error)),
  );
}
