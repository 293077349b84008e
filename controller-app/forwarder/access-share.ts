import { type AccessLists, accessDigest, encodeFabricJson, FabricTopic, NO_LISTS } from "@topicast/protocol";
import type { Agent } from "./agents.js";

/** Agents that are being told at a time: the lists may be megabytes, and there may be thousands of agents. */
const TELLING_MAX = 16;

/** Keeps every agent's copy of the users and rules that the forwarder has up to date. */
export class AccessShare {
  private digest: string | undefined;
  private packet = packetOf(NO_LISTS);
  private readonly waiting = new Set<Agent>();
  private telling = 0;
  readonly stats = { access_sent: 0 };

  set(lists: AccessLists, agents: Iterable<Agent>): void {
    this.digest = accessDigest(lists);
    this.packet = packetOf(lists);
    for (const agent of agents) this.tell(agent);
  }

  /** Brings an agent up to date, if it is not: `Agent.access` is what it has. */
  tell(agent: Agent): void {
    if (agent.access === this.digest) return;
    this.waiting.add(agent);
    this.next();
  }

  private next(): void {
    for (const agent of this.waiting) {
      if (this.telling >= TELLING_MAX) return;
      this.waiting.delete(agent);
      if (agent.access !== this.digest) void this.send(agent);
    }
  }

  private async send(agent: Agent): Promise<void> {
    const { digest } = this;
    const { channel } = agent;
    this.telling += 1;
    this.stats.access_sent += 1;
    // From now on: what it says in its next registration counts again.
    agent.access = digest;
    await channel.send(this.packet);
    this.telling -= 1;
    this.next();
  }
}

function packetOf(lists: AccessLists): Buffer {
  return encodeFabricJson(FabricTopic.ACCESS, lists);
}
