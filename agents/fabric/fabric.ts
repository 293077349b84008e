import {
  agentNumber,
  type Clock,
  DEAD_MS,
  decodeDatagram,
  type Endpoint,
  encodeFabricJson,
  encodePacket,
  encodePublish,
  epochAt,
  FABRIC_PREFIX,
  FabricTopic,
  formatIPv4,
  type Header,
  type HeldRoute,
  Kind,
  type Message,
  parseIPv4,
  readRouteUpdate,
  StreamReceiver,
  StreamSender,
  toMessage,
} from "@topicast/protocol";
import type { IPublishPacket, Packet } from "mqtt-packet";
import type { DeliverFromFabric, Uplink } from "../mqtt/uplink.js";
import { Registration, type RegistrationState } from "./registration.js";
import { HELD_MAX, type Route, RouteTable, type Target } from "./routes.js";

export interface FabricOptions {
  readonly clock: Clock;
  readonly unixTime: () => number;
  readonly id: string;
  readonly forwarder: Endpoint;
  readonly local: Endpoint & { readonly mac: string | undefined };
  readonly payloadBytes: number;
  /** Puts one datagram on the wire to each destination; may lose it. */
  readonly transmit: (header: Header, payload: Buffer, to: readonly Endpoint[]) => void;
  readonly deliver: DeliverFromFabric;
  readonly onState: (state: RegistrationState, detail: string) => void;
}

const ROUTES_MAX = 100_000;
/** Publishes of unknown topics that wait while there is no registration, or on a full channel. */
const BACKLOG_MAX = 1_024;
const BACKLOG_BYTES_MAX = 4 * 1024 * 1024;
/** Relays wait above so many bytes on the channel: the forwarder is slower than the publishers. */
const RELAY_BYTES_MAX = 8 * 1024 * 1024;
/** Message ids of PUBACK wrap here, so never more than these are outstanding. */
const RELAYS_MAX = 60_000;
/** Filters in one SUBSCRIBE, routes in one `$fabric/held`, after a registration. */
const BATCH = 64;

interface Relay {
  readonly route: Route;
  readonly message: Message;
  readonly done: (() => void) | undefined;
  /** The forwarder's side has taken it: it may have been delivered. */
  taken: boolean;
}

interface Queued {
  readonly message: Message;
  readonly done: (() => void) | undefined;
}

/** Those who wait for the subscribe barrier of one filter. */
type Waiting = Set<() => void>;

/** This agent's exchange with forwarder and other agents. */
export class AgentFabric implements Uplink {
  private readonly number: number;
  private readonly dataEpoch: number;
  private readonly registration: Registration;
  private readonly receiver: StreamReceiver;
  private readonly routes = new RouteTable(ROUTES_MAX);
  private readonly senders = new Map<number, StreamSender>();
  private readonly subscriptions = new Map<string, Waiting>();
  /** SUBSCRIBEs under way by message id. */
  private readonly subscribing = new Map<number, string[]>();
  private nextMessageId = 1;
  /** Relays by their PUBACK's message id, in order. */
  private readonly relays = new Map<number, Relay>();
  private relayCount = 0;
  private backlog: Queued[] = [];
  private backlogBytes = 0;

  readonly stats = {
    published_nowhere: 0,
    published_direct: 0,
    published_relayed: 0,
    published_dropped: 0,
    relays_unconfirmed: 0,
    delivered: 0,
    delivered_relayed: 0,
    routes_evicted: 0,
    subscribe_timeouts: 0,
    announces_seen: 0,
  };
  /** Datagrams dropped, by reason. */
  readonly drops: Record<string, number> = {};

  constructor(private readonly options: FabricOptions) {
    this.number = agentNumber(options.id);
    this.dataEpoch = epochAt(options.unixTime());
    this.receiver = new StreamReceiver({
      clock: options.clock,
      onPacket: (packet) => {
        if (packet.cmd !== "publish") return;
        this.stats.delivered += 1;
        options.deliver(toMessage(packet));
      },
    });
    this.registration = new Registration({
      clock: options.clock,
      unixTime: options.unixTime,
      id: options.id,
      number: this.number,
      local: options.local,
      payloadBytes: options.payloadBytes,
      transmit: (header, payload) => options.transmit(header, payload, [options.forwarder]),
      onRegistered: () => this.sendState(),
      onLost: () => this.onLost(),
      onPacket: (packet) => this.onControlPacket(packet),
      onState: options.onState,
    });
  }

  start(): void {
    this.registration.start();
  }

  close(): void {
    this.registration.close();
    this.receiver.close();
    for (const waiting of this.subscriptions.values()) settle(waiting);
  }

  get state(): RegistrationState {
    return this.registration.state;
  }

  /** Sizes and counters by snake_case name. */
  counters(): Record<string, number> {
    return {
      ...this.stats,
      ...Object.fromEntries(Object.entries(this.receiver.stats).map(([k, v]) => [`stream_${k}`, v])),
      ...Object.fromEntries(Object.entries(this.drops).map(([k, v]) => [`dropped_${k}`, v])),
      ...this.registration.stats,
      routes: this.routes.size,
      subscriptions: this.subscriptions.size,
      backlog: this.backlog.length,
    };
  }

  // --- the wire ---

  onDatagram(bytes: Buffer, from: Endpoint): void {
    const datagram = decodeDatagram(bytes);
    if (typeof datagram === "string") return this.drop(datagram);
    if (datagram.kind === Kind.DATA) {
      if (datagram.source === this.number) return this.drop("own");
      this.receiver.onDatagram(datagram);
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
    if (packet.cmd === "puback") this.onRelayed(packet.messageId ?? 0);
    else if (packet.cmd === "suback") this.onSuback(packet.messageId ?? 0);
    else if (packet.cmd === "publish") this.onForwarderPublish(packet);
  }

  private onForwarderPublish(packet: IPublishPacket): void {
    if (packet.topic === FabricTopic.ROUTE) this.onRoute(packet);
    else if (packet.topic === FabricTopic.LOCATE) this.announce();
    else if (packet.topic.startsWith(FABRIC_PREFIX)) this.drop("unknown_control");
    else {
      this.stats.delivered_relayed += 1;
      this.options.deliver(toMessage(packet));
    }
  }

  private announce(): void {
    const header: Header = {
      kind: Kind.ANNOUNCE,
      flags: 0,
      source: this.number,
      epoch: this.dataEpoch,
      stream: 0,
      number: 0,
    };
    const everyone = { address: "255.255.255.255", port: this.options.local.port };
    this.options.transmit(header, Buffer.alloc(0), [everyone]);
  }

  // --- registration ---

  /** Tells a forwarder that has just registered this agent all it must know; a PINGREQ ends it. */
  private sendState(): void {
    const filters = [...this.subscriptions.keys()];
    for (let i = 0; i < filters.length; i += BATCH) this.sendSubscribe(filters.slice(i, i + BATCH));
    const held: HeldRoute[] = [];
    for (const { topic, target } of this.routes.values()) {
      if (target === undefined) continue;
      held.push({ topic, group: target.group === undefined ? null : formatIPv4(target.group) });
    }
    for (let i = 0; i < held.length; i += BATCH) {
      void this.registration.send(encodeFabricJson(FabricTopic.HELD, held.slice(i, i + BATCH)));
    }
    void this.registration.send(encodePacket({ cmd: "pingreq" }));
    this.flushBacklog();
  }

  /**
   * What the forwarder has certainly not taken, and QoS 1 and 2 that it may have taken, is sent again: straight where
   * the route is known by now, otherwise by the next registration.
   */
  private onLost(): void {
    this.subscribing.clear();
    const waiting = this.backlog;
    this.backlog = [];
    this.backlogBytes = 0;
    const relays = [...this.relays.values()];
    this.relays.clear();
    this.relayCount = 0;
    for (const { route, message, done, taken } of relays) {
      route.outstanding = 0;
      if (taken && message.qos === 0) this.stats.relays_unconfirmed += 1;
      else if (route.target === undefined) this.enqueue({ message, done });
      else this.sendDirect(route, route.target, message);
      if (route.target !== undefined || (taken && message.qos === 0)) done?.();
    }
    for (const { route } of relays) {
      if (route.target !== undefined) this.release(route, route.target);
    }
    for (const queued of waiting) this.enqueue(queued);
  }

  // --- subscriptions ---

  subscribe(filter: string): Promise<void> {
    const waiting: Waiting = this.subscriptions.get(filter) ?? new Set();
    this.subscriptions.set(filter, waiting);
    const barrier = new Promise<void>((resolve) => {
      const done = () => {
        timer.cancel();
        waiting.delete(done);
        resolve();
      };
      const timer = this.options.clock.setTimer(DEAD_MS, () => {
        this.stats.subscribe_timeouts += 1;
        done();
      });
      waiting.add(done);
    });
    if (this.registration.registered) this.sendSubscribe([filter]);
    else if (this.state !== "connecting") settle(waiting);
    return barrier;
  }

  unsubscribe(filter: string): void {
    const waiting = this.subscriptions.get(filter);
    if (waiting === undefined) return;
    this.subscriptions.delete(filter);
    settle(waiting);
    if (!this.registration.registered) return;
    const messageId = this.messageId();
    void this.registration.send(encodePacket({ cmd: "unsubscribe", messageId, unsubscriptions: [filter] }));
  }

  private sendSubscribe(filters: string[]): void {
    const messageId = this.messageId();
    this.subscribing.set(messageId, filters);
    const subscriptions = filters.map((topic) => ({ topic, qos: 0 as const }));
    void this.registration.send(encodePacket({ cmd: "subscribe", messageId, subscriptions }));
  }

  private messageId(): number {
    do {
      this.nextMessageId = (this.nextMessageId % 0xffff) + 1;
    } while (this.subscribing.has(this.nextMessageId));
    return this.nextMessageId;
  }

  private onSuback(messageId: number): void {
    const filters = this.subscribing.get(messageId) ?? [];
    this.subscribing.delete(messageId);
    for (const filter of filters) {
      const waiting = this.subscriptions.get(filter);
      if (waiting !== undefined) settle(waiting);
    }
  }

  // --- publishing ---

  publish(message: Message): Promise<void> | undefined {
    const route = this.routes.get(message.topic);
    if (route?.target !== undefined && route.outstanding === 0) {
      this.sendDirect(route, route.target, message);
      return undefined;
    }
    if (message.qos === 0) {
      this.enqueueOrRelay({ message, done: undefined });
      return undefined;
    }
    return new Promise((done) => this.enqueueOrRelay({ message, done }));
  }

  private sendDirect(route: Route, target: Target, message: Message): void {
    route.used = true;
    if (target.group === undefined) {
      this.stats.published_nowhere += 1;
      return;
    }
    this.stats.published_direct += 1;
    let sender = this.senders.get(target.group);
    if (sender === undefined) {
      sender = new StreamSender(this.number, this.dataEpoch, target.group, this.options.payloadBytes);
      this.senders.set(target.group, sender);
    }
    sender.send(encodePublish(message), (header, payload) =>
      this.options.transmit(header, payload, target.to),
    );
  }

  private enqueueOrRelay(queued: Queued): void {
    if (this.backlog.length === 0 && this.canRelay()) this.relay(queued);
    else this.enqueue(queued);
  }

  private canRelay(): boolean {
    const { registered, waitingBytes } = this.registration;
    return registered && waitingBytes < RELAY_BYTES_MAX && this.relays.size < RELAYS_MAX;
  }

  /** The first messages of a topic go by way of the forwarder, which answers with the route. */
  private relay({ message, done }: Queued): void {
    const { route, evicted } = this.routes.getOrAdd(message.topic);
    if (evicted !== undefined) this.releaseTopic(evicted);
    if (route.target !== undefined) {
      if (route.outstanding === 0) this.sendDirect(route, route.target, message);
      else this.hold(route, message);
      done?.();
      return;
    }
    this.stats.published_relayed += 1;
    route.outstanding += 1;
    this.relayCount += 1;
    const relay: Relay = { route, message, done, taken: false };
    this.relays.set(((this.relayCount - 1) % 0xffff) + 1, relay);
    void this.registration.send(encodePublish(message)).then((taken) => {
      relay.taken = taken;
    });
  }

  private hold(route: Route, message: Message): void {
    if (route.held.length >= HELD_MAX) {
      route.held.shift();
      this.stats.published_dropped += 1;
    }
    route.held.push(message);
  }

  private enqueue(queued: Queued): void {
    this.backlog.push(queued);
    this.backlogBytes += queued.message.payload.length;
    while (this.backlog.length > BACKLOG_MAX || this.backlogBytes > BACKLOG_BYTES_MAX) {
      const oldest = this.backlog.shift()!;
      this.backlogBytes -= oldest.message.payload.length;
      this.stats.published_dropped += 1;
      oldest.done?.();
    }
  }

  private flushBacklog(): void {
    let sent = 0;
    for (const queued of this.backlog) {
      if (!this.canRelay()) break;
      sent += 1;
      this.backlogBytes -= queued.message.payload.length;
      this.relay(queued);
    }
    this.backlog.splice(0, sent);
  }

  private onRelayed(messageId: number): void {
    const relay = this.relays.get(messageId);
    if (relay === undefined) return;
    this.relays.delete(messageId);
    relay.done?.();
    const { route } = relay;
    route.outstanding -= 1;
    if (route.outstanding === 0 && route.target !== undefined) this.release(route, route.target);
    if (this.backlog.length > 0) this.flushBacklog();
  }

  private onRoute(packet: IPublishPacket): void {
    const update = readRouteUpdate(packet);
    if (update === undefined) return this.drop("bad_route");
    const route = this.routes.get(update.topic);
    if (route === undefined) return;
    if (update.to === null) {
      route.target = undefined;
      if (route.outstanding === 0) this.routes.delete(update.topic);
      for (const message of route.held.splice(0)) this.enqueueOrRelay({ message, done: undefined });
      return;
    }
    const target = parseTarget(update.group, update.to);
    if (target === undefined) return this.drop("bad_route");
    route.target = target;
    if (route.outstanding === 0) this.release(route, target);
  }

  /** Sends what waited for the route. */
  private release(route: Route, target: Target): void {
    for (const message of route.held.splice(0)) this.sendDirect(route, target, message);
  }

  private releaseTopic(topic: string): void {
    this.stats.routes_evicted += 1;
    if (this.registration.registered) {
      void this.registration.send(encodeFabricJson(FabricTopic.RELEASE, [topic]));
    }
  }
}

function settle(waiting: Waiting): void {
  for (const done of waiting) done();
}

function parseTarget(group: string | null, to: readonly string[]): Target | undefined {
  if (group === null) return { group: undefined, to: [] };
  const number = parseIPv4(group);
  if (number === undefined) return undefined;
  const endpoints: Endpoint[] = [];
  for (const text of to) {
    const at = text.lastIndexOf(":");
    const address = text.slice(0, at);
    const port = Number(text.slice(at + 1));
    if (parseIPv4(address) === undefined || !(port > 0 && port < 65_536)) return undefined;
    endpoints.push({ address, port });
  }
  return { group: number, to: endpoints };
}
