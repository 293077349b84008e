import { levelCount, type Message } from "@topicast/protocol";
import type { IPublishPacket, Packet } from "mqtt-packet";
import { encode } from "../codec/encode.js";
import { PacketError } from "../codec/errors.js";
import type { Connection } from "../connection.js";
import type { Session } from "../session.js";

/**
 * PUBLISH (MQTT 3.1.1, section 3.3): published once, acknowledged as its QoS demands (section 4.3).
 * @throws PacketError too_many_levels
 */
export function handlePublish(connection: Connection, session: Session, packet: IPublishPacket): void {
  const { server } = connection;
  const { topicLevels } = server.limits;
  // A topic of fewer characters than that has fewer levels: no need to count.
  if (packet.topic.length >= topicLevels && levelCount(packet.topic) > topicLevels) {
    throw new PacketError(
      "too_many_levels",
      `topic of ${levelCount(packet.topic)} levels, at most ${topicLevels}`,
    );
  }
  server.stats.publish_received += 1;
  const message: Message = {
    topic: packet.topic,
    payload: packet.payload as Buffer,
    qos: packet.qos,
    retain: packet.retain,
  };
  const messageId = packet.messageId ?? 0;
  switch (packet.qos) {
    case 0:
      return settleWith(connection, server.publish(message), undefined);
    case 1:
      return settleWith(connection, server.publish(message), { cmd: "puback", messageId });
    case 2: {
      const pubrec: Packet = { cmd: "pubrec", messageId };
      if (session.unreleased.has(messageId)) {
        server.stats.publish_repeated += 1;
        return connection.acks.sendInOrder(encode(pubrec));
      }
      session.unreleased.add(messageId);
      return settleWith(connection, server.publish(message), pubrec);
    }
  }
}

/** Sends `ack`, if any, in its turn once the uplink has the message; until then it counts as pending. */
function settleWith(
  connection: Connection,
  published: Promise<void> | undefined,
  ack: Packet | undefined,
): void {
  if (published === undefined) {
    if (ack !== undefined) connection.acks.sendInOrder(encode(ack));
    return;
  }
  const slot = ack === undefined ? undefined : connection.acks.reserve();
  connection.pend();
  published.then(
    () => {
      if (ack !== undefined && slot !== undefined) connection.acks.fill(slot, encode(ack));
      connection.settled();
    },
    // Without an acknowledgement the client knows that it must send the message again.
    (error: unknown) => connection.close("uplink_error", String(error)),
  );
}
