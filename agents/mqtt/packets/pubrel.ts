import type { IPubrelPacket } from "mqtt-packet";
import type { Connection } from "../connection.js";
import type { Session } from "../session.js";

/** PUBREL releases a QoS 2 identifier; the answer is PUBCOMP whether it was known or not (MQTT-4.3.3-2). */
export function handlePubrel(connection: Connection, session: Session, packet: IPubrelPacket): void {
  const messageId = packet.messageId ?? 0;
  session.unreleased.delete(messageId);
  connection.send({ cmd: "pubcomp", messageId });
}
