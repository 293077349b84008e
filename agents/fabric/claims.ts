import {
  type ClientAt,
  type Clock,
  decodeSessionPiece,
  encodeFabricJson,
  FabricTopic,
  readClaimed,
  readTake,
  readYield,
  type Timer,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import type { SessionHandover } from "../mqtt/uplink.js";
import type { Registration } from "./registration.js";
import { Transfers } from "./transfers.js";

/** A CONNECT waits so long for a word of the forwarder, or of the edge that hands over, and then goes on without. */
const ANSWER_MS = 3_000;
/** Clients in one `$fabric/clients`. */
const BATCH = 256;

/** A CONNECT that waits. */
interface Waiting {
  readonly number: number;
  /** The forwarder has answered. */
  isAnswered: boolean;
  readonly done: (isOurs: boolean) => void;
  timer: Timer;
}

export interface ClaimsOptions {
  readonly clock: Clock;
  readonly unixTime: () => number;
  readonly registration: Registration;
  readonly sessions: SessionHandover;
  /** See `TransfersOptions`. */
  readonly flush: () => Promise<boolean>;
}

/** This agent's part in that each client has one session in the network: protocol/README.md, "One session per client". */
export class Claims {
  /** When each client that has a session here connected, as the forwarder was told. */
  private readonly held = new Map<string, number>();
  private readonly waiting = new Map<string, Waiting>();
  private readonly transfers: Transfers;
  private number = 0;
  private readonly counters = { claims: 0, claims_unanswered: 0, claims_yielded: 0 };

  constructor(private readonly options: ClaimsOptions) {
    const { clock, registration, sessions, flush } = options;
    this.transfers = new Transfers({
      ...{ clock, registration, sessions, flush },
      onProgress: (client) => {
        const waiting = this.waiting.get(client);
        if (waiting !== undefined) this.setTimer(client, waiting);
      },
      onKept: (client) => this.onKept(client),
    });
  }

  get size(): number {
    return this.held.size;
  }

  get stats(): Record<string, number> {
    return { ...this.counters, ...this.transfers.stats };
  }

  /**
   * The client connects here. Resolves with true when what another edge has of it is here, or nobody says anything of
   * it for 3 s; with false when it has connected again meanwhile, here or elsewhere.
   */
  claim(client: string, clean: boolean): Promise<boolean> {
    const { registration, unixTime } = this.options;
    const at = unixTime();
    this.counters.claims += 1;
    this.held.set(client, at);
    this.waiting.get(client)?.done(false);
    if (!registration.registered) return Promise.resolve(true);
    this.number = (this.number + 1) >>> 0;
    const { number } = this;
    void this.send(FabricTopic.CLAIM, { client, number, at, clean });
    return new Promise((resolve) => {
      const done = (isOurs: boolean): void => {
        if (this.waiting.get(client) === waiting) this.waiting.delete(client);
        waiting.timer.cancel();
        resolve(isOurs);
      };
      const waiting: Waiting = { number, isAnswered: false, done, timer: { cancel: () => {} } };
      this.waiting.set(client, waiting);
      this.setTimer(client, waiting);
    });
  }

  /** There is no session of the client here any more. */
  release(client: string): void {
    const at = this.held.get(client);
    if (at === undefined || this.waiting.has(client)) return;
    this.held.delete(client);
    void this.send(FabricTopic.UNCLAIM, [{ client, at }]);
  }

  /** That edge has died: nobody waits for its sessions. */
  onGone(agent: number): void {
    this.transfers.onGone(agent);
  }

  /** The forwarder is away: nobody waits for it. */
  onLost(): void {
    this.transfers.abort();
    for (const { done } of [...this.waiting.values()]) done(true);
  }

  close(): void {
    this.onLost();
  }

  /** Tells a new registration every client; resolves with false when it has ended. */
  async tellAll(): Promise<boolean> {
    for (const client of this.options.sessions.clients()) {
      if (!this.held.has(client)) this.held.set(client, this.connectedAt(client));
    }
    let batch: ClientAt[] = [];
    for (const [client, at] of [...this.held]) {
      batch.push({ client, at });
      if (batch.length < BATCH) continue;
      if (!(await this.send(FabricTopic.CLIENTS, batch))) return false;
      batch = [];
    }
    return batch.length === 0 || this.send(FabricTopic.CLIENTS, batch);
  }

  /** One of the forwarder's packets for this part; false where it is malformed, undefined where it is none. */
  onPacket(packet: IPublishPacket): boolean | undefined {
    switch (packet.topic) {
      case FabricTopic.CLAIMED:
        return taken(readClaimed(packet), ({ client, number, at, from }) => {
          const waiting = this.waiting.get(client);
          const arrived = this.transfers.arrive(client, from);
          if (waiting?.number !== number) return;
          this.held.set(client, at);
          waiting.isAnswered = true;
          void arrived.then(() => waiting.done(true));
        });
      case FabricTopic.YIELD:
        return taken(readYield(packet), ({ client, to, clean, ago }) => {
          this.counters.claims_yielded += 1;
          const waiting = this.waiting.get(client);
          // One that the forwarder has not answered is later than the one that this is about.
          if (waiting === undefined || waiting.isAnswered) {
            this.held.delete(client);
            waiting?.done(false);
          }
          this.transfers.leave(client, to, clean, ago);
        });
      case FabricTopic.TAKE:
        return taken(readTake(packet), (take) => this.transfers.onTake(take));
      case FabricTopic.SESSION:
        return taken(decodeSessionPiece(packet.payload as Buffer), (piece) => this.transfers.onPiece(piece));
      default:
        return undefined;
    }
  }

  /** When the client last connected here, milliseconds since 1970; 0 where what is here of it is not all. */
  private connectedAt(client: string): number {
    return Math.max(0, this.options.unixTime() - this.options.sessions.age(client));
  }

  /** It was to go elsewhere and has not: the forwarder says again where it belongs. */
  private onKept(client: string): void {
    if (this.held.has(client)) return;
    const at = this.connectedAt(client);
    this.held.set(client, at);
    void this.send(FabricTopic.CLIENTS, [{ client, at }]);
  }

  private send(topic: string, body: unknown): Promise<boolean> {
    return this.options.registration.send(encodeFabricJson(topic, body));
  }

  private setTimer(client: string, waiting: Waiting): void {
    waiting.timer.cancel();
    waiting.timer = this.options.clock.setTimer(ANSWER_MS, () => {
      this.counters.claims_unanswered += 1;
      this.waiting.get(client)?.done(true);
    });
  }
}

/** Hands `body` on, where it is one; false where it is malformed. */
function taken<T>(body: T | undefined, take: (body: T) => void): boolean {
  if (body === undefined) return false;
  take(body);
  return true;
}
