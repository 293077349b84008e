import { type Clock, DEAD_MS, SETTLE_MS } from "@topicast/protocol";
import type { Agent } from "./agents.js";
import { AGENTS_MAX } from "./registry.js";

const CHECK_MS = 100;

export interface SettlingOptions {
  readonly clock: Clock;
  readonly agents: () => Iterable<Agent>;
  /** It is over: what is in use gets its place again, before anything that has waited goes on. */
  readonly onComplete: (afterMs: number) => Promise<void>;
  /** What has waited goes on. */
  readonly onOver: () => void;
}

/**
 * A forwarder's start beside agents and switches that have been there before: nothing is withdrawn and no new route given
 * until they have told what there is, or have had the time to.
 */
export class Settling {
  private waiting: Array<() => void> | undefined = [];
  /** The switches have been read, or cannot be. */
  private isAdopted = false;
  /** Addresses of members of leftover groups, and of edges that publishers know, that have not come back yet. */
  private readonly missing = new Set<string>();
  private readonly startedAt: number;
  private isClosed = false;

  constructor(private readonly options: SettlingOptions) {
    this.startedAt = options.clock.now();
  }

  get isOver(): boolean {
    return this.waiting === undefined;
  }

  /** Resolves when it is over. */
  async end(): Promise<void> {
    const { waiting } = this;
    if (waiting !== undefined) await new Promise<void>((resolve) => waiting.push(resolve));
  }

  /** @param groups the members' addresses of what the switches hold; null: they cannot be read */
  adopt(groups: Iterable<readonly string[]> | null): void {
    this.isAdopted = true;
    for (const members of groups ?? []) this.expect(members);
  }

  /** Edges of these addresses have been there: it is not over until they have told theirs. */
  expect(addresses: readonly string[]): void {
    if (this.isOver) return;
    const here = new Set<string>();
    for (const { claim, confirmed } of this.options.agents()) {
      if (confirmed === undefined) here.add(claim.address);
    }
    for (const address of addresses) {
      if (!here.has(address) && this.missing.size < AGENTS_MAX) this.missing.add(address);
    }
  }

  /** The edge of this address has told all that it has to tell. */
  onSynced(address: string): void {
    this.missing.delete(address);
  }

  /** Looks until it is over. */
  check(): void {
    if (this.isClosed) return;
    const { clock, agents, onComplete } = this.options;
    const age = clock.now() - this.startedAt;
    const isTelling = [...agents()].some(({ confirmed }) => confirmed !== undefined);
    const isOpen = age < SETTLE_MS || !this.isAdopted || this.missing.size > 0 || isTelling;
    if (isOpen && age < DEAD_MS) {
      clock.setTimer(CHECK_MS, () => this.check());
      return;
    }
    void onComplete(age).then(() => this.goOn());
  }

  close(): void {
    this.isClosed = true;
  }

  private goOn(): void {
    const waiting = this.waiting ?? [];
    this.waiting = undefined;
    for (const begin of waiting) begin();
    this.options.onOver();
  }
}
