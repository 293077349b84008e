import { isUtf8 } from "node:buffer";
import { levelCount, PacketError, ReasonCode } from "@topicast/protocol";
import { type PublishPacket, Type } from "../codec/decode.js";
import { encodeAck } from "../codec/encode.js";
import type { Connection } from "../connection.js";
import { expiresAt, Publication } from "../publication.js";
import type { Session } from "../session.js";
import { isReserved } from "./connect.js";

/**
 * PUBLISH (MQTT 3.1.1 and 5, section 3.3): published once, acknowledged as its QoS demands (section 4.3).
 * @throws PacketError 0x90 too many topic levels, 0x93 receive maximum exceeded, 0x94 topic alias invalid
 */
export function handlePublish(connection: Connection, session: Session, packet: PublishPacket): void {
  const { server } = connection;
  const { stats } = server;
  const { qos, id } = packet;
  const topic = topicOf(connection, packet);
  stats.publish_received += 1;
  stats.publish_received_bytes += packet.payload.length;
  if (qos === 2 && session.unreleased.has(id)) {
    stats.publish_repeated += 1;
    // Perhaps on another connection: the uplink may still not have it.
    return settleWith(connection, session.unreleased.get(id), encodeAck(Type.PUBREC, id), undefined);
  }
  if (qos > 0) checkReceiveMaximum(connection);
  const refusal = refusalOf(connection, session, topic, packet);
  if (refusal !== undefined) {
    // Before MQTT 5 a client cannot be told: it is acknowledged (MQTT 3.1.1: MQTT-3.3.5-2).
    const code = connection.version === 5 ? refusal : 0;
    if (qos === 2 && code === 0) open(connection, session, id, undefined);
    if (qos > 0) connection.acks.sendInOrder(encodeAck(qos === 1 ? Type.PUBACK : Type.PUBREC, id, code));
    return;
  }
  const message = new Publication(
    topic,
    packet.payload,
    qos,
    packet.retain,
    packet.forward,
    expiresAt(packet.expiry, packet.expiry === undefined ? 0 : server.now()),
  );
  const { uplink, isUnheard } = server.publish(message, session);
  if (qos === 0) return settleWith(connection, uplink, undefined, undefined);
  const code = isUnheard && qos === 1 && connection.version === 5 ? ReasonCode.NO_MATCHING_SUBSCRIBERS : 0;
  if (qos === 2) {
    open(connection, session, id, uplink);
    return settleWith(connection, uplink, encodeAck(Type.PUBREC, id), undefined);
  }
  settleWith(connection, uplink, encodeAck(Type.PUBACK, id, code), id);
}

/** The topic, by its alias where that stands for it; learns a new alias (MQTT-3.3.2-8 to -12). */
function topicOf(connection: Connection, { topic, alias }: PublishPacket): string {
  const { topicLevels, topicAliases } = connection.server.limits;
  // A topic of fewer characters than that has fewer levels: no need to count.
  if (topic.length >= topicLevels && levelCount(topic) > topicLevels) {
    throw new PacketError(ReasonCode.TOPIC_NAME_INVALID, `topic of more than ${topicLevels} levels`);
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

/** From now on until PUBREL the identifier stands for this message (MQTT-4.3.3-10), unless the uplink fails. */
function open(connection: Connection, session: Session, id: number, uplink: Promise<void> | undefined): void {
  const { unreleased } = session;
  connection.receiving.add(id);
  unreleased.set(id, uplink);
  uplink?.then(
    () => {
      if (unreleased.get(id) === uplink) unreleased.set(id, undefined);
    },
    () => {
      if (unreleased.get(id) === uplink) unreleased.delete(id);
    },
  );
}

/**
 * Sends `ack`, if any, in its turn once the uplink has the message; until then it counts as pending.
 * @param id of a QoS 1 message, which the client waits for until its PUBACK
 */
function settleWith(
  connection: Connection,
  published: Promise<void> | undefined,
  ack: Buffer | undefined,
  id: number | undefined,
): void {
  if (published === undefined) {
    if (ack !== undefined) connection.acks.sendInOrder(ack);
    return;
  }
  const slot = ack === undefined ? undefined : connection.acks.reserve();
  if (id !== undefined) connection.receiving.add(id);
  connection.pend();
  published.then(
    () => {
      if (id !== undefined) connection.receiving.delete(id);
      if (ack !== undefined && slot !== undefined) connection.acks.fill(slot, ack);
      connection.settled();
    },
    // Without an acknowledgement the client knows that it must send the message again.
    (error: unknown) => connection.close("uplink_error", String(error)),
  );
}
