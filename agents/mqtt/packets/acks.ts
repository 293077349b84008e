import { type Ack, Type } from "../codec/decode.js";
import { encodeAck } from "../codec/encode.js";
import type { Connection } from "../connection.js";
import type { Session } from "../session.js";

/**
 * PUBACK, PUBREC and PUBCOMP end or advance a message on its way out; PUBREL ends one that came in (MQTT 5, section 4.3).
 * @throws PacketError 0x82 where one does not fit the message that its identifier stands for
 */
export function handleAck(connection: Connection, session: Session, { type, id, code }: Ack): void {
  const { delivery } = session;
  switch (type) {
    case Type.PUBACK:
      delivery.onPuback(id);
      break;
    case Type.PUBREC:
      delivery.onPubrec(id, code);
      break;
    case Type.PUBCOMP:
      delivery.onPubcomp(id);
      break;
    case Type.PUBREL:
      // The answer is PUBCOMP whether it was known or not (MQTT-4.3.3-11).
      if (session.unreleased.delete(id)) session.journal?.released(id);
      connection.receiving.delete(id);
      connection.repeated.delete(id);
      connection.outbox.push(encodeAck(Type.PUBCOMP, id));
      return;
  }
  session.retained.pump();
}
