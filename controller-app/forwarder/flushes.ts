import { encodeFabricJson, FabricTopic } from "@topicast/protocol";
import type { Agent } from "./agents.js";
import { Coalesced } from "./coalesced.js";

/** One question to all publishers. */
interface Round {
  readonly edge: number;
  /** Agents that have not answered. */
  readonly left: Set<Agent>;
  readonly done: () => void;
}

/**
 * Asks all agents that publish to tell when an edge has what they have sent to it: protocol/README.md, "One session per client".
 * What an edge asks while a round for it is on its way shares the next one.
 */
export class Flushes {
  private readonly byEdge = new Map<number, Coalesced>();
  private readonly rounds = new Map<number, Round>();
  private number = 0;

  readonly stats = { flushes: 0 };

  constructor(private readonly agents: ReadonlyMap<number, Agent>) {}

  /** Resolves when everything that was sent to the agent before this call is there, or its publishers have gone. */
  flush({ number }: Agent): Promise<void> {
    let rounds = this.byEdge.get(number);
    if (rounds === undefined) {
      rounds = new Coalesced(() => this.round(number));
      this.byEdge.set(number, rounds);
    }
    return rounds.request();
  }

  /** `$fabric/flushed` */
  onFlushed(agent: Agent, number: number | undefined): void {
    if (number !== undefined) this.leave(number, agent);
  }

  /** A new registration knows nothing of what the former one was asked. */
  onRegistered(agent: Agent): void {
    for (const [number, { left, edge }] of this.rounds) if (left.has(agent)) this.ask(agent, edge, number);
  }

  onGone(agent: Agent): void {
    for (const number of [...this.rounds.keys()]) this.leave(number, agent);
    this.byEdge.delete(agent.number);
  }

  private round(edge: number): Promise<void> {
    const left = new Set([...this.agents.values()].filter((a) => a.publishes && a.number !== edge));
    if (left.size === 0) return Promise.resolve();
    this.stats.flushes += 1;
    this.number = (this.number + 1) >>> 0;
    const { number } = this;
    for (const agent of left) this.ask(agent, edge, number);
    return new Promise((done) => this.rounds.set(number, { edge, left, done }));
  }

  private ask({ channel }: Agent, edge: number, number: number): void {
    void channel.send(encodeFabricJson(FabricTopic.FLUSH, { edge, number }));
  }

  private leave(number: number, agent: Agent): void {
    const round = this.rounds.get(number);
    if (round?.left.delete(agent) !== true || round.left.size > 0) return;
    this.rounds.delete(number);
    round.done();
  }
}
