import type { Clock, Timer } from "@topicast/protocol";
import { AccessError, type Probe, type SwitchAccess } from "./access.js";
import type { DataplaneCounter } from "./dataplane.js";
import { type Cause, type Command, idOf, type SeenFlow, stages, strayId } from "./diff.js";
import { SwitchLedger } from "./ledger.js";
import type { SwitchLimits } from "./limits.js";
import { type GroupRange, guardId, type Rule, type RuleId } from "./rules.js";
import type { Dpid } from "./tree.js";

export interface WorkerTiming {
  /** First and longest ms until a refused rule, or a failed read, is tried again; doubled each time. */
  readonly retryMs: number;
  readonly retryMaxMs: number;
}

export const defaultWorkerTiming: WorkerTiming = { retryMs: 20, retryMaxMs: 5_000 };

export interface WorkerHost {
  readonly access: SwitchAccess;
  readonly clock: Clock;
  readonly range: GroupRange;
  readonly limits: (dpid: Dpid) => SwitchLimits;
  readonly timing: WorkerTiming;
  readonly counters: Record<DataplaneCounter, number>;
  mayRemove(): boolean;
  /** A wanted rule was read back to match and had not, or the reverse. */
  onFlip(dpid: Dpid, id: RuleId, differs: boolean): void;
  /** A rule was sent and is not there; `times` in a row. */
  onRefused(dpid: Dpid, id: RuleId, times: number): void;
  /** A complete read-back has been taken in. */
  onRead(dpid: Dpid): void;
  /** Commands have been sent and what they did is known. */
  onPass(dpid: Dpid): void;
  onFailure(dpid: Dpid, error: AccessError): void;
  onCommand(dpid: Dpid, command: Command, want: Rule | undefined, cause: Cause): void;
}

/** Calls under way at a time for one switch: enough to keep Ryu, a single thread, busy. */
const parallel = 4;

/** So that the first of many wishes need not wait for the last. */
const rulesPerPass = 64;

/**
 * Keeps one switch as it should be: apply the differences, look what came of it, again while anything differs. There is
 * one pass at a time; wishes that come meanwhile are in the next one, so that many of them cost one look.
 */
export class SwitchWorker {
  readonly ledger: SwitchLedger;
  /** When the last complete read-back came in, and the ms it took; undefined before the first. */
  readAt: number | undefined;
  readMs = 0;
  private active = false;
  private run: Promise<void> | undefined;
  /** Somebody asked for a pass while one was running. */
  private again = false;
  private readDue = true;
  private failures = 0;
  private readonly refused = new Map<RuleId, { times: number; until: number }>();
  private retry: Timer | undefined;

  constructor(
    readonly dpid: Dpid,
    private readonly host: WorkerHost,
  ) {
    this.ledger = new SwitchLedger(host.range, host.limits(dpid));
  }

  /** The switch is connected and Ryu answers, or not: then nothing is tried. */
  setActive(active: boolean): void {
    if (active === this.active) return;
    this.active = active;
    this.retry?.cancel();
    if (!active) return;
    this.failures = 0;
    this.refused.clear();
    void this.audit();
  }

  want(id: RuleId, rule: Rule | undefined): boolean {
    this.refused.delete(id);
    return this.ledger.want(id, rule);
  }

  /** Reads everything back and repairs what differs. Resolves when that has been done, or has failed. */
  audit(): Promise<void> {
    this.readDue = true;
    return this.kick();
  }

  /** Starts a pass, unless one is running: that one looks again before it ends. */
  kick(): Promise<void> {
    if (!this.active) return Promise.resolve();
    if (this.run !== undefined) {
      this.again = true;
      return this.run;
    }
    this.retry?.cancel();
    this.again = true;
    this.run = this.passes().finally(() => {
      this.run = undefined;
      if (this.again) void this.kick();
      else this.scheduleRetry();
    });
    return this.run;
  }

  private async passes(): Promise<void> {
    // Not in this turn, so that everything wished for in it is in the same pass.
    await Promise.resolve();
    while (this.active && this.again) {
      this.again = false;
      if (this.readDue && !(await this.readBack())) return;
      const now = this.host.clock.now();
      const skip = (id: RuleId) => (this.refused.get(id)?.until ?? now) > now;
      const commands = this.ledger.commands(this.host.mayRemove(), rulesPerPass, skip);
      if (commands.length === 0) continue;
      const sent = new Map(commands.map((c) => [idOf(c), this.ledger.wants(idOf(c))]));
      const proven = (await this.send(commands)) && (await this.confirm(commands, sent));
      if (!proven && !(await this.readBack())) return;
      // Wishes that came meanwhile, and what was refused and may be tried again at once.
      this.again = true;
      for (const [id, rule] of sent) this.judge(id, rule);
      this.host.onPass(this.dpid);
    }
  }

  /** True when all are on their way. */
  private async send(commands: readonly Command[]): Promise<boolean> {
    let sent = true;
    for (const ops of stages) {
      const stage = commands.filter((c) => ops.includes(c.op));
      await inLanes(stage, async (command) => {
        if (!(await this.apply(command))) sent = false;
      });
    }
    return sent;
  }

  private async apply(command: Command): Promise<boolean> {
    const { counters } = this.host;
    counters.commands += 1;
    if (command.op.endsWith("-delete")) counters.removals += 1;
    const id = idOf(command);
    this.host.onCommand(this.dpid, command, this.ledger.wants(id), this.ledger.cause(id) ?? "wanted");
    this.ledger.onCommand(command);
    try {
      await this.host.access.apply(this.dpid, command);
      return true;
    } catch (error) {
      counters.command_failures += 1;
      this.fail(error);
      return false;
    }
  }

  /**
   * Asks for each rule that was written, where that is cheaper than reading everything and can prove it: not for a
   * changed group, whose buckets only the full description tells, and not for steering. True when all is as it was sent.
   */
  private async confirm(
    commands: readonly Command[],
    sent: ReadonlyMap<RuleId, Rule | undefined>,
  ): Promise<boolean> {
    // A read costs Ryu about 2 ms and 0.3 ms for each rule in the switch, a probe 1.1 ms.
    if (sent.size > 2 + this.ledger.size / 4) return false;
    if (commands.some((c) => c.op === "group-modify" || idOf(c) === guardId || idOf(c) === strayId))
      return false;
    const groups = [...sent].flatMap(([id, rule]) => (typeof id === "number" ? [[id, rule] as const] : []));
    if (groups.length < sent.size) return false;
    let proven = true;
    await inLanes(groups, async ([id, rule]) => {
      if (!proven) return;
      const proof = this.ledger.proofOf(id);
      if (proof === undefined) {
        proven = false;
        return;
      }
      try {
        this.host.counters.probes += 1;
        const { access } = this.host;
        const ask = proof === "group" ? access.probe(this.dpid, id) : access.flowOf(this.dpid, proof);
        const answer = await ask;
        // Overtaken by another wish: what is there now is not what the ledger will think.
        if (!this.active || this.ledger.wants(id) !== rule) proven = false;
        if (!proven) return;
        const differed = this.ledger.lacks(id);
        proven =
          proof === "group"
            ? this.ledger.confirm(id, answer as Probe | undefined)
            : this.ledger.confirmFlow(id, answer as SeenFlow | undefined);
        if (proven && differed && rule !== undefined) this.host.onFlip(this.dpid, id, false);
      } catch (error) {
        proven = false;
        this.fail(error);
      }
    });
    return proven;
  }

  /** True when the switch told everything. */
  private async readBack(): Promise<boolean> {
    const { access, clock, counters } = this.host;
    const start = clock.now();
    counters.reads += 1;
    try {
      const state = await access.read(this.dpid);
      if (!this.active) return false;
      this.readDue = false;
      this.failures = 0;
      this.readAt = clock.now();
      this.readMs = this.readAt - start;
      const known = this.ledger.known;
      this.ledger.observe(state, (id, differs) => {
        if (known && differs) counters.repairs += 1;
        if (!differs) this.refused.delete(id);
        this.host.onFlip(this.dpid, id, differs);
      });
      this.host.onRead(this.dpid);
      return true;
    } catch (error) {
      this.readDue = true;
      this.failures += 1;
      // Whoever asked for a pass meanwhile gets it when the time to try again has come.
      this.again = false;
      if (this.fail(error) === "incomplete") counters.reads_incomplete += 1;
      else counters.read_failures += 1;
      return false;
    }
  }

  private fail(error: unknown): string {
    if (!(error instanceof AccessError)) throw error;
    this.host.onFailure(this.dpid, error);
    return error.kind;
  }

  /** After the look: was what was sent for this id taken, refused, or overtaken by another wish? */
  private judge(id: RuleId, sent: Rule | undefined): void {
    if (!this.ledger.differs(id)) {
      this.refused.delete(id);
      return;
    }
    if (this.ledger.wants(id) !== sent) return;
    const times = (this.refused.get(id)?.times ?? 0) + 1;
    this.refused.set(id, { times, until: this.host.clock.now() + this.backOff(times) });
    this.host.counters.refused += 1;
    if (sent !== undefined) this.host.onRefused(this.dpid, id, times);
  }

  private backOff(times: number): number {
    return Math.min(this.host.timing.retryMs * 2 ** Math.min(times - 1, 20), this.host.timing.retryMaxMs);
  }

  /** After the passes: a timer for the next try, if any is due. */
  private scheduleRetry(): void {
    if (!this.active) return;
    const now = this.host.clock.now();
    let at = this.failures > 0 ? now + this.backOff(this.failures) : Number.POSITIVE_INFINITY;
    for (const [id, { until }] of this.refused) {
      if (this.ledger.differs(id)) at = Math.min(at, until);
      else this.refused.delete(id);
    }
    if (at === Number.POSITIVE_INFINITY) return;
    this.retry = this.host.clock.setTimer(at - now, () => void this.kick());
  }
}

/** Does something for every item, a few at a time. */
async function inLanes<T>(items: readonly T[], fn: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const lane = async () => {
    for (const item of rest) await fn(item);
  };
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, lane));
}
