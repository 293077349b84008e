import { type MqttPacket, Type, VERSION_NAMES, type Version } from "../decode/mqtt-types.js";
import type { Row } from "../tables/schema.js";
import type { Moment } from "../tcp/direction.js";
import type { Endpoint } from "../tcp/streams.js";
import type { MqttTracker } from "./mqtt.js";
import { describeFilter, type PacketRow, Session } from "./session.js";

const MAX_ALIASES = 65_535;
/** DISCONNECT with will message (MQTT 5, table 3-10). */
const WITH_WILL = 0x04;

/** One client's connection to a server. */
export class Connection {
  private readonly row: Row<"mqtt_connections">;
  private session: Session;
  private key: string | undefined;
  private version: Version = 4;
  private keepAlive = 0;
  private lastFromClient: number;
  private readonly aliases = { up: new Map<number, string>(), down: new Map<number, string>() };
  private isClosed = false;
  private takenOver = false;
  private persists = false;
  /** In seconds. */
  private willDelay = 0;
  /** The first side closes. */
  private finAt: Moment | undefined;

  constructor(
    private readonly tracker: MqttTracker,
    readonly number: number,
    private readonly transport: string,
    stream: number,
    private client: Endpoint,
    private server: Endpoint,
    at: Moment,
  ) {
    this.session = new Session(tracker.subscriptions);
    this.lastFromClient = at.timeUs;
    this.row = {
      connection: number,
      stream,
      transport,
      connect_time: at.timeUs,
      messages_up: 0,
      messages_down: 0,
      longest_silence_s: 0,
      keep_alive_exceeded: false,
      duplicate_client_id: false,
      will_due: false,
    };
    this.setEnds(client, server);
  }

  /** Who is who may show only at the first packets. */
  setEnds(client: Endpoint, server: Endpoint): void {
    this.client = client;
    this.server = server;
    const { row } = this;
    row.client = client.address;
    row.client_port = client.port;
    row.server = server.address;
    row.server_port = server.port;
    row.server_name = this.tracker.names.of(server.address);
  }

  onPacket(packet: MqttPacket, version: Version, inferred: boolean, fromClient: boolean, at: Moment): void {
    this.version = version;
    this.row.version = VERSION_NAMES[version];
    this.row.version_inferred = inferred;
    if (fromClient) this.onSignOfLife(at);
    // Before the row is made, so that it has the client id.
    if (packet.type === Type.CONNECT) this.onConnect(packet, at);
    if (packet.type === Type.CONNACK) this.onConnack(packet, at);
    this.row.client_no ??= this.tracker.newClient();
    const row = this.describe(packet, fromClient, inferred, at);
    switch (packet.type) {
      case Type.CONNECT:
        return this.request(row, fromClient, Type.CONNACK);
      case Type.PUBLISH:
        return this.onPublish(packet, row, fromClient);
      case Type.SUBSCRIBE:
        this.onSubscribe(packet, row, at);
        return this.request(row, fromClient, Type.SUBACK);
      case Type.UNSUBSCRIBE:
        return this.request(row, fromClient, Type.UNSUBACK);
      case Type.PINGREQ:
        return this.request(row, fromClient, Type.PINGRESP);
      case Type.DISCONNECT:
        this.put(row);
        return this.onDisconnect(packet, fromClient, at);
      case Type.SUBACK:
        this.onSuback(packet, fromClient);
        break;
      case Type.UNSUBACK:
        this.onUnsuback(packet, fromClient, at);
        break;
    }
    this.onAcknowledgement(packet, row, fromClient);
    this.put(row);
  }

  /** One side has sent everything: a client's end, or the server has given it up, which a dead one never answers. */
  onFin(at: Moment): void {
    if (this.isClosed || this.finAt !== undefined) return;
    this.finAt = at;
    this.announceWill(at);
  }

  /** The byte stream has ended, or the capture. */
  close(how: "fin" | "reset" | undefined, at: Moment): void {
    const end = this.takenOver ? "taken over" : how === "reset" ? "reset" : "closed";
    if (how !== undefined) this.finish(end, true, at);
    else if (this.finAt !== undefined) this.finish(end, true, this.finAt);
    else this.onSilence(at);
    if (this.key !== undefined) this.tracker.offline(this.key, this);
    const { connections, delayed } = this.tracker;
    // Whether a delayed will is sent shows only later.
    if (this.key !== undefined && delayed.get(this.key)?.row === this.row) connections.hold(this.row);
    else connections.put(this.row);
  }

  private describe(packet: MqttPacket, fromClient: boolean, inferred: boolean, at: Moment): PacketRow {
    const { client, server } = this;
    const [from, to] = fromClient ? [client, server] : [server, client];
    const row = this.tracker.describe(packet, this.version, at);
    row.transport = this.transport;
    row.stream = this.row.stream;
    row.connection = this.number;
    row.src = from.address;
    row.src_port = from.port;
    row.dst = to.address;
    row.dst_port = to.port;
    row.from_client = fromClient;
    row.client_id = this.row.client_id;
    row.client_no = this.row.client_no;
    row.server = server.address;
    row.server_port = server.port;
    row.server_name = this.row.server_name;
    row.version_inferred = inferred;
    return row;
  }

  private put(row: PacketRow): void {
    this.tracker.packets.put(row);
  }

  // --- CONNECT to DISCONNECT ---

  private onConnect(packet: MqttPacket, at: Moment): void {
    const { connect } = packet;
    const { row } = this;
    if (connect === undefined || row.connect_frame !== undefined) return;
    this.keepAlive = connect.keepAlive;
    row.connect_frame = at.frame;
    row.connect_time = at.timeUs;
    row.client_id = connect.clientId;
    row.clean = connect.clean;
    row.keep_alive = connect.keepAlive;
    row.username = connect.username;
    row.has_password = connect.hasPassword;
    row.session_expiry = packet.properties?.session_expiry_interval as number | undefined;
    this.persists = this.version === 5 ? (row.session_expiry ?? 0) > 0 : !connect.clean;
    const { will } = connect;
    if (will !== undefined) {
      row.will_topic = will.topic;
      row.will_qos = will.qos;
      row.will_retain = will.retain;
      row.will_payload = Buffer.from(will.payload);
      const whose = { clientId: connect.clientId, timeUs: at.timeUs };
      this.tracker.deliveries.onWill(this.host, will.topic, will.payload, whose);
      this.willDelay = willDelayOf(packet);
    }
    if (connect.clientId !== "") this.claim(connect.clientId, at);
  }

  /** The client id is this connection's from now on, with the session that belongs to it. */
  private claim(clientId: string, at: Moment): void {
    this.key = `${this.host} ${this.server.port} ${clientId}`;
    this.row.client_no = this.tracker.clientOf(this.key, this.row.client_no);
    const before = this.tracker.takeOver(this.key, this);
    if (before !== undefined && before !== this && !before.isClosed && before.finAt === undefined) {
      before.row.duplicate_client_id = true;
      this.row.duplicate_client_id = true;
      before.takenOver = true;
    }
    this.tracker.onReturn(this.key, this.row.clean === true, at);
    const kept = this.tracker.session(this.key);
    if (this.row.clean === true || kept === undefined) {
      kept?.end(at.frame);
      this.tracker.setSession(this.key, this.session);
    } else {
      this.session = kept;
    }
  }

  private onConnack(packet: MqttPacket, at: Moment): void {
    const { row } = this;
    row.connack_code = packet.codes?.[0];
    row.session_present = packet.sessionPresent;
    const assigned = packet.properties?.assigned_client_identifier;
    if (typeof assigned === "string") {
      row.client_id = assigned;
      this.claim(assigned, at);
    }
    const keepAlive = packet.properties?.server_keep_alive;
    if (typeof keepAlive === "number") this.keepAlive = keepAlive;
    // The server has lost the session, or the former one ended unseen. What this connection has asked for already stays.
    if (packet.sessionPresent === false) this.session.end(at.frame, (row) => row.connection !== this.number);
  }

  private onDisconnect(packet: MqttPacket, fromClient: boolean, at: Moment): void {
    const keepsWill = fromClient && packet.codes?.[0] !== WITH_WILL;
    const expiry = packet.properties?.session_expiry_interval;
    if (typeof expiry === "number") this.persists = expiry > 0;
    const end =
      this.takenOver && !fromClient ? "taken over" : fromClient ? "disconnect" : "server disconnect";
    this.finish(end, !keepsWill, at);
  }

  private finish(end: string, isWillDue: boolean, at: Moment): void {
    if (this.isClosed) return;
    this.onSilence(at);
    this.isClosed = true;
    const { row } = this;
    row.end = end;
    row.end_frame = at.frame;
    row.will_due = isWillDue && row.will_topic !== undefined && (row.connack_code ?? 0) === 0;
    if (row.will_due && this.finAt === undefined) this.announceWill(at);
    if (row.will_due && this.willDelay > 0 && this.key !== undefined) {
      this.tracker.delayed.set(this.key, { row, untilUs: at.timeUs + this.willDelay * 1_000_000 });
    }
    // A session that another connection has taken is no longer this one's to end.
    const isOurs = this.key === undefined || this.tracker.session(this.key) === this.session;
    if (!this.persists && isOurs && !this.takenOver) this.session.end(at.frame);
  }

  /** From now on the server publishes the will. */
  private announceWill({ timeUs }: Moment): void {
    const {
      will_topic: topic,
      will_payload: payload,
      client_id: clientId = "",
      connack_code: code = 0,
    } = this.row;
    if (topic === undefined || payload === undefined || code !== 0) return;
    const due = { clientId, timeUs: timeUs + this.willDelay * 1_000_000 };
    this.tracker.deliveries.onWillDue(this.host, topic, payload, due);
  }

  private onSignOfLife(at: Moment): void {
    this.onSilence(at);
    this.lastFromClient = at.timeUs;
  }

  private onSilence(at: Moment): void {
    if (this.isClosed) return;
    const silence = (at.timeUs - this.lastFromClient) / 1_000_000;
    if (silence > this.row.longest_silence_s!) this.row.longest_silence_s = silence;
    if (this.keepAlive > 0 && silence > 1.5 * this.keepAlive) this.row.keep_alive_exceeded = true;
  }

  private get host(): string {
    return this.tracker.names.machine(this.server.address);
  }

  // --- subscriptions ---

  private onSubscribe(packet: MqttPacket, packetRow: PacketRow, at: Moment): void {
    const id = packet.properties?.subscription_identifier;
    for (const options of packet.filters ?? []) {
      this.session.subscribe({
        no: packetRow.no,
        frame: at.frame,
        time: at.timeUs,
        stream: this.row.stream,
        connection: this.number,
        client: this.client.address,
        client_port: this.client.port,
        client_id: this.row.client_id,
        client_no: this.row.client_no,
        server: this.server.address,
        server_port: this.server.port,
        server_name: this.row.server_name,
        message_id: packet.id,
        ...describeFilter(options),
        subscription_id: Array.isArray(id) ? (id[0] as number) : undefined,
      });
    }
  }

  private onSuback(packet: MqttPacket, fromClient: boolean): void {
    const [asked] = this.session.answered(keyOf(!fromClient, Type.SUBACK, packet.id));
    if (asked === undefined) return;
    // Back for the acknowledgement itself.
    this.session.await(keyOf(!fromClient, Type.SUBACK, packet.id), asked);
    const filters = JSON.parse(asked.filters ?? "[]") as string[];
    for (const [i, filter] of filters.entries()) {
      const subscription = this.session.subscriptions.get(filter);
      if (subscription !== undefined && subscription.no === asked.no)
        subscription.granted = packet.codes?.[i];
    }
  }

  private onUnsuback(packet: MqttPacket, fromClient: boolean, at: Moment): void {
    const [asked] = this.session.answered(keyOf(!fromClient, Type.UNSUBACK, packet.id));
    if (asked === undefined) return;
    this.session.await(keyOf(!fromClient, Type.UNSUBACK, packet.id), asked);
    for (const filter of JSON.parse(asked.filters ?? "[]") as string[]) {
      this.session.unsubscribe(filter, at.frame, "unsubscribe");
    }
  }

  // --- handshakes ---

  /** A packet that is to be answered by one of type `answer`. */
  private request(row: PacketRow, fromClient: boolean, answer: number): void {
    row.handshake = "incomplete";
    this.session.await(keyOf(fromClient, answer, row.message_id), row);
    this.tracker.packets.hold(row);
  }

  private onAcknowledgement(packet: MqttPacket, row: PacketRow, fromClient: boolean): void {
    const { type } = packet;
    const isRefusal = (row.reason_code ?? 0) >= 128 || (type === Type.CONNACK && (row.reason_code ?? 0) > 0);
    // PUBREC completes nothing, unless it refuses (MQTT 5, section 4.3.3).
    if (type === Type.PUBREL || (type === Type.PUBREC && !isRefusal)) return;
    const answered = type === Type.PUBREC ? Type.PUBCOMP : type;
    for (const asked of this.session.answered(keyOf(!fromClient, answered, packet.id))) {
      asked.ack_frame = row.frame;
      asked.ack_ms = (row.time! - asked.time!) / 1000;
      asked.handshake = isRefusal ? "refused" : "complete";
      this.tracker.packets.release(asked);
    }
  }

  // --- messages ---

  private onPublish(packet: MqttPacket, row: PacketRow, fromClient: boolean): void {
    row.topic = this.resolveAlias(packet, fromClient);
    if (packet.qos === 1 || packet.qos === 2) {
      this.request(row, fromClient, packet.qos === 1 ? Type.PUBACK : Type.PUBCOMP);
    } else {
      this.put(row);
    }
    const { deliveries } = this.tracker;
    if (fromClient) {
      this.row.messages_up! += 1;
      deliveries.onPublish(this.host, packet, row);
    } else {
      this.row.messages_down! += 1;
      deliveries.onDelivery(this.host, packet, row, this.session);
    }
  }

  /** MQTT 5, section 3.3.2.3.4. */
  private resolveAlias(packet: MqttPacket, fromClient: boolean): string | undefined {
    const alias = packet.properties?.topic_alias;
    if (typeof alias !== "number") return packet.topic;
    const aliases = fromClient ? this.aliases.up : this.aliases.down;
    if (packet.topic === undefined || packet.topic === "") return aliases.get(alias) ?? packet.topic;
    if (aliases.size < MAX_ALIASES) aliases.set(alias, packet.topic);
    return packet.topic;
  }
}

/** What a packet sent by the client (or not) waits for. */
function keyOf(fromClient: boolean, answer: number, id: number | undefined): string {
  return `${fromClient ? "c" : "s"}${answer} ${id ?? ""}`;
}

/** How long the server waits with the will, in seconds: no longer than the session lasts (MQTT 5, section 3.1.3.2.2). */
function willDelayOf({ properties }: MqttPacket): number {
  const delay = properties?.["will.will_delay_interval"];
  const expiry = properties?.session_expiry_interval;
  return typeof delay === "number" && typeof expiry === "number" ? Math.min(delay, expiry) : 0;
}
