import type { Packet } from "mqtt-packet";
import { PacketError } from "../codec/errors.js";
import type { Connection } from "../connection.js";
import type { Session } from "../session.js";
import { handleDisconnect } from "./disconnect.js";
import { handlePingreq } from "./pingreq.js";
import { handlePublish } from "./publish.js";
import { handlePubrel } from "./pubrel.js";
import { handleSubscribe } from "./subscribe.js";
import { handleUnsubscribe } from "./unsubscribe.js";

/**
 * Hands a packet of a connected client to its handler.
 * @throws PacketError when the client must not send it
 */
export function handlePacket(connection: Connection, session: Session, packet: Packet): void {
  switch (packet.cmd) {
    case "publish":
      return handlePublish(connection, session, packet);
    case "pubrel":
      return handlePubrel(connection, session, packet);
    case "subscribe":
      return handleSubscribe(connection, session, packet);
    case "unsubscribe":
      return handleUnsubscribe(connection, session, packet);
    case "pingreq":
      return handlePingreq(connection);
    case "disconnect":
      return handleDisconnect(connection);
    case "puback":
    case "pubrec":
    case "pubcomp":
      // Everything is sent at QoS 0: nothing is in flight that this could acknowledge.
      return;
    default:
      throw new PacketError("protocol_error", `${packet.cmd} is not for a client to send`);
  }
}
