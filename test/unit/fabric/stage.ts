/**
 * Where one and the same play is acted: at one agent alone, or with publishers at one edge and subscribers at another. Who
 * plays cannot tell which.
 */
import assert from "node:assert/strict";
import type { IConnackPacket, IConnectPacket, IPublishPacket, Packet } from "mqtt-packet";
import { describe as inWords, settle, TestBroker, type TestClient } from "../agents/mqtt/harness.js";
import { pass, SimEdge } from "./edges.js";
import { type Faults, SimForwarder, SimNetwork } from "./sim.js";

/** Long enough for every answer, also where datagrams are lost. */
const QUIET_MS = 400;
const TROUBLED_MS = 1_500;

export class Stage {
  private constructor(
    /** Where most publishers are, and most subscribers. */
    readonly here: TestBroker,
    readonly there: TestBroker,
    /** Lets virtual time pass. */
    readonly pass: (ms: number) => Promise<void>,
    private readonly quietMs: number,
  ) {}

  /** One agent without a forwarder. */
  static alone(): Stage {
    const broker = new TestBroker();
    const passTime = async (ms: number) => {
      for (const end = broker.clock.now() + ms; broker.clock.now() < end; ) {
        broker.clock.advance(Math.min(50, end - broker.clock.now()));
        await settle();
      }
    };
    return new Stage(broker, broker, passTime, 1);
  }

  /** Two edges of one network. */
  static async apart(seed: number, faults?: Faults): Promise<Stage> {
    const network = new SimNetwork(seed, faults);
    new SimForwarder(network);
    const [here, there] = ["e1", "e2"].map((id, i) => new SimEdge(network, id, `10.0.0.10${i + 1}`).start());
    await pass(network, 6_000, 10);
    const passTime = (ms: number) => pass(network, ms, 5);
    return new Stage(here!.broker, there!.broker, passTime, faults === undefined ? QUIET_MS : TROUBLED_MS);
  }

  /** Until everything that is under way has come to rest. */
  quiet(): Promise<void> {
    return this.pass(this.quietMs);
  }

  /** A client of MQTT 5, unless told otherwise, that is let in. */
  async connect(where: TestBroker, clientId: string, options: Options = {}): Promise<Player> {
    const { silent = false, ...connect } = options;
    const client = where.open(connect.protocolVersion === 4 ? 4 : 5);
    const player = new Player(this, client, silent);
    client.send({ cmd: "connect", clientId, clean: true, keepalive: 0, protocolVersion: 5, ...connect });
    for (let i = 0; i < 4 && client.received.length === 0; i++) await this.quiet();
    const [first] = client.received;
    assert.ok(first?.cmd === "connack", `${clientId}: ${first && inWords(first)}`);
    assert.equal(first.returnCode ?? first.reasonCode, 0);
    player.skip(first);
    return player;
  }
}

type Options = Partial<IConnectPacket> & { readonly silent?: boolean };

/** A client that answers what it gets, as the standard asks. */
export class Player {
  connack!: IConnackPacket;
  private handled = 0;
  private heard = 0;

  /** @param silent gets messages, and acknowledges none */
  constructor(
    private readonly stage: Stage,
    readonly client: TestClient,
    silent: boolean,
  ) {
    client.stream.on("data", () => {
      const { received } = client;
      for (; this.handled < received.length; this.handled++) this.answer(received[this.handled]!, silent);
    });
  }

  skip(connack: IConnackPacket): void {
    this.connack = connack;
    this.heard = 1;
  }

  send(...packets: Packet[]): this {
    this.client.send(...packets);
    return this;
  }

  /** What has come since the last time, once all is quiet; without the inner steps of QoS 2. */
  async told(): Promise<string[]> {
    const words = (await this.got()).map(inWords);
    return words.filter((word) => !/^(pubrel|pubrec) \d+$/.test(word));
  }

  /** The messages among that, whole. */
  async messages(): Promise<IPublishPacket[]> {
    return (await this.got()).filter((packet) => packet.cmd === "publish");
  }

  get ended(): boolean {
    return this.client.ended;
  }

  /** Goes in order. */
  leave(): void {
    this.send({ cmd: "disconnect" });
    this.client.stream.end();
  }

  /** Goes without a word. */
  drop(): void {
    this.client.stream.destroy();
  }

  private async got(): Promise<Packet[]> {
    await this.stage.quiet();
    await settle();
    const fresh = this.client.received.slice(this.heard);
    this.heard = this.client.received.length;
    return fresh;
  }

  private answer(packet: Packet, silent: boolean): void {
    const { cmd, messageId } = packet;
    if (cmd === "pubrel") this.send({ cmd: "pubcomp", messageId: messageId! });
    if (cmd === "pubrec" && (packet.reasonCode ?? 0) < 0x80)
      this.send({ cmd: "pubrel", messageId: messageId! });
    if (cmd !== "publish" || packet.qos === 0 || silent) return;
    this.send({ cmd: packet.qos === 1 ? "puback" : "pubrec", messageId: messageId! });
  }
}
