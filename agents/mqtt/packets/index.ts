import { protocolError } from "@topicast/protocol";
import { type ClientPacket, Type } from "../codec/decode.js";
import { PINGRESP } from "../codec/encode.js";
import type { Connection } from "../connection.js";
import type { Session } from "../session.js";
import { handleAck } from "./acks.js";
import { handleDisconnect } from "./disconnect.js";
import { handlePublish } from "./publish.js";
import { handleSubscribe } from "./subscribe.js";
import { handleUnsubscribe } from "./unsubscribe.js";

/**
 * Hands a packet of a connected client to its handler.
 * @throws PacketError when it breaks the protocol in what it means
 */
export function handlePacket(connection: Connection, session: Session, packet: ClientPacket): void {
  switch (packet.type) {
    case Type.PUBLISH:
      return handlePublish(connection, session, packet);
    case Type.PUBACK:
    case Type.PUBREC:
    case Type.PUBREL:
    case Type.PUBCOMP:
      return handleAck(connection, session, packet);
    case Type.SUBSCRIBE:
      return handleSubscribe(connection, session, packet);
    case Type.UNSUBSCRIBE:
      return handleUnsubscribe(connection, session, packet);
    case Type.PINGREQ:
      // MQTT-3.12.4-1
      return connection.outbox.push(PINGRESP);
    case Type.DISCONNECT:
      return handleDisconnect(connection, session, packet);
    case Type.AUTH:
      connection.guard?.auth("AUTH");
      throw protocolError("AUTH without an authentication method (MQTT-4.12.0-6)");
  }
}
