import {
  type Endpoint,
  type Message,
  parseIPv4,
  parseIPv4Endpoint,
  type RouteUpdate,
} from "@topicast/protocol";

/**
 * A message on its way out; `done` tells a QoS 1 or 2 publisher that it may be acknowledged, and whether anybody elsewhere is
 * subscribed.
 */
export interface Outgoing {
  readonly message: Message;
  /** Which of this agent's relayed messages it is, where it has been relayed. */
  readonly origin?: number;
  readonly done: ((isHeard: boolean) => void) | undefined;
}

/** What this agent knows of one topic that its clients publish. */
export interface Route {
  readonly topic: string;
  /** Set by `$fabric/route`; in force once nothing older is on its way by another path. */
  target: Target | undefined;
  /** Relays that the forwarder has not confirmed yet. */
  outstanding: number;
  /** Messages in the agent's backlog: older than any that comes now. */
  waiting: number;
  /** Messages that are held until older ones have arrived. */
  readonly held: Outgoing[];
  /** The streams that the last messages went to, the latest one last. */
  trail: readonly Step[];
  /** The route is forgotten, and what went straight is still on its way: relays would overtake it. */
  leaving: boolean;
  /** Edges that are away, and how many messages for them the forwarder has yet to keep. */
  readonly deferring: Map<number, number>;
  /** Published to since the last time that room was needed. */
  used: boolean;
}

/** Where a topic's messages went for a while. */
export interface Step {
  /** The stream, and the position there behind the topic's last message. */
  readonly stream: number;
  readonly number: number;
  /** When that was sent (ms). */
  readonly at: number;
}

export interface Target {
  /** The stream's number (the group's address), or undefined: nobody elsewhere is subscribed. */
  readonly group: number | undefined;
  readonly to: readonly Endpoint[];
  /** Numbers of edges that want it and are away. */
  readonly absent: readonly number[];
}

/** The target that a `$fabric/route` names; undefined where it is malformed. */
export function parseTarget({ group, to, absent = [] }: RouteUpdate): Target | undefined {
  if (group === null) return { group: undefined, to: [], absent };
  const number = parseIPv4(group);
  if (number === undefined || to === null) return undefined;
  const endpoints: Endpoint[] = [];
  for (const text of to) {
    const endpoint = parseIPv4Endpoint(text);
    if (endpoint === undefined) return undefined;
    endpoints.push(endpoint);
  }
  return { group: number, to: endpoints, absent };
}

export interface RouteLimits {
  readonly routes: number;
  /** Of all topics' text together. */
  readonly bytes: number;
}

/** The routes by topic, bounded. */
export class RouteTable {
  private readonly routes = new Map<string, Route>();
  private bytes = 0;

  constructor(private readonly limits: RouteLimits) {}

  get size(): number {
    return this.routes.size;
  }

  get(topic: string): Route | undefined {
    return this.routes.get(topic);
  }

  /** The topic's route, and the topics that had to make room for it. */
  getOrAdd(topic: string): { route: Route; evicted: readonly string[] } {
    const known = this.routes.get(topic);
    if (known !== undefined) return { route: known, evicted: [] };
    this.bytes += topic.length;
    const evicted: string[] = [];
    while (this.routes.size >= this.limits.routes || this.bytes > this.limits.bytes) {
      const gone = this.evict();
      if (gone === undefined) break;
      evicted.push(gone);
    }
    const route: Route = {
      topic,
      target: undefined,
      outstanding: 0,
      waiting: 0,
      held: [],
      trail: [],
      leaving: false,
      deferring: new Map(),
      used: true,
    };
    this.routes.set(topic, route);
    return { route, evicted };
  }

  delete(topic: string): void {
    if (this.routes.delete(topic)) this.bytes -= topic.length;
  }

  values(): IterableIterator<Route> {
    return this.routes.values();
  }

  /**
   * Forgets the first route in the row that was not used since it was last passed over (second chance). Where every
   * route is busy none is forgotten, and the table grows by what the bounds on relays and backlog allow.
   */
  private evict(): string | undefined {
    for (let looked = 2 * this.routes.size; looked > 0; looked--) {
      const [topic, route] = this.routes.entries().next().value!;
      const isSending = route.outstanding > 0 || route.deferring.size > 0;
      const busy = isSending || route.waiting > 0 || route.held.length > 0 || route.leaving;
      if (!busy && !route.used) {
        this.delete(topic);
        return topic;
      }
      route.used = false;
      this.routes.delete(topic);
      this.routes.set(topic, route);
    }
    return undefined;
  }
}
