import { connect, type Socket } from "node:net";
import mqtt, { type IPublishPacket, type Packet } from "mqtt-packet";

const FOREVER = 0xffff_ffff;
const V5 = { protocolVersion: 5 };

/**
 * A client of MQTT 5 that keeps its side of the session over its connections, to the letter, and looks whether the
 * server keeps the other. Connects again whenever its connection ends, for as long as it is `wanted`.
 */
abstract class SessionClient {
  private socket: Socket | undefined;
  private wanted = false;
  private known = false;
  private connected = false;
  /** What the server did wrong. */
  readonly faults: string[] = [];

  constructor(
    readonly id: string,
    private readonly port: number,
  ) {}

  get isConnected(): boolean {
    return this.connected;
  }

  come(): void {
    this.wanted = true;
    if (this.socket === undefined) this.dial();
  }

  leave(): void {
    this.wanted = false;
    this.socket?.destroy();
  }

  protected send(packet: Packet): void {
    this.socket?.write(mqtt.generate(packet, V5));
  }

  protected abstract begin(): void;
  protected abstract onPacket(packet: Packet): void;

  private dial(): void {
    const socket = connect(this.port, "127.0.0.1");
    this.socket = socket;
    const parser = mqtt.parser(V5);
    parser.on("packet", (packet) => {
      if (packet.cmd === "connack") this.onConnack(packet.sessionPresent);
      else this.onPacket(packet);
    });
    socket.on("data", (chunk: Buffer) => parser.parse(chunk));
    socket.on("error", () => {});
    socket.on("connect", () => {
      socket.setNoDelay(true);
      this.send({
        cmd: "connect",
        ...{ clientId: this.id, clean: false, keepalive: 0, protocolId: "MQTT", protocolVersion: 5 },
        properties: { sessionExpiryInterval: FOREVER },
      });
    });
    socket.on("close", () => {
      this.connected = false;
      this.socket = undefined;
      if (this.wanted) setTimeout(() => this.wanted && this.socket === undefined && this.dial(), 20);
    });
  }

  private onConnack(isPresent: boolean): void {
    if (this.known && !isPresent) this.faults.push(`the session of ${this.id} is lost`);
    this.known = true;
    this.connected = true;
    this.begin();
  }
}

interface Outstanding {
  readonly id: number;
  readonly count: number;
  readonly qos: 1 | 2;
  isReleased: boolean;
}

/** Publishes numbers, at QoS 1 and 2 by turns, so many at a time, and remembers which were acknowledged. */
export class Publisher extends SessionClient {
  /** By packet identifier, in the order of their first sending. */
  private readonly outstanding = new Map<number, Outstanding>();
  private lastId = 0;
  private count = 0;
  private isStopped = false;
  /** QoS by number, of those that the server has taken responsibility for. */
  readonly acknowledged = new Map<number, 1 | 2>();

  constructor(
    id: string,
    port: number,
    private readonly window: number,
    private readonly payloadBytes: number,
  ) {
    super(id, port);
  }

  /** No new ones from now on. */
  stop(): void {
    this.isStopped = true;
  }

  get isDone(): boolean {
    return this.isStopped && this.outstanding.size === 0;
  }

  protected begin(): void {
    for (const message of this.outstanding.values()) {
      if (message.isReleased) this.send({ cmd: "pubrel", messageId: message.id });
      else this.publish(message, true);
    }
    this.fill();
  }

  protected onPacket(packet: Packet): void {
    const id = packet.messageId ?? 0;
    const message = this.outstanding.get(id);
    if (packet.cmd === "pubrec" && message !== undefined) {
      message.isReleased = true;
      // The server is responsible from here on.
      this.acknowledged.set(message.count, 2);
      this.send({ cmd: "pubrel", messageId: id });
    } else if (packet.cmd === "puback" || packet.cmd === "pubcomp") {
      if (message !== undefined) this.acknowledged.set(message.count, message.qos);
      this.outstanding.delete(id);
      this.fill();
    } else if (packet.cmd === "disconnect") {
      this.faults.push(`${this.id} is disconnected with ${packet.reasonCode}`);
    }
  }

  private fill(): void {
    while (!this.isStopped && this.isConnected && this.outstanding.size < this.window) {
      do this.lastId = (this.lastId % 0xffff) + 1;
      while (this.outstanding.has(this.lastId));
      this.count += 1;
      const qos = this.count % 2 === 0 ? 1 : 2;
      const message: Outstanding = { id: this.lastId, count: this.count, qos, isReleased: false };
      this.outstanding.set(message.id, message);
      this.publish(message, false);
    }
  }

  private publish({ id, count, qos }: Outstanding, dup: boolean): void {
    const payload = `${count} `.padEnd(this.payloadBytes, "x");
    this.send({ cmd: "publish", topic: `crash/${this.id}`, payload, qos, dup, retain: false, messageId: id });
  }
}

/** Counts what arrives, by publisher and number. */
export class Subscriber extends SessionClient {
  private readonly unreleased = new Set<number>();
  private isSubscribed = false;
  readonly counts = new Map<string, Map<number, number>>();
  /** The last number that came for the first time, by publisher and QoS. */
  private readonly last = new Map<string, number>();
  /** Messages in all. */
  received = 0;

  constructor(
    id: string,
    port: number,
    readonly qos: 1 | 2,
  ) {
    super(id, port);
  }

  get isReady(): boolean {
    return this.isSubscribed;
  }

  protected begin(): void {
    if (this.isSubscribed) return;
    this.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "crash/#", qos: this.qos }] });
  }

  protected onPacket(packet: Packet): void {
    const id = packet.messageId ?? 0;
    if (packet.cmd === "suback") {
      this.isSubscribed = true;
    } else if (packet.cmd === "publish") {
      this.onPublish(packet, id);
    } else if (packet.cmd === "pubrel") {
      this.unreleased.delete(id);
      this.send({ cmd: "pubcomp", messageId: id });
    } else if (packet.cmd === "disconnect") {
      this.faults.push(`${this.id} is disconnected with ${packet.reasonCode}`);
    }
  }

  private onPublish({ topic, payload, qos }: IPublishPacket, id: number): void {
    if (qos === 1) {
      this.note(topic, payload.toString(), qos);
      this.send({ cmd: "puback", messageId: id });
      return;
    }
    if (!this.unreleased.has(id)) this.note(topic, payload.toString(), qos);
    this.unreleased.add(id);
    this.send({ cmd: "pubrec", messageId: id });
  }

  private note(topic: string, payload: string, qos: 0 | 1 | 2): void {
    const publisher = topic.slice("crash/".length);
    const count = Number.parseInt(payload, 10);
    let counts = this.counts.get(publisher);
    if (counts === undefined) {
      counts = new Map();
      this.counts.set(publisher, counts);
    }
    const before = counts.get(count) ?? 0;
    counts.set(count, before + 1);
    this.received += 1;
    if (before > 0) {
      if (qos === 2) this.faults.push(`${this.id} got ${publisher} ${count} twice at QoS 2`);
      return;
    }
    const kind = `${publisher} at QoS ${qos}`;
    const last = this.last.get(kind) ?? 0;
    if (count < last) this.faults.push(`${this.id} got ${kind} ${count} behind ${last}`);
    this.last.set(kind, count);
  }
}
