import { type Authority, allowAll } from "./authority.js";
import { LivePackets } from "./outgoing.js";
import type { Publication } from "./publication.js";
import type { Session } from "./session.js";
import type { Share } from "./share.js";
import type { Stats } from "./stats.js";
import type { Recipient, Subscription, Subscriptions } from "./subscriptions.js";

/** Gives a message to every local subscriber, encoded once for all that get the same packet. */
export class Fanout {
  /** Undefined where everybody may receive everything: then nobody is asked. */
  private readonly authority: Authority | undefined;

  constructor(
    private readonly subscriptions: Subscriptions,
    private readonly stats: Stats,
    authority: Authority,
    private readonly now: () => number,
  ) {
    this.authority = authority.mayReceive === allowAll.mayReceive ? undefined : authority;
  }

  /**
   * Sends or queues `message` for each client with a matching subscription, once per client (MQTT-3.3.4-2), and for one
   * client of each shared subscription.
   * @param publisher whose message it is, for No Local; undefined where it is of no client of this agent
   * @param served clients that have it as the retained message
   * @returns whether any subscription matches
   */
  deliver(message: Publication, publisher: Session | undefined, served?: ReadonlySet<Session>): boolean {
    const { recipients, shares } = this.subscriptions.match(message.topic);
    if (recipients.length === 0 && shares.length === 0) return false;
    const packets = new LivePackets(message, this.now());
    for (let recipient of recipients) {
      const { session } = recipient;
      if (served?.has(session)) {
        this.stats.retained_before_live += 1;
        continue;
      }
      if (session === publisher) {
        if (recipient.own === undefined) continue;
        recipient = recipient.own;
      }
      if (!this.mayReceive(session, message.topic)) continue;
      give(packets, recipient);
    }
    // Otherwise each group is given its messages by `deliverShared`; topics that begin with $ are this server's own.
    const isOwn = !this.subscriptions.hasNetworkShares || message.topic.startsWith("$");
    if (isOwn) for (const share of shares) this.giveOne(packets, share);
    return true;
  }

  /** Gives a message of `time` (of the clock) to the sessions that were here then, and are still their client's. */
  deliverLate(message: Publication, time: number): boolean {
    const { recipients } = this.subscriptions.match(message.topic);
    const packets = new LivePackets(message, this.now());
    let isWanted = false;
    for (const recipient of recipients) {
      const { session } = recipient;
      if (session.beganAt > time || session.movedAt < time) continue;
      if (!this.mayReceive(session, message.topic)) continue;
      give(packets, recipient);
      isWanted = true;
    }
    return isWanted;
  }

  /** Whether a session that is written would be given messages of this topic. */
  isDurable(topic: string): boolean {
    return this.subscriptions.match(topic).recipients.some(({ session, qos }) => qos > 0 && session.journal);
  }

  /** Gives a message to one member of the group of that name; false where there is none that can take it. */
  deliverShared(name: string, message: Publication): boolean {
    const share = this.subscriptions.share(name);
    return share !== undefined && this.giveOne(new LivePackets(message, this.now()), share);
  }

  private giveOne(packets: LivePackets, share: Share): boolean {
    const { qos, topic } = packets.message;
    const member = share.next(qos, (session) => this.mayReceive(session, topic));
    if (member !== undefined) give(packets, member, share);
    return member !== undefined;
  }

  private mayReceive(session: Session, topic: string): boolean {
    if (this.authority === undefined || this.authority.mayReceive(session.client, topic)) return true;
    this.stats.receive_denied += 1;
    return false;
  }
}

/** @param share by which it is given, where it is a message of a shared subscription */
function give(packets: LivePackets, recipient: Recipient | Subscription, share?: Share): void {
  const { message } = packets;
  const { session, qos: maxQos, retainAsPublished, subscriptionIds } = recipient;
  const qos = Math.min(message.qos, maxQos) as 0 | 1 | 2;
  const retain = retainAsPublished && message.retain;
  if (qos === 0) {
    session.connection?.outgoing.sendLive(packets, retain, subscriptionIds);
    return;
  }
  const delivered = { message: message.kept(), qos, retain, subscriptionIds, place: 0 };
  session.delivery.offer(share === undefined ? delivered : { ...delivered, share: share.name });
}
