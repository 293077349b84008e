import {
  type Clock,
  type ControlChannel,
  decodeDeferral,
  decodePublish,
  encodeDeferred,
  encodeFabricJson,
  encodeMissed,
  FabricTopic,
  FilterTrie,
  isShared,
  Mark,
  type Message,
  readDurableUpdate,
  takeMark,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import type { RetainedStorage } from "../retained/storage.js";
import { type Edge, edgeKey, errorOf, filterKey, gone, letGo, readEdge } from "./absent-edge.js";
import type { Agent } from "./agents.js";
import { type Kept, KeptMessages } from "./kept-messages.js";

/** Filters of all edges together. */
const FILTERS_MAX = 1_000_000;
/** Sent at a time to an edge that is back, before its acknowledgements are looked at. */
const BATCH = 4_096;
/** An edge that is back and lacks no more than so many has its publishers wait: so that there is an end to it. */
const NEARLY = 512;
/** Session expiry interval: never. */
const NEVER = 0xffffffff;

export interface StandInLimits {
  /** Edges that are away for longer are forgotten (ms); 0: nothing is kept for any. */
  readonly timeMs: number;
  /** What the messages for all of them take. */
  readonly bytes: number;
}

export const STAND_IN_LIMITS: StandInLimits = { timeMs: 24 * 3_600_000, bytes: 256 * 1024 * 1024 };

export interface StandInOptions {
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly unixTime: () => number;
  readonly storage: RetainedStorage;
  readonly limits: StandInLimits;
  /** Those that are registered, by number. */
  readonly agents: ReadonlyMap<number, Agent>;
  /** What topics of these filters want is otherwise from now on. */
  readonly onChange: (filters: Iterable<string>) => void;
  /** These agents are away, and have members of that shared subscription. */
  readonly onShare: (name: string, absent: readonly number[]) => void;
}

/**
 * Stands in for edges that are away: keeps what they would have got at QoS 1 and 2 by the filters of sessions that outlive
 * their connection, and hands it over when they are back. protocol/README.md, "Edges that are away".
 */
export class StandIns {
  private readonly edges = new Map<number, Edge>();
  /** Filters of all edges, and of those that are away. */
  private readonly held = new FilterTrie<Edge>();
  private readonly taken = new FilterTrie<Edge>();
  /** Likewise by shared subscription. */
  private readonly takenShares = new Map<string, readonly number[]>();
  private readonly messages: KeptMessages;
  private filterCount = 0;

  readonly stats = {
    kept_for_absent: 0,
    absent_handed_over: 0,
    absent_expired: 0,
    absent_forgotten: 0,
    absent_filters_refused: 0,
    absent_bad: 0,
  };

  constructor(private readonly options: StandInOptions) {
    this.messages = new KeptMessages(options.storage, options.limits.bytes);
  }

  /** Counters and sizes of what is kept. */
  get kept(): Pick<KeptMessages, "size" | "bytes" | "stats"> {
    return this.messages;
  }

  /** Edges that are away, or not caught up. */
  get size(): number {
    let count = 0;
    for (const { awayAt } of this.edges.values()) if (awayAt !== undefined) count += 1;
    return count;
  }

  /** Takes what a former forwarder knew; before any agent registers. */
  restore(entries: Iterable<readonly [key: string, value: Buffer]>): void {
    const all = [...entries];
    for (const [key, value] of all) {
      if (!key.startsWith("edge/")) continue;
      const edge = readEdge(key, value);
      if (edge === undefined) this.stats.absent_bad += 1;
      else this.edges.set(edge.number, edge);
    }
    for (const [key] of all) {
      if (!key.startsWith("filter/")) continue;
      const cut = key.indexOf("/", "filter/".length);
      const edge = this.edges.get(Number.parseInt(key.slice("filter/".length, cut), 16));
      const filter = key.slice(cut + 1);
      if (edge === undefined || errorOf(filter) !== undefined) this.stats.absent_bad += 1;
      else this.hold(edge, filter);
    }
    this.stats.absent_bad += this.messages.restore(all);
    for (const edge of this.messages.edges()) if (!this.edges.has(edge)) this.messages.forget(edge);
    for (const edge of this.edges.values()) if (edge.awayAt !== undefined) this.take(edge);
  }

  // --- who wants what ---

  /** Agent numbers of edges that are away and want this topic. */
  absentFrom(topic: string): readonly number[] {
    if (this.taken.size === 0) return [];
    return this.taken.match(topic).map(({ number }) => number);
  }

  /** Messages are kept for that edge, and it is not even back. */
  isAbsent(number: number): boolean {
    return this.edges.get(number)?.awayAt !== undefined && !this.options.agents.has(number);
  }

  /** Messages will be kept for this agent when it has gone. */
  covers({ number }: Agent): boolean {
    return (this.edges.get(number)?.filters.size ?? 0) > 0;
  }

  // --- agents ---

  /** `$fabric/durable`: counted at once. Resolves with the answer when it is durable. */
  onDurable(agent: Agent, packet: IPublishPacket): () => Promise<Buffer | undefined> {
    const update = readDurableUpdate(packet);
    if (update === undefined) {
      this.stats.absent_bad += 1;
      return () => Promise.resolve(undefined);
    }
    const { number, add, remove, expiry } = update;
    if (this.options.limits.timeMs > 0) {
      const edge = this.edgeOf(agent);
      if (expiry > edge.expiry) {
        edge.expiry = expiry;
        this.write(edge);
      }
      for (const filter of add) {
        agent.confirmed?.durable.add(filter);
        if (edge.filters.has(filter)) continue;
        if (errorOf(filter) !== undefined || this.filterCount >= FILTERS_MAX) {
          this.stats.absent_filters_refused += 1;
          continue;
        }
        this.options.storage.put(filterKey(edge, filter), Buffer.alloc(0));
        this.hold(edge, filter);
      }
      for (const filter of remove) this.release(edge, filter);
    }
    const noted = this.messages.durable();
    return async () => {
      await noted;
      return encodeFabricJson(FabricTopic.NOTED, number);
    };
  }

  /** An agent has registered: it must know who is away; and it may have been away itself. */
  onRegistered(agent: Agent): void {
    const own = this.edges.get(agent.number);
    // It has started anew while no forwarder was there to see it.
    if (own !== undefined && own.awayAt === undefined && own.epoch !== agent.claim.dataEpoch) this.leave(own);
    for (const edge of this.edges.values()) {
      if (edge !== own && edge.awayAt !== undefined) void agent.channel.send(gone(edge));
    }
  }

  /** The agent has told all its state: forgets what it has not named again. */
  confirm(agent: Agent, told: ReadonlySet<string>): void {
    const edge = this.edges.get(agent.number);
    if (edge === undefined) return;
    for (const filter of [...edge.filters]) if (!told.has(filter)) this.release(edge, filter);
  }

  /** It is registered no more; before its filters are taken out of the map. */
  onGone(agent: Agent): void {
    const edge = this.edges.get(agent.number);
    if (edge === undefined) return;
    if (edge.filters.size === 0) return this.forget(edge);
    edge.epoch = agent.claim.dataEpoch;
    edge.awayAt = this.options.unixTime();
    this.take(edge);
    this.write(edge);
    letGo(edge);
  }

  /** Whoever has not come back to this forwarder by now is away. */
  onSettled(): void {
    for (const edge of this.edges.values()) {
      if (edge.awayAt === undefined && !this.options.agents.has(edge.number)) this.leave(edge);
    }
  }

  /** Resolves when that agent has what was kept for it, or is away again. */
  caughtUp({ number }: Agent): Promise<void> {
    const edge = this.edges.get(number);
    if (edge?.awayAt === undefined) return Promise.resolve();
    return new Promise((done) => edge.waiting.push(done));
  }

  // --- messages ---

  /** A message of an agent (undefined: of none) for everybody who is away; undefined where nobody wants it. */
  keep(message: Message, from: number | undefined): Promise<void> | undefined {
    if (message.qos === 0) return undefined;
    const absent = this.absentFrom(message.topic).filter((edge) => edge !== from);
    return absent.length === 0 ? undefined : this.store(message, absent);
  }

  /** `$fabric/defer`. Resolves with the answer when the message is durable, or where it belongs. */
  async defer(payload: Buffer): Promise<Buffer | undefined> {
    const deferral = decodeDeferral(payload);
    if (deferral === undefined) {
      this.stats.absent_bad += 1;
      return undefined;
    }
    const { number, edges, message } = deferral;
    await Promise.all(edges.map((edge) => this.bring(message, edge)));
    return encodeDeferred(number);
  }

  /** A message for one edge that may not have it: now where it is here, later where it is not. */
  async bring(message: Message, number: number): Promise<void> {
    const edge = this.edges.get(number);
    if (edge === undefined || message.qos === 0) return;
    let tried: ControlChannel | undefined;
    while (edge.awayAt === undefined) {
      const channel = this.options.agents.get(number)?.channel;
      if (channel === undefined || channel === tried || !this.wants(edge, message, this.held)) return;
      if (await channel.send(encodeMissed({ age: 0, message }))) return;
      tried = channel;
    }
    if (this.wants(edge, message, this.taken)) await this.store(message, [number]);
  }

  /** By a filter of `among`, or as one for a member of a shared subscription there. */
  private wants(edge: Edge, message: Message, among: FilterTrie<Edge>): boolean {
    const share = takeMark(message, Mark.SHARE)?.value;
    if (share === undefined) return among.match(message.topic).includes(edge);
    const name = share.slice(share.indexOf(" ") + 1);
    return (edge.awayAt === undefined ? edge.filters : edge.taken).has(name);
  }

  /** Forgets those who have been away for too long. */
  tick(): void {
    const now = this.options.unixTime();
    for (const edge of [...this.edges.values()]) {
      const { awayAt, number, expiry } = edge;
      if (awayAt === undefined || this.options.agents.has(number)) continue;
      const limit = expiry === NEVER ? Number.POSITIVE_INFINITY : expiry * 1_000;
      if (now - awayAt > Math.min(limit, this.options.limits.timeMs)) this.forget(edge);
    }
  }

  private async store(message: Message, absent: readonly number[]): Promise<void> {
    this.stats.kept_for_absent += 1;
    this.messages.add(message, absent, this.options.unixTime());
    await this.messages.durable();
    const { agents } = this.options;
    const nearly = absent.filter((edge) => this.messages.countOf(edge) <= NEARLY);
    // Those who have told all their state.
    const back = nearly.flatMap((edge) => agents.get(edge) ?? []).filter((a) => a.confirmed === undefined);
    await Promise.all(back.map((agent) => this.caughtUp(agent)));
  }

  /** The agent has told all its state: hands over what was kept for it, in its order; then it is here again. */
  async catchUp(agent: Agent): Promise<undefined> {
    const { channel, number } = agent;
    const edge = this.edges.get(number);
    if (edge === undefined) return;
    // It has come back without its sessions.
    if (edge.filters.size === 0) this.messages.forget(number);
    const isCurrent = () => this.options.agents.get(number) === agent && agent.channel === channel;
    for (let last = 0; this.messages.countOf(number) > 0; ) {
      const batch: Promise<boolean>[] = [];
      for (const kept of this.messages.of(number)) {
        if (kept.number <= last) continue;
        await channel.ready();
        if (!isCurrent()) return;
        last = kept.number;
        batch.push(this.hand(kept, number, channel));
        if (batch.length >= BATCH) break;
      }
      if ((await Promise.all(batch)).includes(false) || !isCurrent()) return;
    }
    this.settle(edge, agent);
  }

  /** Resolves with false where the edge has gone before it had the message. */
  private async hand(kept: Kept, edge: number, channel: ControlChannel): Promise<boolean> {
    const age = Math.max(0, this.options.unixTime() - kept.at);
    const message = decodePublish(kept.packet)!;
    const left = message.messageExpiry === undefined ? 1 : message.messageExpiry - Math.floor(age / 1_000);
    if (left <= 0) {
      this.stats.absent_expired += 1;
      this.messages.done(kept, edge);
      return true;
    }
    const expiry = message.messageExpiry === undefined ? {} : { messageExpiry: left };
    const isThere = await channel.send(encodeMissed({ age, message: { ...message, ...expiry } }));
    if (!isThere) return false;
    this.stats.absent_handed_over += 1;
    this.messages.done(kept, edge);
    return true;
  }

  // --- edges ---

  private edgeOf({ number, claim }: Agent): Edge {
    let edge = this.edges.get(number);
    if (edge === undefined) {
      const fresh = { epoch: claim.dataEpoch, expiry: 0, awayAt: undefined };
      edge = { number, ...fresh, filters: new Set(), taken: new Set(), waiting: [] };
      this.edges.set(number, edge);
      this.write(edge);
    }
    return edge;
  }

  private hold(edge: Edge, filter: string): void {
    edge.filters.add(filter);
    if (!isShared(filter)) this.held.add(filter, edge);
    this.filterCount += 1;
  }

  private release(edge: Edge, filter: string): void {
    if (!edge.filters.delete(filter)) return;
    if (!isShared(filter)) this.held.remove(filter, edge);
    this.filterCount -= 1;
    this.options.storage.delete(filterKey(edge, filter));
  }

  /** It has gone while nobody was looking: publishers may wait for it. */
  private leave(edge: Edge): void {
    edge.awayAt = this.options.unixTime();
    this.take(edge);
    this.write(edge);
    for (const agent of this.options.agents.values())
      if (agent.number !== edge.number) void agent.channel.send(gone(edge));
    this.options.onChange(edge.taken);
  }

  /** From now on what its filters match is kept. */
  private take(edge: Edge): void {
    for (const filter of edge.filters) {
      if (edge.taken.has(filter)) continue;
      edge.taken.add(filter);
      if (isShared(filter)) this.setShare(filter, [...(this.takenShares.get(filter) ?? []), edge.number]);
      else this.taken.add(filter, edge);
    }
  }

  /** It is here, and nothing is kept for it. */
  private settle(edge: Edge, { claim }: Agent): void {
    edge.epoch = claim.dataEpoch;
    edge.awayAt = undefined;
    if (edge.filters.size === 0) return this.remove(edge);
    this.write(edge);
    this.giveBack(edge);
  }

  private forget(edge: Edge): void {
    if (edge.filters.size > 0) this.stats.absent_forgotten += 1;
    for (const filter of [...edge.filters]) this.release(edge, filter);
    this.messages.forget(edge.number);
    this.remove(edge);
  }

  private remove(edge: Edge): void {
    this.edges.delete(edge.number);
    this.options.storage.delete(edgeKey(edge));
    this.giveBack(edge);
  }

  private giveBack(edge: Edge): void {
    const filters = [...edge.taken].filter((filter) => !isShared(filter));
    for (const filter of filters) this.taken.remove(filter, edge);
    for (const name of [...edge.taken].filter(isShared))
      this.setShare(
        name,
        (this.takenShares.get(name) ?? []).filter((number) => number !== edge.number),
      );
    edge.taken.clear();
    letGo(edge);
    if (filters.length > 0) this.options.onChange(filters);
  }

  private setShare(name: string, absent: readonly number[]): void {
    if (absent.length > 0) this.takenShares.set(name, absent);
    else this.takenShares.delete(name);
    this.options.onShare(name, absent);
  }

  private write({ number, epoch, expiry, awayAt }: Edge): void {
    const body = JSON.stringify({ epoch, expiry, awayAt });
    this.options.storage.put(edgeKey({ number }), Buffer.from(body));
  }
}
