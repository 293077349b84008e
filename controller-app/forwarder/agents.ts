import type { ControlChannel, Endpoint } from "@topicast/protocol";
import type { RoutedTopic } from "./topics.js";

/** What an agent says of itself in CONNECT. */
export interface AgentClaim {
  readonly id: string;
  /** Where group datagrams and unicast copies reach it. */
  readonly address: string;
  readonly port: number;
  /** Lower case with colons; empty where the agent cannot tell. */
  readonly mac: string;
}

/** One edge, over all its registrations for as long as it is alive. */
export class Agent {
  /** Filters with local subscribers there. */
  readonly filters = new Set<string>();
  /** Topics whose route it holds, or is about to get. */
  readonly topics = new Set<RoutedTopic>();
  /** What this registration has confirmed so far; what it has not by its first PINGREQ is withdrawn. */
  confirmed: { filters: Set<string>; topics: Set<RoutedTopic> } | undefined;
  /** PUBLISH packets to relay that this registration has sent. */
  relays = 0;
  lastHeard: number;
  /** PINGREQ has come: everything the agent had to tell is known. */
  synced = false;

  constructor(
    readonly number: number,
    public claim: AgentClaim,
    /** Source of its datagrams. */
    public endpoint: Endpoint,
    public epoch: number,
    public channel: ControlChannel,
    public readonly since: number,
  ) {
    this.lastHeard = since;
  }

  get id(): string {
    return this.claim.id;
  }
}
