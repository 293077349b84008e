/** Whole edges in virtual time: real sessions over a real fabric side, and clients on in-memory byte streams. */
import { AgentFabric } from "@topicast/agent/fabric/fabric.js";
import type { SessionStore } from "@topicast/agent/mqtt/index.js";
import type { SysOptions } from "@topicast/agent/mqtt/sys.js";
import { type Endpoint, parseIPv4, payloadBytes } from "@topicast/protocol";
import type { IConnackPacket, IConnectPacket, IPublishPacket, Packet } from "mqtt-packet";
import { TestBroker, type TestClient } from "../agents/mqtt/harness.js";
import { FORWARDER, PORT, type SimNetwork, settleJobs } from "./sim.js";

export class SimEdge {
  readonly fabric: AgentFabric;
  readonly broker: TestBroker;
  private readonly endpoint: Endpoint;
  private readonly clients: EdgeClient[] = [];

  constructor(
    readonly network: SimNetwork,
    readonly id: string,
    address: string,
    store?: SessionStore,
    sys?: SysOptions,
  ) {
    this.endpoint = { address, port: PORT };
    const hex = parseIPv4(address)!.toString(16).padStart(8, "0");
    const { clock } = network;
    this.fabric = new AgentFabric({
      clock,
      unixTime: () => network.unixTime(),
      id,
      forwarder: FORWARDER,
      local: { ...this.endpoint, mac: `02:00:${hex.match(/../g)!.join(":")}` },
      payloadBytes: payloadBytes(1_500),
      transmit: (header, payload, to) => {
        for (const endpoint of to) network.send(header, payload, this.endpoint, endpoint);
      },
      defer: (fn) => void clock.setTimer(0, fn),
      random: network.rand,
      deliver: (message) => this.broker.broker.deliver(message),
      durable: () => this.broker.broker.unwritten(),
      onState: () => {},
    });
    this.broker = new TestBroker({
      ...{ clock, uplink: this.fabric },
      ...(store === undefined ? {} : { store }),
      ...(sys === undefined ? {} : { sys }),
    });
    network.attach(address, (bytes, from) => this.fabric.onDatagram(bytes, from));
  }

  /** What an earlier process has left in the store; before `start`. */
  restore(): Promise<void> {
    return this.broker.broker.restore();
  }

  start(): this {
    this.fabric.start();
    return this;
  }

  get address(): string {
    return this.endpoint.address;
  }

  /** Vanishes without a word, as `kill -9` does. */
  kill(): void {
    this.network.detach(this.address);
    this.network.cut.add(this.address);
    this.fabric.close();
    this.network.cut.delete(this.address);
    for (const client of this.clients) client.lose();
  }

  client(clientId: string, options: EdgeClientOptions = {}): EdgeClient {
    const client = new EdgeClient(this, clientId, options);
    this.clients.push(client);
    return client;
  }
}

export interface EdgeClientOptions extends Partial<IConnectPacket> {
  /** The client's part of its session: QoS 2 identifiers that it has received and not released. */
  readonly unreleased?: Set<number>;
  /** It acknowledges nothing. */
  readonly silent?: boolean;
}

/** A client of MQTT 5 whose session persists unless asked otherwise; it acknowledges what it gets. */
export class EdgeClient {
  connack: IConnackPacket | undefined;
  disconnect: number | undefined;
  onConnack: (connack: IConnackPacket) => void = () => {};
  /** Payloads, each as often as it came as a new message. */
  readonly got: string[] = [];
  /** When each of them came first. */
  readonly gotAt = new Map<string, number>();
  /** The last payload of each topic. */
  readonly last = new Map<string, string>();
  readonly acknowledged: number[] = [];
  private readonly stream: TestClient;
  private readonly unreleased: Set<number>;
  private readonly now: () => number;
  private nextId = 1;

  constructor(edge: SimEdge, clientId: string, options: EdgeClientOptions) {
    const { unreleased = new Set(), silent = false, ...connect } = options;
    this.unreleased = unreleased;
    this.now = () => edge.network.clock.now();
    this.stream = edge.broker.open(5);
    this.stream.stream.on("data", () => this.handle(silent));
    this.stream.send({
      ...{ cmd: "connect", clientId, clean: false, keepalive: 0, protocolVersion: 5 },
      properties: { sessionExpiryInterval: 1_000 },
      ...connect,
    });
  }

  get isConnected(): boolean {
    return this.connack?.reasonCode === 0 && this.disconnect === undefined && !this.isLost;
  }

  get isPresent(): boolean {
    return this.connack?.sessionPresent === true;
  }

  subscribe(topic: string, qos: 0 | 1 | 2): void {
    this.stream.send({ cmd: "subscribe", messageId: this.nextId++, subscriptions: [{ topic, qos }] });
  }

  unsubscribe(topic: string): void {
    this.stream.send({ cmd: "unsubscribe", messageId: this.nextId++, unsubscriptions: [topic] });
  }

  publish(topic: string, text: string, qos: 0 | 1 | 2, retain = false): void {
    const payload = Buffer.from(text);
    const messageId = qos > 0 ? this.nextId++ : undefined;
    const packet: Packet = { cmd: "publish", topic, payload, qos, dup: false, retain };
    if (messageId !== undefined) packet.messageId = messageId;
    this.stream.send(packet);
  }

  /** Goes in order; its session stays. */
  leave(): void {
    this.stream.send({ cmd: "disconnect" });
    this.stream.stream.end();
  }

  /** Its edge has died: nothing comes any more. */
  lose(): void {
    this.isLost = true;
    this.stream.stream.destroy();
  }

  /** Goes without a word. */
  drop(): void {
    this.stream.stream.destroy();
  }

  private isLost = false;
  private seen = 0;

  private handle(silent: boolean): void {
    const { received } = this.stream;
    if (this.isLost) return;
    for (; this.seen < received.length; this.seen++) this.onPacket(received[this.seen]!, silent);
  }

  private onPacket(packet: Packet, silent: boolean): void {
    const messageId = packet.messageId ?? 0;
    switch (packet.cmd) {
      case "connack":
        this.connack = packet;
        // Without a session there its own part of it is over, too (MQTT 5, section 3.2.2.1.1).
        if (!packet.sessionPresent) this.unreleased.clear();
        this.onConnack(packet);
        break;
      case "publish":
        this.onPublish(packet, messageId, silent);
        break;
      case "pubrel":
        this.unreleased.delete(messageId);
        this.stream.send({ cmd: "pubcomp", messageId });
        break;
      case "pubrec":
        this.stream.send({ cmd: "pubrel", messageId });
        break;
      case "puback":
      case "pubcomp":
        this.acknowledged.push(messageId);
        break;
      case "disconnect":
        this.disconnect = packet.reasonCode;
        break;
    }
  }

  private take(text: string): void {
    this.got.push(text);
    if (!this.gotAt.has(text)) this.gotAt.set(text, this.now());
  }

  private onPublish(packet: IPublishPacket, messageId: number, silent: boolean): void {
    const { topic, payload, qos } = packet;
    this.last.set(topic, payload.toString());
    if (qos < 2 || !this.unreleased.has(messageId)) this.take(payload.toString());
    if (qos === 2) this.unreleased.add(messageId);
    if (silent || qos === 0) return;
    this.stream.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId });
  }
}

/** Lets virtual time pass, and what it sets off in the streams. */
export async function pass(network: SimNetwork, ms: number, step = 1): Promise<void> {
  await network.run(ms, step);
  for (let i = 0; i < 4; i++) await settleJobs();
}
