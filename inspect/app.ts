import { Cutter } from "./decode/cutter.js";
import { decodeMqtt } from "./decode/mqtt.js";
import { Type, type Version } from "./decode/mqtt-types.js";
import { WebSocketReader } from "./decode/websocket.js";
import type { Budget } from "./tcp/budget.js";
import type { Moment } from "./tcp/direction.js";
import type { Side, Stream, StreamReader } from "./tcp/streams.js";
import type { Connection } from "./track/connection.js";
import type { MqttTracker } from "./track/mqtt.js";
import { versionHint } from "./track/version.js";

/** Packets that wait until the version of their connection is clear. */
const MAX_UNDECIDED = 64;
const MAX_UNDECIDED_BYTES = 256 * 1024;

export type ReportProblem = (layer: string, reason: string, at: Moment, stream?: number) => void;

export interface MqttServices {
  readonly tracker: MqttTracker;
  readonly budget: Budget;
  readonly problem: ReportProblem;
}

interface Undecided {
  readonly bytes: Buffer;
  readonly length: number;
  readonly isHoled: boolean;
  readonly side: Side;
  readonly at: Moment;
}

/** Who sends a type whoever it is; the others both may. */
const BY_CLIENT = new Set<number>([Type.CONNECT, Type.SUBSCRIBE, Type.UNSUBSCRIBE, Type.PINGREQ]);
const BY_SERVER = new Set<number>([Type.CONNACK, Type.SUBACK, Type.UNSUBACK, Type.PINGRESP]);

/** A stream that carries MQTT, straight or in WebSocket frames. */
export class MqttStream implements StreamReader {
  private readonly cutters: readonly [Cutter, Cutter];
  private readonly frames: readonly [WebSocketReader, WebSocketReader] | undefined;
  private readonly connection: Connection;
  private version: Version | undefined;
  private inferred = false;
  private undecided: Undecided[] = [];
  private undecidedBytes = 0;
  private guess: Version = 4;

  constructor(
    private readonly stream: Stream,
    private readonly services: MqttServices,
    transport: "tcp" | "websocket",
    isMiddle: boolean,
    at: Moment,
  ) {
    const { budget, tracker } = services;
    const cutter = (side: Side) =>
      new Cutter(
        budget,
        {
          onPacket: (bytes, length, isHoled, when) =>
            this.onPacket({ bytes, length, isHoled, side, at: when }),
          onProblem: (reason, when) => this.problem(reason, when),
        },
        isMiddle,
      );
    this.cutters = [cutter(0), cutter(1)];
    if (transport === "websocket") {
      const frames = (side: Side) =>
        new WebSocketReader({
          onBytes: (bytes, when) => this.cutters[side].push(bytes, when),
          onProblem: (reason, when) => services.problem("websocket", reason, when, stream.index),
        });
      this.frames = [frames(0), frames(1)];
    }
    this.connection = tracker.open(transport, stream.index, stream.client, stream.server, at);
  }

  onBytes(side: Side, bytes: Buffer, at: Moment): void {
    (this.frames ?? this.cutters)[side].push(bytes, at);
  }

  onGap(side: Side, missing: number, at: Moment): void {
    if (this.version === undefined && this.undecided.length > 0) this.decide(this.guess);
    (this.frames ?? this.cutters)[side].gap(missing, at);
  }

  onFin(at: Moment): void {
    this.connection.onFin(at);
  }

  onEnd(at: Moment): void {
    for (const cutter of this.cutters) cutter.end(at);
    if (this.version === undefined) this.decide(this.guess);
    this.connection.close(this.stream.end, at);
  }

  private onPacket(packet: Undecided): void {
    const { bytes, length, side, at } = packet;
    const type = bytes[0]! >> 4;
    if (type === Type.CONNECT) {
      this.setClient(side);
      // The level stands in the packet; reading it needs no version.
      const level = decodeMqtt(bytes, length, 4).connect?.level;
      if (this.version !== undefined && !this.inferred) this.problem("a second CONNECT (MQTT-3.1.0-2)", at);
      this.inferred = false;
      this.decide(level === 3 || level === 5 ? level : 4);
    } else if (this.version === undefined) {
      this.inferred = true;
      if (BY_CLIENT.has(type)) this.setClient(side);
      if (BY_SERVER.has(type)) this.setClient(side === 0 ? 1 : 0);
      return this.postpone(packet);
    }
    this.handle(packet, this.version!);
  }

  private postpone(packet: Undecided): void {
    const { bytes, length } = packet;
    this.undecided.push({ ...packet, bytes: Buffer.from(bytes) });
    this.undecidedBytes += bytes.length;
    const hint = versionHint(bytes, length);
    if (hint !== undefined) this.guess = hint.version;
    const isFull = this.undecided.length >= MAX_UNDECIDED || this.undecidedBytes > MAX_UNDECIDED_BYTES;
    if (hint?.isCertain === true || isFull) this.decide(this.guess);
  }

  private decide(version: Version): void {
    this.version = version;
    const { undecided } = this;
    this.undecided = [];
    this.undecidedBytes = 0;
    for (const packet of undecided) this.handle(packet, version);
  }

  private handle({ bytes, length, isHoled, side, at }: Undecided, version: Version): void {
    const packet = decodeMqtt(bytes, length, version);
    if (isHoled && !packet.isUnreadable) packet.problems.push("the packet is not wholly in the capture");
    for (const reason of packet.problems) this.problem(reason, at);
    this.connection.onPacket(packet, version, this.inferred, side === (this.stream.clientSide ?? 0), at);
  }

  private setClient(side: Side): void {
    if (this.stream.clientSide === side) return;
    this.stream.clientSide = side;
    this.connection.setEnds(this.stream.client, this.stream.server);
  }

  private problem(reason: string, at: Moment): void {
    this.services.problem("mqtt", reason, at, this.stream.index);
  }
}
