import {
  agentNumber,
  encodeFabricJson,
  FabricTopic,
  type GroupUpdate,
  type RouteUpdate,
} from "@topicast/protocol";
import type { Dataplane } from "../dataplane/dataplane.js";
import type { Agent } from "./agents.js";
import { Coalesced } from "./coalesced.js";
import type { Group, GroupTable, Use } from "./groups.js";

export interface TopicContext {
  readonly dataplane: Pick<Dataplane, "mayPublish">;
  readonly groups: GroupTable;
  /** The UDP port that group datagrams are sent to. */
  readonly groupPort: number;
  /** The agents whose filters match, ordered by id; not those for which messages are kept. */
  readonly edgesOf: (topic: string) => Agent[];
  /** The numbers of those for which they are, away or not caught up. */
  readonly absentFrom: (topic: string) => readonly number[];
  /** That edge is not registered, and messages are kept for it. */
  readonly isAbsent: (number: number) => boolean;
  /** Whether a proxy that speaks the plain form wants the topic. */
  readonly wantsPlain: (topic: string) => boolean;
  /** The topic has no publisher any more. */
  readonly onUnused: (topic: RoutedTopic) => void;
}

/** One topic that some agent publishes. */
export class RoutedTopic {
  /** Agents that hold, or are to get, this topic's route, and the last route sent to each (JSON; "" before). */
  private readonly publishers = new Map<Agent, string>();
  private current: Use | undefined;
  /** The publishers that `current` was acquired with: agent ids. */
  private counted: readonly string[] = [];
  private readonly convergence = new Coalesced(() => this.run());
  /** The group's address that a publisher used before this forwarder started. */
  hint: string | undefined;

  constructor(
    readonly topic: string,
    private readonly context: TopicContext,
  ) {}

  /** The group whose address publishers have; undefined where nobody elsewhere is subscribed. */
  get group(): Group | undefined {
    return this.current?.group;
  }

  /** Ids of the edges that want it, sorted; some of its group may not. */
  get edges(): readonly string[] {
    return this.current?.set?.members ?? this.group?.members.map((m) => m.id) ?? [];
  }

  get hasPublishers(): boolean {
    return this.publishers.size > 0;
  }

  /** `agent` publishes this topic. With `again` its route is sent once more even where it has not changed. */
  addPublisher(agent: Agent, again = false): void {
    if (again || !this.publishers.has(agent)) this.publishers.set(agent, "");
    agent.topics.add(this);
  }

  removePublisher(agent: Agent): void {
    this.publishers.delete(agent);
    agent.topics.delete(this);
  }

  /** Resolves when all publishers know the route for an edge set that was read after this call. Never rejects. */
  converge(): Promise<void> {
    return this.convergence.request();
  }

  private async run(): Promise<void> {
    const { groups, edgesOf, onUnused } = this.context;
    const edges = edgesOf(this.topic);
    const absent = this.context.absentFrom(this.topic);
    const publishers = [...this.publishers.keys()];
    const ids = publishers.map((p) => p.id);
    const elsewhere = publishers.some((p) => edges.some((e) => e !== p));
    const claims = edges.map((e) => e.claim);
    // Who speaks the plain form is reached through the forwarder only.
    const plain = this.context.wantsPlain(this.topic);
    const use = elsewhere && !plain ? groups.acquire(this, claims, ids, this.hint) : undefined;
    const group = use?.group;
    this.hint = undefined;
    if (group !== undefined) {
      group.topics.add(this);
      await groups.ready(group, ids);
    }
    // No address is left for this edge set: its publishers go on relaying.
    const relayOnly = plain || (elsewhere && group === undefined);
    // Who has begun to publish meanwhile is told by the next run, which its coming has asked for.
    const present = publishers.filter((agent) => this.publishers.has(agent));
    await Promise.all(present.map((agent) => this.tell(agent, group, relayOnly, absent)));
    this.use(use, ids);
    if (this.publishers.size > 0) return;
    this.use(undefined, []);
    onUnused(this);
  }

  /** Takes `use`, already counted with these publishers, in place of the one of before. */
  private use(use: Use | undefined, publishers: readonly string[]): void {
    const before = this.current;
    const { counted } = this;
    this.current = use;
    this.counted = publishers;
    if (before === undefined) return;
    if (before.group !== use?.group) before.group.topics.delete(this);
    this.context.groups.release(this, before, counted, use);
  }

  /** Sends the publisher its route where it differs from the last one; resolves when the agent has it or is gone. */
  private async tell(
    agent: Agent,
    group: Group | undefined,
    relayOnly: boolean,
    absent: readonly number[],
  ): Promise<void> {
    const others = absent.filter((number) => number !== agent.number);
    const route: RouteUpdate = relayOnly
      ? { topic: this.topic, group: null, to: null }
      : {
          topic: this.topic,
          ...this.destinations(agent, group),
          ...(others.length === 0 ? {} : { absent: others }),
        };
    const told = route.group === null ? undefined : tellGroup(agent, group!, this.context.isAbsent);
    const body = JSON.stringify(route);
    if (this.publishers.get(agent) === body) {
      await told;
      return;
    }
    this.publishers.set(agent, body);
    await agent.channel.ready();
    await agent.channel.send(encodeFabricJson(FabricTopic.ROUTE, route));
  }

  private destinations(publisher: Agent, group: Group | undefined): Pick<RouteUpdate, "group" | "to"> {
    const others = group?.members.filter((m) => m.id !== publisher.id) ?? [];
    if (group === undefined || others.length === 0) return { group: null, to: [] };
    const isSwitched = group.carriage === "openflow";
    if (isSwitched && this.context.dataplane.mayPublish(group.address, publisher.id)) {
      return { group: group.address, to: [`${group.address}:${this.context.groupPort}`] };
    }
    return { group: group.address, to: others.map((m) => `${m.address}:${m.port}`) };
  }
}

/** Tells a publisher whom the group leads to, unless it knows; undefined then. Before any route that names the group. */
function tellGroup(
  agent: Agent,
  group: Group,
  isAbsent: (number: number) => boolean,
): Promise<boolean> | undefined {
  const edges = group.members.map((m) => ({
    agent: agentNumber(m.id),
    at: `${m.address}:${m.port}`,
    epoch: m.dataEpoch,
  }));
  const absent = edges.map((edge) => edge.agent).filter(isAbsent);
  const update: GroupUpdate = {
    group: group.address,
    edges: edges.filter((edge) => !absent.includes(edge.agent)),
    ...(absent.length === 0 ? {} : { absent }),
  };
  // Who was gone for a moment has left the publisher's stream, although the group reads as before.
  const told = JSON.stringify([update, group.members.map((m) => m.stay)]);
  if (agent.groups.get(group) === told) return undefined;
  agent.groups.set(group, told);
  agent.publishes = true;
  return agent.channel.send(encodeFabricJson(FabricTopic.GROUP, update));
}
