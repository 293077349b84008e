import { EndingMap } from "@topicast/protocol";

/** Who is shut out at this agent. */
export interface Quarantined {
  readonly source: string;
  /** Id of the rule that was broken. */
  readonly rule: string;
  /** Time of the clock. */
  readonly until: number;
}

/** Sources that may not connect for a time. */
export class Quarantine {
  private readonly entries = new EndingMap<Quarantined>();

  constructor(
    private readonly onForgotten: () => void,
    private readonly max = 4_096,
  ) {}

  /** Shuts a source out, or for longer. */
  add(entry: Quarantined): void {
    const known = this.entries.get(entry.source);
    if (known === undefined && this.entries.size >= this.max) this.forgetFirst();
    if (known === undefined || known.until < entry.until) this.entries.set(entry.source, entry);
  }

  holds(source: string, now: number): boolean {
    const entry = this.entries.get(source);
    if (entry === undefined) return false;
    if (entry.until > now) return true;
    this.entries.delete(source);
    return false;
  }

  /** Lets a source in again; whether it was shut out. */
  remove(source: string): boolean {
    return this.entries.delete(source);
  }

  list(now: number): Quarantined[] {
    return [...this.entries.values()].filter(({ source }) => this.holds(source, now));
  }

  private forgetFirst(): void {
    this.entries.delete(this.entries.first()![0]);
    this.onForgotten();
  }
}
