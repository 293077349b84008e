/**
 * A fabric that a seed brings into trouble: loss, repetition, reordering, partitions, agents and forwarders that die and
 * come back, subscriptions that come and go. Every guarantee of docs/guarantees.md is checked over what happened.
 */
import assert from "node:assert/strict";
import type { Resource } from "@topicast/controller/dataplane/dataplane.js";
import { UnicastDataplane } from "@topicast/controller/dataplane/unicast.js";
import { PERFECT, pair, random, SimAgent, type SimFabric, SimForwarder, simFabric } from "./sim.js";

export interface Trouble {
  /** Probability that a datagram is lost, at most. */
  readonly loss: number;
  /** Milliseconds that one may take, at most. */
  readonly delay: number;
  readonly partitions: boolean;
  readonly crashes: boolean;
}

export interface ChaosResult {
  readonly published: number;
  readonly delivered: number;
  /** Of QoS 0, where only the network was bad: what should have arrived at some edge, and what has not. */
  readonly due0: number;
  readonly missed0: number;
}

/** Room for so many groups in all, as if all went through one switch; every group takes one. */
class TightDataplane extends UnicastDataplane {
  private readonly room: Resource;

  constructor(limit: number) {
    super();
    this.room = { name: "groups", limit };
  }

  override needs(): readonly Resource[] {
    return [this.room];
  }
}

/** For every other seed edge sets must share groups. */
function roomOf(seed: number): UnicastDataplane {
  return seed % 2 === 0 ? new UnicastDataplane() : new TightDataplane(1 + (seed % 5));
}

/** What is wrong, and how to see it again. */
class Violation extends Error {
  constructor(seed: number, what: string) {
    super(`seed ${seed}: ${what}\n  again: TOPICAST_SEED=${seed} node test/dist/run.js unit fabric/chaos`);
  }
}

/** One publish, by its text. */
interface Published {
  readonly text: string;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly life: Life;
  readonly number: number;
  readonly at: number;
  /** When its publisher was acknowledged (ms); for QoS 0 never. */
  acknowledgedAt: number | undefined;
}

/** A time in which a filter is surely subscribed: from the SUBACK until the UNSUBSCRIBE. */
interface Period {
  readonly filter: string;
  from: number;
  to: number;
}

/** One agent from its start to its end. */
class Life {
  readonly periods: Period[] = [];
  endedAt = Number.POSITIVE_INFINITY;
  published = 0;
  private texts = new Set<string>();

  constructor(
    readonly agent: SimAgent,
    readonly name: string,
  ) {}

  /** The texts of all that has arrived. */
  get got(): ReadonlySet<string> {
    if (this.texts.size !== this.agent.received.length) this.texts = new Set(this.agent.texts());
    return this.texts;
  }

  get alive(): boolean {
    return this.endedAt === Number.POSITIVE_INFINITY;
  }

  /** Whether a message of this topic is surely for this life, from `from` to `to`. */
  wants(topic: string, from: number, to: number): boolean {
    return this.periods.some((p) => p.from < from && p.to > to && matches(p.filter, topic));
  }
}

const TOPICS = ["a/1", "a/2", "b/1", "b/2", "c"];
const FILTERS = ["a/#", "+/1", "a/2", "#", "c", "b/+"];
const SETTLE_MS = 2_500;
/** An edge that the forwarder has not heard for so long may have been declared gone. */
const GONE_MS = 4_500;

function matches(filter: string, topic: string): boolean {
  if (filter === "#" || filter === topic) return true;
  if (filter === "a/#") return topic.startsWith("a/");
  if (filter === "+/1") return topic.endsWith("/1");
  return filter === "b/+" && topic.startsWith("b/");
}

export class Chaos {
  private readonly rand: () => number;
  private readonly lives: Life[] = [];
  private readonly published = new Map<string, Published>();
  /** Times in which some pair of hosts could not speak with each other. */
  private readonly silences: Array<{ from: number; to: number }> = [];

  /** Messages of QoS 0 that should have arrived somewhere, and those that have not. */
  private due0 = 0;
  private missed0 = 0;

  private constructor(
    private readonly seed: number,
    private readonly trouble: Trouble,
    private readonly fabric: SimFabric,
  ) {
    this.rand = random(seed * 31 + 7);
    for (const agent of fabric.agents) this.lives.push(new Life(agent, `${agent.id}.0`));
  }

  /** Runs the seed's troubles, heals everything, and checks what came of it. Returns how much was delivered. */
  static async run(seed: number, trouble: Trouble): Promise<ChaosResult> {
    const chaos = new Chaos(seed, trouble, await simFabric(seed, 4, PERFECT, roomOf(seed)));
    await chaos.live();
    await chaos.heal();
    chaos.check();
    const delivered = chaos.lives.reduce((sum, { agent }) => sum + agent.received.length, 0);
    return { published: chaos.published.size, delivered, due0: chaos.due0, missed0: chaos.missed0 };
  }

  private fail(what: string): never {
    throw new Violation(this.seed, what);
  }

  private pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.rand() * from.length)]!;
  }

  private get now(): number {
    return this.fabric.network.clock.now();
  }

  // --- what happens ---

  private async live(): Promise<void> {
    const { network } = this.fabric;
    const { loss, delay } = this.trouble;
    for (const life of this.lives) this.subscribe(life, this.pick(FILTERS));
    await network.run(50);
    network.faults = {
      loss: this.rand() * loss,
      repeat: this.rand() * 0.2,
      delay: [0.1, 0.1 + this.rand() * delay],
    };
    for (let step = 0; step < 150; step++) {
      await this.step();
      // Now bursts, now pauses.
      if (this.rand() < 0.6) await network.run(this.rand() ** 3 * 60, 2);
    }
  }

  private async step(): Promise<void> {
    const living = this.lives.filter((l) => l.alive);
    const life = this.pick(living);
    const chance = this.rand();
    if (chance < 0.08) this.subscribe(life, this.pick(FILTERS));
    else if (chance < 0.12) this.unsubscribe(life);
    else if (chance < 0.14 && this.trouble.partitions) await this.part();
    else if (chance < 0.15 && this.trouble.crashes) await this.crash(life);
    else if (chance < 0.16 && this.trouble.crashes) this.restartForwarder();
    else this.publish(life);
  }

  private subscribe(life: Life, filter: string): void {
    if (life.periods.some((p) => p.filter === filter && p.to === Number.POSITIVE_INFINITY)) return;
    const period = { filter, from: Number.POSITIVE_INFINITY, to: Number.POSITIVE_INFINITY };
    life.periods.push(period);
    const { subscribe_timeouts } = life.agent.fabric.counters();
    void life.agent.subscribe(filter).then(() => {
      // A SUBACK that did not wait for the barrier promises nothing.
      if (life.agent.fabric.counters().subscribe_timeouts === subscribe_timeouts) period.from = this.now;
    });
  }

  private unsubscribe(life: Life): void {
    const open = life.periods.filter((p) => p.to === Number.POSITIVE_INFINITY && p.from < this.now);
    if (open.length === 0) return;
    const period = this.pick(open);
    period.to = this.now;
    life.agent.unsubscribe(period.filter);
  }

  private publish(life: Life, topic = this.pick(TOPICS), qos = this.pick([0, 0, 1, 2] as const)): void {
    const number = life.published++;
    const text = `${life.name}:${number}${this.rand() < 0.03 ? " ".repeat(4_000) : ""}`;
    const sent: Published = { text, topic, qos, life, number, at: this.now, acknowledgedAt: undefined };
    this.published.set(text, sent);
    const settled = life.agent.publish(topic, text, qos);
    const acknowledge = () => {
      // An agent that ends lets its sessions go; their clients are gone, too.
      if (life.alive) sent.acknowledgedAt = this.now;
    };
    if (qos > 0 && settled === undefined) acknowledge();
    void settled?.then(acknowledge);
  }

  /** For a while one host is cut off, or two do not reach each other: now short, now long enough to be given up. */
  private async part(): Promise<void> {
    const { network } = this.fabric;
    const [a, b] = [
      this.pick(this.lives).agent.endpoint.address,
      this.pick(this.lives).agent.endpoint.address,
    ];
    const ms = this.rand() < 0.7 ? this.rand() * 1_500 : this.rand() * 8_000;
    const silence = { from: this.now, to: this.now + ms };
    this.silences.push(silence);
    if (a === b) network.cut.add(a);
    else network.parted.add(pair(a, b));
    network.clock.setTimer(ms, () => {
      network.cut.delete(a);
      network.parted.delete(pair(a, b));
      silence.to = Math.max(silence.to, this.now);
    });
  }

  private async crash(life: Life): Promise<void> {
    const { network } = this.fabric;
    life.endedAt = this.now;
    life.agent.kill();
    await network.run(120 + this.rand() ** 3 * 7_000, 5);
    const { id, endpoint } = life.agent;
    const again = new SimAgent(network, id, endpoint.address);
    const lives = this.lives.filter((l) => l.agent.id === id).length;
    this.lives.push(new Life(again, `${id}.${lives}`));
  }

  private restartForwarder(): void {
    // A new forwarder knows only who has come back by the time that it settles: at much loss, not everybody.
    const ms = this.fabric.network.faults.loss > 0.1 ? GONE_MS + 1 : SETTLE_MS;
    this.silences.push({ from: this.now, to: this.now + ms });
    this.fabric.forwarder.kill();
    this.fabric.forwarder = new SimForwarder(this.fabric.network, { dataplane: roomOf(this.seed) });
  }

  private async heal(): Promise<void> {
    const { network } = this.fabric;
    const { partitions, crashes } = this.trouble;
    await network.run(partitions ? 8_000 : 100, 20);
    network.faults = { loss: 0, repeat: 0, delay: [0.1, 1] };
    await network.run(partitions || crashes ? 18_000 : 5_000, 20);
    await this.publishOnceMore();
  }

  /** Whoever is there after all that is as good an edge as before: what it lacks is sent to it again. */
  private async publishOnceMore(): Promise<void> {
    const { network } = this.fabric;
    const calm = network.faults;
    network.faults = { ...calm, loss: 0.2 };
    for (const life of this.lives.filter((l) => l.alive)) {
      for (const topic of TOPICS) this.publish(life, topic, this.pick([1, 2]));
    }
    await network.run(500, 10);
    network.faults = calm;
    await network.run(4_000, 50);
  }

  // --- what must be true of it ---

  private check(): void {
    for (const life of this.lives) {
      this.checkOrder(life);
      for (const sent of this.published.values()) this.checkDelivery(life, sent);
    }
    for (const sent of this.published.values()) {
      if (sent.qos > 0 && sent.life.alive && sent.acknowledgedAt === undefined) {
        this.fail(`${sent.text.trim()} at QoS ${sent.qos} of a living publisher is never acknowledged`);
      }
    }
    for (const { agent, alive, name } of this.lives) {
      if (!alive) continue;
      const { history_bytes, backlog, stream_malformed } = agent.fabric.counters();
      if (history_bytes !== 0 || backlog !== 0 || stream_malformed !== 0)
        this.fail(`${name} keeps ${JSON.stringify({ history_bytes, backlog, stream_malformed })}`);
    }
  }

  /** Per publisher and topic in the order of publishing, and nothing twice, at every QoS. */
  private checkOrder(life: Life): void {
    const last = new Map<string, number>();
    for (const message of life.agent.received) {
      const sent = this.published.get(message.payload.toString());
      if (sent === undefined) this.fail(`${life.name} got what nobody sent`);
      if (message.qos !== sent.qos || message.topic !== sent.topic || message.properties !== undefined)
        this.fail(`${life.name} got ${sent.text.trim()} changed: ${JSON.stringify(message)}`);
      const key = `${sent.life.name} ${sent.topic}`;
      const before = last.get(key) ?? -1;
      if (sent.number === before) this.fail(`${life.name} got ${sent.text.trim()} twice`);
      if (sent.number < before)
        this.fail(`${life.name} got ${sent.text.trim()} on ${sent.topic} after number ${before}`);
      last.set(key, sent.number);
    }
  }

  /** What is due: to each surely subscribed edge that was there all the time. */
  private checkDelivery(life: Life, sent: Published): void {
    if (life.agent.id === sent.life.agent.id) return;
    const until = sent.qos === 0 ? sent.at + 3_000 : sent.acknowledgedAt;
    if (until === undefined || !life.wants(sent.topic, sent.at, until) || life.endedAt <= until) return;
    if (this.mayBeGivenUp(sent.at, until)) return;
    const missing = !life.got.has(sent.text);
    if (sent.qos > 0 && missing)
      this.fail(
        `${life.name} misses ${sent.text.trim()} on ${sent.topic}, QoS ${sent.qos}, sent at ${sent.at}`,
      );
    // Only what the network does is repaired at QoS 0: not what is lost with a process or in a long silence.
    if (sent.qos > 0 || this.trouble.partitions || this.trouble.crashes) return;
    this.due0 += 1;
    if (missing) this.missed0 += 1;
  }

  /** Whether some silence was long enough for an edge to be declared gone while the message was under way. */
  private mayBeGivenUp(from: number, to: number): boolean {
    const near = this.silences.filter((s) => s.from <= to && s.to >= from - GONE_MS);
    if (near.length === 0) return false;
    // Silences that follow each other, or overlap, count as one.
    const length = Math.max(...near.map((s) => s.to)) - Math.min(...near.map((s) => s.from));
    return length >= GONE_MS;
  }
}

export function troubleOf(seed: number): Trouble {
  const partitions = seed % 4 === 1 || seed % 4 === 3;
  const crashes = seed % 4 === 2 || seed % 4 === 3;
  return { loss: seed % 8 === 0 ? 0 : 0.3, delay: seed % 3 === 0 ? 15 : 3, partitions, crashes };
}

/** The seeds to run: one that is named, or as many as are asked for. */
export function seedsToRun(count: number): number[] {
  const { TOPICAST_SEED, TOPICAST_SEEDS } = process.env;
  if (TOPICAST_SEED !== undefined) return [Number(TOPICAST_SEED)];
  const wanted = Number(TOPICAST_SEEDS ?? count);
  assert.ok(Number.isInteger(wanted) && wanted > 0, "TOPICAST_SEEDS is a number of seeds");
  return Array.from({ length: wanted }, (_, i) => i + 1);
}
