import type { Clock, Timer } from "@topicast/protocol";
import { AccessError, type SwitchAccess } from "./access.js";
import type { DataplaneCounter } from "./dataplane.js";
import { type Command, idOf, stages } from "./diff.js";
import { SwitchLedger } from "./ledger.js";
import type { GroupRange, Rule } from "./rules.js";
import type { Dpid } from "./tree.js";

export interface WorkerTiming {
  /** Ms between read-backs of a switch on which nothing changes. */
  readonly readMs: number;
  /** First and longest ms until a refused rule, or a failed read, is tried again; doubled each time. */
  readonly retryMs: number;
  readonly retryMaxMs: number;
}

export const defaultWorkerTiming: WorkerTiming = { readMs: 1_000, retryMs: 20, retryMaxMs: 5_000 };

export interface WorkerHost {
  readonly access: SwitchAccess;
  readonly clock: Clock;
  readonly range: GroupRange;
  readonly timing: WorkerTiming;
  readonly counters: Record<DataplaneCounter, number>;
  mayRemove(): boolean;
  /** A wanted rule was read back to match and had not, or the reverse. */
  onFlip(dpid: Dpid, id: number, differs: boolean): void;
  /** A rule was sent and is not there; `times` in a row. */
  onRefused(dpid: Dpid, id: number, times: number): void;
  /** A complete read-back has been taken in. */
  onRead(dpid: Dpid): void;
  onFailure(dpid: Dpid, error: AccessError): void;
  onCommand(dpid: Dpid, command: Command): void;
}

/** Commands under way at a time in one switch's stage: enough to keep Ryu, a single thread, busy. */
const parallel = 4;

/**
 * Keeps one switch as it should be: apply the differences, read back, again while anything differs. There is one pass
 * at a time; wishes that come meanwhile are in the next one, so that many of them cost one read-back.
 */
export class SwitchWorker {
  readonly ledger: SwitchLedger;
  /** When the last complete read-back came in; undefined before the first. */
  readAt: number | undefined;
  private readMs = 0;
  private active = false;
  private running = false;
  /** Somebody asked for a pass while one was running. */
  private again = false;
  private readDue = true;
  private failures = 0;
  private readonly refused = new Map<number, { times: number; until: number }>();
  private retry: Timer | undefined;

  constructor(
    readonly dpid: Dpid,
    private readonly host: WorkerHost,
  ) {
    this.ledger = new SwitchLedger(host.range);
  }

  /** The switch is connected and Ryu answers, or not: then nothing is tried. */
  setActive(active: boolean): void {
    if (active === this.active) return;
    this.active = active;
    this.retry?.cancel();
    if (!active) return;
    this.failures = 0;
    this.refused.clear();
    this.readDue = true;
    this.kick();
  }

  /** Reads back when the last time is `readMs` ago, and never more than a tenth of the time. */
  tick(): void {
    const due =
      (this.readAt ?? Number.NEGATIVE_INFINITY) + Math.max(this.host.timing.readMs, 10 * this.readMs);
    if (this.host.clock.now() < due - this.host.timing.readMs / 10) return;
    this.readDue = true;
    this.kick();
  }

  want(id: number, rule: Rule | undefined): boolean {
    this.refused.delete(id);
    return this.ledger.want(id, rule);
  }

  /** Starts a pass, unless one is running: that one looks again before it ends. */
  kick(): void {
    if (this.running || !this.active) {
      this.again = this.running;
      return;
    }
    this.running = true;
    this.again = false;
    this.retry?.cancel();
    // In a microtask, so that everything wished for in the same turn is in the same pass.
    Promise.resolve()
      .then(() => this.passes())
      .finally(() => {
        this.running = false;
        if (this.again) this.kick();
        else this.scheduleRetry();
      });
  }

  private async passes(): Promise<void> {
    while (this.active) {
      if (this.readDue && !(await this.readBack())) return;
      const now = this.host.clock.now();
      const skip = (id: number) => (this.refused.get(id)?.until ?? now) > now;
      const commands = this.ledger.commands(this.host.mayRemove(), skip);
      if (commands.length === 0) return;
      const sent = new Map<number, Rule | undefined>();
      for (const command of commands) {
        const id = idOf(command);
        sent.set(id, this.ledger.wants(id));
      }
      await this.send(commands);
      if (!(await this.readBack())) return;
      for (const [id, rule] of sent) this.judge(id, rule);
    }
  }

  private async send(commands: readonly Command[]): Promise<void> {
    for (const ops of stages) {
      const stage = commands.filter((c) => ops.includes(c.op)).values();
      const lane = async () => {
        for (const command of stage) await this.apply(command);
      };
      await Promise.all(Array.from({ length: parallel }, lane));
    }
  }

  private async apply(command: Command): Promise<void> {
    const { counters } = this.host;
    counters.commands += 1;
    if (command.op.endsWith("-delete")) counters.removals += 1;
    this.host.onCommand(this.dpid, command);
    try {
      await this.host.access.apply(this.dpid, command);
    } catch (error) {
      counters.command_failures += 1;
      this.host.onFailure(this.dpid, error as AccessError);
    }
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
      if (!(error instanceof AccessError)) throw error;
      if (error.kind === "incomplete") counters.reads_incomplete += 1;
      else counters.read_failures += 1;
      this.readDue = true;
      this.failures += 1;
      this.host.onFailure(this.dpid, error);
      return false;
    }
  }

  /** After the read-back: was what was sent for this id taken, refused, or overtaken by another wish? */
  private judge(id: number, sent: Rule | undefined): void {
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

  /** After a pass: a timer for the next try, if any is due. */
  private scheduleRetry(): void {
    if (!this.active) return;
    const now = this.host.clock.now();
    let at = this.failures > 0 ? now + this.backOff(this.failures) : Number.POSITIVE_INFINITY;
    for (const [id, { until }] of this.refused) {
      if (this.ledger.differs(id)) at = Math.min(at, until);
      else this.refused.delete(id);
    }
    if (at === Number.POSITIVE_INFINITY) return;
    this.retry = this.host.clock.setTimer(at - now, () => this.kick());
  }
}
