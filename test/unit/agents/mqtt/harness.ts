/**
 * A broker on a virtual clock and clients on in-memory byte streams: what a client writes reaches the broker in the
 * same turn, back-pressure and half-close work as on a socket.
 */
import { Duplex } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Authority, allowAll, Broker, type BrokerOptions } from "@topicast/agent/mqtt/index.js";
import type { ByteStream } from "@topicast/agent/transport/transport.js";
import { SimClock } from "@topicast/protocol";
import mqtt, {
  type IConnackPacket,
  type IConnectPacket,
  type IPublishPacket,
  type Packet,
} from "mqtt-packet";

export class MemoryStream extends Duplex implements ByteStream {
  other!: MemoryStream;
  /** Calls of _write and _writev: what would be writes to a socket. */
  writes = 0;
  waiting: (() => void) | undefined;

  constructor(
    readonly peer: string,
    highWaterMark = 16_384,
  ) {
    super({ highWaterMark, allowHalfOpen: true });
  }

  override _read(): void {
    const { waiting } = this.other;
    this.other.waiting = undefined;
    waiting?.();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.writes += 1;
    this.hand(chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.writes += 1;
    this.hand(Buffer.concat(chunks.map((c) => c.chunk)), done);
  }

  override _final(done: () => void): void {
    this.other.push(null);
    // As a socket does: the end is told even where reading is paused, once there is nothing left to read.
    this.other.read(0);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.other.destroyed && !(this.writableFinished && this.readableEnded)) {
      const { other } = this;
      process.nextTick(() =>
        other.destroy(Object.assign(new Error("connection reset"), { code: "ECONNRESET" })),
      );
    }
    done(error);
  }

  protected hand(bytes: Buffer, done: () => void): void {
    if (this.other.destroyed || this.other.push(bytes)) done();
    else this.waiting = done;
  }
}

export function streamPair(
  highWaterMark?: number,
  Kind = MemoryStream,
): [server: MemoryStream, client: MemoryStream] {
  const server = new Kind("192.0.2.1:50000", highWaterMark);
  const client = new Kind("192.0.2.254:1883", highWaterMark);
  server.other = client;
  client.other = server;
  client.on("error", () => {});
  return [server, client];
}

/** A client on the level of packets. Everything received is kept, decoded in the order of its arrival. */
export class TestClient {
  readonly received: Packet[] = [];
  readonly errors: Error[] = [];
  connack!: IConnackPacket;
  /** What came with the CONNACK. */
  early: Packet[] = [];
  ended = false;
  closed = false;
  bytes = 0;
  private seen = 0;

  constructor(
    readonly stream: MemoryStream,
    readonly server: MemoryStream,
    private readonly version: 3 | 4 | 5 = 4,
  ) {
    const parser = mqtt.parser({ protocolVersion: version });
    parser.on("packet", (packet) => this.received.push(packet));
    parser.on("error", (error: Error) => this.errors.push(error));
    stream.on("data", (chunk: Buffer) => {
      this.bytes += chunk.length;
      parser.parse(chunk);
    });
    stream.on("end", () => {
      this.ended = true;
    });
    stream.on("close", () => {
      this.closed = true;
    });
  }

  send(...packets: Packet[]): this {
    const options = { protocolVersion: this.version };
    for (const packet of packets) this.stream.write(mqtt.generate(packet, options));
    return this;
  }

  raw(...bytes: (Buffer | string)[]): this {
    for (const part of bytes) {
      this.stream.write(typeof part === "string" ? Buffer.from(part.replaceAll(/\s/g, ""), "hex") : part);
    }
    return this;
  }

  /** What has arrived since the last call, once this turn's packets are through. */
  async take(): Promise<Packet[]> {
    await settle();
    const fresh = this.received.slice(this.seen);
    this.seen = this.received.length;
    return fresh;
  }

  /** The same in one word or two per packet, e.g. `publish a/b 21`, `suback 7 [0]`, `puback 3`. */
  async told(): Promise<string[]> {
    return (await this.take()).map(describe);
  }
}

export function describe(packet: Packet): string {
  switch (packet.cmd) {
    case "connack":
      return `connack ${packet.returnCode ?? packet.reasonCode}${packet.sessionPresent ? " present" : ""}`;
    case "publish": {
      const flags = `${packet.qos > 0 ? ` q${packet.qos}` : ""}${packet.retain ? " retain" : ""}${packet.dup ? " dup" : ""}`;
      return `publish ${packet.topic} ${packet.payload.toString()}${flags}`;
    }
    case "suback":
      return `suback ${packet.messageId} [${packet.granted.join(",")}]`;
    case "unsuback": {
      const codes = (packet.granted as number[] | undefined) ?? [];
      return `unsuback ${packet.messageId}${codes.length > 0 ? ` [${codes.join(",")}]` : ""}`;
    }
    case "disconnect":
      return `disconnect${packet.reasonCode === undefined ? "" : ` ${hex(packet.reasonCode)}`}`;
    default: {
      const code = (packet as { reasonCode?: number }).reasonCode ?? 0;
      const id = packet.messageId === undefined ? "" : ` ${packet.messageId}`;
      return `${packet.cmd}${id}${code > 0 ? ` ${hex(code)}` : ""}`;
    }
  }
}

export function hex(code: number): string {
  return `0x${code.toString(16).padStart(2, "0")}`;
}

/** Lets everything that is under way in this turn of the event loop, and in what follows from it, come to rest. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 6; i++) await nextTurn();
}

export class TestBroker {
  readonly broker: Broker;

  constructor(
    options: BrokerOptions = {},
    readonly clock = new SimClock(),
  ) {
    this.broker = new Broker({ clock: this.clock, ...options });
  }

  /** A stream that has not sent anything yet. */
  open(version?: 3 | 4 | 5, highWaterMark?: number): TestClient {
    const [server, client] = streamPair(highWaterMark);
    this.broker.accept(server);
    return new TestClient(client, server, version);
  }

  /** A connected client. */
  async connect(clientId: string, options: Partial<IConnectPacket> = {}): Promise<TestClient> {
    const client = this.open(options.protocolVersion);
    client.send({ cmd: "connect", clientId, clean: true, keepalive: 0, ...options });
    const [first, ...rest] = await client.take();
    if (first?.cmd !== "connack" || (first.returnCode ?? first.reasonCode) !== 0) {
      throw new Error(`not connected: ${first && describe(first)}`);
    }
    client.connack = first;
    client.early = rest;
    return client;
  }

  /** A connected client of MQTT 5. */
  connect5(clientId: string, options: Partial<IConnectPacket> = {}): Promise<TestClient> {
    return this.connect(clientId, { protocolVersion: 5, ...options });
  }

  stat(name: string): number {
    const value = this.broker.stats()[name];
    if (value === undefined) throw new Error(`no counter ${name}`);
    return value;
  }
}

/** One user name and password for every client without a certificate; all may do everything. */
export function oneUser(username: string, password: string): Authority {
  return {
    ...allowAll,
    authenticate(request) {
      if (request.identity !== undefined) return { admitted: true, username: request.identity };
      if (request.username === undefined) return { admitted: false, reason: "not_authorized" };
      const isRight = request.username === username && request.password?.toString() === password;
      return isRight ? { admitted: true, username } : { admitted: false, reason: "bad_credentials" };
    },
  };
}

export interface PublishOptions {
  qos?: 0 | 1 | 2;
  id?: number;
  retain?: boolean;
  dup?: boolean;
  properties?: NonNullable<IPublishPacket["properties"]>;
}

export function publish(topic: string, payload = "x", options: PublishOptions = {}): Packet {
  const { qos = 0, id, retain = false, dup = false, properties } = options;
  const packet: Packet = { cmd: "publish", topic, payload: Buffer.from(payload), qos, retain, dup };
  if (id !== undefined) packet.messageId = id;
  if (properties !== undefined) packet.properties = properties;
  return packet;
}

export function subscribe(messageId: number, ...filters: string[]): Packet {
  return subscribeAt(0, messageId, ...filters);
}

export function subscribeAt(qos: 0 | 1 | 2, messageId: number, ...filters: string[]): Packet {
  return { cmd: "subscribe", messageId, subscriptions: filters.map((topic) => ({ topic, qos })) };
}

export function unsubscribe(messageId: number, ...unsubscriptions: string[]): Packet {
  return { cmd: "unsubscribe", messageId, unsubscriptions };
}
