import { levelCount } from "@topicast/protocol";
import type { ISubscribePacket } from "mqtt-packet";
import type { Connection } from "../connection.js";
import type { Limits } from "../limits.js";
import type { Session } from "../session.js";
import { costOf } from "../subscriptions.js";

/** SUBACK return code (MQTT-3.9.3-2). */
const FAILURE = 0x80;
/** Every subscription is granted QoS 0. */
const GRANTED = 0;

/**
 * SUBSCRIBE (MQTT 3.1.1, section 3.8). The SUBACK, with one return code per filter in their order (MQTT-3.8.4-5),
 * waits until the uplink's barrier holds for each of them.
 */
export function handleSubscribe(connection: Connection, session: Session, packet: ISubscribePacket): void {
  const { server } = connection;
  const granted: number[] = [];
  const barriers: Promise<void>[] = [];
  for (const { topic: filter, qos } of packet.subscriptions) {
    if (!session.subscriptions.has(filter) && !fits(session, filter, server.limits)) {
      server.stats.refused_subscriptions += 1;
      granted.push(FAILURE);
      continue;
    }
    granted.push(GRANTED);
    const barrier = server.subscriptions.add(session, filter, qos);
    if (barrier !== undefined) barriers.push(barrier);
  }
  const suback = { cmd: "suback", messageId: packet.messageId ?? 0, granted } as const;
  if (barriers.length === 0) return connection.send(suback);
  connection.pend();
  Promise.all(barriers).then(() => {
    connection.send(suback);
    connection.settled();
  });
}

function fits(session: Session, filter: string, limits: Limits): boolean {
  return (
    session.subscriptions.size < limits.subscriptionsPerClient &&
    levelCount(filter) <= limits.topicLevels &&
    session.subscriptionBytes + costOf(filter) <= limits.subscriptionBytes
  );
}
