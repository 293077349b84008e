import {
  type Clock,
  decodeWill,
  encodeFired,
  type Message,
  type Timer,
  type ToldWill,
  topicError,
} from "@topicast/protocol";
import type { Agent } from "./agents.js";

/** What all wills may take: their messages' bytes, and WILL_BYTES each. */
const BYTES_MAX = 256 * 1024 * 1024;
const WILL_BYTES = 256;
/** Numbers of published wills that are remembered for agents that may come back. */
const FIRED_MAX = 1_000_000;

/** The wills of one life of an agent that has been withdrawn. */
interface Lost {
  readonly epoch: number;
  readonly wills: Map<number, ToldWill>;
  readonly timers: Map<number, Timer>;
  fired: number[];
}

/** Publishes the wills of clients whose agent has died, once: protocol/README.md, "Wills". */
export class Wills {
  /** By agent number, one life after the other. */
  private readonly lost = new Map<number, readonly Lost[]>();
  private held = 0;
  private firedCount = 0;

  readonly stats = { wills_published: 0, wills_refused: 0, wills_bad: 0 };

  constructor(
    private readonly clock: Clock,
    private readonly publish: (message: Message) => void,
  ) {}

  /** What is kept takes so many bytes. */
  get bytes(): number {
    return this.held;
  }

  /** `$fabric/will` */
  onWill(agent: Agent, payload: Buffer): void {
    const update = decodeWill(payload);
    if (update === undefined || (update.will !== undefined && isReserved(update.will.message.topic))) {
      this.stats.wills_bad += 1;
      return;
    }
    const { number, will } = update;
    this.drop(agent.wills, number);
    agent.confirmed?.wills.delete(number);
    if (will === undefined || agent.firedWills.has(number)) return;
    const bytes = costOf(will);
    if (this.held + bytes > BYTES_MAX) {
      this.stats.wills_refused += 1;
      return;
    }
    this.held += bytes;
    agent.confirmed?.wills.add(number);
    agent.wills.set(number, { ...will, message: ownOf(will.message) });
  }

  /** The agent has told all its wills: those it had before and has not named again are no more. */
  confirm(agent: Agent, told: ReadonlySet<number>): void {
    for (const number of [...agent.wills.keys()]) if (!told.has(number)) this.drop(agent.wills, number);
  }

  /** A life of an agent has registered: tells it which of its wills have been published, and publishes no more of them. */
  onRegistered(agent: Agent): void {
    const lives = this.lost.get(agent.number) ?? [];
    for (const lost of lives) {
      this.firedCount -= lost.fired.length;
      // Another life will not come back to be told; what is left of its wills still has its time.
      if (lost.epoch === agent.claim.dataEpoch) this.revive(agent, lost);
      lost.fired = [];
    }
    this.remember(
      agent.number,
      lives.filter(({ timers }) => timers.size > 0),
    );
  }

  private revive(agent: Agent, { wills, timers, fired }: Lost): void {
    for (const timer of timers.values()) timer.cancel();
    timers.clear();
    for (const [number, will] of wills) agent.wills.set(number, will);
    agent.firedWills = new Set(fired);
    if (fired.length > 0) void agent.channel.send(encodeFired(fired));
  }

  /**
   * That life of the agent is over, or seems to be: its wills are published after their delays, counted from `from` (ms),
   * unless it comes back before.
   */
  onLost(agent: Agent, from: number): void {
    const { number, claim, wills, firedWills } = agent;
    if (wills.size === 0 && firedWills.size === 0) return;
    const lost: Lost = { epoch: claim.dataEpoch, wills, timers: new Map(), fired: [...firedWills] };
    agent.wills = new Map();
    agent.firedWills = new Set();
    const now = this.clock.now();
    for (const [id, { delay }] of wills) {
      const wait = Math.max(0, from - now) + delay * 1_000;
      lost.timers.set(
        id,
        this.clock.setTimer(wait, () => this.fire(lost, id)),
      );
    }
    this.firedCount += lost.fired.length;
    const lives = this.lost.get(number) ?? [];
    this.remember(number, [...lives, lost]);
    this.boundFired();
  }

  /** The client is connected elsewhere: its will does not wait for its delay any more (MQTT-3.1.3-9). */
  discard(clientId: string): void {
    for (const { wills, timers } of [...this.lost.values()].flat()) {
      for (const [id, will] of wills) {
        if (will.clientId !== clientId) continue;
        timers.get(id)?.cancel();
        timers.delete(id);
        this.drop(wills, id);
      }
    }
  }

  close(): void {
    for (const { timers } of [...this.lost.values()].flat())
      for (const timer of timers.values()) timer.cancel();
  }

  private fire(lost: Lost, id: number): void {
    const will = lost.wills.get(id);
    lost.timers.delete(id);
    this.drop(lost.wills, id);
    if (will === undefined) return;
    lost.fired.push(id);
    this.firedCount += 1;
    this.stats.wills_published += 1;
    this.publish(will.message);
  }

  /** The agent heard last is last. */
  private remember(number: number, lives: readonly Lost[]): void {
    this.lost.delete(number);
    if (lives.length > 0) this.lost.set(number, lives);
  }

  /** Forgets what was published for the agents that have been away for longest. */
  private boundFired(): void {
    for (const [number, lives] of this.lost) {
      if (this.firedCount <= FIRED_MAX) return;
      for (const lost of lives) {
        this.firedCount -= lost.fired.length;
        lost.fired = [];
      }
      if (lives.every(({ timers }) => timers.size === 0)) this.lost.delete(number);
    }
  }

  private drop(wills: Map<number, ToldWill>, number: number): void {
    const will = wills.get(number);
    if (will === undefined) return;
    wills.delete(number);
    this.held -= costOf(will);
  }
}

function isReserved(topic: string): boolean {
  return topicError(topic) !== undefined || topic.startsWith("$");
}

function costOf({ clientId, message }: ToldWill): number {
  const { topic, payload, properties } = message;
  return WILL_BYTES + clientId.length + topic.length + payload.length + (properties?.length ?? 0);
}

/** With bytes of its own: what it arrived in need not be kept for it. */
function ownOf(message: Message): Message {
  const { payload, properties } = message;
  const own = { ...message, payload: Buffer.from(payload) };
  return properties === undefined ? own : { ...own, properties: Buffer.from(properties) };
}
