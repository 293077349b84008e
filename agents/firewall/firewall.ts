import {
  addressOf,
  type Clock,
  type Guessed,
  type GuessLimit,
  isIn,
  isSourceOfAny,
  QUARANTINE_SECONDS_MAX,
  type QuarantineUpdate,
  ReasonCode,
  type ShutOut,
  shortName,
  sourceOf,
  TokenBucket,
  type UserLock,
} from "@topicast/protocol";
import type { Guard, Screen } from "../mqtt/screen.js";
import type { ByteStream } from "../transport/transport.js";
import { Compiled } from "./compiled.js";
import type { ContentEngine } from "./content.js";
import type { FirewallEvent } from "./event.js";
import { ConnectionGuard } from "./guard.js";
import { Quarantine } from "./quarantine.js";
import type { Answer, Mode, Rules } from "./rules.js";

export interface FirewallOptions {
  readonly clock: Clock;
  readonly rules: Rules;
  /** By listener; those that are not there have none. */
  readonly modes: ReadonlyMap<string, Mode>;
  readonly engine?: ContentEngine | undefined;
  /** @param suppressed events since the last one that there were too many of */
  readonly onEvent: (event: FirewallEvent, suppressed: number) => void;
  /** This host's own addresses: who has the same /64 of IPv6 is its neighbour. Asked when a source is to be shut out. */
  readonly ownAddresses?: () => readonly string[];
  /** A source is shut out from now on. */
  readonly onQuarantine?: (entry: ShutOut) => void;
  /** A wrong password, where too many at all edges together are to be answered: of one source by quarantine, for one user by a lock. */
  readonly onGuess?: (whose: Guessed, limit: GuessLimit) => void;
}

const COUNTERS = {
  log: "logged",
  drop: "dropped",
  disconnect: "disconnected",
  quarantine: "quarantined",
} as const;

/** What clients may send to one agent: README.md. */
export class Firewall implements Screen {
  readonly clock: Clock;
  /** Judges content; undefined: nobody does. May be exchanged at any time. */
  engine: ContentEngine | undefined;
  readonly stats = {
    /** Packets that rules had something against, and what was done. */
    broken: 0,
    logged: 0,
    dropped: 0,
    disconnected: 0,
    quarantined: 0,
    /** In mode detect: what would have been dropped, disconnected or quarantined. */
    would_refuse: 0,
    /** Connections of sources that are shut out. */
    quarantine_refused: 0,
    quarantine_forgotten: 0,
    rates_forgotten: 0,
    guessing_forgotten: 0,
    /** Connections that ended because their client broke the protocol. */
    protocol_mistakes: 0,
    /** Packets without a verdict on their content. */
    content_failed: 0,
    events: 0,
    events_suppressed: 0,
    rules_loaded: 1,
  };
  private current: Compiled;
  private events: TokenBucket;
  private suppressed = 0;
  /** How often each rule was broken. */
  private readonly counts = new Map<string, number>();
  private readonly quarantine = new Quarantine(() => {
    this.stats.quarantine_forgotten += 1;
  });
  /** Guards that block, by source. */
  private readonly guards = new Map<string, Set<ConnectionGuard>>();

  constructor(private readonly options: FirewallOptions) {
    this.clock = options.clock;
    this.engine = options.engine;
    this.current = new Compiled(options.rules, this.stats);
    this.events = new TokenBucket(options.rules.events, this.clock.now());
  }

  /** The rules in force. */
  get compiled(): Compiled {
    return this.current;
  }

  /** Takes over other rules: each connection has them from its next packet on. */
  setRules(rules: Rules): void {
    this.current = new Compiled(rules, this.stats, this.current);
    this.events = new TokenBucket(rules.events, this.clock.now());
    this.stats.rules_loaded += 1;
  }

  open(
    { peer, listener }: Pick<ByteStream, "peer" | "listener">,
    end: (code: number) => void,
  ): Guard | "refused" | undefined {
    const mode = this.options.modes.get(listener ?? "") ?? "off";
    if (mode === "off") return undefined;
    const address = addressOf(peer);
    const source = sourceOf(address);
    if (mode === "block" && this.bars(address)) return "refused";
    const guard = new ConnectionGuard(this, { peer, listener, address, source, mode, end });
    if (guard.opened()) return "refused";
    if (mode === "block") this.enter(guard);
    return guard;
  }

  /** Whether an address is shut out where the firewall blocks: who can gives its SYNs no answer. Counted as a connection. */
  bars(address: string): boolean {
    const isBarred = this.isShutOut(address);
    if (isBarred) this.stats.quarantine_refused += 1;
    return isBarred;
  }

  isSafe(address: string): boolean {
    return isIn(this.current.rules.safe, address);
  }

  /** Whether others than who broke a rule would be shut out with its source: those of a safe address, or this host's link. */
  isShared(source: string): boolean {
    if (isSourceOfAny(this.current.rules.safe, source)) return true;
    if (!source.endsWith("/64")) return false;
    return (this.options.ownAddresses?.() ?? []).some((address) => sourceOf(address) === source);
  }

  /** Shuts out the source of `by`, which ends its own connection itself. */
  shutOut(rule: string, by: ConnectionGuard): void {
    const seconds = this.current.rules.quarantineMs / 1_000;
    const entry: ShutOut = { source: by.connection.source, rule, seconds };
    this.add(entry, by);
    this.options.onQuarantine?.(entry);
  }

  /** A wrong password: other edges may have had some of the same source, or for the same user. */
  guessed(source: string, user: string | undefined): void {
    const { guessing, quarantineMs } = this.current.rules;
    if (guessing.address?.answer === "quarantine" && !this.isShared(source)) {
      const { id: rule, burst, perSecond } = guessing.address;
      this.options.onGuess?.({ source }, { rule, burst, perSecond, seconds: quarantineMs / 1_000 });
    }
    if (guessing.user !== undefined && user !== undefined && user !== "") {
      const { id: rule, burst, perSecond, lockMs } = guessing.user;
      const seconds = Math.min(lockMs / 1_000, QUARANTINE_SECONDS_MAX);
      this.options.onGuess?.({ user: shortName(user) }, { rule, burst, perSecond, seconds });
    }
  }

  /** What all edges together have seen of guesses for this user. */
  onUserLock({ user, seconds }: UserLock): void {
    this.current.guessing.lockUser(user, this.clock.now() + seconds * 1_000);
  }

  /** Takes over what the whole network says. */
  onUpdate({ shut, free }: QuarantineUpdate): void {
    for (const source of free) this.quarantine.remove(source);
    for (const entry of shut) this.add(entry, undefined);
  }

  /** The sources that are shut out, and for how much longer. */
  shutOuts(): ShutOut[] {
    const now = this.clock.now();
    return this.quarantine
      .list(now)
      .map(({ source, rule, until }) => ({ source, rule, seconds: (until - now) / 1_000 }));
  }

  /** Its connections end, but those of safe addresses. */
  private add({ source, rule, seconds }: ShutOut, by: ConnectionGuard | undefined): void {
    this.quarantine.add({ source, rule, until: this.clock.now() + 1_000 * seconds });
    for (const guard of [...(this.guards.get(source) ?? [])]) {
      if (guard === by || this.isSafe(guard.connection.address)) continue;
      guard.connection.end(ReasonCode.ADMINISTRATIVE_ACTION);
    }
  }

  /** A guard's connection has ended. */
  leave(guard: ConnectionGuard): void {
    const { source } = guard.connection;
    const guards = this.guards.get(source);
    if (guards === undefined) return;
    guards.delete(guard);
    if (guards.size === 0) this.guards.delete(source);
  }

  /** Counts a broken rule and what is done about it. */
  count(rule: string, mode: Mode, answer: Answer): void {
    this.counts.set(rule, (this.counts.get(rule) ?? 0) + 1);
    this.stats.broken += 1;
    if (mode === "detect" && answer !== "log") this.stats.would_refuse += 1;
    else this.stats[COUNTERS[answer]] += 1;
  }

  /** Whether one more event may be written. @param own what its connection may still have written */
  mayTell(own: TokenBucket, now: number): boolean {
    if (own.take(1, now) && this.events.take(1, now)) return true;
    this.suppressed += 1;
    this.stats.events_suppressed += 1;
    return false;
  }

  tell(event: FirewallEvent): void {
    this.stats.events += 1;
    this.options.onEvent(event, this.suppressed);
    this.suppressed = 0;
  }

  /** Counters since the start, gauges, and `rule_ID` for each rule that was ever broken. */
  counters(): Readonly<Record<string, number>> {
    const counters: Record<string, number> = { ...this.stats, quarantine: this.shutOuts().length };
    for (const [rule, count] of this.counts) counters[`rule_${rule}`] = count;
    for (const [name, count] of Object.entries(this.engine?.stats ?? {}))
      counters[`content_engine_${name}`] = count;
    return counters;
  }

  private isShutOut(address: string): boolean {
    return this.quarantine.holds(sourceOf(address), this.clock.now()) && !this.isSafe(address);
  }

  private enter(guard: ConnectionGuard): void {
    const { source } = guard.connection;
    const guards = this.guards.get(source);
    if (guards === undefined) this.guards.set(source, new Set([guard]));
    else guards.add(guard);
  }
}
