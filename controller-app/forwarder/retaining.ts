import {
  type ControlChannel,
  decodeRetain,
  decodeRetained,
  encodeKept,
  encodeRetained,
  formatGreeting,
  type Message,
  parsePosition,
  type RetainedGreeting,
  type RetainedMode,
  topicError,
} from "@topicast/protocol";
import type { RetainedEntry, RetainedKeeper } from "../retained/keeper.js";
import type { Agent } from "./agents.js";

/** What the forwarder says and hears of retained messages: protocol/README.md, "Retained messages". */
export class Retaining {
  /** What is still to be told on a channel, one thing behind the other. */
  private readonly feeds = new WeakMap<ControlChannel, Promise<void>>();

  readonly stats = { retained_told: 0, retained_bad: 0 };

  constructor(
    private readonly keeper: RetainedKeeper,
    /** The agents that have a filter for this topic. */
    private readonly edgesOf: (topic: string) => readonly Agent[],
  ) {}

  /** An agent has registered, and says that it has `position`. Returns the user property of its CONNACK. */
  greet(agent: Agent, position: string | undefined): string {
    const has = parsePosition(position);
    const { era } = this.keeper;
    const mode = this.modeFor(has);
    agent.retainedSince = mode === "changes" ? has!.version : undefined;
    const greeting: RetainedGreeting = { era, mode };
    return formatGreeting(greeting);
  }

  private modeFor(has: ReturnType<typeof parsePosition>): RetainedMode {
    const { era, version, isRecovering } = this.keeper;
    if (has === undefined) return "whole";
    if (has.era !== era) return isRecovering ? "lost" : "whole";
    // A version that was never given: the storage is not the one that the agent was told from.
    return has.version <= version && this.keeper.changesSince(has.version) !== undefined
      ? "changes"
      : "whole";
  }

  /**
   * `$fabric/retain`: orders and keeps the message, and tells every agent that has a filter for it. Resolves with the
   * answer when it is durable and all of them have it, or are gone.
   */
  async retain(agent: Agent, payload: Buffer): Promise<Buffer | undefined> {
    const request = decodeRetain(payload);
    if (request === undefined || isReserved(request.message.topic)) {
      this.stats.retained_bad += 1;
      return request && encodeKept(request.number);
    }
    const { number, message } = request;
    if (!this.keeper.isRepeated(agent.number, agent.claim.dataEpoch, number)) await this.keep(message);
    else await this.keeper.durable();
    return encodeKept(number);
  }

  /** Orders and keeps a message; resolves when it is durable and every agent that has a filter for it has it, or is gone. */
  async keep(message: Message): Promise<void> {
    const entry = this.keeper.set(message);
    await Promise.all([this.keeper.durable(), ...(entry === undefined ? [] : this.tellAll(entry))]);
  }

  /** `$fabric/retained` from an agent: what it has of an earlier era. */
  recover(payload: Buffer): void {
    const update = decodeRetained(payload);
    if (update?.message === undefined || topicError(update.message.topic) !== undefined) {
      this.stats.retained_bad += 1;
      return;
    }
    const entry = this.keeper.recover(update.message, update.era, update.version);
    if (entry !== undefined) void Promise.all(this.tellAll(entry));
  }

  /**
   * What an agent must be told because of new filters that it has nothing of; to be asked before they are in the map.
   * What its other filters match it has been told, unless it is still telling its state.
   */
  wantedBy(agent: Agent, filters: readonly string[]): RetainedEntry[] {
    const wanted = new Set<RetainedEntry>();
    for (const filter of filters) {
      this.keeper.matching(filter, (entry) => {
        if (agent.confirmed !== undefined || !this.edgesOf(entry.topic).includes(agent)) wanted.add(entry);
      });
    }
    return [...wanted];
  }

  /** Tells an agent these, but for those that something newer has taken the place of: that it has been told. */
  feed(agent: Agent, entries: readonly RetainedEntry[]): Promise<void> {
    const { channel } = agent;
    const before = this.feeds.get(channel) ?? Promise.resolve();
    if (entries.length === 0) return before;
    const fed = before.then(async () => {
      for (const entry of entries) {
        await channel.ready();
        if (agent.channel !== channel) return;
        if (entry.isCurrent) void this.tell(agent, entry);
      }
    });
    this.feeds.set(channel, fed);
    return fed;
  }

  /** The agent has told its filters: resolves with the word that it is up to date, when it has been told what it lacks. */
  async complete(agent: Agent): Promise<Buffer> {
    const { retainedSince: since } = agent;
    agent.retainedSince = undefined;
    const changes = since === undefined ? [] : (this.keeper.changesSince(since) ?? []);
    await this.feed(
      agent,
      changes.filter(({ topic }) => this.edgesOf(topic).includes(agent)),
    );
    const { era, version } = this.keeper;
    return encodeRetained({ era, version, message: undefined });
  }

  private tellAll(entry: RetainedEntry): Promise<boolean>[] {
    return this.edgesOf(entry.topic).map((agent) => this.tell(agent, entry));
  }

  private tell(agent: Agent, entry: RetainedEntry): Promise<boolean> {
    this.stats.retained_told += 1;
    const { era } = this.keeper;
    const message = this.keeper.messageOf(entry);
    return agent.channel.send(encodeRetained({ era, version: entry.version, message }));
  }
}

function isReserved(topic: string): boolean {
  return topicError(topic) !== undefined || topic.startsWith("$");
}
