import { Buckets, type GuessReport } from "@topicast/protocol";

/** Agents may have different limits; beyond so many different ones at a time all accounts are begun anew. */
const LIMITS_MAX = 16;

/** Adds up the wrong passwords of each source over all edges. */
export class Guesses {
  /** Accounts by limit. */
  private readonly accounts = new Map<string, Buckets>();
  readonly stats = { guesses: 0, guesses_forgotten: 0 };

  /** @param shutOut called for each source that has had too many */
  constructor(
    private readonly shutOut: (source: string, rule: string, seconds: number, by: string) => void,
  ) {}

  /** @param agent id of the one that reports */
  onReport(agent: string, { rule, burst, perSecond, seconds, failures }: GuessReport, now: number): void {
    const buckets = this.account(burst, perSecond);
    for (const { source, count } of failures) {
      this.stats.guesses += count;
      if (buckets.of(source, now).take(Math.min(count, burst), now)) continue;
      buckets.forget(source);
      this.shutOut(source, rule, seconds, agent);
    }
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
