import type { Session } from "./session.js";
import type { Subscription } from "./subscriptions.js";

/**
 * The members of one shared subscription at this agent (MQTT 5, section 4.8.2). Messages go round among them; those who
 * can take one at once come before those who are slow, and these before those who are away.
 */
export class Share {
  private readonly members: Subscription[] = [];
  /** Where each of them is in the row. */
  private readonly places = new Map<Subscription, number>();
  private turn = 0;

  constructor(
    /** `$share/NAME/FILTER` */
    readonly name: string,
  ) {}

  /** Members that are connected. */
  get connected(): number {
    let count = 0;
    for (const { session } of this.members) if (session.connection !== undefined) count += 1;
    return count;
  }

  get size(): number {
    return this.members.length;
  }

  add(member: Subscription): void {
    this.places.set(member, this.members.length);
    this.members.push(member);
  }

  /** The last one in the row takes its place. */
  remove(member: Subscription): void {
    const place = this.places.get(member);
    if (place === undefined) return;
    this.places.delete(member);
    const last = this.members.pop()!;
    if (last === member) return;
    this.members[place] = last;
    this.places.set(last, place);
  }

  /**
   * Whose turn it is; undefined where none can be given a message of this QoS.
   * @param mayReceive leaves members out that must not have it
   */
  next(qos: 0 | 1 | 2, mayReceive: (session: Session) => boolean): Subscription | undefined {
    const { members } = this;
    const count = members.length;
    let slow: Subscription | undefined;
    let away: Subscription | undefined;
    for (let i = 0; i < count; i++) {
      const at = (this.turn + i) % count;
      const member = members[at]!;
      const { session } = member;
      if (session.hasLeft || !mayReceive(session)) continue;
      const { connection } = session;
      const atMostOnce = Math.min(qos, member.qos) === 0;
      if (connection === undefined) {
        if (!atMostOnce) away ??= member;
      } else if (atMostOnce ? connection.outgoing.hasRoom : session.delivery.isReady) {
        this.turn = at + 1;
        return member;
      } else {
        slow ??= member;
      }
    }
    this.turn += 1;
    return slow ?? away;
  }
}
