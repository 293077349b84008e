import type { IUnsubscribePacket } from "mqtt-packet";
import type { Connection } from "../connection.js";
import type { Session } from "../session.js";

/** UNSUBSCRIBE, answered whether the filters were subscribed or not (MQTT-3.10.4-5). */
export function handleUnsubscribe(
  connection: Connection,
  session: Session,
  packet: IUnsubscribePacket,
): void {
  for (const filter of packet.unsubscriptions) connection.server.subscriptions.remove(session, filter);
  connection.send({ cmd: "unsuback", messageId: packet.messageId ?? 0, granted: [] });
}
