/** What plays are made of. */
import assert from "node:assert/strict";
import type { IPublishPacket, ISubscription } from "mqtt-packet";
import type { Player, Stage } from "../stage.js";

export type Play = [name: string, act: (stage: Stage, topic: (name: string) => string) => Promise<void>];

/** A SUBSCRIBE of MQTT 5 to one filter. */
export function subscribe5(
  topic: string,
  options: Omit<Partial<ISubscription>, "topic"> = {},
  subscriptionIdentifier?: number,
) {
  const properties = subscriptionIdentifier === undefined ? {} : { properties: { subscriptionIdentifier } };
  const subscriptions = [{ topic, qos: 0 as 0 | 1 | 2, ...options }];
  return { cmd: "subscribe" as const, messageId: 1, subscriptions, ...properties };
}

export const persistent = (expiry = 1_000) => ({
  clean: false,
  properties: { sessionExpiryInterval: expiry },
});

/** Texts of the messages, in their order. */
export const texts = (messages: IPublishPacket[]) => messages.map(({ payload }) => payload.toString());

export async function subscribed(player: Player, packet: Parameters<Player["send"]>[0]): Promise<void> {
  player.send(packet);
  const [suback] = await player.told();
  assert.match(suback!, /^suback \d+ \[[012](,[012])*\]$/);
}
