import {
  type AccessLists,
  agentNumber,
  type Clock,
  decodeDatagram,
  decodeFired,
  decodeMissed,
  type Endpoint,
  encodeFabricJson,
  epochAt,
  FABRIC_PREFIX,
  FabricTopic,
  type GoneEdge,
  type Header,
  Kind,
  Mark,
  type Message,
  ReasonCode,
  readAccessLists,
  readFlushNumber,
  readGoneEdge,
  readGroupUpdate,
  readJoined,
  readRouteUpdate,
  readShares,
  readSteering,
  readSysAnswer,
  type SteeringProblem,
  StreamReceiver,
  takeMark,
  takeTag,
  toMessage,
  topicFilterOf,
  withoutMarks,
  withTag,
} from "@topicast/protocol";
import type { IPublishPacket, Packet } from "mqtt-packet";
import type { ClientWill, DeliverFromFabric, Downlink, Uplink } from "../mqtt/uplink.js";
import { Claims } from "./claims.js";
import { Deferrals } from "./deferrals.js";
import { DurableFilters } from "./durables.js";
import { Flush } from "./flush.js";
import { NetworkSys } from "./network-sys.js";
import { Origins } from "./origin.js";
import { Publisher } from "./publisher.js";
import { Quarantine, type SharedQuarantine } from "./quarantine.js";
import { Registration, type RegistrationState } from "./registration.js";
import { Retainer } from "./retainer.js";
import { Shares } from "./shares.js";
import { Subscriptions } from "./subscriptions.js";
import { Whereabouts } from "./whereabouts.js";
import { Wills } from "./wills.js";

const { NO_MATCHING_SUBSCRIBERS } = ReasonCode;

/** What an agent does with users and rules that the forwarder keeps. */
export interface SharedAccess {
  /** Tells what it has; undefined: nothing. */
  readonly sharedDigest: string | undefined;
  /** @returns false, and nothing has changed, where they cannot be used */
  setShared(lists: AccessLists): boolean;
}

export interface FabricOptions {
  readonly clock: Clock;
  /** Milliseconds since 1970, from which epochs are made. */
  readonly unixTime: () => number;
  readonly id: string;
  readonly forwarder: Endpoint;
  readonly local: Endpoint & { readonly mac: string | undefined };
  /** Brokers' addresses that this agent answers for; none where absent. */
  readonly intercepts?: readonly Endpoint[] | undefined;
  /** Where the forwarder's users and rules go; nowhere where absent. */
  readonly access?: SharedAccess | undefined;
  /** Whom this agent shuts out, and where it hears of others; nobody where absent. */
  readonly quarantine?: SharedQuarantine | undefined;
  readonly payloadBytes: number;
  /** Counters of the socket, by snake_case name. */
  readonly socketStats?: () => Record<string, number>;
  /** Puts one datagram on the wire to each destination; may lose it. */
  readonly transmit: (header: Header, payload: Buffer, to: readonly Endpoint[]) => void;
  /** Calls `fn` when what is going on now has ended, without delay: `setImmediate`. */
  readonly defer: (fn: () => void) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly deliver: DeliverFromFabric;
  /** Resolves when what was delivered so far is durable; undefined, or absent: it is. Publishers are acknowledged then. */
  readonly durable?: (() => Promise<void> | undefined) | undefined;
  readonly onState: (state: RegistrationState, detail: string) => void;
}

/** This agent's exchange with forwarder and other agents. */
export class AgentFabric implements Uplink {
  private readonly number: number;
  private readonly dataEpoch: number;
  private readonly registration: Registration;
  private readonly subscriptions: Subscriptions;
  private readonly durableFilters: DurableFilters;
  private readonly deferrals: Deferrals;
  private readonly publisher: Publisher;
  private readonly wills: Wills;
  private readonly shares: Shares;
  private readonly sys: NetworkSys;
  /** Whom this agent shuts out is told by it. */
  readonly quarantine: Quarantine;
  /** Where clients are. */
  readonly whereabouts: Whereabouts;
  private sessions: Downlink | undefined;
  private retainer: Retainer | undefined;
  private claims: Claims | undefined;
  private readonly flush: Flush;
  private originCount = 0;
  /** The same of messages with RETAIN. */
  private tagCount = 0;
  private readonly receiver: StreamReceiver;
  private readonly origins = new Origins();
  private vacant: readonly string[] = [];
  /** Why not all clients of what is intercepted are led to agents; undefined while the forwarder has not said. */
  steering: readonly SteeringProblem[] | undefined;

  readonly stats = {
    delivered: 0,
    delivered_relayed: 0,
    delivered_missed: 0,
    reserved_topics: 0,
    announces_seen: 0,
  };
  /** Datagrams dropped, by reason. */
  private readonly drops: Record<string, number> = {};

  constructor(private readonly options: FabricOptions) {
    const { clock, id, payloadBytes, transmit, unixTime, defer, random } = options;
    this.number = agentNumber(id);
    this.dataEpoch = epochAt(unixTime());
    this.receiver = new StreamReceiver({
      clock,
      source: this.number,
      epoch: this.dataEpoch,
      random,
      defer,
      transmit: (header, payload, to) => transmit(header, payload, [to]),
      durable: options.durable,
      onPacket: (packet) => {
        if (packet.cmd !== "publish") return this.drop("not_publish");
        this.stats.delivered += 1;
        this.deliver(packet);
      },
    });
    this.registration = new Registration({
      clock,
      unixTime,
      id,
      number: this.number,
      dataEpoch: this.dataEpoch,
      local: options.local,
      intercepts: options.intercepts,
      accessDigest: () => options.access?.sharedDigest,
      retained: () => this.retainer?.position,
      payloadBytes,
      transmit: (header, payload) => transmit(header, payload, [options.forwarder]),
      announce: () => this.announce(),
      durable: options.durable,
      onRegistered: ({ retained }) => void this.tellState(this.retainer?.onRegistered(retained) ?? true),
      onLost: () => {
        this.steering = undefined;
        this.subscriptions.onLost();
        this.durableFilters.onLost();
        this.publisher.onLost();
        this.deferrals.onLost();
        this.retainer?.onLost();
        this.claims?.onLost();
        this.sys.onLost();
        this.flush.onLost();
      },
      onPacket: (packet) => this.onControlPacket(packet),
      onState: options.onState,
    });
    const { registration, number: source, dataEpoch: epoch } = this;
    this.subscriptions = new Subscriptions(clock, registration);
    this.durableFilters = new DurableFilters(clock, registration);
    this.deferrals = new Deferrals(registration);
    this.wills = new Wills(registration);
    this.quarantine = new Quarantine(clock, registration, options.quarantine);
    this.whereabouts = new Whereabouts(clock, registration);
    this.sys = new NetworkSys(registration, (topic, value) => this.sessions?.publishSys(topic, value));
    this.publisher = new Publisher({
      ...{ clock, source, epoch, payloadBytes, registration, transmit, defer, deferrals: this.deferrals },
    });
    this.flush = new Flush(registration, this.publisher.streams);
    this.shares = new Shares({
      ...{ clock, number: this.number, registration, streams: this.publisher.streams },
      deferrals: this.deferrals,
      deliver: (share, message) => this.sessions?.deliverShared(share, message) ?? false,
    });
  }

  start(): void {
    this.registration.start();
  }

  close(): void {
    this.registration.close();
    this.receiver.close();
    this.subscriptions.close();
    this.durableFilters.close();
    this.publisher.close();
    this.deferrals.close();
    this.retainer?.close();
    this.shares.close();
    this.quarantine.close();
    this.whereabouts.close();
    this.claims?.close();
    this.flush.onLost();
  }

  get state(): RegistrationState {
    return this.registration.state;
  }

  /** Sizes and counters by snake_case name. */
  counters(): Record<string, number> {
    return {
      ...this.stats,
      ...this.publisher.stats,
      ...this.publisher.counters(),
      ...this.publisher.sizes(),
      ...this.origins.stats,
      ...this.retainer?.stats,
      ...this.wills.stats,
      ...this.shares.stats,
      shares: this.shares.size,
      wills: this.wills.size,
      retain_pending: this.retainer?.size ?? 0,
      ...this.claims?.stats,
      clients: this.claims?.size ?? 0,
      streams_received: this.receiver.size,
      ...this.subscriptions.stats,
      subscriptions: this.subscriptions.size,
      subscriptions_contained: this.subscriptions.contained,
      ...this.durableFilters.stats,
      durable_filters: this.durableFilters.size,
      ...this.deferrals.stats,
      deferred_pending: this.deferrals.size,
      ...this.registration.stats,
      ...Object.fromEntries(
        Object.entries(this.options.socketStats?.() ?? {}).map(([k, v]) => [`socket_${k}`, v]),
      ),
      ...Object.fromEntries(Object.entries(this.receiver.stats).map(([k, v]) => [`stream_${k}`, v])),
      ...Object.fromEntries(Object.entries(this.drops).map(([k, v]) => [`dropped_${k}`, v])),
    };
  }

  attach(sessions: Downlink): void {
    this.sessions = sessions;
    const { registration } = this;
    const { clock, unixTime } = this.options;
    this.retainer = new Retainer(clock, registration, sessions.retained);
    this.claims = new Claims({
      ...{ clock, unixTime, registration, sessions: sessions.handover },
      flush: () => this.flush.request(),
    });
  }

  // --- the sessions' side; topics that begin with $ are each server's own (MQTT-4.7.2-1) ---

  subscribe(filter: string): Promise<void> {
    if (!filter.startsWith("$")) return this.subscriptions.subscribe(filter);
    this.sys.subscribe(filter);
    return Promise.resolve();
  }

  unsubscribe(filter: string): void {
    if (filter.startsWith("$")) return this.sys.unsubscribe(filter);
    this.subscriptions.unsubscribe(filter);
    this.sessions?.retained.trim(filter);
  }

  keep(filter: string, expiry: number): Promise<void> | undefined {
    const isOwn = topicFilterOf(filter).startsWith("$");
    return isOwn ? undefined : this.durableFilters.keep(filter, expiry);
  }

  unkeep(filter: string): void {
    this.durableFilters.drop(filter);
  }

  setShare(share: string, connected: number | undefined): Promise<void> | undefined {
    return topicFilterOf(share).startsWith("$") ? undefined : this.shares.set(share, connected);
  }

  passOn(share: string, message: Message): void {
    this.shares.passOn(share, withoutMarks(message));
  }

  setWill(clientId: string, will: ClientWill | undefined): void {
    const isOwn = will?.message.topic.startsWith("$") ?? true;
    this.wills.set(clientId, isOwn ? undefined : { ...will!, message: withoutMarks(will!.message) });
  }

  claim(clientId: string, clean: boolean): Promise<boolean> {
    return this.claims?.claim(clientId, clean) ?? Promise.resolve(true);
  }

  release(clientId: string): void {
    this.claims?.release(clientId);
  }

  report(values: ReadonlyMap<string, number>): void {
    this.sys.report(values);
  }

  newOrigin(publisher: number): string {
    this.originCount += 1;
    return `${this.number.toString(16)}-${this.dataEpoch.toString(16)}.${publisher}-${this.originCount}`;
  }

  newTag(): string {
    this.tagCount += 1;
    return `${this.number.toString(16)}-${this.dataEpoch.toString(16)}-${this.tagCount}`;
  }

  publish(message: Message): Promise<boolean> | undefined {
    if (message.topic.startsWith("$")) {
      this.stats.reserved_topics += 1;
      return undefined;
    }
    const bare = withoutMarks(message);
    const whole = withTag(bare);
    const published = this.publisher.publish(whole);
    const shared = this.shares.publish(bare);
    const retained = message.retain ? this.retainer?.retain(whole) : undefined;
    if (shared === undefined && retained === undefined) return published;
    return Promise.all([published, shared, retained]).then(
      ([isHeard = false]) => isHeard || shared !== undefined,
    );
  }

  // --- the wire's side ---

  onDatagram(bytes: Buffer, from: Endpoint): void {
    const datagram = decodeDatagram(bytes);
    if (typeof datagram === "string") return this.drop(datagram);
    if (datagram.kind === Kind.DATA || datagram.kind === Kind.HEARTBEAT) {
      if (datagram.source === this.number) return this.drop("own");
      this.receiver.onDatagram(datagram, from);
    } else if (datagram.kind === Kind.STATUS) {
      this.publisher.streams.onStatus(datagram, from);
    } else if (datagram.kind === Kind.ANNOUNCE) {
      this.stats.announces_seen += 1;
    } else {
      const { forwarder } = this.options;
      if (from.address !== forwarder.address || from.port !== forwarder.port)
        return this.drop("not_forwarder");
      this.registration.onDatagram(datagram);
    }
  }

  private drop(reason: string): void {
    this.drops[reason] = (this.drops[reason] ?? 0) + 1;
  }

  private onControlPacket(packet: Packet): void {
    if (packet.cmd === "puback") {
      this.publisher.onRelayed(packet.messageId ?? 0, packet.reasonCode !== NO_MATCHING_SUBSCRIBERS);
      this.retainer?.flush();
    } else if (packet.cmd === "suback") this.subscriptions.onSuback(packet.messageId ?? 0);
    else if (packet.cmd === "publish") this.onForwarderPublish(packet);
  }

  private onForwarderPublish(packet: IPublishPacket): void {
    if (packet.topic === FabricTopic.LOCATE) return this.announce();
    if (packet.topic === FabricTopic.ACCESS) {
      const lists = readAccessLists(packet);
      const taken = lists !== undefined && (this.options.access?.setShared(lists) ?? true);
      return taken ? undefined : this.drop("bad_access");
    }
    if (packet.topic === FabricTopic.QUARANTINE || packet.topic === FabricTopic.LOCK) {
      return this.quarantine.onPacket(packet) ? undefined : this.drop("bad_quarantine");
    }
    if (packet.topic === FabricTopic.WHERE) {
      return this.whereabouts.onPacket(packet) ? undefined : this.drop("bad_where");
    }
    if (packet.topic === FabricTopic.ROUTE) {
      const update = readRouteUpdate(packet);
      return update === undefined ? this.drop("bad_route") : this.publisher.onRoute(update);
    }
    if (packet.topic === FabricTopic.GROUP) {
      const update = readGroupUpdate(packet);
      return update === undefined ? this.drop("bad_group") : this.publisher.onGroup(update);
    }
    if (packet.topic === FabricTopic.GONE) {
      const gone = readGoneEdge(packet);
      return gone === undefined ? this.drop("bad_gone") : this.onGone(gone);
    }
    if (packet.topic === FabricTopic.STEERING) {
      const problems = readSteering(packet);
      if (problems === undefined) return this.drop("bad_steering");
      this.steering = problems;
      return;
    }
    if (packet.topic === FabricTopic.RETAINED) {
      this.subscriptions.onRetained();
      const taken = this.retainer?.onRetained(packet.payload as Buffer) ?? true;
      return taken ? undefined : this.drop("bad_retained");
    }
    if (packet.topic === FabricTopic.KEPT) {
      const taken = this.retainer?.onKept(packet.payload as Buffer) ?? true;
      return taken ? undefined : this.drop("bad_kept");
    }
    if (packet.topic === FabricTopic.SHARES) {
      const update = readShares(packet);
      return update === undefined ? this.drop("bad_shares") : this.shares.onShares(update);
    }
    if (packet.topic === FabricTopic.JOINED) {
      const number = readJoined(packet);
      return number === undefined ? this.drop("bad_joined") : this.shares.onJoined(number);
    }
    if (packet.topic === FabricTopic.NOTED) {
      const number = readFlushNumber(packet);
      return number === undefined ? this.drop("bad_noted") : this.durableFilters.onNoted(number);
    }
    if (packet.topic === FabricTopic.DEFERRED) {
      return this.deferrals.onDeferred(packet.payload as Buffer) ? undefined : this.drop("bad_deferred");
    }
    if (packet.topic === FabricTopic.MISSED) return this.onMissed(packet.payload as Buffer);
    if (packet.topic === FabricTopic.SYS) {
      const answer = readSysAnswer(packet);
      return answer === undefined ? this.drop("bad_sys") : this.sys.onAnswer(answer);
    }
    if (packet.topic === FabricTopic.FIRED) {
      const numbers = decodeFired(packet.payload as Buffer);
      if (numbers === undefined) return this.drop("bad_fired");
      for (const clientId of this.wills.onFired(numbers)) this.sessions?.discardWill(clientId);
      return;
    }
    const flushed = this.flush.onPacket(packet);
    if (flushed === false) return this.drop("bad_flush");
    if (flushed === true) return;
    const taken = this.claims?.onPacket(packet);
    if (taken === false) return this.drop("bad_claim");
    if (taken === true) return;
    if (packet.topic.startsWith(FABRIC_PREFIX)) return this.drop("unknown_control");
    this.stats.delivered_relayed += 1;
    this.deliver(packet);
  }

  private deliver(packet: IPublishPacket): void {
    const whole = toMessage(packet);
    const shared = takeMark(whole, Mark.SHARE);
    if (shared !== undefined) return this.shares.receive(shared.message, shared.value);
    const message = this.origins.admit(whole);
    if (message !== undefined) this.options.deliver(takeTag(message));
  }

  /** A message that was kept while this agent was away. */
  private onMissed(payload: Buffer): void {
    const missed = decodeMissed(payload);
    if (missed === undefined) return this.drop("bad_missed");
    this.stats.delivered_missed += 1;
    // Subscriptions wait for the live messages behind these, as for retained ones.
    this.subscriptions.onRetained();
    const shared = takeMark(missed.message, Mark.SHARE);
    if (shared !== undefined) return this.shares.receive(shared.message, shared.value);
    this.sessions?.deliverMissed(this.origins.take(missed.message), missed.age);
  }

  private onGone(gone: GoneEdge): void {
    this.shares.onGone(gone);
    this.claims?.onGone(gone.agent);
    this.publisher.onGone(gone);
  }

  /** Tells a forwarder that has just registered this agent all it must know, as fast as it takes it. */
  private async tellState(retainedAnew: boolean): Promise<void> {
    const { registrations } = this.registration.stats;
    const edges = this.publisher.streams.edges();
    if (edges.length > 0) void this.registration.send(encodeFabricJson(FabricTopic.EDGES, edges));
    // First what is older.
    this.deferrals.onRegistered();
    this.publisher.onRegistered();
    if ((this.options.intercepts ?? []).length > 0) this.tellVacant();
    this.sys.onRegistered();
    this.quarantine.onRegistered();
    const told =
      (await this.wills.tellAll()) &&
      (await this.shares.tellAll()) &&
      ((await this.claims?.tellAll()) ?? true) &&
      (await this.durableFilters.tellAll()) &&
      (await this.subscriptions.tellAll(retainedAnew)) &&
      (await this.publisher.tellRoutes());
    // Another registration may have begun meanwhile: then its own telling comes to this end.
    if (told && registrations === this.registration.stats.registrations) this.registration.endOfState();
  }

  /** The intercepted addresses that no machine has now, all of them: the forwarder must know. */
  setVacant(addresses: readonly string[]): void {
    this.vacant = addresses;
    if (this.registration.registered) this.tellVacant();
  }

  private tellVacant(): void {
    void this.registration.send(encodeFabricJson(FabricTopic.VACANT, this.vacant));
  }

  private announce(): void {
    const { number: source, dataEpoch: epoch } = this;
    const header: Header = { kind: Kind.ANNOUNCE, flags: 0, source, epoch, stream: 0, number: 0 };
    const everyone = { address: "255.255.255.255", port: this.options.local.port };
    this.options.transmit(header, Buffer.alloc(0), [everyone]);
  }
}
