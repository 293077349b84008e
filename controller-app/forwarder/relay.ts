import { encodePublish, type Message, ReasonCode } from "@topicast/protocol";
import type { Agent } from "./agents.js";
import type { LegacyProxies, LegacyProxy } from "./legacy.js";
import type { Retaining } from "./retaining.js";
import type { Shares } from "./shares.js";
import type { TopicMap } from "./topic-map.js";

/** Bytes that wait for an edge before nothing from legacy proxies is added. */
const PLAIN_BYTES_MAX = 4 * 1024 * 1024;

export interface RelayOptions {
  readonly map: TopicMap;
  readonly legacy: LegacyProxies;
  readonly retaining: Retaining;
  readonly shares: Shares;
  /** An edge had too much to take. */
  readonly onOverflow: () => void;
}

/** Sends messages to the edges that want them by itself: those that no agent sends, or that have no route yet. */
export class Relay {
  readonly stats = { relayed: 0 };

  constructor(private readonly options: RelayOptions) {}

  /** An agent's message without a route. Resolves when all other edges have it, with the PUBACK's reason code. */
  async relay(message: Message, from: Agent): Promise<number> {
    this.stats.relayed += 1;
    const { map, legacy } = this.options;
    const bytes = encodePublish(message);
    const others = map.edgesOf(message.topic).filter((edge) => edge !== from);
    const isHeard = others.length > 0 || legacy.wants(message.topic);
    legacy.send(message);
    await Promise.all(others.map((edge) => edge.channel.send(bytes)));
    return isHeard ? ReasonCode.SUCCESS : ReasonCode.NO_MATCHING_SUBSCRIBERS;
  }

  /** A message of no living edge's. The live copy goes before the word that it is retained: who subscribes gets one of them. */
  publish(message: Message): void {
    const { map, legacy, retaining, shares } = this.options;
    const bytes = encodePublish(message);
    for (const { channel } of map.edgesOf(message.topic)) void channel.send(bytes);
    if (message.retain) void retaining.keep(message);
    legacy.send(message);
    shares.publish(message);
  }

  /** A message of a proxy that speaks the plain form, at QoS 0: an edge that has too much to take does not get it. */
  onPlain(message: Message, proxy: LegacyProxy): void {
    const { map, legacy, retaining, shares, onOverflow } = this.options;
    const bytes = encodePublish(message);
    for (const { channel } of map.edgesOf(message.topic)) {
      if (channel.waitingBytes < PLAIN_BYTES_MAX) void channel.send(bytes);
      else onOverflow();
    }
    if (message.retain) void retaining.keep(message);
    legacy.send(message, proxy);
    shares.publish(message);
  }
}
