import type { SnMessage } from "../decode/mqttsn.js";
import type { Row, RowSink } from "../tables/schema.js";
import type { Moment } from "../tcp/direction.js";
import { HeldRows } from "./held.js";

const MAX_PEERS = 65_536;
const MAX_TOPICS = 65_536;

/** Which acknowledgement each type waits for, and who sends the type. */
const ANSWERS: Readonly<Record<string, string>> = {
  CONNECT: "CONNACK WILLTOPICREQ",
  REGISTER: "REGACK",
  PUBLISH: "PUBACK PUBREC",
  PUBREC: "PUBREL",
  PUBREL: "PUBCOMP",
  SUBSCRIBE: "SUBACK",
  UNSUBSCRIBE: "UNSUBACK",
  PINGREQ: "PINGRESP",
  DISCONNECT: "DISCONNECT",
  SEARCHGW: "GWINFO",
  WILLTOPICUPD: "WILLTOPICRESP",
  WILLMSGUPD: "WILLMSGRESP",
};
const FROM_CLIENT = new Set([
  "SEARCHGW",
  "CONNECT",
  "WILLTOPIC",
  "WILLMSG",
  "SUBSCRIBE",
  "UNSUBSCRIBE",
  "WILLTOPICUPD",
  "WILLMSGUPD",
]);
const FROM_GATEWAY = new Set([
  "ADVERTISE",
  "GWINFO",
  "CONNACK",
  "WILLTOPICREQ",
  "WILLMSGREQ",
  "SUBACK",
  "UNSUBACK",
  "WILLTOPICRESP",
  "WILLMSGRESP",
]);

interface Peer {
  clientId: string | undefined;
  /** Side of the pair that is the client; undefined while unknown. */
  client: string | undefined;
  /** Waiting for their acknowledgement, by sender, type and message id. */
  readonly open: Map<string, Row<"mqttsn">>;
  readonly topics: Map<number, string>;
  /** Topic names asked for, by message id, until the id is told. */
  readonly asked: Map<number, string>;
}

/** Follows each client and gateway: topic ids, acknowledgements. */
export class SnTracker {
  private readonly held: HeldRows<"mqttsn">;
  private readonly peers = new Map<string, Peer>();
  private count = 0;

  constructor(sink: RowSink) {
    this.held = new HeldRows("mqttsn", sink);
  }

  onMessage(
    m: SnMessage,
    hosts: Pick<Row<"mqttsn">, "src" | "src_port" | "dst" | "dst_port">,
    isCopy: boolean,
    at: Moment,
  ): Row<"mqttsn"> {
    const from = `${hosts.src} ${hosts.src_port}`;
    const to = `${hosts.dst} ${hosts.dst_port}`;
    const peer = this.peerOf(from < to ? `${from} ${to}` : `${to} ${from}`);
    this.learn(peer, m, from, to);
    const payload = m.payload === undefined ? undefined : Buffer.from(m.payload);
    const row: Row<"mqttsn"> = {
      no: ++this.count,
      frame: at.frame,
      time: at.timeUs,
      ...hosts,
      from_client: peer.client === undefined ? undefined : peer.client === from,
      client_id: m.clientId ?? peer.clientId,
      type: m.type,
      length: m.length,
      encapsulated: m.encapsulated,
      qos: m.qos,
      dup: m.dup,
      retain: m.retain,
      will: m.will,
      clean: m.clean,
      topic_id_type: m.topicIdType,
      topic_id: m.topicId,
      topic:
        m.topic ??
        (m.topicIdType === "normal" && m.topicId !== undefined ? peer.topics.get(m.topicId) : undefined),
      message_id: m.messageId,
      return_code: m.returnCode,
      duration: m.duration,
      gateway_id: m.gatewayId,
      payload,
      payload_length: payload?.length,
      is_copy: isCopy,
    };
    this.held.hold(row);
    if (isCopy) return row;
    this.answer(peer, row, to);
    const expected = ANSWERS[m.type];
    if (expected !== undefined)
      for (const type of expected.split(" ")) peer.open.set(`${from} ${type} ${m.messageId ?? ""}`, row);
    return row;
  }

  /** An ICMP error quotes this message. */
  onIcmp(row: Row<"mqttsn">, frame: number, meaning: string): void {
    row.icmp_frame ??= frame;
    row.answer ??= `ICMP ${meaning}`;
  }

  end(): void {
    this.held.end();
  }

  private peerOf(key: string): Peer {
    let peer = this.peers.get(key);
    if (peer === undefined) {
      const [oldest] = this.peers.keys();
      if (this.peers.size >= MAX_PEERS && oldest !== undefined) this.peers.delete(oldest);
      peer = { clientId: undefined, client: undefined, open: new Map(), topics: new Map(), asked: new Map() };
      this.peers.set(key, peer);
    }
    if (peer.open.size > 1024) peer.open.clear();
    if (peer.topics.size > MAX_TOPICS) peer.topics.clear();
    if (peer.asked.size > 1024) peer.asked.clear();
    return peer;
  }

  private learn(peer: Peer, m: SnMessage, from: string, to: string): void {
    if (FROM_CLIENT.has(m.type)) peer.client = from;
    else if (FROM_GATEWAY.has(m.type)) peer.client = to;
    else if (m.type === "PUBLISH" && m.qos === -1) peer.client ??= from;
    if (m.type === "CONNECT" && m.clientId !== undefined) {
      peer.clientId = m.clientId;
      if (m.clean === true) peer.topics.clear();
    }
    if (m.messageId === undefined) return;
    if (m.type === "REGISTER" && m.topic !== undefined) {
      // The gateway registers with the id; the client learns it from REGACK.
      if (m.topicId) peer.topics.set(m.topicId, m.topic);
      peer.asked.set(m.messageId, m.topic);
    }
    if (m.type === "SUBSCRIBE" && m.topicIdType === "name" && m.topic !== undefined)
      peer.asked.set(m.messageId, m.topic);
    if ((m.type === "REGACK" || m.type === "SUBACK") && m.topicId && m.returnCode === 0) {
      const topic = peer.asked.get(m.messageId);
      if (topic !== undefined && !/[+#]/.test(topic)) peer.topics.set(m.topicId, topic);
    }
  }

  private answer(peer: Peer, row: Row<"mqttsn">, to: string): void {
    const key = `${to} ${row.type} ${row.message_id ?? ""}`;
    const asked = peer.open.get(key);
    if (asked === undefined) return;
    peer.open.delete(key);
    asked.ack_frame = row.frame;
    asked.ack_ms = (row.time! - asked.time!) / 1000;
    asked.answer = row.type;
  }
}
