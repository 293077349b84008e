import type { IPublishPacket } from "mqtt-packet";
import { z } from "zod";
import { encodePublish, FabricTopic, fabricJson } from "./packets.js";

/** `$fabric/claim`: a client connects to this agent; from now on its session is here. */
export interface Claim {
  readonly client: string;
  /** Counts this agent's claims: the answer has it, too. */
  readonly number: number;
  /** Milliseconds since 1970 by the agent's clock: the later one counts where two edges have a session of the client. */
  readonly at: number;
  /** Clean Start: what another edge has of it ends. */
  readonly clean: boolean;
}

/** `$fabric/claimed`: the answer. */
export interface Claimed {
  readonly client: string;
  readonly number: number;
  /** What its claim counts as: later than that of whoever had it before. */
  readonly at: number;
  /** The agent that hands its session over, by number; null: there is none to wait for. */
  readonly from: number | null;
}

/** `$fabric/yield`: the client has gone to another edge, which is to get what is here. */
export interface Yield {
  readonly client: string;
  readonly to: number;
  readonly clean: boolean;
  /** Milliseconds since it connected there. */
  readonly ago: number;
}

/** `$fabric/take`: to the agent that hands a session over. */
export interface Take {
  readonly client: string;
  /** Towards the forwarder the receiver's number, from there the sender's. */
  readonly peer: number;
  /** False: its subscriptions hold here, send the rest. True: all of it is here. */
  readonly done: boolean;
}

/** `$fabric/clients`: sessions that an agent has, to a forwarder that does not know it; `$fabric/unclaim`: has no more. */
export interface ClientAt {
  readonly client: string;
  readonly at: number;
}

/** Parts of a session on its way from one edge to another. */
export const SessionPart = {
  /** There is no session. */
  NOTHING: 0,
  /** The session and its subscriptions... */
  HEAD: 1,
  /** ...and that was all of them. */
  HEAD_END: 2,
  /** Its messages... */
  REST: 3,
  /** ...and that was the last. */
  END: 4,
} as const;
export type SessionPart = (typeof SessionPart)[keyof typeof SessionPart];

export type SessionEntry = readonly [key: string, value: Buffer];

/** `$fabric/session`: a piece of a session on its way. */
export interface SessionPiece {
  /** Towards the forwarder the receiver's number, from there the sender's. */
  readonly peer: number;
  readonly part: SessionPart;
  readonly client: string;
  readonly entries: readonly SessionEntry[];
}

const u32 = z.int().min(0).max(0xffffffff);
const time = z.number().nonnegative();
const claim = z.object({ client: z.string(), number: u32, at: time, clean: z.boolean() });
const claimed = z.object({ client: z.string(), number: u32, at: time, from: u32.nullable() });
const yielding = z.object({ client: z.string(), to: u32, clean: z.boolean(), ago: time.default(0) });
const take = z.object({ client: z.string(), peer: u32, done: z.boolean() });
const clients = z.array(z.object({ client: z.string(), at: time }));

/** Body of `$fabric/claim`; undefined where it is malformed, as with all of these. */
export const readClientClaim = (packet: IPublishPacket): Claim | undefined => read(claim, packet);
export const readClaimed = (packet: IPublishPacket): Claimed | undefined => read(claimed, packet);
export const readYield = (packet: IPublishPacket): Yield | undefined => read(yielding, packet);
export const readTake = (packet: IPublishPacket): Take | undefined => read(take, packet);
export const readClients = (packet: IPublishPacket): ClientAt[] | undefined => read(clients, packet);

function read<T>(schema: z.ZodType<T>, packet: IPublishPacket): T | undefined {
  return schema.safeParse(fabricJson(packet)).data;
}

/** Peer (4 bytes), part (1), length of the client identifier (2) and it, then per entry the lengths (2, 4) of key and value. */
export function encodeSessionPiece({ peer, part, client, entries }: SessionPiece): Buffer {
  const head = Buffer.allocUnsafe(7);
  const id = Buffer.from(client);
  head.writeUInt32BE(peer, 0);
  head[4] = part;
  head.writeUInt16BE(id.length, 5);
  const parts: Buffer[] = [head, id];
  for (const [key, value] of entries) {
    const name = Buffer.from(key);
    const lengths = Buffer.allocUnsafe(6);
    lengths.writeUInt16BE(name.length, 0);
    lengths.writeUInt32BE(value.length, 2);
    parts.push(lengths, name, value);
  }
  const payload = Buffer.concat(parts);
  return encodePublish({ topic: FabricTopic.SESSION, payload, qos: 0, retain: false });
}

/** Payload of `$fabric/session`; undefined where it is malformed. Its values are views. */
export function decodeSessionPiece(payload: Buffer): SessionPiece | undefined {
  if (payload.length < 7) return undefined;
  const part = payload[4]!;
  let at = 7 + payload.readUInt16BE(5);
  if (part > SessionPart.END || at > payload.length) return undefined;
  const client = payload.toString("utf8", 7, at);
  const entries: SessionEntry[] = [];
  while (at < payload.length) {
    if (at + 6 > payload.length) return undefined;
    const keyEnd = at + 6 + payload.readUInt16BE(at);
    const end = keyEnd + payload.readUInt32BE(at + 2);
    if (end > payload.length) return undefined;
    entries.push([payload.toString("utf8", at + 6, keyEnd), payload.subarray(keyEnd, end)]);
    at = end;
  }
  return { peer: payload.readUInt32BE(0), part: part as SessionPart, client, entries };
}
