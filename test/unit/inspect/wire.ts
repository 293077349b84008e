import type { CapturedFrame } from "@topicast/inspect/read/record.js";
import mqtt, { type Packet } from "mqtt-packet";

/** Conversations of many hosts, frame by frame, whose every answer is known because it was written down. */

export interface End {
  readonly address: string;
  readonly port: number;
}

export const end = (address: string, port: number): End => ({ address, port });

const RAW_IP = 101;
const COOKED = 113;
const TCP = 6;
const UDP = 17;
const ICMP = 1;

export class Wire {
  readonly frames: CapturedFrame[] = [];
  timeUs = 1_700_000_000_000_000;
  /** Whether each frame is captured on its way in and on its way out, as on Linux' interface any. */
  isTwice = false;
  private identification = 0;

  wait(seconds: number): this {
    this.timeUs += Math.round(seconds * 1_000_000);
    return this;
  }

  udp(from: End, to: End, payload: Buffer): this {
    const head = Buffer.alloc(8);
    head.writeUInt16BE(from.port, 0);
    head.writeUInt16BE(to.port, 2);
    head.writeUInt16BE(8 + payload.length, 4);
    head.writeUInt16BE(checksum(payload), 6);
    return this.packet(from.address, to.address, UDP, Buffer.concat([head, payload]));
  }

  /** The network's answer to the last frame, which was an IPv4 packet. */
  portUnreachable(): this {
    const quoted = this.frames.at(-1)!;
    const whole = quoted.linkType === COOKED ? quoted.bytes.subarray(16) : quoted.bytes;
    const to = [...whole.subarray(12, 16)].join(".");
    const from = [...whole.subarray(16, 20)].join(".");
    return this.packet(from, to, ICMP, Buffer.concat([Buffer.from([3, 3, 0, 0, 0, 0, 0, 0]), whole]));
  }

  /** What a resolver says: the names one behind the other are aliases, the last one's addresses are told. */
  resolve(client: string, names: readonly string[], addresses: readonly string[]): this {
    const isSix = addresses[0]?.includes(":") === true;
    const question = Buffer.concat([dnsName(names[0]!), Buffer.from([0, isSix ? 28 : 1, 0, 1])]);
    const aliases = names.slice(1).map((alias, i) => dnsRecord(names[i]!, 5, dnsName(alias)));
    const hosts = addresses.map((address) =>
      dnsRecord(
        names.at(-1)!,
        isSix ? 28 : 1,
        isSix ? ipv6(address) : Buffer.from(address.split(".").map(Number)),
      ),
    );
    const counts = (answers: number) => Buffer.from([0, 1, 0, answers, 0, 0, 0, 0]);
    const [here, there] = [end(client, 50_000), end("192.168.1.1", 53)];
    this.udp(here, there, Buffer.concat([Buffer.from([0, 7, 1, 0]), counts(0), question]));
    const answer = [Buffer.from([0, 7, 0x81, 0x80]), counts(aliases.length + hosts.length), question];
    return this.udp(there, here, Buffer.concat([...answer, ...aliases, ...hosts]));
  }

  tcp(client: End, server: End, version: 3 | 4 | 5 = 4): Talk {
    return new Talk(this, client, server, version);
  }

  packet(from: string, to: string, protocol: number, content: Buffer): this {
    const whole = Buffer.concat([header(from, to, protocol, content.length, ++this.identification), content]);
    const type = from.includes(":") ? 0x86dd : 0x0800;
    for (const way of this.isTwice ? [4, 0] : [undefined]) {
      this.timeUs += 500;
      const cooked =
        way === undefined
          ? Buffer.alloc(0)
          : Buffer.from([0, way, 0, 1, 0, 6, ...Buffer.alloc(8), type >> 8, type & 255]);
      const bytes = Buffer.concat([cooked, whole]);
      const linkType = way === undefined ? RAW_IP : COOKED;
      this.frames.push({
        timeUs: this.timeUs,
        nanos: 0,
        linkType,
        bytes,
        length: bytes.length,
        interface: undefined,
      });
    }
    return this;
  }
}

/** One TCP connection that carries MQTT. */
export class Talk {
  private readonly next = { up: 1_000, down: 5_000 };

  constructor(
    private readonly wire: Wire,
    private readonly client: End,
    private readonly server: End,
    private readonly version: 3 | 4 | 5,
  ) {
    this.segment("up", 0x02).segment("down", 0x12).segment("up", 0x10);
  }

  up(...packets: Packet[]): this {
    return this.data("up", packets);
  }

  down(...packets: Packet[]): this {
    return this.data("down", packets);
  }

  /** The last bytes of that side once more. */
  again(side: "up" | "down", ...packets: Packet[]): this {
    const bytes = this.encode(packets);
    this.next[side] -= bytes.length;
    return this.segment(side, 0x18, bytes);
  }

  /** CONNECT and a CONNACK that accepts it. */
  connect(clientId: string, more: object = {}): this {
    this.up({
      cmd: "connect",
      clientId,
      clean: true,
      keepalive: 60,
      protocolId: this.version === 3 ? "MQIsdp" : "MQTT",
      protocolVersion: this.version,
      ...more,
    } as Packet);
    return this.down({ cmd: "connack", returnCode: 0, reasonCode: 0, sessionPresent: false } as Packet);
  }

  subscribe(messageId: number, ...filters: string[]): this {
    const subscriptions = filters.map((topic) => ({ topic, qos: 2 as const }));
    this.up({ cmd: "subscribe", messageId, subscriptions });
    return this.down({ cmd: "suback", messageId, granted: filters.map(() => 2) } as Packet);
  }

  /** Both sides close, the client first. */
  close(): this {
    return this.fin("up").fin("down");
  }

  fin(side: "up" | "down"): this {
    return this.segment(side, 0x11);
  }

  reset(side: "up" | "down"): this {
    return this.segment(side, 0x14);
  }

  private data(side: "up" | "down", packets: readonly Packet[]): this {
    return this.segment(side, 0x18, this.encode(packets));
  }

  private encode(packets: readonly Packet[]): Buffer {
    return Buffer.concat(packets.map((packet) => mqtt.generate(packet, { protocolVersion: this.version })));
  }

  private segment(side: "up" | "down", flags: number, payload: Buffer = Buffer.alloc(0)): this {
    const [from, to] = side === "up" ? [this.client, this.server] : [this.server, this.client];
    const head = Buffer.alloc(20);
    head.writeUInt16BE(from.port, 0);
    head.writeUInt16BE(to.port, 2);
    head.writeUInt32BE(this.next[side], 4);
    if (flags & 0x10) head.writeUInt32BE(this.next[side === "up" ? "down" : "up"], 8);
    head[12] = 0x50;
    head[13] = flags;
    this.next[side] += payload.length + (flags & 3 ? 1 : 0);
    this.wire.packet(from.address, to.address, TCP, Buffer.concat([head, payload]));
    return this;
  }
}

export const publish = (topic: string, payload: string, more: object = {}): Packet =>
  ({ cmd: "publish", topic, payload, qos: 0, dup: false, retain: false, ...more }) as Packet;

const TYPES = ["CON", "NON", "ACK", "RST"];

export interface CoapOptions {
  readonly token?: string;
  readonly path?: string;
  readonly observe?: number;
  readonly payload?: string;
}

/** `code` as 0.01 or 4.04; the token in hexadecimal. */
export function coap(type: string, code: string, messageId: number, options: CoapOptions = {}): Buffer {
  const { token = "", path = "", observe, payload = "" } = options;
  const [major, minor] = code.split(".").map(Number) as [number, number];
  const id = Buffer.from(token, "hex");
  const parts: Buffer[] = [
    Buffer.from([
      0x40 | (TYPES.indexOf(type) << 4) | id.length,
      (major << 5) | minor,
      messageId >> 8,
      messageId & 255,
    ]),
    id,
  ];
  let number = 0;
  const option = (which: number, value: Buffer) => {
    const long = value.length > 12;
    parts.push(
      Buffer.from([
        ((which - number) << 4) | (long ? 13 : value.length),
        ...(long ? [value.length - 13] : []),
      ]),
      value,
    );
    number = which;
  };
  if (observe !== undefined) option(6, observe === 0 ? Buffer.alloc(0) : Buffer.from([observe]));
  for (const segment of path.split("/").filter((each) => each !== "")) option(11, Buffer.from(segment));
  if (payload !== "") parts.push(Buffer.from([0xff]), Buffer.from(payload));
  return Buffer.concat(parts);
}

/** MQTT-SN's short header in front of a body. */
export function sn(type: number, ...body: (number | string)[]): Buffer {
  const rest = Buffer.concat(
    body.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from([part]))),
  );
  return Buffer.concat([Buffer.from([rest.length + 2, type]), rest]);
}

function header(from: string, to: string, protocol: number, length: number, identification: number): Buffer {
  if (from.includes(":")) {
    const bytes = Buffer.alloc(40);
    bytes[0] = 0x60;
    bytes.writeUInt16BE(length, 4);
    bytes[6] = protocol;
    bytes[7] = 64;
    ipv6(from).copy(bytes, 8);
    ipv6(to).copy(bytes, 24);
    return bytes;
  }
  const bytes = Buffer.alloc(20);
  bytes[0] = 0x45;
  bytes.writeUInt16BE(20 + length, 2);
  bytes.writeUInt16BE(identification & 0xffff, 4);
  bytes[8] = 64;
  bytes[9] = protocol;
  bytes.set(from.split(".").map(Number), 12);
  bytes.set(to.split(".").map(Number), 16);
  return bytes;
}

function ipv6(text: string): Buffer {
  const [head = "", tail] = text.split("::");
  const groups = (part: string) => part.split(":").filter((each) => each !== "");
  const [before, after] = [groups(head), groups(tail ?? "")];
  const zeros = Array<string>(8 - before.length - after.length).fill("0");
  return Buffer.from([...before, ...zeros, ...after].map((group) => group.padStart(4, "0")).join(""), "hex");
}

function dnsName(name: string): Buffer {
  return Buffer.from(
    `${name}.`
      .split(".")
      .map((label) => String.fromCharCode(label.length) + label)
      .join(""),
    "latin1",
  );
}

function dnsRecord(name: string, type: number, data: Buffer): Buffer {
  return Buffer.concat([dnsName(name), Buffer.from([0, type, 0, 1, 0, 0, 0, 60, 0, data.length]), data]);
}

/** No real one, but another for another payload. */
function checksum(payload: Buffer): number {
  let sum = 1;
  for (const byte of payload) sum = (sum * 31 + byte) & 0xffff;
  return sum;
}
