import mqtt, { type IPublishPacket, type Packet } from "mqtt-packet";
import { z } from "zod";
import type { AccessLists } from "../access/lists.js";
import { ACCESS_FILE_BYTES_MAX } from "../access/read.js";
import { canonicalAddress } from "../addresses.js";
import type { Message } from "../message.js";
import { FieldReader } from "../mqtt/fields.js";
import { bodyStart, packetSize, variableSize, writeVariable } from "../mqtt/lengths.js";
import { PropertyId } from "../mqtt/properties.js";
import { readPublish } from "../mqtt/publish.js";

/** Reserved topics of the control channel: protocol/README.md, section "Messages". */
export const FabricTopic = {
  HELD: "$fabric/held",
  ROUTE: "$fabric/route",
  RELEASE: "$fabric/release",
  LOCATE: "$fabric/locate",
  VACANT: "$fabric/vacant",
  ACCESS: "$fabric/access",
  GROUP: "$fabric/group",
  GONE: "$fabric/gone",
  STEERING: "$fabric/steering",
  EDGES: "$fabric/edges",
  CLAIM: "$fabric/claim",
  CLAIMED: "$fabric/claimed",
  UNCLAIM: "$fabric/unclaim",
  CLIENTS: "$fabric/clients",
  YIELD: "$fabric/yield",
  TAKE: "$fabric/take",
  SESSION: "$fabric/session",
  RETAIN: "$fabric/retain",
  KEPT: "$fabric/kept",
  RETAINED: "$fabric/retained",
  WILL: "$fabric/will",
  FIRED: "$fabric/fired",
  MEMBERS: "$fabric/members",
  JOINED: "$fabric/joined",
  SHARES: "$fabric/shares",
  SYS: "$fabric/sys",
  FLUSH: "$fabric/flush",
  FLUSHED: "$fabric/flushed",
  QUARANTINE: "$fabric/quarantine",
  GUESSES: "$fabric/guesses",
  LOCK: "$fabric/lock",
  WHERE: "$fabric/where",
  DURABLE: "$fabric/durable",
  NOTED: "$fabric/noted",
  DEFER: "$fabric/defer",
  DEFERRED: "$fabric/deferred",
  MISSED: "$fabric/missed",
} as const;

export const FABRIC_PREFIX = "$fabric/";

/** `$fabric/route`: what a publishing agent must know to send a topic without asking. */
export interface RouteUpdate {
  readonly topic: string;
  /** The stream's multicast address; null: nobody elsewhere is subscribed. */
  readonly group: string | null;
  /** Destinations `address:port`: the group's own, or each member's; null: forget this route. */
  readonly to: readonly string[] | null;
  /** Agent numbers of edges that want it and are away: `$fabric/defer`. Absent: none. */
  readonly absent?: readonly number[] | undefined;
}

/** `$fabric/group`: the edges that a stream's group leads to, before the first route that names it. */
export interface GroupUpdate {
  readonly group: string;
  readonly edges: readonly GroupEdge[];
  /** Agent numbers of those that are away, and that messages are kept for. Absent: none. */
  readonly absent?: readonly number[] | undefined;
}

export interface GroupEdge {
  /** Agent number. */
  readonly agent: number;
  /** `address:port` */
  readonly at: string;
  /** The epoch of its streams. */
  readonly epoch: number;
}

/** `$fabric/gone`: that life of an edge has ended. */
export interface GoneEdge {
  readonly agent: number;
  readonly epoch: number;
  /** Messages are kept for it: what it has not reported to have is for `$fabric/defer`. Absent: they are not. */
  readonly absent?: boolean | undefined;
}

/** `$fabric/flush` from the forwarder: answer when that edge has all that was sent to it so far. */
export interface FlushOrder {
  /** Agent number. */
  readonly edge: number;
  /** The answer has it, too. */
  readonly number: number;
}

/** The most addresses that one agent intercepts. */
export const INTERCEPTS_MAX = 16;

/** `$fabric/steering`: why not all clients of an endpoint that an agent intercepts are led to agents. */
export interface SteeringProblem {
  /** `ADDRESS:PORT`, as in CONNECT. */
  readonly endpoint: string;
  /** In one line, for people. */
  readonly problem: string;
}

/** `$fabric/held`: a route that an agent goes on using over a registration. */
export interface HeldRoute {
  readonly topic: string;
  readonly group: string | null;
}

const MQTT5 = { protocolVersion: 5 } as const;

/** The PUBLISH of `message` as the fabric carries it: MQTT 5, message id 1 where QoS is over 0. */
export function encodePublish(message: Message): Buffer {
  const { topic, payload, qos, retain, properties, messageExpiry } = message;
  const expiry = messageExpiry === undefined ? 0 : 5;
  const propertyBytes = expiry + (properties?.length ?? 0);
  const topicBytes = Buffer.byteLength(topic);
  const rest =
    2 + topicBytes + (qos > 0 ? 2 : 0) + variableSize(propertyBytes) + propertyBytes + payload.length;
  const bytes = Buffer.allocUnsafe(1 + variableSize(rest) + rest);
  bytes[0] = 0x30 | (qos << 1) | (retain ? 1 : 0);
  let at = writeVariable(bytes, 1, rest);
  at = bytes.writeUInt16BE(topicBytes, at);
  at += bytes.write(topic, at);
  if (qos > 0) at = bytes.writeUInt16BE(1, at);
  at = writeVariable(bytes, at, propertyBytes);
  if (messageExpiry !== undefined) {
    bytes[at] = PropertyId.MESSAGE_EXPIRY_INTERVAL;
    at = bytes.writeUInt32BE(messageExpiry, at + 1);
  }
  if (properties !== undefined) at += properties.copy(bytes, at);
  payload.copy(bytes, at);
  return bytes;
}

export function encodePacket(packet: Packet): Buffer {
  return mqtt.generate(packet, MQTT5);
}

/** A PUBLISH on a reserved topic with a JSON body. */
export function encodeFabricJson(topic: string, body: unknown): Buffer {
  return encodePublish({ topic, payload: Buffer.from(JSON.stringify(body)), qos: 0, retain: false });
}

/** A PUBLISH of the fabric, with what mqtt-packet does not keep of its properties. */
export interface FabricPublish extends IPublishPacket {
  forward?: Buffer | undefined;
  expiry?: number | undefined;
}

export function toMessage(packet: FabricPublish): Message {
  return {
    topic: packet.topic,
    payload: packet.payload as Buffer,
    qos: packet.qos,
    retain: packet.retain,
    ...(packet.forward === undefined ? {} : { properties: packet.forward }),
    ...(packet.expiry === undefined ? {} : { messageExpiry: packet.expiry }),
  };
}

/**
 * Decodes the MQTT packets that stand back to back in a payload. One reader serves one peer or stream: it reuses its
 * parser.
 */
export class PacketReader {
  private packets: Packet[] = [];
  private malformed = false;
  private parser = this.makeParser();

  /** The packets in order, or undefined where anything in `bytes` is malformed or incomplete. Never throws. */
  read(bytes: Buffer): Packet[] | undefined {
    if (!endsWithPacket(bytes)) return undefined;
    this.packets = [];
    this.malformed = false;
    let rest: number;
    try {
      rest = this.parser.parse(bytes);
      if (!this.malformed && rest === 0) readProperties(bytes, this.packets);
    } catch {
      // On some malformed input mqtt-packet reads outside its buffer and throws instead of emitting an error.
      rest = -1;
    }
    if (!this.malformed && rest === 0) return this.packets;
    this.parser = this.makeParser();
    return undefined;
  }

  private makeParser() {
    const parser = mqtt.parser(MQTT5);
    parser.on("packet", (packet) => this.packets.push(packet));
    parser.on("error", () => {
      this.malformed = true;
    });
    return parser;
  }
}

/** Reads the JSON body of a `$fabric/` PUBLISH; undefined where it is not JSON. */
export function fabricJson(packet: IPublishPacket): unknown {
  try {
    return JSON.parse(packet.payload.toString());
  } catch {
    return undefined;
  }
}

/** Whether the fixed headers' lengths lead exactly to the end: mqtt-packet waits silently for more otherwise. */
export function endsWithPacket(bytes: Buffer): boolean {
  let at = 0;
  while (at < bytes.length) {
    const size = packetSize(bytes, at, bytes.length);
    if (size <= 0) return false;
    at += size;
  }
  return at === bytes.length;
}

/**
 * Reads the PUBLISHes among `packets`, which were decoded from `bytes`, once more for what they forward.
 * @throws PacketError where one is malformed
 */
function readProperties(bytes: Buffer, packets: readonly Packet[]): void {
  let at = 0;
  for (const packet of packets) {
    const end = at + packetSize(bytes, at, bytes.length);
    if (packet.cmd === "publish" && packet.properties !== undefined) {
      const fields = new FieldReader(bytes, bodyStart(bytes, at), end);
      const { forward, expiry } = readPublish(fields, bytes[at]! & 0x0f, true);
      Object.assign(packet as FabricPublish, { forward, expiry });
    }
    at = end;
  }
}

const u32 = z.int().min(0).max(0xffffffff);
const routeUpdate = z.object({
  topic: z.string(),
  group: z.string().nullable(),
  to: z.array(z.string()).nullable(),
  absent: z.array(u32).optional(),
});
const groupUpdate = z.object({
  group: z.string(),
  edges: z.array(z.object({ agent: u32, at: z.string(), epoch: u32 })),
  absent: z.array(u32).optional(),
});
const goneEdge = z.object({ agent: u32, epoch: u32, absent: z.boolean().optional() });
const flushOrder = z.object({ edge: u32, number: u32 });
const heldRoutes = z.array(z.object({ topic: z.string(), group: z.string().nullable() }));
const accessText = z.string().max(ACCESS_FILE_BYTES_MAX).nullable();
const accessLists = z.object({ passwords: accessText, acl: accessText });
const released = z.array(z.string());
const steering = z.array(z.object({ endpoint: z.string(), problem: z.string() })).max(INTERCEPTS_MAX);
const address = z.string().transform((text, context) => {
  const one = canonicalAddress(text);
  if (one !== undefined) return one;
  context.addIssue("not an address");
  return z.NEVER;
});
const edges = z.array(z.ipv4());
const vacant = z.array(address).max(INTERCEPTS_MAX);

/** Body of `$fabric/route`; undefined where it is malformed. */
export function readRouteUpdate(packet: IPublishPacket): RouteUpdate | undefined {
  return routeUpdate.safeParse(fabricJson(packet)).data;
}

/** Body of `$fabric/group`; undefined where it is malformed. */
export function readGroupUpdate(packet: IPublishPacket): GroupUpdate | undefined {
  return groupUpdate.safeParse(fabricJson(packet)).data;
}

/** Body of `$fabric/gone`; undefined where it is malformed. */
export function readGoneEdge(packet: IPublishPacket): GoneEdge | undefined {
  return goneEdge.safeParse(fabricJson(packet)).data;
}

/** Body of `$fabric/flush` from the forwarder; undefined where it is malformed. */
export function readFlushOrder(packet: IPublishPacket): FlushOrder | undefined {
  return flushOrder.safeParse(fabricJson(packet)).data;
}

/** Body of `$fabric/flush` from an agent, and of `$fabric/flushed`; undefined where it is malformed. */
export function readFlushNumber(packet: IPublishPacket): number | undefined {
  return u32.safeParse(fabricJson(packet)).data;
}

/** Body of `$fabric/edges`; undefined where it is malformed. */
export function readEdges(packet: IPublishPacket): string[] | undefined {
  return edges.safeParse(fabricJson(packet)).data;
}

/** Body of `$fabric/held`; undefined where it is malformed. */
export function readHeldRoutes(packet: IPublishPacket): HeldRoute[] | undefined {
  return heldRoutes.safeParse(fabricJson(packet)).data;
}

/** Body of `$fabric/release`; undefined where it is malformed. */
export function readReleased(packet: IPublishPacket): string[] | undefined {
  return released.safeParse(fabricJson(packet)).data;
}

/** Body of `$fabric/vacant`, each address in its canonical form; undefined where it is malformed. */
export function readVacant(packet: IPublishPacket): string[] | undefined {
  return vacant.safeParse(fabricJson(packet)).data;
}

/** Body of `$fabric/steering`; undefined where it is malformed. */
export function readSteering(packet: IPublishPacket): SteeringProblem[] | undefined {
  return steering.safeParse(fabricJson(packet)).data;
}

/** Body of `$fabric/access`; undefined where it is malformed. */
export function readAccessLists(packet: IPublishPacket): AccessLists | undefined {
  return accessLists.safeParse(fabricJson(packet)).data;
}
