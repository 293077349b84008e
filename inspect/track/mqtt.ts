import { type MqttPacket, TYPE_NAMES, Type, VERSION_NAMES, type Version } from "../decode/mqtt-types.js";
import { Recent } from "../recent.js";
import type { Row, RowSink } from "../tables/schema.js";
import type { Moment } from "../tcp/direction.js";
import type { Endpoint } from "../tcp/streams.js";
import { Connection } from "./connection.js";
import { Deliveries } from "./deliveries.js";
import { HeldRows } from "./held.js";
import type { Names } from "./names.js";
import type { Session } from "./session.js";

/** Payload bytes of a PUBLISH that are kept. */
const MAX_PAYLOAD = 64 * 1024;
/** Sessions remembered; beyond it the one begun longest ago is forgotten. */
const MAX_SESSIONS = 65_536;

export interface Hosts {
  readonly src: string;
  readonly src_port: number;
  readonly dst: string;
  readonly dst_port: number;
}

interface Delayed {
  readonly row: Row<"mqtt_connections">;
  readonly untilUs: number;
}

/** Follows all MQTT in a capture by the standard's rules: connections, sessions, handshakes, where messages came from. */
export class MqttTracker {
  readonly packets: HeldRows<"mqtt">;
  readonly subscriptions: HeldRows<"mqtt_subscriptions">;
  readonly connections: HeldRows<"mqtt_connections">;
  readonly deliveries: Deliveries;
  /** Connections that ended with a will that the server waits with, by server and client id. */
  readonly delayed = new Recent<string, Delayed>(MAX_SESSIONS);
  private readonly clients = new Recent<string, number>(MAX_SESSIONS);
  /** By server and client id. */
  private readonly sessions = new Recent<string, Session>(MAX_SESSIONS);
  private readonly online = new Map<string, Connection>();
  private packetCount = 0;
  private connectionCount = 0;
  private clientCount = 0;

  constructor(
    sink: RowSink,
    readonly names: Names,
  ) {
    this.packets = new HeldRows("mqtt", sink);
    this.subscriptions = new HeldRows("mqtt_subscriptions", sink);
    this.connections = new HeldRows("mqtt_connections", sink);
    this.deliveries = new Deliveries(sink);
  }

  /** A connection on a byte stream. */
  open(transport: string, stream: number, client: Endpoint, server: Endpoint, at: Moment): Connection {
    return new Connection(this, ++this.connectionCount, transport, stream, client, server, at);
  }

  /** A packet that belongs to no connection: MQTT over UDP. */
  onDatagramPacket(packet: MqttPacket, transport: string, version: Version, hosts: Hosts, at: Moment): void {
    this.packets.put({ ...this.describe(packet, version, at), ...hosts, transport });
  }

  end(): void {
    this.packets.end();
    this.subscriptions.end();
    this.connections.end();
  }

  /** The part of a row that the packet alone tells; with all columns, since an object that grows is slow. */
  describe(packet: MqttPacket, version: Version, at: Moment): Row<"mqtt"> {
    const { payload, codes, properties } = packet;
    const isPublish = packet.type === Type.PUBLISH;
    return {
      no: ++this.packetCount,
      frame: at.frame,
      time: at.timeUs,
      transport: undefined,
      stream: undefined,
      connection: undefined,
      src: undefined,
      src_port: undefined,
      dst: undefined,
      dst_port: undefined,
      from_client: undefined,
      client_id: undefined,
      client_no: undefined,
      server: undefined,
      server_port: undefined,
      server_name: undefined,
      version_inferred: undefined,
      version: VERSION_NAMES[version],
      type: TYPE_NAMES[packet.type]!,
      length: packet.length,
      qos: isPublish ? packet.qos : undefined,
      dup: isPublish ? packet.dup : undefined,
      retain: isPublish ? packet.retain : undefined,
      message_id: packet.id,
      topic: packet.topic,
      topic_alias: properties?.topic_alias as number | undefined,
      payload: payload === undefined ? undefined : copyOf(payload),
      payload_length: packet.payloadLength,
      filters:
        packet.filters === undefined ? undefined : JSON.stringify(packet.filters.map(({ filter }) => filter)),
      reason_code: codes?.find((code) => code >= 128) ?? codes?.[0],
      codes: packet.type === Type.SUBACK || packet.type === Type.UNSUBACK ? JSON.stringify(codes) : undefined,
      properties: properties === undefined ? undefined : JSON.stringify(properties),
      ack_frame: undefined,
      ack_ms: undefined,
      handshake: undefined,
    };
  }

  /** The number of whoever uses this key; a new one is `known`, where that is told. */
  clientOf(key: string, known: number | undefined): number {
    const before = this.clients.get(key);
    if (before !== undefined) return before;
    const number = known ?? this.newClient();
    this.clients.set(key, number);
    return number;
  }

  newClient(): number {
    return ++this.clientCount;
  }

  /** The connection that has used this client id at this server until now, which the new one replaces. */
  takeOver(key: string, connection: Connection): Connection | undefined {
    const before = this.online.get(key);
    this.online.set(key, connection);
    return before;
  }

  /** A client that goes on with its session in time has no will sent (MQTT-3.1.3-9). */
  onReturn(key: string, isClean: boolean, { timeUs }: Moment): void {
    const delayed = this.delayed.get(key);
    if (delayed === undefined) return;
    this.delayed.delete(key);
    if (!isClean && timeUs < delayed.untilUs) delayed.row.will_due = false;
    this.connections.release(delayed.row);
  }

  offline(key: string, connection: Connection): void {
    if (this.online.get(key) === connection) this.online.delete(key);
  }

  session(key: string): Session | undefined {
    return this.sessions.get(key);
  }

  setSession(key: string, session: Session): void {
    this.sessions.set(key, session);
  }
}

function copyOf(payload: Buffer): Buffer {
  return Buffer.from(payload.length > MAX_PAYLOAD ? payload.subarray(0, MAX_PAYLOAD) : payload);
}
