import { setTimeout as sleep } from "node:timers/promises";
import { seqAdd } from "@topicast/agent/tcp/wire/sequence.js";
import { SYN } from "@topicast/agent/tcp/wire/tcp.js";
import {
  type Action,
  type Bases,
  parseScript,
  type ScriptSegment,
  type Step,
  toWire,
} from "../../../unit/agents/tcp/script.js";
import { describeSegment, isAsExpected, isInTime, latest } from "./compare.js";
import type { Punctuality } from "./punctuality.js";
import type { LinuxUser, Told } from "./user.js";
import { type Arrived, REMOTE_PORT, type Wire } from "./wire.js";

/** Where Linux first does otherwise than the script says, and what it does; undefined when it never does. */
export type Difference = { readonly at: string; readonly got: string } | undefined;

/** What one run of a script has shown; unless it was `punctual` on our side a difference may be our own fault. */
export interface Attempt {
  readonly difference: Difference;
  readonly punctual: boolean;
}

/** What all scripts of a run share. */
export interface Bench {
  readonly wire: Wire;
  readonly user: LinuxUser;
  readonly punctuality: Punctuality;
  /** Up to how late in ms each thing we do is, by chance: for finding scripts without room. */
  readonly late: number;
}

/** How long a state, or a reader, may take to change in ms. */
const SETTLE = 60;
/** What is asked for after so much: neither Linux nor its user is done at once. */
const ASK_AFTER = 4;
/** A script's numbers, so that the wrap is met. */
const FIRST_SEQUENCE = -2;
const FIRST_TIMESTAMP = 1_000_000;

class Differs extends Error {}

/** One script on Linux' TCP, on a port of its own, in real time. */
export class LinuxDrill {
  private readonly arrived: Arrived[] = [];
  private wake = () => {};
  private readonly send: (segment: ReturnType<typeof toWire>, urgent: number) => void;
  private own: Bases = { sequence: 0, timestamp: 0 };
  private readonly theirs: Bases = { sequence: FIRST_SEQUENCE, timestamp: FIRST_TIMESTAMP };
  /** When, by the script, the step before happened; and how much time the script has let pass, in ms. */
  private anchor = performance.now();
  private elapsed = 0;
  private checked = 0;

  /** @param options socket options for user.py, by name */
  constructor(
    private readonly script: string,
    private readonly options: Readonly<Record<string, number>>,
    private readonly port: number,
    private readonly bench: Bench,
  ) {
    this.send = bench.wire.open(port, (arrived) => {
      this.arrived.push(arrived);
      this.wake();
    });
  }

  async run(): Promise<Attempt> {
    const start = performance.now();
    const difference = await this.play();
    return { difference, punctual: this.bench.punctuality.since(start) };
  }

  private async play(): Promise<Difference> {
    const steps = parseScript(this.script);
    const isActive = steps.some(({ actions }) => actions.some(({ verb }) => verb === "connect"));
    if (!isActive) await this.call(`listen ${this.port} ${JSON.stringify(this.options)}`);
    this.anchor = performance.now();
    let at = "";
    try {
      for (const step of steps) {
        at = step.text;
        await this.step(step);
      }
      at = "the end";
      await sleep(SETTLE);
      this.expectNothingMore();
      return undefined;
    } catch (error) {
      if (error instanceof Differs) return { at, got: error.message };
      throw error;
    } finally {
      await this.call("drop");
    }
  }

  private async step({ after, expected, actions }: Step): Promise<void> {
    const due = this.anchor + after;
    this.elapsed += after;
    if (expected !== undefined) {
      await this.expectSegment(expected, due, after);
      return;
    }
    if (after > 0) {
      await sleep(Math.max(due - performance.now(), 0) + Math.random() * this.bench.late);
      this.anchor = due;
    }
    this.expectNothingMore();
    for (let i = 0; i < actions.length; i++) {
      const action = actions[i]!;
      if (action.verb !== "write") await this.act(action, actions[i + 1]);
      else {
        // One turn is one call, as far as Linux has such a thing.
        let bytes = action.bytes;
        for (let next = actions[i + 1]; next?.verb === "write"; next = actions[++i + 1]) bytes += next.bytes;
        await this.call(`write ${bytes} ${actions[i + 1]?.verb === "close" ? "more" : "now"}`);
        this.anchor = performance.now();
      }
    }
  }

  private async act(action: Action, next: Action | undefined): Promise<void> {
    switch (action.verb) {
      case "inject":
        this.send(toWire(action.segment, this.theirs, this.own), action.segment.urgent);
        if (next?.verb !== "inject") this.anchor = performance.now();
        return;
      case "connect":
        return this.call(`connect ${this.port} ${REMOTE_PORT} ${JSON.stringify(this.options)}`);
      case "close":
      case "abort":
      case "hold":
      case "resume":
        await this.call(action.verb);
        this.anchor = performance.now();
        return;
      case "counter":
        return;
      case "state":
        return this.expectTold("state", action.name, (told) => told.state);
      case "closed":
        return this.expectTold("closed", action.name, (told) => `${told.closed}`);
      case "eof":
        return this.expectTold("eof", "true", (told) => `${told.eof}`);
      case "read":
        await this.expectTold("read", `${action.bytes}`, (told) =>
          told.faulty ? "wrong bytes" : `${told.read - this.checked}`,
        );
        this.checked += action.bytes;
        return;
      default:
        throw new Error(`${action.verb} is not for Linux`);
    }
  }

  private async call(command: string): Promise<void> {
    const start = performance.now();
    const { fault } = await this.bench.user.call(this.port, command);
    this.bench.punctuality.took(performance.now() - start);
    if (fault !== undefined) throw new Differs(fault);
  }

  private async expectTold(what: string, wanted: string, pick: (told: Told) => string): Promise<void> {
    const end = performance.now() + SETTLE;
    await sleep(ASK_AFTER);
    let seen = pick(await this.bench.user.ask(this.port));
    while (seen !== wanted && performance.now() < end) {
      await sleep(ASK_AFTER);
      seen = pick(await this.bench.user.ask(this.port));
    }
    if (seen !== wanted) throw new Differs(`${what} ${seen}`);
  }

  private expectNothingMore(): void {
    const [extra] = this.arrived;
    if (extra !== undefined) throw new Differs(`also > ${this.describe(extra)}`);
  }

  private async expectSegment(expected: ScriptSegment, due: number, wait: number): Promise<void> {
    for (;;) {
      const left = due + latest(wait) - performance.now();
      if (this.arrived.length > 0 || left <= 0) break;
      const heard = new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      await Promise.race([heard, sleep(left)]);
    }
    const next = this.arrived.shift();
    if (next === undefined) throw new Differs("nothing");
    const { segment, at } = next;
    this.adoptNumbers(segment, expected);
    if (!isAsExpected(segment, expected, this.own, this.theirs))
      throw new Differs(`> ${this.describe(next)}`);
    if (!isInTime(at - due, wait)) throw new Differs(at < due ? "early" : "late");
    this.anchor = at;
  }

  /**
   * Each SYN begins Linux' numbers anew, as each side chooses its own. Its timestamps are taken to tell the script's time
   * each time anew, or what the script echoes would be ever older.
   */
  private adoptNumbers(segment: Arrived["segment"], expected: ScriptSegment): void {
    const isNew = (segment.flags & SYN) !== 0;
    this.own = {
      sequence: isNew ? seqAdd(segment.seq, -expected.start) : this.own.sequence,
      timestamp: segment.timestamps ? seqAdd(segment.tsVal, -Math.round(this.elapsed)) : this.own.timestamp,
    };
  }

  private describe({ segment }: Arrived): string {
    return describeSegment(segment, this.own, this.theirs);
  }
}
