import {
  type AccessLists,
  DEAD_MS,
  decodeDatagram,
  type Endpoint,
  encodeFabricJson,
  encodePacket,
  epochAt,
  FABRIC_PREFIX,
  FabricTopic,
  FORWARDER_NUMBER,
  filterError,
  Kind,
  PING_MS,
  ReasonCode,
  readEdges,
  readFlushNumber,
  readHeldRoutes,
  readReleased,
  readSysReport,
  readVacant,
  START,
  serialDistance,
  sourceOf,
  toMessage,
  topicError,
} from "@topicast/protocol";
import type { IPublishPacket, ISubscribePacket, IUnsubscribePacket, Packet } from "mqtt-packet";
import { type Carriage, type Dataplane, THE_FORWARDER } from "../dataplane/dataplane.js";
import type {
  AgentView,
  AllocationView,
  FilterView,
  ForwarderCounts,
  ForwarderView,
  GroupLoad,
  MetricView,
  TopicView,
} from "../rest/view.js";
import { RetainedKeeper } from "../retained/keeper.js";
import { nowhere } from "../retained/storage.js";
import { AccessShare } from "./access-share.js";
import type { Agent } from "./agents.js";
import { Clients } from "./clients.js";
import { Firewalls } from "./firewalls.js";
import { Flushes } from "./flushes.js";
import { GroupTable } from "./groups.js";
import { LegacyProxies } from "./legacy.js";
import { forwarderMetrics } from "./metrics.js";
import { NetworkStats } from "./network-stats.js";
import type { ForwarderOptions } from "./options.js";
import type { QuarantineList } from "./quarantine.js";
import { Registry, sameEndpoint } from "./registry.js";
import { Relay } from "./relay.js";
import { Retaining } from "./retaining.js";
import { Settling } from "./settling.js";
import { Shares } from "./shares.js";
import { Signals } from "./signals.js";
import { STAND_IN_LIMITS, StandIns } from "./stand-ins.js";
import { tellSteering } from "./steering-report.js";
import { TopicMap } from "./topic-map.js";
import { Wills } from "./wills.js";

const FILTERS_PER_AGENT_MAX = 1_000_000;
/** Retain Handling (MQTT 5, section 3.8.3.1): the agent has the retained messages of this filter. */
const HAS_RETAINED = 2;
/** PUBACK: Topic Name invalid (MQTT 5, table 3-4). */
const { TOPIC_NAME_INVALID } = ReasonCode;

/** The forwarder without its sockets: see README.md of this folder. */
export class Forwarder implements ForwarderView {
  readonly dataplane: Dataplane;
  private readonly epoch: number;
  private readonly startedAt: number;
  private readonly registry: Registry;
  private readonly agentsByNumber: ReadonlyMap<number, Agent>;
  private readonly groups: GroupTable;
  private readonly map: TopicMap;
  private readonly legacy: LegacyProxies;
  private readonly accessShare = new AccessShare();
  private readonly keeper: RetainedKeeper;
  private readonly retaining: Retaining;
  private readonly relay: Relay;
  private readonly wills: Wills;
  private readonly standIns: StandIns;
  private readonly shares = new Shares(
    () => this.registry.agents.values(),
    (message, agent) => void this.standIns.bring(message, agent),
  );
  private readonly clients: Clients;
  private readonly flushes: Flushes;
  private readonly networkStats: NetworkStats;
  private readonly firewalls: Firewalls;
  private readonly settling: Settling;
  private readonly signals: Signals;
  private closed = false;

  readonly stats = {
    filters_refused: 0,
  };
  private readonly drops: Record<string, number> = {};

  constructor(private readonly options: ForwarderOptions) {
    const { clock, dataplane, groupRange: range, port } = options;
    this.epoch = epochAt(options.unixTime());
    this.startedAt = clock.now();
    this.dataplane = dataplane;
    this.signals = new Signals({ epoch: this.epoch, port, transmit: options.transmit });
    this.registry = new Registry({
      ...{ clock, dataplane, epoch: this.epoch, payloadBytes: options.payloadBytes },
      transmit: options.transmit,
      onEvent: options.onEvent,
      onPacket: (agent, packet) => this.onPacket(agent, packet),
      isCovered: (agent) => this.standIns.covers(agent),
      onGone: (agent, isOver) => {
        this.standIns.onGone(agent);
        this.map.removeAgent(agent);
        this.groups.onGone(agent.id);
        this.shares.removeAgent(agent);
        this.networkStats.onGone(agent);
        this.flushes.onGone(agent);
        this.wills.onLost(agent, isOver ? 0 : agent.lastHeard + DEAD_MS);
      },
      onReplaced: (agent) => {
        // When it has its new claim.
        Promise.resolve().then(() => this.groups.onReplaced(agent.id));
        this.shares.removeAgent(agent);
        this.wills.onLost(agent, 0);
      },
      onDrop: (reason) => this.drop(reason),
    });
    this.agentsByNumber = this.registry.agents;
    this.flushes = new Flushes(this.agentsByNumber);
    this.clients = new Clients(this.agentsByNumber, options.unixTime, (client, clean, agent) =>
      this.wills.onClaimed(client, clean, agent),
    );
    this.groups = new GroupTable({
      ...{ clock, dataplane, range, port, waste: options.waste },
      claimOf: (id) => this.registry.withId(id)?.claim,
      claimAt: (address) => this.registry.at(address)?.claim,
      onMoved: (topic) => this.map.converge(topic),
      onRetired: (group) => {
        for (const agent of this.agentsByNumber.values()) agent.groups.delete(group);
      },
    });
    this.legacy = new LegacyProxies({
      proxies: options.legacyProxies ?? [],
      transmit: options.transmitPlain,
      onChange: (filter) => {
        for (const topic of this.map.matchedBy([filter])) this.map.converge(topic);
      },
      onPublish: (message, proxy) => this.relay.onPlain(message, proxy),
    });
    const wantsPlain = (topic: string) => this.legacy.wants(topic);
    const { unixTime, absent } = options;
    this.standIns = new StandIns({
      ...{ clock, unixTime, agents: this.agentsByNumber, storage: absent?.storage ?? nowhere },
      limits: absent?.limits ?? STAND_IN_LIMITS,
      onChange: (filters) => {
        for (const topic of this.map.matchedBy(filters)) this.map.converge(topic);
      },
      onShare: (name, absent) => this.shares.setAbsent(name, absent),
    });
    this.standIns.restore(absent?.entries ?? []);
    this.map = new TopicMap({
      ...{ dataplane, groups: this.groups, groupPort: port, wantsPlain },
      absentFrom: (topic) => this.standIns.absentFrom(topic),
      isAbsent: (number) => this.standIns.isAbsent(number),
    });
    this.keeper = options.retained ?? new RetainedKeeper({ clock, unixTime, storage: nowhere }).begin();
    this.retaining = new Retaining(this.keeper, (topic) => this.map.edgesOf(topic));
    this.relay = new Relay({
      ...{ map: this.map, legacy: this.legacy, retaining: this.retaining, shares: this.shares },
      standIns: this.standIns,
      onOverflow: () => this.drop("plain_overflow"),
    });
    this.wills = new Wills(
      clock,
      (message) => this.relay.publish(message),
      options.wills?.storage ?? nowhere,
    );
    this.wills.restore(options.wills?.entries ?? []);
    this.networkStats = new NetworkStats(() => ({
      "retained messages/count": this.keeper.size,
      "shared_subscriptions/count": this.shares.size,
    }));
    this.firewalls = new Firewalls({
      ...{ clock, unixTime, storage: options.quarantine ?? nowhere },
      agents: () => this.agentsByNumber.values(),
      isProtected: (source) => (options.isSafe?.(source) ?? false) || this.isAgent(source),
      onSources: (sources) => dataplane.setQuarantine(sources),
      seenAt: (address) => dataplane.seenAt(address),
    });
    this.settling = new Settling({
      clock,
      agents: () => this.agentsByNumber.values(),
      // First the routes that are in use get their groups again; leftovers go last.
      onComplete: async (afterMs) => {
        options.onEvent({ type: "settled", afterMs, agents: this.agentsByNumber.size });
        this.standIns.onSettled();
        await this.map.thaw();
        this.groups.endReservations();
      },
      onOver: () => dataplane.settled(),
    });
    dataplane.onCarriage = (address, carriage) => this.onCarriage(address, carriage);
    dataplane.onPublisher = (address, id) => this.onPublisher(address, id);
    dataplane.onNeeds = () => this.groups.allocator.refresh();
    dataplane.onLocate = (id) => {
      if (id === THE_FORWARDER) return this.signals.announce();
      void this.registry.withId(id)?.channel.send(encodeFabricJson(FabricTopic.LOCATE, null));
    };
  }

  get quarantine(): QuarantineList {
    return this.firewalls.quarantine;
  }

  start(): void {
    this.dataplane.start();
    void this.quarantine.restore();
    void this.dataplane.adopt().then((found) => {
      if (found !== null) this.groups.adopt(found);
      this.settling.adopt(found === null ? null : found.values());
    });
    this.settling.check();
    this.tick();
  }

  /** Leaves agents and switches as they are: known routes go on delivering without a forwarder. */
  close(): void {
    this.closed = true;
    this.settling.close();
    this.wills.close();
    this.quarantine.close();
    for (const agent of this.agentsByNumber.values()) agent.channel.close();
  }

  /** The users and rules that every agent shall have, from now on. */
  setAccess(lists: AccessLists): void {
    this.accessShare.set(lists, this.agentsByNumber.values());
  }

  // --- the wire ---

  onDatagram(bytes: Buffer, from: Endpoint): void {
    if (this.closed) return;
    const datagram = decodeDatagram(bytes);
    if (datagram === "plain") return this.legacy.onDatagram(bytes, from);
    if (typeof datagram === "string") return this.drop(datagram);
    const { kind, source, epoch, stream } = datagram;
    if (kind === Kind.ANNOUNCE) return;
    if (kind !== Kind.CONTROL && kind !== Kind.ACK) return this.drop("not_control");
    if (source === FORWARDER_NUMBER) return this.drop("not_agent");
    const agent = this.agentsByNumber.get(source);
    const begins = kind === Kind.CONTROL && datagram.number === 0 && stream === 0;
    if (agent !== undefined && agent.epoch === epoch && sameEndpoint(agent.endpoint, from)) {
      if (!begins && stream !== 0 && stream !== this.epoch) return this.signals.reset(datagram, from);
      agent.lastHeard = this.options.clock.now();
      agent.channel.onDatagram(datagram);
    } else if (begins && (datagram.flags & START) !== 0) {
      this.registry.onConnect(datagram, from);
    } else if (agent === undefined || serialDistance(agent.epoch, epoch) > 0) {
      this.signals.reset(datagram, from);
    } else {
      this.drop("old_registration");
    }
  }

  private drop(reason: string): void {
    this.drops[reason] = (this.drops[reason] ?? 0) + 1;
  }

  // --- packets of one agent ---

  private onPacket(agent: Agent, packet: Packet): void {
    switch (packet.cmd) {
      case "connect":
        this.answer(agent, {
          ...{ cmd: "connack", reasonCode: 0, sessionPresent: false },
          properties: {
            userProperties: { retained: this.retaining.greet(agent, agent.claim.retained) },
          },
        });
        this.accessShare.tell(agent);
        this.wills.onRegistered(agent);
        this.quarantine.onRegistered(agent);
        this.flushes.onRegistered(agent);
        this.standIns.onRegistered(agent);
        break;
      case "pingreq":
        this.answer(agent, { cmd: "pingresp" });
        this.onSynced(agent);
        break;
      case "subscribe":
        this.onSubscribe(agent, packet);
        break;
      case "unsubscribe":
        this.onUnsubscribe(agent, packet);
        break;
      case "publish":
        this.onPublish(agent, packet);
        break;
      case "disconnect":
        this.registry.withdraw(agent, "it said DISCONNECT", true);
        break;
      default:
        this.drop("unexpected_packet");
    }
  }

  private answer(agent: Agent, packet: Packet): void {
    void agent.channel.send(encodePacket(packet));
  }

  private onSubscribe(agent: Agent, packet: ISubscribePacket): void {
    const filters = packet.subscriptions.map((s) => s.topic);
    const bare = packet.subscriptions.filter((s) => s.rh !== HAS_RETAINED).map((s) => s.topic);
    const retained = this.retaining.wantedBy(
      agent,
      bare.filter((filter) => filterError(filter) === undefined),
    );
    const granted = filters.map((filter) => {
      if (filterError(filter) !== undefined || agent.filters.size >= FILTERS_PER_AGENT_MAX) {
        this.stats.filters_refused += 1;
        return 0x80;
      }
      agent.confirmed?.filters.add(filter);
      this.map.add(filter, agent);
      return 0;
    });
    const messageId = packet.messageId ?? 0;
    const valid = filters.filter((_, i) => granted[i] === 0);
    this.work(agent, packet.length ?? 0, async () => {
      await Promise.all([
        this.retaining.feed(agent, retained),
        ...[...this.map.matchedBy(valid)].map((topic) => topic.converge()),
      ]);
      return encodePacket({ cmd: "suback", messageId, granted });
    });
  }

  private onUnsubscribe(agent: Agent, packet: IUnsubscribePacket): void {
    for (const filter of packet.unsubscriptions) {
      agent.confirmed?.filters.delete(filter);
      this.map.remove(filter, agent);
    }
    const granted = packet.unsubscriptions.map(() => 0);
    this.answer(agent, { cmd: "unsuback", messageId: packet.messageId ?? 0, granted });
  }

  private onPublish(agent: Agent, packet: IPublishPacket): void {
    switch (packet.topic) {
      case FabricTopic.HELD:
        for (const { topic, group } of readHeldRoutes(packet) ?? []) this.onHeld(agent, topic, group);
        break;
      case FabricTopic.RELEASE:
        for (const name of readReleased(packet) ?? []) {
          const topic = this.map.get(name);
          topic?.removePublisher(agent);
          if (topic !== undefined) this.map.converge(topic);
        }
        break;
      case FabricTopic.EDGES:
        agent.publishes = true;
        // It knows these, and they have theirs to tell.
        this.settling.expect(readEdges(packet) ?? []);
        break;
      case FabricTopic.VACANT:
        agent.vacant = readVacant(packet) ?? [];
        this.registry.tellDataplane();
        break;
      case FabricTopic.CLAIM:
      case FabricTopic.CLIENTS:
      case FabricTopic.UNCLAIM:
      case FabricTopic.TAKE:
      case FabricTopic.SESSION:
        this.work(agent, packet.length ?? 0, () => this.clients.onPacket(agent, packet));
        break;
      case FabricTopic.RETAIN:
        this.work(agent, packet.length ?? 0, () => this.retaining.retain(agent, packet.payload as Buffer));
        break;
      case FabricTopic.MEMBERS:
        this.work(agent, packet.length ?? 0, this.shares.onPacket(agent, packet));
        break;
      case FabricTopic.DURABLE:
        this.work(agent, packet.length ?? 0, this.standIns.onDurable(agent, packet));
        break;
      case FabricTopic.DEFER:
        this.work(agent, packet.length ?? 0, () => this.standIns.defer(packet.payload as Buffer));
        break;
      case FabricTopic.FLUSH:
        this.work(agent, packet.length ?? 0, () => this.flush(agent, packet));
        break;
      case FabricTopic.FLUSHED:
        this.flushes.onFlushed(agent, readFlushNumber(packet));
        break;
      case FabricTopic.SYS:
        this.networkStats.onReport(agent, readSysReport(packet));
        break;
      case FabricTopic.GUESSES:
      case FabricTopic.QUARANTINE:
      case FabricTopic.WHERE:
        if (!this.firewalls.onPacket(agent, packet))
          this.drop(`bad_${packet.topic.slice(FABRIC_PREFIX.length)}`);
        break;
      case FabricTopic.WILL:
        this.wills.onWill(agent, packet.payload as Buffer);
        break;
      case FabricTopic.RETAINED:
        this.retaining.recover(packet.payload as Buffer);
        break;
      default:
        if (packet.topic.startsWith(FABRIC_PREFIX)) this.drop("unknown_control");
        else this.onRelay(agent, packet);
    }
  }

  private isAgent(source: string): boolean {
    return [...this.agentsByNumber.values()].some(({ claim }) => sourceOf(claim.address) === source);
  }

  private onHeld(agent: Agent, name: string, group: string | null): void {
    if (topicError(name) !== undefined) return this.drop("bad_topic");
    const topic = this.map.getOrAdd(name);
    if (topic === undefined) {
      void agent.channel.send(encodeFabricJson(FabricTopic.ROUTE, { topic: name, group: null, to: null }));
      return;
    }
    if (group !== null && !this.settling.isOver) {
      topic.hint ??= group;
      this.groups.reserve(group);
    }
    topic.addPublisher(agent, true);
    agent.confirmed?.topics.add(topic);
    this.map.converge(topic);
  }

  /** The agent has told all it has to tell: what it had before and did not name again is gone. */
  private onSynced(agent: Agent): void {
    const { confirmed } = agent;
    if (confirmed === undefined) return;
    agent.confirmed = undefined;
    this.wills.confirm(agent, confirmed.wills);
    void this.shares.confirm(agent, confirmed.shares);
    this.standIns.confirm(agent, confirmed.durable);
    this.settling.onSynced(agent.claim.address);
    for (const filter of [...agent.filters]) {
      if (!confirmed.filters.has(filter)) this.map.remove(filter, agent);
    }
    for (const topic of [...agent.topics]) {
      if (confirmed.topics.has(topic)) continue;
      topic.removePublisher(agent);
      this.map.converge(topic);
    }
    this.work(agent, 0, () => this.standIns.catchUp(agent));
    this.work(agent, 0, async () => {
      await this.shares.complete(agent);
      return this.retaining.complete(agent);
    });
  }

  /**
   * Relays a message of an unknown topic to its edges at once; PUBACK when all have it, the route when it is ready.
   * So edges that cannot take more make their publishers wait.
   */
  private onRelay(agent: Agent, packet: IPublishPacket): void {
    agent.relays += 1;
    const messageId = ((agent.relays - 1) % 0xffff) + 1;
    const name = packet.topic;
    if (topicError(name) !== undefined || name.startsWith("$")) {
      this.drop("bad_topic");
      this.answer(agent, { cmd: "puback", messageId, reasonCode: TOPIC_NAME_INVALID });
      return;
    }
    this.work(agent, packet.length ?? 0, async () => {
      const topic = this.map.getOrAdd(name);
      if (topic !== undefined) {
        topic.addPublisher(agent);
        agent.confirmed?.topics.add(topic);
        this.map.converge(topic);
      }
      const reasonCode = await this.relay.relay(toMessage(packet), agent);
      return encodePacket({ cmd: "puback", messageId, reasonCode });
    });
  }

  private async flush(agent: Agent, packet: IPublishPacket): Promise<Buffer | undefined> {
    const number = readFlushNumber(packet);
    if (number === undefined) return undefined;
    await Promise.all([this.flushes.flush(agent), this.standIns.caughtUp(agent)]);
    return encodeFabricJson(FabricTopic.FLUSHED, number);
  }

  /**
   * Does a job of this agent's once routes may change, and sends the answer, if any. What the agent has unfinished is bounded;
   * a job of a registration that has ended meanwhile is not begun.
   */
  private work(agent: Agent, bytes: number, job: () => Promise<Buffer | undefined>): void {
    const { channel } = agent;
    void agent.work(bytes, async () => {
      if (!this.settling.isOver) await this.settling.end();
      if (this.agentsByNumber.get(agent.number) !== agent || agent.channel !== channel) return;
      const answer = await job();
      if (answer !== undefined) void channel.send(answer);
    });
  }

  private onCarriage(address: string, carriage: Carriage): void {
    const group = this.groups.onCarriage(address, carriage);
    for (const topic of group?.topics ?? []) this.map.converge(topic);
  }

  private onPublisher(address: string, id: string): void {
    const agent = this.registry.withId(id);
    const group = this.groups.get(address);
    if (agent === undefined || group === undefined) return;
    const isFewer = agent.topics.size < group.topics.size;
    const [fewer, more] = isFewer ? [agent.topics, group.topics] : [group.topics, agent.topics];
    for (const topic of fewer) if (more.has(topic)) this.map.converge(topic);
  }

  // --- time ---

  private tick(): void {
    if (this.closed) return;
    this.registry.tick();
    this.standIns.tick();
    tellSteering(this.agentsByNumber.values(), this.dataplane.unsteered());
    this.options.clock.setTimer(PING_MS, () => this.tick());
  }

  // --- what REST may see ---

  get settled(): boolean {
    return this.settling.isOver;
  }

  uptimeMs(): number {
    return this.options.clock.now() - this.startedAt;
  }

  counts(): ForwarderCounts {
    let topics = 0;
    for (const _ of this.topics()) topics += 1;
    const { filterCount: filters, topicCount } = this.map;
    return { agents: this.agentsByNumber.size, filters, topics, idle: topicCount - topics };
  }

  allocation(): AllocationView {
    const { sizes, copies } = this.groups.allocator;
    return { ...sizes, copies };
  }

  load(address: string): GroupLoad | undefined {
    return this.groups.loadOf(address);
  }

  agents(): Iterable<AgentView> {
    return this.registry.views(this.options.clock.now());
  }

  filters(): IterableIterator<FilterView> {
    return this.map.filterViews();
  }

  topics(): IterableIterator<TopicView> {
    return this.map.topicViews();
  }

  metrics(): IterableIterator<MetricView> {
    const { registry, relay, retaining, accessShare, networkStats, flushes, map } = this;
    const { guesses } = this.firewalls;
    const { keeper, wills, shares, clients, quarantine, legacy, groups, drops, standIns, signals } = this;
    return forwarderMetrics({
      counting: [
        ...[registry, this, relay, accessShare, retaining, keeper, wills, shares, clients, networkStats],
        ...[flushes, quarantine, guesses, map, standIns, standIns.kept, signals],
      ],
      ...{ keeper, wills, shares, clients, quarantine, legacy, groups, drops, standIns },
      allocation: this.allocation(),
      socket: this.options.socketStats?.() ?? {},
    });
  }
}
