import { encodePublish, type Message, ReasonCode } from "@topicast/protocol";
import type { Agent } from "./agents.js";
import type { LegacyProxies, LegacyProxy } from "./legacy.js";
import type { Retaining } from "./retaining.js";
import type { Shares } from "./shares.js";
import type { StandIns } from "./stand-ins.js";
import type { TopicMap } from "./topic-map.js";

/** Bytes that wait for an edge before nothing from legacy proxies is added. */
const PLAIN_BYTES_MAX = 4 * 1024 * 1024;

export interface RelayOptions {
  readonly map: TopicMap;
  readonly legacy: LegacyProxies;
  readonly retaining: Retaining;
  readonly shares: Shares;
  readonly standIns: StandIns;
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
    const { map, legacy, standIns } = this.options;
    const bytes = encodePublish(message);
    const others = map.liveEdgesOf(message.topic).filter((edge) => edge !== from);
    const kept = standIns.keep(message, from.number);
    const isHeard = others.length > 0 || kept !== undefined || legacy.wants(message.topic);
    legacy.send(message);
    await Promise.all([kept, ...others.map((edge) => this.send(edge, bytes, message))]);
    return isHeard ? ReasonCode.SUCCESS : ReasonCode.NO_MATCHING_SUBSCRIBERS;
  }

  /** Resolves when the edge has it, or it is kept until the edge is back. */
  private async send({ channel, number }: Agent, bytes: Buffer, message: Message): Promise<void> {
    if (!(await channel.send(bytes))) await this.options.standIns.bring(message, number);
  }

  /** A message of no living edge's. The live copy goes before the word that it is retained: who subscribes gets one of them. */
  publish(message: Message): void {
    const { map, legacy, retaining, shares, standIns } = this.options;
    const bytes = encodePublish(message);
    void standIns.keep(message, undefined);
    for (const edge of map.liveEdgesOf(message.topic)) void this.send(edge, bytes, message);
    if (message.retain) void retaining.keep(message);
    legacy.send(message);
    shares.publish(message);
  }

  /** A message of a proxy that speaks the plain form, at QoS 0: an edge that has too much to take does not get it. */
  onPlain(message: Message, proxy: LegacyProxy): void {
    const { map, legacy, retaining, shares, onOverflow } = this.options;
    const bytes = encodePublish(message);
    for (const { channel } of map.liveEdgesOf(message.topic)) {
      if (channel.waitingBytes < PLAIN_BYTES_MAX) void channel.send(bytes);
      else onOverflow();
    }
    if (message.retain) void retaining.keep(message);
    legacy.send(message, proxy);
    shares.publish(message);
  }
}
