import { randomUUID } from "node:crypto";
import { levelCount, type Message } from "@topicast/protocol";
import type { IConnectPacket } from "mqtt-packet";
import { protocolLevel } from "../codec/check.js";
import { decodeConnect } from "../codec/decode.js";
import { encode, encodeConnack5 } from "../codec/encode.js";
import { PacketError } from "../codec/errors.js";
import type { Connection } from "../connection.js";

/** CONNACK return codes (MQTT 3.1.1, table 3.1). */
const ReturnCode = {
  ACCEPTED: 0,
  UNACCEPTABLE_PROTOCOL_VERSION: 1,
  IDENTIFIER_REJECTED: 2,
  BAD_USER_NAME_OR_PASSWORD: 4,
  NOT_AUTHORIZED: 5,
} as const;

/** MQTT 5, section 3.2.2.2. */
const UNSUPPORTED_PROTOCOL_VERSION_5 = 0x84;

/**
 * The first packet of a connection: CONNECT (MQTT 3.1.1, section 3.1), answered with CONNACK.
 * @throws PacketError when it is another packet or malformed: the connection is closed without an answer (MQTT-3.1.4-1)
 */
export function handleConnect(connection: Connection, frame: Buffer): void {
  const { server } = connection;
  const { name, level } = protocolLevel(frame);
  if (name === "MQTT" && level === 5) {
    server.stats.refused_protocol_version += 1;
    connection.outbox.push(encodeConnack5(UNSUPPORTED_PROTOCOL_VERSION_5));
    return connection.close("refused", "MQTT 5");
  }
  if (!(name === "MQTT" && level === 4) && !(name === "MQIsdp" && level === 3)) {
    server.stats.refused_protocol_version += 1;
    return refuse(connection, ReturnCode.UNACCEPTABLE_PROTOCOL_VERSION, `${name} level ${level}`);
  }
  connection.version = level;

  const packet = decodeConnect(frame);
  const clientId = acceptableClientId(packet, server.limits.clientIdBytes, level);
  if (clientId === undefined) {
    server.stats.refused_client_id += 1;
    return refuse(connection, ReturnCode.IDENTIFIER_REJECTED, "client identifier");
  }
  // Whoever has proven who it is below MQTT need not do so again, and is nobody else by saying so.
  const { identity } = connection.stream;
  if (identity === undefined && !server.authenticate(packet.username, packet.password)) {
    server.stats.refused_credentials += 1;
    const given = packet.username !== undefined;
    return refuse(
      connection,
      given ? ReturnCode.BAD_USER_NAME_OR_PASSWORD : ReturnCode.NOT_AUTHORIZED,
      given ? "wrong user name or password" : "no user name",
    );
  }
  const will = willOf(packet, server.limits.topicLevels);

  connection.session = server.openSession(clientId, connection);
  connection.will = will;
  connection.startKeepAlive(packet.keepalive ?? 0);
  connection.send({ cmd: "connack", returnCode: ReturnCode.ACCEPTED, sessionPresent: false });
  const { peer } = connection.stream;
  server.log?.info(
    { peer, client: clientId, protocolLevel: level, user: identity ?? packet.username },
    "client connected",
  );
}

function refuse(connection: Connection, returnCode: number, detail: string): void {
  connection.outbox.push(encode({ cmd: "connack", returnCode, sessionPresent: false }));
  connection.close("refused", detail);
}

/**
 * The client's identifier, one assigned by the server where it may leave that to us (MQTT-3.1.3-6), or undefined
 * where it is to be refused (MQTT-3.1.3-8; MQTT 3.1 has no empty identifiers).
 */
function acceptableClientId(packet: IConnectPacket, maxBytes: number, level: number): string | undefined {
  const { clientId } = packet;
  if (clientId !== "") return Buffer.byteLength(clientId) <= maxBytes ? clientId : undefined;
  return level >= 4 && packet.clean === true ? `auto-${randomUUID()}` : undefined;
}

function willOf({ will }: IConnectPacket, maxLevels: number): Message | undefined {
  if (will === undefined) return undefined;
  const levels = levelCount(will.topic);
  if (levels > maxLevels) {
    throw new PacketError("too_many_levels", `will topic of ${levels} levels, at most ${maxLevels}`);
  }
  return {
    topic: will.topic,
    // A copy: the will lives as long as the connection, what the CONNECT arrived in need not.
    payload: Buffer.from(will.payload),
    qos: will.qos ?? 0,
    retain: will.retain ?? false,
  };
}
