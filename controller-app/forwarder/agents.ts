import type { ControlChannel, Endpoint } from "@topicast/protocol";
import type { Group } from "./groups.js";
import type { RoutedTopic } from "./topics.js";
import type { KeptWill } from "./wills.js";

/** What may be unfinished of one agent's SUBSCRIBEs and relays before nothing more is taken from it. */
const PENDING_BYTES_MAX = 4 * 1024 * 1024;
const PENDING_PACKETS_MAX = 2_048;

/** What an agent says of itself in CONNECT. */
export interface StatedClaim {
  readonly id: string;
  /** Where group datagrams and unicast copies reach it. */
  readonly address: string;
  readonly port: number;
  /** The epoch of its streams: another one is another life of the agent. */
  readonly dataEpoch: number;
  /** Lower case with colons; empty where the agent cannot tell. */
  readonly mac: string;
  /** Brokers' addresses that it answers for. */
  readonly intercepts: readonly Endpoint[];
  /** Digest of the users and rules that it has of the forwarder; absent: none. */
  readonly access?: string;
  /** What it has of the retained messages, as `formatPosition` says it; absent: nothing. */
  readonly retained?: string;
}

/** The same of a registered one. */
export interface AgentClaim extends StatedClaim {
  /** Another one from each time that publishers were told that it is gone: then they have to be told its groups again. */
  readonly stay: number;
}

/** One edge, over all its registrations for as long as it is alive. */
export class Agent {
  /** Filters with local subscribers there. */
  readonly filters = new Set<string>();
  /** Topics whose route it holds, or is about to get. */
  readonly topics = new Set<RoutedTopic>();
  /** The groups that this registration has been told of, and what: see `tellGroup`. */
  readonly groups = new Map<Group, string>();
  /** What this registration has confirmed so far; what it has not by its first PINGREQ is withdrawn. */
  confirmed:
    | {
        readonly filters: Set<string>;
        readonly durable: Set<string>;
        readonly topics: Set<RoutedTopic>;
        readonly wills: Set<number>;
        readonly shares: Set<string>;
      }
    | undefined;
  /** What is to be published when it dies, by the numbers that it has given them. */
  wills = new Map<number, KeptWill>();
  /** Shared subscriptions with members there. */
  readonly shares = new Set<string>();
  /** This registration has been told, or is being told, where all shared subscriptions have members. */
  knowsShares = false;
  /** Those of its wills that have been published while it was away. */
  firedWills: ReadonlySet<number> = new Set();
  /** It has the retained messages as of this version, and is to be told what has changed since. */
  retainedSince: number | undefined;
  /** PUBLISH packets to relay that this registration has sent. */
  relays = 0;
  /** Bytes and packets of this agent that are still being worked on. */
  private pendingBytes = 0;
  private pendingPackets = 0;
  /** Digest of the users and rules that it has, or is being told. */
  access: string | undefined;
  /** Intercepted addresses that no machine has, as the agent last said. */
  vacant: readonly string[] = [];
  /** It has been told a group, or may hold routes of before: streams of its may be on their way. */
  publishes = false;
  /** What this registration was last told of steering, as JSON; undefined: nothing yet. */
  steering: string | undefined;
  /** What this registration knows of the edges' numbers: see `NetworkStats`; 0: nothing. */
  sysVersion = 0;
  lastHeard: number;

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
    this.access = claim.access;
  }

  get id(): string {
    return this.claim.id;
  }

  /**
   * Works on a packet of `bytes`; while too much is unfinished nothing more is taken from the agent, whose own bounds
   * then reach its publishers.
   */
  async work(bytes: number, job: () => Promise<void>): Promise<void> {
    this.pendingBytes += bytes;
    this.pendingPackets += 1;
    if (this.isBusy()) this.channel.pause();
    try {
      await job();
    } finally {
      this.pendingBytes -= bytes;
      this.pendingPackets -= 1;
      if (!this.isBusy()) this.channel.resume();
    }
  }

  private isBusy(): boolean {
    return this.pendingBytes > PENDING_BYTES_MAX || this.pendingPackets > PENDING_PACKETS_MAX;
  }
}
