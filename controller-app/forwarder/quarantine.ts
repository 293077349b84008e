import {
  batchesOf,
  type Clock,
  EndingMap,
  encodeFabricJson,
  FabricTopic,
  QUARANTINE_SECONDS_MAX,
  type QuarantineReport,
  type ShutOut,
  sourceOf,
  type Timer,
} from "@topicast/protocol";
import type { RetainedStorage } from "../retained/storage.js";
import type { Agent } from "./agents.js";

/** Sources in quarantine, and let in early, at a time; when there are too many the one that ends first ends early. */
const SOURCES_MAX = 4_096;
/** Changes wait for others so long before all agents are told. */
const TELL_MS = 50;

/** One source that is shut out at every edge. Times are in milliseconds since 1970. */
export interface QuarantineEntry {
  readonly source: string;
  readonly rule: string;
  /** Id of the agent that reported it; empty: an operator. */
  readonly by: string;
  readonly since: number;
  readonly until: number;
}

export interface QuarantineOptions {
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly unixTime: () => number;
  readonly storage: RetainedStorage;
  /** Agents, the forwarder and those who are listed as safe are never shut out. */
  readonly isProtected: (source: string) => boolean;
  readonly agents: () => Iterable<Agent>;
  /** All sources, the latest last; at each change. */
  readonly onSources: (sources: readonly string[]) => void;
}

/** Who is shut out of the whole network: told by agents and operators, kept in the store, told to all agents. */
export class QuarantineList {
  private readonly entries = new EndingMap<QuarantineEntry>();
  /** Let in early, and until when agents may still say otherwise. */
  private readonly freed = new EndingMap<{ readonly until: number }>();
  private readonly untold = new Map<string, QuarantineEntry | undefined>();
  private ending: Timer | undefined;
  private telling: Timer | undefined;
  readonly stats = { quarantine_reports: 0, quarantine_protected: 0, quarantine_forgotten: 0 };

  constructor(private readonly options: QuarantineOptions) {}

  /** Brings back what an earlier process kept; once, before the first agent. */
  async restore(): Promise<void> {
    for await (const [source, value] of this.options.storage.entries()) {
      const entry = readEntry(source, value);
      if (entry === undefined || entry.until <= this.options.unixTime() || this.options.isProtected(source)) {
        this.options.storage.delete(source);
        continue;
      }
      this.entries.set(source, entry);
      this.untold.set(source, entry);
    }
    this.changed();
  }

  close(): void {
    this.ending?.cancel();
    this.telling?.cancel();
  }

  get size(): number {
    return this.entries.size;
  }

  list(): Iterable<QuarantineEntry> {
    return this.entries.values();
  }

  /** What an agent says. What it only remembers does not bring back whom an operator has let in. */
  onReport(agent: Agent, { again, shut }: QuarantineReport): void {
    for (const { source, rule, seconds } of shut) {
      this.stats.quarantine_reports += 1;
      const isFreed = again && (this.freed.get(source)?.until ?? 0) > this.options.unixTime();
      if (isFreed || !this.put(source, rule, seconds, agent.id)) this.untold.set(source, undefined);
    }
    if (shut.some(({ source }) => this.untold.has(source))) this.changed();
  }

  /** An agent has registered: it is told everything, and is not shut out itself. */
  onRegistered(agent: Agent): void {
    this.remove(sourceOf(agent.claim.address));
    this.tell([agent], [...this.entries.values()], [...this.freed.keys()]);
  }

  /** @returns false where the source is protected */
  add(source: string, rule: string, seconds: number, by: string): boolean {
    const isTaken = this.put(source, rule, seconds, by);
    if (isTaken) this.changed();
    return isTaken;
  }

  private put(source: string, rule: string, seconds: number, by: string): boolean {
    if (this.options.isProtected(source)) {
      this.stats.quarantine_protected += 1;
      return false;
    }
    const now = this.options.unixTime();
    const until = now + 1_000 * Math.min(seconds, QUARANTINE_SECONDS_MAX);
    this.freed.delete(source);
    const known = this.entries.get(source);
    // What others say of the same is some milliseconds earlier or later.
    if (known !== undefined && known.until >= until - 1_000) return true;
    if (known === undefined && this.entries.size >= SOURCES_MAX) this.forgetFirst();
    const entry: QuarantineEntry = { source, rule, by, since: known?.since ?? now, until };
    this.entries.set(source, entry);
    this.options.storage.put(source, Buffer.from(JSON.stringify(entry)));
    this.untold.set(source, entry);
    return true;
  }

  /** Lets a source in; whether it was shut out. */
  remove(source: string): boolean {
    const entry = this.entries.get(source);
    if (entry === undefined) return false;
    if (this.freed.size >= SOURCES_MAX) this.freed.delete(this.freed.first()![0]);
    this.freed.set(source, { until: entry.until });
    this.delete(source);
    this.changed();
    return true;
  }

  private delete(source: string): void {
    this.entries.delete(source);
    this.options.storage.delete(source);
    this.untold.set(source, undefined);
  }

  private forgetFirst(): void {
    this.delete(this.entries.first()![0]);
    this.stats.quarantine_forgotten += 1;
  }

  private changed(): void {
    void this.options.storage.durable();
    this.options.onSources([...this.entries.keys()]);
    this.tellSoon();
    this.waitForEnd();
  }

  /** Agents end theirs by themselves; here the switches' rules go, too. */
  private waitForEnd(): void {
    this.ending?.cancel();
    this.ending = undefined;
    const now = this.options.unixTime();
    const next = Math.min(...[this.entries, this.freed].map((map) => map.first()?.[1].until ?? Infinity));
    if (next === Infinity) return;
    this.ending = this.options.clock.setTimer(Math.max(next - now, 1), () => this.end());
  }

  private end(): void {
    const now = this.options.unixTime();
    for (const source of endedIn(this.entries, now)) this.delete(source);
    for (const source of endedIn(this.freed, now)) this.freed.delete(source);
    this.changed();
  }

  private tellSoon(): void {
    if (this.telling !== undefined || this.untold.size === 0) return;
    this.telling = this.options.clock.setTimer(TELL_MS, () => {
      this.telling = undefined;
      const changes = [...this.untold];
      this.untold.clear();
      const shut = changes.flatMap(([, entry]) => entry ?? []);
      const free = changes.flatMap(([source, entry]) => (entry === undefined ? [source] : []));
      this.tell([...this.options.agents()], shut, free);
    });
  }

  private tell(agents: readonly Agent[], shut: readonly QuarantineEntry[], free: readonly string[]): void {
    const now = this.options.unixTime();
    const packets = [
      ...[...batchesOf(shut)].map((batch) => ({
        shut: batch.flatMap((entry) => shutOutOf(entry, now)),
        free: [],
      })),
      ...[...batchesOf(free)].map((batch) => ({ shut: [], free: batch })),
    ].map((update) => encodeFabricJson(FabricTopic.QUARANTINE, update));
    for (const { channel } of agents) for (const packet of packets) void channel.send(packet);
  }
}

/** Whoever has ended by then; each is to be deleted before the next. */
function* endedIn(map: EndingMap<{ readonly until: number }>, now: number): Generator<string> {
  for (let first = map.first(); first !== undefined && first[1].until <= now; first = map.first())
    yield first[0];
}

function shutOutOf({ source, rule, until }: QuarantineEntry, now: number): ShutOut[] {
  return until > now ? [{ source, rule, seconds: (until - now) / 1_000 }] : [];
}

function readEntry(source: string, value: Buffer): QuarantineEntry | undefined {
  try {
    const { rule, by, since, until } = JSON.parse(value.toString()) as QuarantineEntry;
    const isWhole =
      typeof rule === "string" && typeof by === "string" && [since, until].every(Number.isFinite);
    return isWhole ? { source, rule, by, since, until } : undefined;
  } catch {
    return undefined;
  }
}
