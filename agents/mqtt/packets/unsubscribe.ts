import { ReasonCode } from "@topicast/protocol";
import type { Unsubscribe } from "../codec/decode.js";
import { encodeGranted } from "../codec/encode.js";
import type { Connection } from "../connection.js";
import type { Session } from "../session.js";
import { screened } from "./connect.js";

/**
 * UNSUBSCRIBE, answered whether the filters were subscribed or not (MQTT-3.10.4-5, MQTT-3.11.3-1), and behind the SUBSCRIBEs
 * that came before it.
 */
export function handleUnsubscribe(connection: Connection, session: Session, packet: Unsubscribe): void {
  const { subscriptions } = connection.server;
  screened(connection, session.clientId, connection.guard?.unsubscribe(packet), (verdict) => {
    if (connection.endedBy(verdict)) return;
    const codes = packet.filters.map((filter) => {
      if (verdict !== undefined) return verdict.code;
      return subscriptions.remove(session, filter) ? ReasonCode.SUCCESS : ReasonCode.NO_SUBSCRIPTION_EXISTED;
    });
    const unsuback = encodeGranted("unsuback", packet.id, codes, connection.version);
    connection.grants.giveInOrder(() => connection.outbox.push(unsuback));
  });
}
