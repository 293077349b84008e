import mqtt, { type IPublishPacket, type Packet } from "mqtt-packet";
import { z } from "zod";
import { canonicalAddress } from "../addresses.js";
import type { Message } from "../message.js";

/** Reserved topics of the control channel: protocol/README.md, section "Messages". */
export const FabricTopic = {
  HELD: "$fabric/held",
  ROUTE: "$fabric/route",
  RELEASE: "$fabric/release",
  LOCATE: "$fabric/locate",
  VACANT: "$fabric/vacant",
  GROUP: "$fabric/group",
  GONE: "$fabric/gone",
  STEERING: "$fabric/steering",
} as const;

export const FABRIC_PREFIX = "$fabric/";

/** `$fabric/route`: what a publishing agent must know to send a topic without asking. */
export interface RouteUpdate {
  readonly topic: string;
  /** The stream's multicast address; null: nobody elsewhere is subscribed. */
  readonly group: string | null;
  /** Destinations `address:port`: the group's own, or each member's; null: forget this route. */
  readonly to: readonly string[] | null;
}

/** `$fabric/group`: the edges that a stream's group leads to, before the first route that names it. */
export interface GroupUpdate {
  readonly group: string;
  readonly edges: readonly GroupEdge[];
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
  const packet: IPublishPacket = {
    cmd: "publish",
    topic: message.topic,
    payload: message.payload,
    qos: message.qos,
    retain: message.retain,
    dup: false,
    ...(message.qos > 0 ? { messageId: 1 } : {}),
    ...(message.properties ? { properties: message.properties } : {}),
  };
  return mqtt.generate(packet, MQTT5);
}

export function encodePacket(packet: Packet): Buffer {
  return mqtt.generate(packet, MQTT5);
}

/** A PUBLISH on a reserved topic with a JSON body. */
export function encodeFabricJson(topic: string, body: unknown): Buffer {
  return encodePublish({ topic, payload: Buffer.from(JSON.stringify(body)), qos: 0, retain: false });
}

export function toMessage(packet: IPublishPacket): Message {
  return {
    topic: packet.topic,
    payload: packet.payload as Buffer,
    qos: packet.qos,
    retain: packet.retain,
    ...(packet.properties ? { properties: packet.properties } : {}),
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
function fabricJson(packet: IPublishPacket): unknown {
  try {
    return JSON.parse(packet.payload.toString());
  } catch {
    return undefined;
  }
}

/** Whether the fixed headers' lengths lead exactly to the end: mqtt-packet waits silently for more otherwise. */
function endsWithPacket(bytes: Buffer): boolean {
  let at = 0;
  while (at < bytes.length) {
    let length = 0;
    for (let i = 0; ; i++) {
      const byte = bytes[at + 1 + i];
      if (byte === undefined || i === 4) return false;
      length += (byte & 0x7f) * 128 ** i;
      if (byte < 0x80) {
        at += 2 + i + length;
        break;
      }
    }
  }
  return at === bytes.length;
}

const routeUpdate = z.object({
  topic: z.string(),
  group: z.string().nullable(),
  to: z.array(z.string()).nullable(),
});
const u32 = z.int().min(0).max(0xffffffff);
const groupUpdate = z.object({
  group: z.string(),
  edges: z.array(z.object({ agent: u32, at: z.string(), epoch: u32 })),
});
const goneEdge = z.object({ agent: u32, epoch: u32 });
const heldRoutes = z.array(z.object({ topic: z.string(), group: z.string().nullable() }));
const released = z.array(z.string());
const steering = z.array(z.object({ endpoint: z.string(), problem: z.string() })).max(INTERCEPTS_MAX);
const address = z.string().transform((text, context) => {
  const one = canonicalAddress(text);
  if (one !== undefined) return one;
  context.addIssue("not an address");
  return z.NEVER;
});
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
