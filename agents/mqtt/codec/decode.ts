import mqtt, { type IConnectPacket, type Packet, type Parser } from "mqtt-packet";
import { checkConnect, checkPacket, checkTopic, Type } from "./check.js";
import { malformed } from "./errors.js";
import { bodyStart } from "./frames.js";

/** MQTT protocol levels served here: 3 is MQTT 3.1, 4 is MQTT 3.1.1. */
export type ProtocolVersion = 3 | 4;

/**
 * mqtt-packet as a function of one whole packet. The parser keeps no state between whole packets, so that one serves
 * all connections; after an error it is not whole any more and the next packet gets a new one.
 */
class PacketDecoder {
  private parser: Parser | undefined;
  private packet: Packet | undefined;
  private error: Error | undefined;

  decode(frame: Buffer): Packet {
    this.parser ??= this.newParser();
    this.error = undefined;
    let left: number;
    try {
      left = this.parser.parse(frame);
    } catch (error) {
      this.parser = undefined;
      throw error;
    }
    const packet = this.packet as Packet | undefined;
    this.packet = undefined;
    if (packet !== undefined && this.error === undefined && left === 0) return packet;
    this.parser = undefined;
    throw malformed((this.error as Error | undefined)?.message ?? "packet does not fill its length");
  }

  private newParser(): Parser {
    // 3.1 and 3.1.1 differ in CONNECT only, which carries its level itself.
    const parser = mqtt.parser({ protocolVersion: 4 });
    parser.on("packet", (packet) => {
      this.packet = packet;
    });
    parser.on("error", (error: Error) => {
      this.error = error;
    });
    return parser;
  }
}

const decoder = new PacketDecoder();
/** Of its own, because mqtt-packet's parser takes a CONNECT's version over as the version of what follows. */
const connectDecoder = new PacketDecoder();

/**
 * Decodes one whole packet of a connected client. The payload is a view of `frame`.
 * @throws PacketError
 */
export function decode(frame: Buffer, version: ProtocolVersion): Packet {
  const type = frame[0]! >> 4;
  // MQTT 3.1 (section 3.1.1.1) lets these be repeated with DUP set, which 3.1.1 reserves and mqtt-packet refuses.
  if (version === 3 && (type === Type.SUBSCRIBE || type === Type.UNSUBSCRIBE || type === Type.PUBREL)) {
    frame[0]! &= 0xf7;
  }
  checkPacket(frame);
  const packet = decoder.decode(frame);
  if (packet.cmd === "publish") checkTopic(packet.topic, frame, bodyStart(frame));
  return packet;
}

/**
 * Decodes a CONNECT whose protocol level is known to be served.
 * @throws PacketError
 */
export function decodeConnect(frame: Buffer): IConnectPacket {
  checkConnect(frame);
  return connectDecoder.decode(frame) as IConnectPacket;
}
