import type { Message } from "@topicast/protocol";

/**
 * What the sessions need of the world beyond this agent. Without a forwarder nothing is plugged in and the agent is a
 * complete broker by itself.
 */
export interface Uplink {
  /**
   * Called for the first local subscriber of `filter`. The promise resolves when the subscribe barrier holds: every
   * PUBLISH that any client anywhere starts from then on reaches this agent. The client's SUBACK waits for it.
   * It never rejects: when the forwarder is away it resolves after a bounded wait, and the subscription is carried
   * over as soon as the forwarder is back.
   */
  subscribe(filter: string): Promise<void>;
  /** Called when the last local subscriber of `filter` has gone. */
  unsubscribe(filter: string): void;
  /**
   * Called once for each PUBLISH of a local client (local subscribers already have it). A promise, at QoS 1 and 2 only,
   * resolves when the client may be acknowledged: the message is then at every other edge of the set, or those that lack
   * it have left the set. Undefined: nothing to wait for.
   */
  publish(message: Message): Promise<void> | undefined;
}

/** What the fabric calls for each message that arrives from another edge: deliver to local subscribers only. */
export type DeliverFromFabric = (message: Message) => void;
