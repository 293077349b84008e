import { packetSize } from "@topicast/protocol";
import { type MqttServices, MqttStream } from "./app.js";
import type { DecodeAs } from "./decode-as.js";
import type { Moment } from "./tcp/direction.js";
import type { Side, Stream, StreamReader } from "./tcp/streams.js";

/** HTTP headers longer than that are no WebSocket handshake that anybody serves. */
const MAX_HEADERS = 16 * 1024;
export const MQTT_PORT = 1883;
const NOTHING = Buffer.alloc(0);
/** First bytes of a CONNECT up to its protocol's name, and of an HTTP request, whatever the lengths. */
const CONNECT_HEAD = 13;
const TLS_HANDSHAKE = 0x16;

/** Finds out what a stream carries by its first bytes, its ports, and what the user says; then hands its bytes on. */
export class Detector implements StreamReader {
  /** Of HTTP the headers; else a beginning too short to tell. */
  private heads: [Buffer, Buffer] = [NOTHING, NOTHING];
  private isHttp = false;
  private isOther = false;
  /** Something is missing before what is read now. */
  private isHoled = false;
  private hasBegun: [boolean, boolean] = [false, false];

  constructor(
    private readonly stream: Stream,
    private readonly services: MqttServices,
    private readonly decodeAs: DecodeAs,
  ) {}

  onBytes(side: Side, fresh: Buffer, at: Moment): void {
    if (this.isOther) return;
    const before = this.heads[side];
    const isDecidable = this.isHttp || before.length === 0;
    const bytes = isDecidable ? fresh : Buffer.concat([before, fresh]);
    if (!this.isHttp && !this.hasBegun[side] && mayBegin(bytes)) {
      this.heads[side] = Buffer.from(bytes);
      return;
    }
    if (!this.isHttp) this.heads[side] = NOTHING;
    const { stream } = this;
    const ports: [number, number] = [stream.ends[0].port, stream.ends[1].port];
    const told = this.decodeAs.of("tcp", ports);
    if (!this.isHttp && told !== undefined) return this.asTold(told, side, bytes, at);
    if (this.isHttp) return this.onHttp(side, bytes, at);
    const isFirst = !this.hasBegun[side];
    this.hasBegun[side] = true;
    if (isFirst && isConnect(bytes)) {
      stream.clientSide = side;
      return this.become("tcp", false, side, bytes, at);
    }
    if (bytes[0] === TLS_HANDSHAKE && bytes[1] === 3) return this.settle("tls");
    if (isFirst && bytes.toString("latin1", 0, 4) === "GET ") {
      stream.clientSide = side;
      this.isHttp = true;
      stream.application = "http";
      return this.onHttp(side, bytes, at);
    }
    if (ports.includes(MQTT_PORT)) return this.become("tcp", this.isHoled || !stream.hasSyn, side, bytes, at);
    this.isOther = true;
  }

  onGap(side: Side): void {
    if (this.isOther) return;
    // A handshake with a hole cannot be followed; MQTT's ports and what the user says still hold.
    if (this.isHttp) this.isOther = true;
    this.hasBegun[side] = true;
    this.isHoled = true;
  }

  onEnd(at: Moment): void {
    // What was too short to tell, where the port tells.
    for (const side of [0, 1] as const) {
      const head = this.heads[side];
      if (this.isHttp || head.length === 0 || this.isOther) continue;
      this.hasBegun[side] = true;
      this.heads[side] = NOTHING;
      this.onBytes(side, head, at);
    }
    if (this.stream.reader !== this) this.stream.reader?.onEnd(at);
  }

  private asTold(protocol: string, side: Side, bytes: Buffer, at: Moment): void {
    const { stream } = this;
    if (protocol === "mqtt")
      return this.become("tcp", this.isHoled || (!stream.hasSyn && !isConnect(bytes)), side, bytes, at);
    if (protocol === "websocket") {
      if (bytes.toString("latin1", 0, 4) !== "GET ") return this.become("websocket", false, side, bytes, at);
      this.isHttp = true;
      stream.clientSide = side;
      return this.onHttp(side, bytes, at);
    }
    this.isOther = true;
  }

  /** Waits for both headers of the upgrade (RFC 6455, section 4). */
  private onHttp(side: Side, bytes: Buffer, at: Moment): void {
    const head = Buffer.concat([this.heads[side], bytes]);
    this.heads[side] = head;
    if (head.length > MAX_HEADERS) return this.settle("http");
    const client = this.stream.clientSide ?? 0;
    const [asked, answered] = [this.heads[client], this.heads[client === 0 ? 1 : 0]];
    const [askedEnd, answeredEnd] = [headersEnd(asked), headersEnd(answered)];
    if (askedEnd < 0 || answeredEnd < 0) return;
    const request = asked.toString("latin1", 0, askedEnd).toLowerCase();
    const response = answered.toString("latin1", 0, answeredEnd).toLowerCase();
    const isUpgrade = /^http\/1\.1 101/.test(response) && /\r\nupgrade:\s*websocket/.test(request);
    const isMqtt = /\r\nsec-websocket-protocol:[^\r]*mqtt/.test(request);
    if (!isUpgrade || !isMqtt) return this.settle("http");
    const reader = this.attach("websocket", false, at);
    const [upRest, downRest] = [asked.subarray(askedEnd), answered.subarray(answeredEnd)];
    if (upRest.length > 0) reader.onBytes(client, upRest, at);
    if (downRest.length > 0) reader.onBytes(client === 0 ? 1 : 0, downRest, at);
  }

  private become(
    transport: "tcp" | "websocket",
    isMiddle: boolean,
    side: Side,
    bytes: Buffer,
    at: Moment,
  ): void {
    const { stream } = this;
    stream.clientSide ??= this.guessClient();
    this.attach(transport, isMiddle, at).onBytes(side, bytes, at);
  }

  private attach(transport: "tcp" | "websocket", isMiddle: boolean, at: Moment): StreamReader {
    const { stream } = this;
    stream.application = transport === "tcp" ? "mqtt" : "websocket";
    const reader = new MqttStream(stream, this.services, transport, isMiddle, at);
    stream.reader = reader;
    return reader;
  }

  /** Servers have the well-known, or at least the lower port. */
  private guessClient(): Side {
    const [a, b] = this.stream.ends;
    if (a.port === MQTT_PORT || b.port === MQTT_PORT) return a.port === MQTT_PORT ? 1 : 0;
    return a.port < b.port ? 1 : 0;
  }

  private settle(application: string): void {
    this.isOther = true;
    this.heads = [NOTHING, NOTHING];
    this.stream.application = application;
  }
}

/** Whether these few bytes may go on as a CONNECT or a GET. */
function mayBegin(bytes: Buffer): boolean {
  if (bytes[0] === 0x10)
    return bytes.length < CONNECT_HEAD && !isConnect(bytes) && packetSize(bytes, 0, bytes.length) >= 0;
  return bytes.length < 4 && "GET ".startsWith(bytes.toString("latin1"));
}

function headersEnd(bytes: Buffer): number {
  const end = bytes.indexOf("\r\n\r\n");
  return end < 0 ? -1 : end + 4;
}

/** Whether these are the first bytes of a CONNECT, whatever the port. */
export function isConnect(bytes: Buffer): boolean {
  if (bytes[0] !== 0x10 || packetSize(bytes, 0, bytes.length) <= 0) return false;
  let at = 1;
  while (bytes[at]! >= 0x80) at += 1;
  const name = bytes.toString("latin1", at + 1, at + 9);
  return name.startsWith("\0\x04MQTT") || name.startsWith("\0\x06MQIsdp");
}
