import {
  DEAD_MS,
  encodeFabricJson,
  encodePublish,
  FabricTopic,
  formatIPv4,
  type GoneEdge,
  type GroupUpdate,
  type HeldRoute,
  type Message,
  parseIPv4,
  parseIPv4Endpoint,
  type RouteUpdate,
  type SendersOptions,
  SILENT_MS,
  StreamSenders,
} from "@topicast/protocol";
import type { Deferrals } from "./deferrals.js";
import { withOrigin } from "./origin.js";
import type { Registration } from "./registration.js";
import { type Outgoing, parseTarget, type Route, RouteTable, type Step, type Target } from "./routes.js";

export interface PublisherOptions extends SendersOptions {
  readonly registration: Registration;
  readonly deferrals: Deferrals;
}

const ROUTE_LIMITS = { routes: 100_000, bytes: 64 * 1024 * 1024 };
/** QoS 0 messages of unknown topics that wait while there is no registration, or on a full channel. */
const BACKLOG_MAX = 1_024;
const BACKLOG_BYTES_MAX = 4 * 1024 * 1024;
/** Bytes of QoS 0 messages that wait for older ones to arrive, over all topics. */
const HELD_BYTES_MAX = 16 * 1024 * 1024;
/** Relays wait above so many bytes on the channel: the forwarder is slower than the publishers. */
const RELAY_BYTES_MAX = 8 * 1024 * 1024;
/** Message ids of PUBACK wrap at 65,535, so never more than these are outstanding. */
const RELAYS_MAX = 60_000;
/**
 * The streams that a topic has moved from are remembered while an edge may lack its last message there: that is sent again
 * for so long at most. And so many of them.
 */
const TRAIL_MS = SILENT_MS + DEAD_MS;
const TRAIL_MAX = 16;
/** Bytes of topics in one `$fabric/held`. */
const HELD_BATCH_BYTES = 16 * 1024;

interface Relay extends Outgoing {
  readonly route: Route;
}

/**
 * Sends this agent's publishes: straight where the topic's route is known, by way of the forwarder where it is not,
 * and per topic always in the order they came.
 */
export class Publisher {
  private readonly routes = new RouteTable(ROUTE_LIMITS);
  readonly streams: StreamSenders;
  /** Relays by their PUBACK's message id, in order. */
  private readonly relays = new Map<number, Relay>();
  private relayCount = 0;
  private originCount = 0;
  private readonly publisher: string;
  private backlog: Outgoing[] = [];
  private backlogBytes = 0;
  private heldBytes = 0;

  readonly stats = {
    published_nowhere: 0,
    published_direct: 0,
    published_relayed: 0,
    published_dropped: 0,
    routes_evicted: 0,
    bad_routes: 0,
  };

  constructor(private readonly options: PublisherOptions) {
    this.streams = new StreamSenders(options);
    this.publisher = `${options.source.toString(16)}-${options.epoch.toString(16)}`;
  }

  /** Counters of the streams. */
  counters(): Record<string, number> {
    const counters = { ...this.streams.stats, evicted: this.streams.kept.evicted };
    return Object.fromEntries(Object.entries(counters).map(([k, v]) => [`sent_${k}`, v]));
  }

  /** Sizes of now. */
  sizes(): Record<string, number> {
    const { bytes, pinnedBytes } = this.streams.kept;
    return {
      ...{ routes: this.routes.size, streams: this.streams.size, backlog: this.backlog.length },
      ...{ history_bytes: bytes, history_awaited_bytes: pinnedBytes },
    };
  }

  /** See `Uplink.publish`. */
  publish(message: Message): Promise<boolean> | undefined {
    const route = this.routes.get(message.topic);
    if (route !== undefined && route.waiting === 0 && (route.target !== undefined || route.leaving)) {
      const { target } = route;
      if (target === undefined || route.held.length > 0 || !this.isClear(route)) {
        return this.later(message, (outgoing) => this.hold(route, outgoing));
      }
      if (target.group !== undefined || (target.absent.length > 0 && message.qos > 0))
        return this.later(message, (outgoing) => this.sendDirect(route, target, outgoing));
      this.stats.published_nowhere += 1;
      route.used = true;
      return undefined;
    }
    return this.later(message, (outgoing) => this.relayOrWait(outgoing));
  }

  /** PUBACK: every edge of the set, if there is any, has this relay. */
  onRelayed(messageId: number, isHeard: boolean): void {
    const relay = this.relays.get(messageId);
    if (relay === undefined) return;
    this.relays.delete(messageId);
    relay.done?.(isHeard);
    relay.route.outstanding -= 1;
    this.sendHeld(relay.route);
    this.flushBacklog();
  }

  /** `$fabric/route`. */
  onRoute(update: RouteUpdate): void {
    const route = this.routes.get(update.topic);
    if (route === undefined) return;
    if (update.to === null) {
      this.forget(route);
      return;
    }
    const target = parseTarget(update);
    if (target === undefined) {
      this.stats.bad_routes += 1;
      return;
    }
    route.target = target;
    this.sendHeld(route);
    this.flushBacklog();
  }

  /** `$fabric/group`. */
  onGroup({ group, edges, absent }: GroupUpdate): void {
    const number = parseIPv4(group);
    const members = edges.map(({ agent, at, epoch }) => ({
      number: agent,
      endpoint: parseIPv4Endpoint(at),
      epoch,
    }));
    if (number === undefined || !members.every(hasEndpoint)) this.stats.bad_routes += 1;
    else this.streams.getOrAdd(number).setEdges(members, absent);
  }

  /** `$fabric/gone`. */
  onGone({ agent, epoch, absent = false }: GoneEdge): void {
    this.streams.removeEdge(agent, epoch, absent);
  }

  /** Sends the routes that are in use to a new registration; resolves with false when it has ended. */
  async tellRoutes(): Promise<boolean> {
    let batch: HeldRoute[] = [];
    let bytes = 0;
    const send = () => {
      const body = encodeFabricJson(FabricTopic.HELD, batch);
      batch = [];
      bytes = 0;
      return this.options.registration.send(body);
    };
    for (const { topic, target } of [...this.routes.values()]) {
      if (target === undefined) continue;
      batch.push({ topic, group: target.group === undefined ? null : formatIPv4(target.group) });
      bytes += topic.length;
      if (bytes >= HELD_BATCH_BYTES && !(await send())) return false;
    }
    return batch.length === 0 || send();
  }

  /** A new registration takes relays again. */
  onRegistered(): void {
    this.flushBacklog();
  }

  /**
   * The registration has ended. What has no PUBACK is sent again, with the same origin: straight where the route is known
   * by now, otherwise by the next registration.
   */
  onLost(): void {
    const relays = [...this.relays.values()];
    this.relays.clear();
    this.relayCount = 0;
    // Backwards, because each goes before what its topic has waiting already.
    for (const { route, ...outgoing } of relays.reverse()) {
      const { length } = outgoing.message.payload;
      route.outstanding = 0;
      if (route.target !== undefined) {
        route.held.unshift(outgoing);
        this.heldBytes += length;
      } else {
        this.backlog.unshift(outgoing);
        this.backlogBytes += length;
        route.waiting += 1;
      }
    }
    this.boundBacklog();
    for (const route of new Set(relays.map((r) => r.route))) this.sendHeld(route);
  }

  /** Lets everyone go who waits for an acknowledgement. */
  close(): void {
    for (const { done } of this.relays.values()) done?.(true);
    for (const { done } of this.backlog) done?.(true);
    for (const { held } of this.routes.values()) for (const { done } of held) done?.(true);
    this.streams.close();
  }

  /** At QoS 0 nobody waits for what becomes of it. */
  private later(message: Message, send: (outgoing: Outgoing) => void): Promise<boolean> | undefined {
    if (message.qos > 0) return new Promise((done) => send({ message, done }));
    send({ message, done: undefined });
    return undefined;
  }

  // --- straight ---

  private sendDirect(route: Route, target: Target, outgoing: Outgoing): void {
    const { done } = outgoing;
    route.used = true;
    const { group, to, absent } = target;
    if (group === undefined && (done === undefined || absent.length === 0)) {
      this.stats.published_nowhere += 1;
      done?.(false);
      return;
    }
    const packet = this.encode(outgoing);
    let left = 1;
    const arrived = done && (() => --left === 0 && done(true));
    const later =
      arrived &&
      ((edges: readonly number[]) => {
        left += 1;
        this.defer(route, edges, packet, arrived);
      });
    if (absent.length > 0) later?.(absent);
    if (group === undefined) {
      arrived?.();
      return;
    }
    const stream = this.streams.getOrAdd(group);
    const before = this.onTheirWay(route, group);
    const onAbsent = later && ((edge: number) => !absent.includes(edge) && later([edge]));
    if (!stream.send(packet, { to, done: arrived, onAbsent, fences: before })) {
      this.stats.published_dropped += 1;
      return;
    }
    this.stats.published_direct += 1;
    const last = { stream: group, number: stream.position, at: this.options.clock.now() };
    route.trail = before.length === 0 ? [last] : [...before, last];
  }

  /** A message for edges that are away goes to the forwarder, which keeps it. */
  private defer(route: Route, edges: readonly number[], packet: Buffer, done: () => void): void {
    const { deferring } = route;
    for (const edge of edges) deferring.set(edge, (deferring.get(edge) ?? 0) + 1);
    this.options.deferrals.defer(edges, packet, () => {
      for (const edge of edges) {
        const left = deferring.get(edge)! - 1;
        if (left > 0) deferring.set(edge, left);
        else deferring.delete(edge);
      }
      done();
      this.sendHeld(route);
    });
  }

  /**
   * Nothing older of this topic is on its way through the forwarder, nor will be; but for what it keeps for edges that still
   * are away.
   */
  private isClear({ outstanding, leaving, deferring, target }: Route): boolean {
    if (outstanding > 0 || leaving) return false;
    if (deferring.size === 0 || target === undefined) return true;
    const { group, absent } = target;
    const stream = group === undefined ? undefined : this.streams.get(group);
    return [...deferring.keys()].every((edge) => absent.includes(edge) || stream?.isAbsent(edge) === true);
  }

  /** Where else than on `group` earlier messages of the topic went that some edge may still lack. */
  private onTheirWay({ trail }: Route, group: number | undefined): readonly Step[] {
    if (trail.length === 0 || (trail.length === 1 && trail[0]!.stream === group)) return [];
    const since = this.options.clock.now() - TRAIL_MS;
    return trail
      .filter(({ stream, number, at }) => {
        if (stream === group) return false;
        return at > since && this.streams.get(stream)?.hasEverywhere(number) === false;
      })
      .slice(-TRAIL_MAX);
  }

  private hold(route: Route, outgoing: Outgoing): void {
    if (outgoing.message.qos === 0 && this.heldBytes > HELD_BYTES_MAX) {
      this.stats.published_dropped += 1;
      return;
    }
    route.held.push(outgoing);
    this.heldBytes += outgoing.message.payload.length;
  }

  private sendHeld(route: Route): void {
    const { target } = route;
    if (target === undefined || route.held.length === 0 || !this.isClear(route)) return;
    for (const outgoing of this.takeHeld(route)) this.sendDirect(route, target, outgoing);
  }

  private takeHeld(route: Route): Outgoing[] {
    const held = route.held.splice(0);
    for (const { message } of held) this.heldBytes -= message.payload.length;
    return held;
  }

  // --- by way of the forwarder ---

  private relayOrWait(outgoing: Outgoing): void {
    if (this.backlog.length === 0 && this.canRelay()) this.relay(outgoing);
    else this.wait(outgoing);
  }

  private canRelay(): boolean {
    const { registered, waitingBytes } = this.options.registration;
    return registered && waitingBytes < RELAY_BYTES_MAX && this.relays.size < RELAYS_MAX;
  }

  private relay(outgoing: Outgoing): void {
    // It may have to be sent again, some edges having it already.
    const { message, done, origin = this.originCount++ } = outgoing;
    const route = this.routeOf(message.topic);
    this.stats.published_relayed += 1;
    route.outstanding += 1;
    this.relayCount += 1;
    const relay: Relay = { route, message, done, origin };
    this.relays.set(((this.relayCount - 1) % 0xffff) + 1, relay);
    void this.options.registration.send(this.encode(relay));
  }

  private encode({ message, origin: relay }: Outgoing): Buffer {
    const origin = message.origin ?? (relay === undefined ? undefined : `${this.publisher}-${relay}`);
    return encodePublish(origin === undefined ? message : withOrigin(message, origin));
  }

  private routeOf(topic: string): Route {
    const { route, evicted } = this.routes.getOrAdd(topic);
    if (evicted.length > 0) {
      this.stats.routes_evicted += evicted.length;
      if (this.options.registration.registered) {
        void this.options.registration.send(encodeFabricJson(FabricTopic.RELEASE, evicted));
      }
    }
    return route;
  }

  private wait(outgoing: Outgoing): void {
    this.backlog.push(outgoing);
    this.backlogBytes += outgoing.message.payload.length;
    this.routeOf(outgoing.message.topic).waiting += 1;
    this.boundBacklog();
  }

  /** QoS 1 and 2 are bounded by the sessions, which stop reading from a client with too many unacknowledged. */
  private boundBacklog(): void {
    while (this.backlog.length > BACKLOG_MAX || this.backlogBytes > BACKLOG_BYTES_MAX) {
      const oldest = this.backlog.findIndex(({ message }) => message.qos === 0);
      if (oldest < 0) return;
      this.leaveBacklog(this.backlog[oldest]!);
      this.backlog.splice(oldest, 1);
      this.stats.published_dropped += 1;
    }
  }

  private leaveBacklog({ message }: Outgoing): Route {
    const route = this.routeOf(message.topic);
    this.backlogBytes -= message.payload.length;
    route.waiting -= 1;
    return route;
  }

  /** Sends what can go by now; the rest stays, each topic's in its order. */
  private flushBacklog(): void {
    if (this.backlog.length === 0) return;
    const waiting = this.backlog;
    this.backlog = [];
    for (const outgoing of waiting) {
      const before = this.routes.get(outgoing.message.topic);
      const known = before?.target !== undefined;
      if (!known && (before?.leaving === true || !this.canRelay())) {
        this.backlog.push(outgoing);
        continue;
      }
      const route = this.leaveBacklog(outgoing);
      if (!known) this.relay(outgoing);
      else this.hold(route, outgoing);
      this.sendHeld(route);
    }
  }

  /** The forwarder cannot keep this route up to date: relay again from now on. */
  private forget(route: Route): void {
    route.target = undefined;
    if (route.leaving) return;
    route.leaving = true;
    let left = 1;
    const one = () => {
      left -= 1;
      if (left === 0) this.left(route);
    };
    for (const { stream } of this.onTheirWay(route, undefined)) {
      left += 1;
      this.streams.getOrAdd(stream).whenEverywhere(one);
    }
    one();
  }

  /** Nothing that went straight is on its way any more. */
  private left(route: Route): void {
    route.leaving = false;
    this.flushBacklog();
    if (route.target !== undefined) return this.sendHeld(route);
    const held = this.takeHeld(route);
    if (route.outstanding === 0 && route.waiting === 0) this.routes.delete(route.topic);
    for (const outgoing of held) this.relayOrWait(outgoing);
  }
}

function hasEndpoint<T extends { endpoint: unknown }>(
  edge: T,
): edge is T & { endpoint: NonNullable<T["endpoint"]> } {
  return edge.endpoint !== undefined;
}
