import { protocolError, ReasonCode } from "@topicast/protocol";
import type { Disconnect } from "../codec/decode.js";
import type { Connection } from "../connection.js";
import type { Session } from "../session.js";

/**
 * DISCONNECT (MQTT 3.1.1 and 5, section 3.14): an end in order. The will is discarded, unless the client wants it
 * published or says that something is wrong (MQTT-3.1.2-10, MQTT-3.14.4-3).
 * @throws PacketError 0x82 where a session that ends with its connection is to outlive it (MQTT 5, section 3.14.2.2.2)
 */
export function handleDisconnect(connection: Connection, session: Session, packet: Disconnect): void {
  const { sessionExpiry, code } = packet;
  if (sessionExpiry !== undefined) {
    if (session.expiry === 0 && sessionExpiry > 0) throw protocolError("session expiry was 0 in CONNECT");
    session.expiry = Math.min(sessionExpiry, connection.server.limits.sessionExpirySeconds);
    connection.server.subscriptions.kept.expiryChanged(session);
  }
  if (code === ReasonCode.SUCCESS) connection.server.setWill(session, undefined);
  connection.close("disconnect", code === ReasonCode.SUCCESS ? undefined : `reason code ${code}`);
}
