import {
  type Clock,
  DEAD_MS,
  decodeWill,
  encodeFired,
  type Message,
  type Timer,
  type ToldWill,
  topicError,
} from "@topicast/protocol";
import type { RetainedStorage } from "../retained/storage.js";
import type { Agent } from "./agents.js";

/** What all wills may take: their messages' bytes, and WILL_BYTES each. */
const BYTES_MAX = 256 * 1024 * 1024;
const WILL_BYTES = 256;
/** Numbers of settled wills that are remembered for agents that may come back. */
const FIRED_MAX = 1_000_000;

/** An agent that lives has come back to a new forwarder after so long, or is taken for dead. */
const RETURN_MS = 2 * DEAD_MS;

/** A will that is kept for a living agent's client, or for one that has gone. */
export interface KeptWill extends ToldWill {
  readonly number: number;
  /** Where it is stored. */
  readonly key: string;
  /** The wills that it is one of: all of one life of its agent. */
  readonly among: Map<number, KeptWill>;
  /** Its client has connected at another edge, which its own one may not know. */
  successor: "resumes" | "begins anew" | undefined;
  /** The life that has ended, and when the will is published; undefined: its agent lives. */
  lost: { readonly life: Lost; readonly timer: Timer } | undefined;
}

/** The wills of one life of an agent that has been withdrawn. */
interface Lost {
  readonly epoch: number;
  readonly wills: Map<number, KeptWill>;
  fired: number[];
}

/** Publishes the wills of clients whose agent has died, once: protocol/README.md, "Wills". */
export class Wills {
  /** By agent number, one life after the other. */
  private readonly lost = new Map<number, readonly Lost[]>();
  private readonly byClient = new Map<string, Set<KeptWill>>();
  private held = 0;
  private firedCount = 0;

  readonly stats = {
    wills_published: 0,
    wills_discarded: 0,
    wills_refused: 0,
    wills_bad: 0,
    wills_restored: 0,
  };

  constructor(
    private readonly clock: Clock,
    private readonly publish: (message: Message) => void,
    private readonly storage: RetainedStorage,
  ) {}

  /** Takes what a former forwarder knew: wills of agents that do not come back to this one are published. */
  restore(entries: Iterable<readonly [key: string, value: Buffer]>): void {
    const lives = new Map<string, Lost>();
    for (const [key, value] of entries) {
      const [agent, epoch, number] = key.split("/").map((part) => Number.parseInt(part, 16));
      const will = decodeWill(value)?.will;
      if (will === undefined || agent === undefined || epoch === undefined || number === undefined) {
        this.stats.wills_bad += 1;
        this.storage.delete(key);
        continue;
      }
      let life = lives.get(`${agent}/${epoch}`);
      if (life === undefined) {
        life = { epoch, wills: new Map(), fired: [] };
        lives.set(`${agent}/${epoch}`, life);
        this.remember(agent, [...(this.lost.get(agent) ?? []), life]);
      }
      const kept: KeptWill = {
        ...will,
        number,
        key,
        among: life.wills,
        successor: undefined,
        lost: undefined,
      };
      const timer = this.clock.setTimer(RETURN_MS + will.delay * 1_000, () => this.fire(kept));
      kept.lost = { life, timer };
      this.keep(kept);
      this.stats.wills_restored += 1;
    }
  }

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
    this.drop(agent.wills.get(number));
    agent.confirmed?.wills.delete(number);
    if (will === undefined || agent.firedWills.has(number)) return;
    if (this.held + costOf(will) > BYTES_MAX) {
      this.stats.wills_refused += 1;
      return;
    }
    agent.confirmed?.wills.add(number);
    const key = [agent.number, agent.claim.dataEpoch, number].map((part) => part.toString(16)).join("/");
    this.storage.put(key, Buffer.from(payload));
    this.keep({
      ...{ ...will, message: ownOf(will.message), number, key, among: agent.wills },
      ...{ successor: undefined, lost: undefined },
    });
  }

  /** The agent has told all its wills: those it had before and has not named again are no more. */
  confirm(agent: Agent, told: ReadonlySet<number>): void {
    for (const [number, will] of [...agent.wills]) if (!told.has(number)) this.drop(will);
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
      lives.filter(({ wills }) => agent.wills !== wills && wills.size > 0),
    );
  }

  private revive(agent: Agent, { wills, fired }: Lost): void {
    agent.wills = wills;
    for (const will of wills.values()) {
      will.lost?.timer.cancel();
      will.lost = undefined;
    }
    agent.firedWills = new Set(fired);
    if (fired.length > 0) void agent.channel.send(encodeFired(fired));
  }

  /**
   * That life of the agent is over, or seems to be: its wills are published after their delays, counted from `from` (ms),
   * unless it, or their client, comes back before.
   */
  onLost(agent: Agent, from: number): void {
    const { number, claim, wills, firedWills } = agent;
    if (wills.size === 0 && firedWills.size === 0) return;
    const life: Lost = { epoch: claim.dataEpoch, wills, fired: [...firedWills] };
    agent.wills = new Map();
    agent.firedWills = new Set();
    this.firedCount += life.fired.length;
    const wait = Math.max(0, from - this.clock.now());
    for (const will of [...wills.values()]) {
      const delay = will.successor === undefined ? will.delay : 0;
      const timer = this.clock.setTimer(wait + delay * 1_000, () => this.fire(will));
      will.lost = { life, timer };
      if (will.successor === "resumes" && will.delay > 0) this.discard(will);
    }
    const lives = this.lost.get(number) ?? [];
    this.remember(number, [...lives, life]);
    this.boundFired();
  }

  /**
   * The client connects at `agent`. A will that waits for its delay, since its agent has died, is not published (MQTT-3.1.2-8,
   * MQTT-3.1.3-9), one without delay now. Where its agent lives that one decides: it knows whether the client was connected.
   */
  onClaimed(clientId: string, clean: boolean, agent: Agent): void {
    for (const will of [...(this.byClient.get(clientId) ?? [])]) {
      if (will.among === agent.wills) continue;
      if (will.lost === undefined) will.successor = clean ? "begins anew" : "resumes";
      else if (will.delay === 0) this.fire(will);
      else this.discard(will);
    }
  }

  close(): void {
    for (const { wills } of [...this.lost.values()].flat())
      for (const { lost } of wills.values()) lost?.timer.cancel();
  }

  private discard(will: KeptWill): void {
    this.stats.wills_discarded += 1;
    this.settle(will);
  }

  private fire(will: KeptWill): void {
    this.settle(will);
    this.stats.wills_published += 1;
    this.publish(will.message);
  }

  /** Its agent, should it come back in that life, is to forget it. */
  private settle(will: KeptWill): void {
    this.drop(will);
    if (will.lost === undefined) return;
    will.lost.life.fired.push(will.number);
    this.firedCount += 1;
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
      if (lives.every(({ wills }) => wills.size === 0)) this.lost.delete(number);
    }
  }

  private keep(will: KeptWill): void {
    this.held += costOf(will);
    will.among.set(will.number, will);
    const others = this.byClient.get(will.clientId);
    if (others === undefined) this.byClient.set(will.clientId, new Set([will]));
    else others.add(will);
  }

  private drop(will: KeptWill | undefined): void {
    if (will === undefined) return;
    const { clientId, number, key, among, lost } = will;
    this.storage.delete(key);
    lost?.timer.cancel();
    among.delete(number);
    this.held -= costOf(will);
    const others = this.byClient.get(clientId);
    others?.delete(will);
    if (others?.size === 0) this.byClient.delete(clientId);
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
