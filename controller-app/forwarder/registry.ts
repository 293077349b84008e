import {
  agentNumber,
  type Clock,
  ControlChannel,
  type Datagram,
  DEAD_MS,
  type Endpoint,
  encodeFabricJson,
  encodePacket,
  FabricTopic,
  FORWARDER_NUMBER,
  formatEndpoint,
  type Header,
  Kind,
  PacketReader,
  PING_MS,
  serialDistance,
  WHOLE,
} from "@topicast/protocol";
import type { Packet } from "mqtt-packet";
import type { Dataplane } from "../dataplane/dataplane.js";
import type { AgentView } from "../rest/view.js";
import { Agent, type StatedClaim } from "./agents.js";
import { readClaim } from "./claim.js";

export const AGENTS_MAX = 4_096;
/** CONNACK: Client Identifier not valid (MQTT 5, table 3-1), Quota exceeded. */
const ID_IN_USE = 0x85;
const QUOTA_EXCEEDED = 0x97;

export interface RegistryOptions {
  readonly clock: Clock;
  readonly dataplane: Pick<Dataplane, "setAgents">;
  /** The forwarder's own. */
  readonly epoch: number;
  readonly payloadBytes: number;
  readonly transmit: (header: Header, payload: Buffer, to: Endpoint) => void;
  readonly onEvent: (event: RegistryEvent) => void;
  /** A packet of a registered agent, its CONNECT included. */
  readonly onPacket: (agent: Agent, packet: Packet) => void;
  /** The agent is registered no more; what it had is to be taken away. `isOver`: it has said itself that it goes. */
  readonly onGone: (agent: Agent, isOver: boolean) => void;
  /** Another life of the agent is about to take the place of this one. */
  readonly onReplaced: (agent: Agent) => void;
  /** Messages are kept for the agent when it has gone. */
  readonly isCovered: (agent: Agent) => boolean;
  /** A datagram was not taken. */
  readonly onDrop: (reason: string) => void;
}

export type RegistryEvent =
  | { readonly type: "agent_up"; readonly id: string; readonly at: string }
  | { readonly type: "agent_down"; readonly id: string; readonly why: string }
  | { readonly type: "agent_refused"; readonly id: string; readonly at: string; readonly why: string };

/** Who is registered: lets agents in, refuses them, and gives up those that are silent. */
export class Registry {
  private readonly byNumber = new Map<number, Agent>();
  private readonly connectReader = new PacketReader();
  private lastTick: number;

  readonly stats = { registrations: 0, refusals: 0, agents_lost: 0 };

  constructor(private readonly options: RegistryOptions) {
    this.lastTick = options.clock.now();
  }

  get agents(): ReadonlyMap<number, Agent> {
    return this.byNumber;
  }

  withId(id: string): Agent | undefined {
    const agent = this.byNumber.get(agentNumber(id));
    return agent?.id === id ? agent : undefined;
  }

  /** The agent whose fabric socket has that IPv4 address. */
  at(address: string): Agent | undefined {
    for (const agent of this.byNumber.values()) if (agent.claim.address === address) return agent;
    return undefined;
  }

  /** The first datagram of a registration. */
  onConnect(datagram: Datagram, from: Endpoint): void {
    const claim = readClaim(this.connectReader.read(datagram.payload)?.[0]);
    if (claim === undefined || agentNumber(claim.id) !== datagram.source)
      return this.options.onDrop("bad_connect");
    const now = this.options.clock.now();
    const known = this.byNumber.get(datagram.source);
    if (known !== undefined) {
      if (serialDistance(known.epoch, datagram.epoch) <= 0) return this.options.onDrop("old_registration");
      const elsewhere = known.id !== claim.id || !sameEndpoint(known.endpoint, from);
      if (elsewhere && now - known.lastHeard < DEAD_MS) {
        return this.refuse(
          datagram,
          from,
          claim.id,
          ID_IN_USE,
          `in use by ${known.id} at ${formatEndpoint(known.endpoint)}`,
        );
      }
    } else if (this.byNumber.size >= AGENTS_MAX) {
      return this.refuse(datagram, from, claim.id, QUOTA_EXCEEDED, `${AGENTS_MAX} agents are registered`);
    }
    this.stats.registrations += 1;
    const agent = this.register(datagram, from, claim, known);
    this.options.onEvent({ type: "agent_up", id: agent.id, at: formatEndpoint(from) });
    agent.channel.onDatagram(datagram);
  }

  /** Registers an agent, or registers it anew: what it had stays until it has had time to confirm it. */
  private register(datagram: Datagram, from: Endpoint, stated: StatedClaim, known: Agent | undefined): Agent {
    const { clock, epoch, payloadBytes } = this.options;
    const now = clock.now();
    const moved = known !== undefined && known.claim.address !== stated.address;
    const stays = known !== undefined && !moved && known.claim.dataEpoch === stated.dataEpoch;
    const claim = { ...stated, stay: stays ? known.claim.stay : this.stats.registrations };
    if (known !== undefined && moved) this.withdraw(known, "its address has changed");
    // What it has missed comes before what is sent to it from now on.
    const isReplaced = known !== undefined && !moved && !stays && this.options.isCovered(known);
    if (isReplaced) this.withdraw(known, "it has started anew", true);
    const endpoint = { address: from.address, port: from.port };
    const channel: ControlChannel = new ControlChannel({
      clock,
      source: FORWARDER_NUMBER,
      epoch,
      peerEpoch: datagram.epoch,
      payloadBytes,
      transmit: (header, payload) => this.options.transmit(header, payload, endpoint),
      onPacket: (packet) => this.options.onPacket(agent, packet),
      onBroken: (reason) => this.withdraw(agent, `its control channel broke (${reason})`),
    });
    let agent: Agent;
    if (known === undefined || moved || isReplaced) {
      agent = new Agent(datagram.source, claim, endpoint, datagram.epoch, channel, now);
      this.byNumber.set(agent.number, agent);
    } else {
      agent = known;
      if (!stays) {
        this.tellGone(known);
        this.options.onReplaced(known);
      }
      agent.channel.close();
      agent.groups.clear();
      const { access } = claim;
      Object.assign(agent, { claim, access, endpoint, epoch: datagram.epoch, channel, lastHeard: now });
    }
    agent.relays = 0;
    agent.steering = undefined;
    agent.sysVersion = 0;
    agent.knowsShares = false;
    agent.confirmed = {
      ...{ filters: new Set(), durable: new Set(), topics: new Set(), wills: new Set(), shares: new Set() },
    };
    this.tellDataplane();
    return agent;
  }

  /** Says no without keeping state: the agent's repetitions are answered the same way. */
  private refuse(datagram: Datagram, to: Endpoint, id: string, reasonCode: number, why: string): void {
    this.stats.refusals += 1;
    this.options.onEvent({ type: "agent_refused", id, at: formatEndpoint(to), why });
    const connack = encodePacket({ cmd: "connack", reasonCode, sessionPresent: false });
    const { epoch, transmit } = this.options;
    const header = { kind: Kind.CONTROL, flags: WHOLE, source: FORWARDER_NUMBER, epoch };
    transmit({ ...header, stream: datagram.epoch, number: 0 }, connack, to);
  }

  /** @param isOver it has said itself that it goes */
  withdraw(agent: Agent, why: string, isOver = false): void {
    if (this.byNumber.get(agent.number) !== agent) return;
    this.byNumber.delete(agent.number);
    agent.channel.close();
    this.stats.agents_lost += 1;
    this.options.onEvent({ type: "agent_down", id: agent.id, why });
    this.tellDataplane();
    this.tellGone(agent);
    this.options.onGone(agent, isOver);
  }

  /** That life of an agent has ended: no publisher waits for its acknowledgement any more. */
  private tellGone(agent: Agent): void {
    const { number, claim } = agent;
    const absent = this.options.isCovered(agent) ? { absent: true } : {};
    const gone = encodeFabricJson(FabricTopic.GONE, { agent: number, epoch: claim.dataEpoch, ...absent });
    for (const other of this.byNumber.values()) {
      const isConcerned = other.groups.size > 0 || other.knowsShares;
      if (other.number !== number && isConcerned) void other.channel.send(gone);
    }
  }

  /** Tells the data plane who is registered, and what it says of itself. */
  tellDataplane(): void {
    this.options.dataplane.setAgents(
      [...this.byNumber.values()].map((a) => ({ ...a.claim, vacant: a.vacant })),
    );
  }

  /** As REST shows them; not what an agent's datagrams carry beside. */
  *views(now: number): IterableIterator<AgentView> {
    for (const agent of this.byNumber.values()) {
      const { access: _, dataEpoch: _epoch, stay: _stay, ...claim } = agent.claim;
      yield {
        ...claim,
        filters: agent.filters.size,
        upMs: now - agent.since,
        silentMs: now - agent.lastHeard,
      };
    }
  }

  /** To be called every `PING_MS`: withdraws whoever has been silent for too long. */
  tick(): void {
    const now = this.options.clock.now();
    // After a stall of this process the agents' datagrams still wait in the socket: judge nobody by it.
    const stalled = now - this.lastTick > 2 * PING_MS;
    this.lastTick = now;
    for (const agent of stalled ? [] : [...this.byNumber.values()]) {
      if (now - agent.lastHeard >= DEAD_MS) this.withdraw(agent, `silent for ${DEAD_MS / 1000} s`);
    }
  }
}

export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.address === b.address && a.port === b.port;
}
