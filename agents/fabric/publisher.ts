import {
  type Clock,
  type Endpoint,
  encodeFabricJson,
  encodePublish,
  FabricTopic,
  formatIPv4,
  type Header,
  type HeldRoute,
  type Message,
  REORDER_MS,
  type RouteUpdate,
  StreamSender,
} from "@topicast/protocol";
import type { Registration } from "./registration.js";
import { type Outgoing, parseTarget, type Route, RouteTable, type Target } from "./routes.js";

export interface PublisherOptions {
  readonly clock: Clock;
  /** This agent's number and data epoch. */
  readonly source: number;
  readonly epoch: number;
  readonly payloadBytes: number;
  readonly registration: Registration;
  readonly transmit: (header: Header, payload: Buffer, to: readonly Endpoint[]) => void;
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
 * A topic that moves to another stream waits so long after its last datagram on the old one: a receiver may still hold
 * that back for missing ones before it.
 */
const STREAM_CHANGE_MS = 3 * REORDER_MS;
/** Bytes of topics in one `$fabric/held`. */
const HELD_BATCH_BYTES = 16 * 1024;

interface Relay extends Outgoing {
  readonly route: Route;
  /** The forwarder's side has taken it: it may have been delivered. */
  taken: boolean;
}

/**
 * Sends this agent's publishes: straight where the topic's route is known, by way of the forwarder where it is not,
 * and per topic always in the order they came.
 */
export class Publisher {
  private readonly routes = new RouteTable(ROUTE_LIMITS);
  /** By group. Never forgotten: a stream that began again at 0 would be taken for old. Bounded by the group range. */
  private readonly senders = new Map<number, StreamSender>();
  /** Relays by their PUBACK's message id, in order. */
  private readonly relays = new Map<number, Relay>();
  private relayCount = 0;
  private backlog: Outgoing[] = [];
  private backlogBytes = 0;
  private heldBytes = 0;

  readonly stats = {
    published_nowhere: 0,
    published_direct: 0,
    published_relayed: 0,
    published_dropped: 0,
    relays_unconfirmed: 0,
    routes_evicted: 0,
    bad_routes: 0,
  };

  constructor(private readonly options: PublisherOptions) {}

  /** Sizes of now. */
  sizes(): Record<string, number> {
    return { routes: this.routes.size, streams: this.senders.size, backlog: this.backlog.length };
  }

  publish(message: Message): Promise<void> | undefined {
    const route = this.routes.get(message.topic);
    if (route?.target !== undefined && route.waiting === 0) {
      if (route.held.length === 0 && this.isClear(route)) {
        this.sendDirect(route, route.target, message);
        return undefined;
      }
      return this.later(message, (outgoing) => this.hold(route, outgoing));
    }
    return this.later(message, (outgoing) => this.relayOrWait(outgoing));
  }

  /** PUBACK: every edge of the set has this relay. */
  onRelayed(messageId: number): void {
    const relay = this.relays.get(messageId);
    if (relay === undefined) return;
    this.relays.delete(messageId);
    relay.done?.();
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
    if (route.target?.group !== target.group && target.group !== undefined) this.changeStream(route);
    route.target = target;
    this.sendHeld(route);
    this.flushBacklog();
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
   * The registration has ended. What the forwarder has certainly not taken, and QoS 1 and 2 that it may have taken, is
   * sent again: straight where the route is known by now, otherwise by the next registration.
   */
  onLost(): void {
    const relays = [...this.relays.values()];
    this.relays.clear();
    this.relayCount = 0;
    // Backwards, because each goes before what its topic has waiting already.
    for (const { route, message, done, taken } of relays.reverse()) {
      route.outstanding = 0;
      if (taken && message.qos === 0) {
        this.stats.relays_unconfirmed += 1;
      } else if (route.target !== undefined) {
        route.held.unshift({ message, done });
        this.heldBytes += message.payload.length;
      } else {
        this.backlog.unshift({ message, done });
        this.backlogBytes += message.payload.length;
        route.waiting += 1;
      }
    }
    this.boundBacklog();
    for (const route of new Set(relays.map((r) => r.route))) this.sendHeld(route);
  }

  /** Lets everyone go who waits for an acknowledgement. */
  close(): void {
    for (const { done } of this.relays.values()) done?.();
    for (const { done } of this.backlog) done?.();
    for (const { held } of this.routes.values()) for (const { done } of held) done?.();
  }

  /** At QoS 0 nobody waits for what becomes of it. */
  private later(message: Message, send: (outgoing: Outgoing) => void): Promise<void> | undefined {
    if (message.qos > 0) return new Promise((done) => send({ message, done }));
    send({ message, done: undefined });
    return undefined;
  }

  // --- straight ---

  /** What went on the former stream gets time to arrive; what is published meanwhile is held. */
  private changeStream(route: Route): void {
    const now = this.options.clock.now();
    const clearAt = route.lastSent + STREAM_CHANGE_MS;
    if (clearAt <= now) return;
    route.clearAt = clearAt;
    this.options.clock.setTimer(clearAt - now, () => {
      // A later change of stream has a later time of its own.
      if (route.clearAt === clearAt) route.clearAt = 0;
      this.sendHeld(route);
    });
  }

  /** Nothing older of this topic is on its way by another path. */
  private isClear(route: Route): boolean {
    return route.outstanding === 0 && route.clearAt === 0;
  }

  private sendDirect(route: Route, target: Target, message: Message): void {
    route.used = true;
    if (target.group === undefined) {
      this.stats.published_nowhere += 1;
      return;
    }
    this.stats.published_direct += 1;
    const { source, epoch, payloadBytes, transmit } = this.options;
    let sender = this.senders.get(target.group);
    if (sender === undefined) {
      sender = new StreamSender(source, epoch, target.group, payloadBytes);
      this.senders.set(target.group, sender);
    }
    sender.send(encodePublish(message), (header, payload) => transmit(header, payload, target.to));
    route.lastSent = this.options.clock.now();
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
    for (const { message, done } of this.takeHeld(route)) {
      this.sendDirect(route, target, message);
      done?.();
    }
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

  private relay({ message, done }: Outgoing): void {
    const route = this.routeOf(message.topic);
    this.stats.published_relayed += 1;
    route.outstanding += 1;
    this.relayCount += 1;
    const relay: Relay = { route, message, done, taken: false };
    this.relays.set(((this.relayCount - 1) % 0xffff) + 1, relay);
    void this.options.registration.send(encodePublish(message)).then((taken) => {
      relay.taken = taken;
    });
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
      const known = this.routes.get(outgoing.message.topic)?.target !== undefined;
      if (!known && !this.canRelay()) {
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
    route.clearAt = 0;
    const held = this.takeHeld(route);
    if (route.outstanding === 0 && route.waiting === 0) this.routes.delete(route.topic);
    for (const outgoing of held) this.relayOrWait(outgoing);
  }
}
