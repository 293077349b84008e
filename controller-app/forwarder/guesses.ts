import { Buckets, type Clock, encodeFabricJson, FabricTopic, type GuessReport } from "@topicast/protocol";
import type { Agent } from "./agents.js";

/** Agents may have different limits; beyond so many different ones at a time all accounts are begun anew. */
const LIMITS_MAX = 16;

export interface GuessesOptions {
  readonly clock: Clock;
  readonly agents: () => Iterable<Agent>;
  /** A source has had too many. @param by id of the agent that saw the last one */
  readonly shutOut: (source: string, rule: string, seconds: number, by: string) => void;
}

/** Adds up the wrong passwords of each source, and for each user, over all edges. */
export class Guesses {
  /** Accounts by limit. */
  private readonly accounts = new Map<string, Buckets>();
  readonly stats = { guesses: 0, guesses_forgotten: 0, user_locks: 0 };

  constructor(private readonly options: GuessesOptions) {}

  onReport(agent: Agent, { rule, burst, perSecond, seconds, failures }: GuessReport): void {
    const now = this.options.clock.now();
    const buckets = this.account(burst, perSecond);
    for (const failure of failures) {
      const { count } = failure;
      const name = "source" in failure ? `source ${failure.source}` : `user ${failure.user}`;
      // What is told of a source is told of its users, too.
      if ("source" in failure) this.stats.guesses += count;
      if (buckets.of(name, now).take(Math.min(count, burst), now)) continue;
      buckets.forget(name);
      if ("source" in failure) this.options.shutOut(failure.source, rule, seconds, agent.id);
      else this.lock(failure.user, rule, seconds);
    }
  }

  /** No agent lets this user in for a time, but from where he has logged in there before. */
  private lock(user: string, rule: string, seconds: number): void {
    this.stats.user_locks += 1;
    const bytes = encodeFabricJson(FabricTopic.LOCK, { user, rule, seconds });
    for (const { channel } of this.options.agents()) void channel.send(bytes);
  }

  private account(burst: number, perSecond: number): Buckets {
    const key = `${burst} ${perSecond}`;
    const known = this.accounts.get(key);
    if (known !== undefined) return known;
    if (this.accounts.size >= LIMITS_MAX) this.accounts.clear();
    const buckets = new Buckets({ burst, perSecond }, () => {
      this.stats.guesses_forgotten += 1;
    });
    this.accounts.set(key, buckets);
    return buckets;
  }
}
