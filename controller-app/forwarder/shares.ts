import {
  encodeFabricJson,
  encodePublish,
  FabricTopic,
  FilterTrie,
  Mark,
  type MembersUpdate,
  type Message,
  readMembers,
  type ShareEdges,
  type SharesUpdate,
  Turns,
  topicFilterOf,
  withMark,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import type { Agent } from "./agents.js";

/** Shared subscriptions that all agents know of; those beyond are each edge's own. */
const SHARES_MAX = 100_000;
/** Characters of names in one `$fabric/shares`. */
const BATCH_CHARACTERS = 16 * 1024;

interface Share {
  readonly name: string;
  /** Connected members by agent. */
  readonly edges: Map<Agent, number>;
  /** Numbers of agents that are away and have members that outlive that. */
  absent: readonly number[];
  readonly turns: Turns;
}

/** Which edges have members of which shared subscription: tells it to all agents, which choose: protocol/README.md, "Shared subscriptions". */
export class Shares {
  private readonly byName = new Map<string, Share>();
  private readonly trie = new FilterTrie<Share>();

  readonly stats = { shares_refused: 0, shares_bad: 0 };

  constructor(
    private readonly agents: () => Iterable<Agent>,
    /** Keeps a message for an agent that is away. */
    private readonly keep: (message: Message, agent: number) => void,
  ) {}

  get size(): number {
    return this.byName.size;
  }

  /** `$fabric/members`: counted at once. Resolves with the answer when all agents know of them. */
  onPacket(agent: Agent, packet: IPublishPacket): () => Promise<Buffer | undefined> {
    const update = readMembers(packet);
    if (update === undefined) this.stats.shares_bad += 1;
    const changed = update === undefined ? [] : this.onMembers(agent, update);
    return async () => {
      await this.tell(changed);
      return update?.number ? encodeFabricJson(FabricTopic.JOINED, update.number) : undefined;
    };
  }

  /** What has changed is to be told by `tell`. */
  private onMembers(agent: Agent, { shares }: MembersUpdate): string[] {
    const changed: string[] = [];
    for (const { share: name, connected } of shares) {
      agent.confirmed?.shares.delete(name);
      if (connected === null) {
        if (this.remove(agent, name)) changed.push(name);
        continue;
      }
      const share = this.getOrAdd(name);
      if (share === undefined) continue;
      agent.confirmed?.shares.add(name);
      agent.shares.add(name);
      if (share.edges.get(agent) === connected) continue;
      share.edges.set(agent, connected);
      changed.push(name);
    }
    return changed;
  }

  /** These agents are away, and have members of it that outlive that. */
  setAbsent(name: string, absent: readonly number[]): void {
    const share = absent.length > 0 ? this.getOrAdd(name) : this.byName.get(name);
    if (share === undefined) return;
    share.absent = absent;
    this.dropIfEmpty(share);
    if (share.edges.size === 0) void this.tell([name]);
  }

  /** Tells every agent that is up to date where these have members now; resolves when all have it, or are gone. */
  private async tell(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    const packet = encode({ shares: names.map((name) => this.edgesOf(name)), complete: false });
    const told = [...this.agents()].filter((agent) => agent.knowsShares);
    await Promise.all(told.map(({ channel }) => channel.send(packet)));
  }

  /** The agent has told all its own: forgets what it has not named again, and tells it where all others are. */
  async complete(agent: Agent): Promise<void> {
    agent.knowsShares = true;
    const { channel } = agent;
    let batch: ShareEdges[] = [];
    let characters = 0;
    for (const name of [...this.byName.keys()]) {
      batch.push(this.edgesOf(name));
      characters += name.length;
      if (characters < BATCH_CHARACTERS) continue;
      await channel.ready();
      if (agent.channel !== channel) return;
      // As it is by now: a change may have been told meanwhile.
      void channel.send(encode({ shares: batch.map(({ share }) => this.edgesOf(share)), complete: false }));
      batch = [];
      characters = 0;
    }
    void channel.send(encode({ shares: batch.map(({ share }) => this.edgesOf(share)), complete: true }));
  }

  /** Those of the agent's that it has not named again since it registered; resolves when that is told. */
  confirm(agent: Agent, told: ReadonlySet<string>): Promise<void> {
    return this.tell([...agent.shares].filter((name) => !told.has(name) && this.remove(agent, name)));
  }

  removeAgent(agent: Agent): void {
    void this.tell([...agent.shares].filter((name) => this.remove(agent, name)));
  }

  /** Gives a message that no agent publishes to one member of each that matches. */
  publish(message: Message): void {
    for (const { name, edges, absent, turns } of this.trie.match(message.topic)) {
      const candidates = [...edges].map(([agent, connected]) => ({ id: agent.number, agent, connected }));
      const picked = turns.next(candidates, message.qos);
      const marked = withMark(message, Mark.SHARE, `0 ${name}`);
      if (picked !== undefined) void picked.agent.channel.send(encodePublish(marked));
      else if (absent.length > 0) this.keep(marked, absent[0]!);
    }
  }

  private getOrAdd(name: string): Share | undefined {
    const known = this.byName.get(name);
    if (known !== undefined) return known;
    if (this.byName.size >= SHARES_MAX) {
      this.stats.shares_refused += 1;
      return undefined;
    }
    const share: Share = { name, edges: new Map(), absent: [], turns: new Turns() };
    this.byName.set(name, share);
    this.trie.add(topicFilterOf(name), share);
    return share;
  }

  private remove(agent: Agent, name: string): boolean {
    agent.shares.delete(name);
    const share = this.byName.get(name);
    if (share === undefined || !share.edges.delete(agent)) return false;
    share.turns.forget(agent.number);
    this.dropIfEmpty(share);
    return true;
  }

  private dropIfEmpty(share: Share): void {
    const { name, edges, absent } = share;
    if (edges.size > 0 || absent.length > 0) return;
    this.byName.delete(name);
    this.trie.remove(topicFilterOf(name), share);
  }

  private edgesOf(name: string): ShareEdges {
    const share = this.byName.get(name);
    const edges = [...(share?.edges ?? [])].map(([{ number, claim }, connected]) => ({
      agent: number,
      at: `${claim.address}:${claim.port}`,
      epoch: claim.dataEpoch,
      connected,
    }));
    const absent = edges.length === 0 ? (share?.absent ?? []) : [];
    return absent.length === 0 ? { share: name, edges } : { share: name, edges, absent };
  }
}

function encode(update: SharesUpdate): Buffer {
  return encodeFabricJson(FabricTopic.SHARES, update);
}
