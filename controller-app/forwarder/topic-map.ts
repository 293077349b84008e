import { FilterTrie, TopicTree } from "@topicast/protocol";
import type { Dataplane } from "../dataplane/dataplane.js";
import type { FilterView, TopicView } from "../rest/view.js";
import type { Agent } from "./agents.js";
import type { GroupTable } from "./groups.js";
import { RoutedTopic } from "./topics.js";

const TOPICS_MAX = 1_000_000;

export interface TopicMapOptions {
  readonly dataplane: Pick<Dataplane, "mayPublish">;
  readonly groups: GroupTable;
  readonly wantsPlain: (topic: string) => boolean;
  /** Agent numbers of edges that are away, or not caught up, and for which messages of the topic are kept. */
  readonly absentFrom: (topic: string) => readonly number[];
  /** That edge is not registered, and messages are kept for it. */
  readonly isAbsent: (number: number) => boolean;
  /** The UDP port that group datagrams are sent to. */
  readonly groupPort: number;
}

/** Which edge wants which filter, and which topics are routed. */
export class TopicMap {
  private readonly edges = new FilterTrie<Agent>();
  private readonly routed = new TopicTree<RoutedTopic>();
  /** While frozen no route changes; `thaw` brings all of them up to date. */
  private frozen = true;

  readonly stats = { topics_refused: 0 };

  constructor(private readonly options: TopicMapOptions) {}

  get filterCount(): number {
    return this.edges.size;
  }

  get topicCount(): number {
    return this.routed.size;
  }

  add(filter: string, agent: Agent): void {
    agent.filters.add(filter);
    this.edges.add(filter, agent);
  }

  /** The topics that the filter matches converge without the agent. */
  remove(filter: string, agent: Agent): void {
    agent.filters.delete(filter);
    if (!this.edges.remove(filter, agent).removed) return;
    for (const topic of this.matchedBy([filter])) this.converge(topic);
  }

  /** Takes everything of an agent away. */
  removeAgent(agent: Agent): void {
    const affected = new Set(agent.topics);
    for (const topic of affected) topic.removePublisher(agent);
    for (const filter of agent.filters) this.edges.remove(filter, agent);
    for (const topic of this.matchedBy(agent.filters)) affected.add(topic);
    agent.filters.clear();
    for (const topic of affected) this.converge(topic);
  }

  /** The agents that want this topic, ordered by id. */
  edgesOf(topic: string): Agent[] {
    return [...this.edges.match(topic)].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Those of them that messages go to: not those for which they are kept. */
  liveEdgesOf(topic: string): Agent[] {
    const edges = this.edgesOf(topic);
    const absent = this.options.absentFrom(topic);
    return absent.length === 0 ? edges : edges.filter(({ number }) => !absent.includes(number));
  }

  /** The routed topics that any of the filters matches. */
  matchedBy(filters: Iterable<string>): Set<RoutedTopic> {
    const found = new Set<RoutedTopic>();
    for (const filter of filters) this.routed.matching(filter, (_, topic) => found.add(topic));
    return found;
  }

  get(name: string): RoutedTopic | undefined {
    return this.routed.get(name);
  }

  /** The routed topic, made where it is new; undefined where the map is full. */
  getOrAdd(name: string): RoutedTopic | undefined {
    const known = this.routed.get(name);
    if (known !== undefined) return known;
    if (this.routed.size >= TOPICS_MAX) {
      this.stats.topics_refused += 1;
      return undefined;
    }
    const topic = new RoutedTopic(name, {
      ...this.options,
      edgesOf: (t) => this.liveEdgesOf(t),
      onUnused: (unused) => this.routed.delete(unused.topic),
    });
    this.routed.set(name, topic);
    return topic;
  }

  /** Begins to bring a topic's route up to date. */
  converge(topic: RoutedTopic): void {
    if (!this.frozen) void topic.converge();
  }

  /** Lets routes change; resolves when every topic's publishers have the route of now. */
  async thaw(): Promise<void> {
    this.frozen = false;
    await Promise.all([...this.topics()].map((topic) => topic.converge()));
  }

  *topics(): IterableIterator<RoutedTopic> {
    for (const [, topic] of this.routed.entries()) yield topic;
  }

  *filterViews(): IterableIterator<FilterView> {
    for (const [filter, agents] of this.edges.entries()) {
      yield { filter, edges: agents.map(({ id }) => id).sort() };
    }
  }

  *topicViews(): IterableIterator<TopicView> {
    for (const { topic, group, edges } of this.topics()) {
      if (group === undefined) continue;
      yield { topic, edges, group: group.address, carriage: group.carriage };
    }
  }
}
