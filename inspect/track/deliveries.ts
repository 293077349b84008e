import { filterMatches } from "@topicast/protocol";
import type { MqttPacket } from "../decode/mqtt-types.js";
import type { RowSink } from "../tables/schema.js";
import { Origins } from "./origins.js";
import type { PacketRow, Session } from "./session.js";

interface Published {
  readonly no: number;
  readonly clientId: string | undefined;
  readonly timeUs: number;
}

export interface Will {
  readonly clientId: string;
  /** From when on the server publishes it. */
  readonly timeUs: number;
}

const NO_PAYLOAD = Buffer.alloc(0);

/** Where messages to clients come from: which PUBLISH or whose will, and by which subscription. */
export class Deliveries {
  private readonly published = new Origins<Published>();
  /** Of each CONNECT the will; those that were due. */
  private readonly wills = new Origins<Will>();
  private readonly dueWills = new Origins<Will>();

  constructor(private readonly sink: RowSink) {}

  /** A client's PUBLISH to this host. One that is sent again comes from then when it was first sent. */
  onPublish(host: string, { payload = NO_PAYLOAD }: MqttPacket, row: PacketRow): void {
    const { topic } = row;
    if (topic === undefined) return;
    if (row.dup === true && this.published.find(host, topic, payload) !== undefined) return;
    const origin = { no: row.no!, clientId: row.client_id, timeUs: row.time! };
    this.published.remember(host, topic, payload, origin);
  }

  onWill(host: string, topic: string, payload: Buffer, will: Will): void {
    this.wills.remember(host, topic, payload, will);
  }

  /** The server publishes this will at its time. */
  onWillDue(host: string, topic: string, payload: Buffer, will: Will): void {
    this.dueWills.remember(host, topic, payload, will);
  }

  /** A PUBLISH to a client: a row for each subscription that matches. */
  onDelivery(host: string, packet: MqttPacket, row: PacketRow, session: Session): void {
    const { topic } = row;
    if (topic === undefined || topic === "") return;
    const named = namedBy(packet, topic, session);
    const matches = named.length > 0 ? named : session.matching(topic);
    const payload = packet.payload ?? NO_PAYLOAD;
    const published = this.published.find(host, topic, payload);
    const will = this.willBehind(published, host, topic, payload, row.time!);
    const origin = will === undefined ? published : undefined;
    for (const match of matches.length > 0 ? matches : [undefined]) {
      this.sink.put("mqtt_deliveries", {
        no: row.no,
        frame: row.frame,
        time: row.time,
        connection: row.connection,
        client: row.dst,
        client_port: row.dst_port,
        client_id: row.client_id,
        client_no: row.client_no,
        server: row.server,
        server_port: row.server_port,
        server_name: row.server_name,
        topic,
        qos: row.qos,
        retain: row.retain,
        dup: row.dup,
        message_id: row.message_id,
        filter: match?.filter,
        has_wildcard: match?.has_wildcard,
        subscribe_no: match?.no,
        subscribe_frame: match?.frame,
        subscribe_message_id: match?.message_id,
        subscribe_qos: match?.qos,
        matches: matches.length,
        certain: matches.length === 1 || (match !== undefined && named.length > 0),
        origin_no: origin?.no,
        origin_client_id: origin?.clientId,
        latency_ms: origin === undefined ? undefined : (row.time! - origin.timeUs) / 1000,
        is_will: will !== undefined,
        will_client_id: will?.clientId,
      });
    }
  }

  /** One that was due since the words were last published; without any PUBLISH one that may have been. */
  private willBehind(
    published: Published | undefined,
    host: string,
    topic: string,
    payload: Buffer,
    timeUs: number,
  ): Will | undefined {
    const due = this.dueWills.find(host, topic, payload);
    if (published === undefined) return due ?? this.wills.find(host, topic, payload);
    return due !== undefined && due.timeUs >= published.timeUs && due.timeUs <= timeUs ? due : undefined;
  }
}

/** The subscriptions that the PUBLISH names by their identifiers (MQTT 5, section 3.3.2.3.8). */
function namedBy({ properties }: MqttPacket, topic: string, { subscriptions }: Session) {
  const ids: unknown = properties?.subscription_identifier;
  if (!Array.isArray(ids)) return [];
  return [...subscriptions.values()].filter(
    (each) => ids.includes(each.subscription_id) && filterMatches(each.match_filter!, topic),
  );
}
