import type { Endpoint, Message } from "@topicast/protocol";

/** What this agent knows of one topic that its clients publish. */
export interface Route {
  readonly topic: string;
  /** Relays that the forwarder has not confirmed yet. */
  outstanding: number;
  /** Set by `$fabric/route`; in force once `outstanding` is 0. */
  target: Target | undefined;
  /** Messages that wait for `outstanding` to become 0. */
  readonly held: Message[];
  /** Published to since the last time that room was needed. */
  used: boolean;
}

export interface Target {
  /** The stream's number (the group's address), or undefined: nobody elsewhere is subscribed. */
  readonly group: number | undefined;
  readonly to: readonly Endpoint[];
}

/** Messages that may wait for one topic's confirmation. */
export const HELD_MAX = 1_024;

/** The routes by topic, at most `limit`. */
export class RouteTable {
  private readonly routes = new Map<string, Route>();

  constructor(private readonly limit: number) {}

  get size(): number {
    return this.routes.size;
  }

  get(topic: string): Route | undefined {
    return this.routes.get(topic);
  }

  /** The topic's route, and the topic that had to make room where the table was full. */
  getOrAdd(topic: string): { route: Route; evicted: string | undefined } {
    const known = this.routes.get(topic);
    if (known !== undefined) return { route: known, evicted: undefined };
    const evicted = this.routes.size >= this.limit ? this.evict() : undefined;
    const route: Route = { topic, outstanding: 0, target: undefined, held: [], used: true };
    this.routes.set(topic, route);
    return { route, evicted };
  }

  delete(topic: string): void {
    this.routes.delete(topic);
  }

  values(): IterableIterator<Route> {
    return this.routes.values();
  }

  /**
   * Forgets the first route in the row that was not used since it was last passed over (second chance). Where every
   * route is busy relaying none is forgotten, and the table grows by the bound on outstanding relays at most.
   */
  private evict(): string | undefined {
    for (let looked = 2 * this.routes.size; looked > 0; looked--) {
      const [topic, route] = this.routes.entries().next().value!;
      this.routes.delete(topic);
      if (route.outstanding === 0 && !route.used) return topic;
      route.used = false;
      this.routes.set(topic, route);
    }
    return undefined;
  }
}
