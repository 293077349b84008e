import {
  type Claim,
  type ClientAt,
  decodeSessionPiece,
  encodeFabricJson,
  encodeSessionPiece,
  FabricTopic,
  readClientClaim,
  readClients,
  readTake,
  SessionPart,
  type Take,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import type { Agent } from "./agents.js";

/** Client identifiers that are known at most. */
const CLIENTS_MAX = 2_000_000;

interface Holder {
  /** Agent number. */
  readonly agent: number;
  /** When the client connected there, milliseconds since 1970. */
  readonly at: number;
}

/**
 * Which edge has the session of each client: one has, over the whole network. Bounded: beyond it clients are let in
 * without being known, so that one that connects elsewhere is not found.
 */
export class Clients {
  private readonly holders = new Map<string, Holder>();

  readonly stats = {
    clients_claimed: 0,
    clients_taken_over: 0,
    clients_unknown: 0,
    clients_bad: 0,
    sessions_lost: 0,
  };

  constructor(
    private readonly agents: ReadonlyMap<number, Agent>,
    /** Milliseconds since 1970. */
    private readonly unixTime: () => number,
    /** The client's session is at this agent from now on. */
    private readonly onClaimed: (client: string, clean: boolean, agent: Agent) => void,
  ) {}

  get size(): number {
    return this.holders.size;
  }

  /** One of the packets that tell of clients. Resolves when the next may be taken. */
  async onPacket(agent: Agent, packet: IPublishPacket): Promise<undefined> {
    const { topic } = packet;
    if (topic === FabricTopic.SESSION) {
      await this.handOn(agent, packet.payload as Buffer);
      return undefined;
    }
    const isRead =
      topic === FabricTopic.CLAIM
        ? taken(readClientClaim(packet), (claim) => this.claim(agent, claim))
        : topic === FabricTopic.TAKE
          ? taken(readTake(packet), (take) => this.take(agent, take))
          : taken(readClients(packet), (clients) => {
              if (topic === FabricTopic.CLIENTS) this.report(agent, clients);
              else this.release(agent, clients);
            });
    if (!isRead) this.stats.clients_bad += 1;
    return undefined;
  }

  /** `$fabric/claim`: answers. Whoever has the client yields. */
  private claim(agent: Agent, { client, number, at, clean }: Claim): void {
    this.stats.clients_claimed += 1;
    const before = this.holders.get(client);
    // Clocks differ: here the order of arrival counts.
    const holder = { agent: agent.number, at: before === undefined ? at : Math.max(at, before.at + 1) };
    this.set(client, holder);
    const other = before === undefined ? undefined : this.agents.get(before.agent);
    const yields = other !== undefined && other !== agent;
    const from = yields && !clean ? other.number : null;
    this.onClaimed(client, clean, agent);
    // First: the agent must know what the pieces are that it will get.
    void agent.channel.send(encodeFabricJson(FabricTopic.CLAIMED, { client, number, at: holder.at, from }));
    if (yields) this.order(other, client, agent.number, clean, holder.at);
  }

  /** `$fabric/clients`: sessions that an agent has; where two have one, the later connection counts. */
  private report(agent: Agent, clients: readonly ClientAt[]): void {
    for (const { client, at } of clients) {
      const known = this.holders.get(client);
      const other = known === undefined ? undefined : this.agents.get(known.agent);
      if (known === undefined || other === undefined || other === agent || at > known.at) {
        this.set(client, { agent: agent.number, at });
        if (known !== undefined && at > known.at) this.onClaimed(client, false, agent);
        if (other !== undefined && other !== agent) this.move(client, other, agent, at);
      } else {
        this.move(client, agent, other, known.at);
      }
    }
  }

  /** `$fabric/unclaim`: sessions that have ended. */
  private release(agent: Agent, clients: readonly ClientAt[]): void {
    for (const { client, at } of clients) {
      const holder = this.holders.get(client);
      if (holder?.agent === agent.number && holder.at <= at) this.holders.delete(client);
    }
  }

  /** `$fabric/session`: hands a piece on; resolves when the other edge has it, or has gone. */
  private async handOn(agent: Agent, payload: Buffer): Promise<void> {
    const piece = decodeSessionPiece(payload);
    const target = piece && this.agents.get(piece.peer);
    if (target !== undefined) {
      await target.channel.send(encodeSessionPiece({ ...piece!, peer: agent.number }));
    } else if (piece?.part === SessionPart.END) {
      this.stats.sessions_lost += 1;
    }
  }

  /** `$fabric/take`: hands it on. */
  private take(agent: Agent, { client, peer, done }: Take): void {
    const body = { client, peer: agent.number, done };
    void this.agents.get(peer)?.channel.send(encodeFabricJson(FabricTopic.TAKE, body));
  }

  /** Nobody has asked for it: the agent must know all the same when the session's turn is, among others of the client. */
  private move(client: string, from: Agent, to: Agent, at: number): void {
    const body = { client, number: 0, at, from: from.number };
    void to.channel.send(encodeFabricJson(FabricTopic.CLAIMED, body));
    this.order(from, client, to.number, false, at);
  }

  private order({ channel }: Agent, client: string, to: number, clean: boolean, at: number): void {
    this.stats.clients_taken_over += 1;
    const ago = Math.max(0, Math.round(this.unixTime() - at));
    void channel.send(encodeFabricJson(FabricTopic.YIELD, { client, to, clean, ago }));
  }

  private set(client: string, holder: Holder): void {
    if (this.holders.size < CLIENTS_MAX || this.holders.has(client)) this.holders.set(client, holder);
    else this.stats.clients_unknown += 1;
  }
}

/** Hands `body` on, where it is one; false where it is malformed. */
function taken<T>(body: T | undefined, take: (body: T) => void): boolean {
  if (body === undefined) return false;
  take(body);
  return true;
}
