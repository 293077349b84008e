import type { Clock, Timer } from "@topicast/protocol";
import type { ContentVerdict } from "../content.js";
import type { StartWorker, Worker } from "./worker-process.js";

export interface PoolSettings {
  readonly workers: number;
  /** Questions that wait for a worker, at most, and their bytes. */
  readonly queue: number;
  readonly queueBytes: number;
  /** Milliseconds, see ContentSettings. */
  readonly timeout: number;
}

export interface PoolEvents {
  /** A worker's end that nobody asked for, and when the next one starts. */
  died(reason: string, pid: number | undefined, restartIn: number): void;
}

/** Questions given to one worker ahead of its answers, so that it does not wait for the agent's event loop. */
const window = 16;
/** Before a worker starts again, doubled each time, back to the first once one has lived for as long as the last. */
const backOff = { first: 100, last: 30_000 };
/** Workers that died as often as this in a row are not waited for. */
const downAfter = 3;
/** After so many answers a worker is exchanged: the library loses some 400 bytes with each refusal. */
const answersMax = 250_000;
/** Milliseconds in which the event loop reads what has come. */
const readingTime = 2;
/** A worker that has not loaded its rules by then is ended. */
const startMax = 10_000;

interface Job {
  readonly frame: Buffer;
  readonly due: number;
  /** Undefined once it has its verdict: a worker may still be at it. */
  settle: ((verdict: ContentVerdict) => void) | undefined;
}

interface Slot {
  worker: Worker | undefined;
  ready: boolean;
  startedAt: number;
  /** Oldest first: what it works at and what it will. */
  jobs: Job[];
  /** Since when it is at the oldest. */
  headSince: number;
  answers: number;
  failures: number;
  restart: Timer | undefined;
}

/**
 * Spreads questions over workers and replaces those that die or hang. Each question has its verdict within the timeout:
 * `busy` when it got no turn, `timeout` when its worker was still at it, `crashed` when its worker died at it. A worker that
 * is silent for a whole timeout is ended. What else was given to a worker that ends goes back to the front of the queue.
 */
export class Pool {
  private readonly slots: Slot[];
  private queue: Job[] = [];
  private queueBytes = 0;
  private alarm: Timer | undefined;
  private flushing = false;
  private closed = false;
  private outcome: ((error: string | undefined) => void) | undefined;
  /** Workers started again after an end that nobody asked for. */
  restarts = 0;
  /** Settled by the first worker: undefined when its rules are loaded, otherwise why they are not. */
  readonly started: Promise<string | undefined>;

  constructor(
    private readonly settings: PoolSettings,
    private readonly clock: Clock,
    private readonly startWorker: StartWorker,
    private readonly events: PoolEvents,
  ) {
    this.started = new Promise((resolve) => {
      this.outcome = resolve;
    });
    this.slots = Array.from({ length: settings.workers }, () => ({
      worker: undefined,
      ready: false,
      startedAt: 0,
      jobs: [],
      headSince: 0,
      answers: 0,
      failures: 0,
      restart: undefined,
    }));
    // The others follow when the first has shown that the rules load.
    this.start(this.slots[0]!);
  }

  /** Questions without a verdict. */
  get waiting(): number {
    return this.slots.reduce((sum, slot) => sum + slot.jobs.length, this.queue.length);
  }

  /** Process ids of the workers that are there. */
  get pids(): number[] {
    return this.slots.flatMap((slot) => slot.worker?.pid ?? []);
  }

  ask(frame: Buffer): Promise<ContentVerdict> {
    const { queue, queueBytes, timeout } = this.settings;
    if (this.closed || this.isDown()) return Promise.resolve({ failed: "crashed" });
    if (this.queue.length >= queue || this.queueBytes + frame.length > queueBytes) {
      return Promise.resolve({ failed: "busy" });
    }
    return new Promise((settle) => {
      this.queue.push({ frame, due: this.clock.now() + timeout, settle });
      this.queueBytes += frame.length;
      this.flushSoon();
      this.arm();
    });
  }

  /** Takes no more questions, answers those it has, then ends. */
  async drain(): Promise<void> {
    while (this.waiting > 0 && !this.closed) {
      await new Promise<void>((resolve) => void this.clock.setTimer(this.settings.timeout / 10, resolve));
    }
    this.close();
  }

  close(): void {
    this.closed = true;
    this.alarm?.cancel();
    for (const slot of this.slots) {
      slot.restart?.cancel();
      slot.worker?.kill();
      for (const job of slot.jobs) settle(job, { failed: "crashed" });
      slot.jobs = [];
    }
    for (const job of this.queue) settle(job, { failed: "crashed" });
    this.queue = [];
    this.queueBytes = 0;
    this.outcome?.("closed");
  }

  private start(slot: Slot): void {
    slot.ready = false;
    slot.restart = undefined;
    slot.startedAt = this.clock.now();
    slot.answers = 0;
    const late = this.clock.setTimer(startMax, () => slot.worker?.kill());
    slot.worker = this.startWorker({
      ready: () => {
        late.cancel();
        slot.ready = true;
        this.settleStart(undefined);
        this.flushSoon();
      },
      answer: (verdict) => {
        const job = slot.jobs.shift();
        slot.headSince = this.clock.now();
        if (job !== undefined) settle(job, verdict);
        slot.answers += 1;
        // It gets no more, answers what it has, and ends.
        if (slot.answers >= answersMax) slot.ready = false;
        if (!slot.ready && slot.jobs.length === 0) slot.worker?.kill();
        this.flushSoon();
      },
      ended: ({ refused, reason }) => {
        late.cancel();
        this.ended(slot, refused, reason);
      },
    });
  }

  /** The first worker's start decides whether there are more. */
  private settleStart(error: string | undefined): void {
    if (this.outcome === undefined) return;
    this.outcome(error);
    this.outcome = undefined;
    if (error === undefined) for (const slot of this.slots.slice(1)) this.start(slot);
    else this.close();
  }

  private ended(slot: Slot, refused: string | undefined, reason: string): void {
    const pid = slot.worker?.pid;
    slot.worker = undefined;
    slot.ready = false;
    if (this.closed) return;
    if (this.outcome !== undefined) return this.settleStart(refused ?? `the worker ended: ${reason}`);
    if (slot.answers >= answersMax && slot.jobs.length === 0) return this.start(slot);
    const [head, ...rest] = slot.jobs;
    slot.jobs = [];
    if (head !== undefined) settle(head, { failed: "crashed" });
    this.queue.unshift(...rest.filter((job) => job.settle !== undefined));
    this.queueBytes = this.queue.reduce((sum, job) => sum + job.frame.length, 0);
    if (this.clock.now() - slot.startedAt >= backOff.last) slot.failures = 0;
    const wait = Math.min(backOff.last, backOff.first * 2 ** slot.failures++);
    this.events.died(refused ?? reason, pid, wait);
    slot.restart = this.clock.setTimer(wait, () => {
      this.restarts += 1;
      this.start(slot);
    });
    this.flushSoon();
    this.arm();
  }

  /** Once per turn of the event loop: what one read of a socket brought goes to a worker in one write. */
  private flushSoon(): void {
    if (this.flushing || this.queue.length === 0) return;
    this.flushing = true;
    queueMicrotask(() => {
      this.flushing = false;
      this.flush();
    });
  }

  private flush(): void {
    const frames = new Map<Slot, Buffer[]>();
    while (this.queue.length > 0) {
      const slot = this.idlest();
      if (slot === undefined) break;
      const job = this.queue.shift()!;
      this.queueBytes -= job.frame.length;
      if (slot.jobs.length === 0) slot.headSince = this.clock.now();
      slot.jobs.push(job);
      const given = frames.get(slot);
      if (given === undefined) frames.set(slot, [job.frame]);
      else given.push(job.frame);
    }
    for (const [slot, given] of frames) {
      slot.worker?.send(given.length === 1 ? given[0]! : Buffer.concat(given));
    }
  }

  /** Nobody answers, and nobody will soon: then nobody is to wait for it. */
  private isDown(): boolean {
    return this.slots.every((slot) => !slot.ready && slot.failures >= downAfter);
  }

  private idlest(): Slot | undefined {
    let best: Slot | undefined;
    for (const slot of this.slots) {
      if (!slot.ready || slot.jobs.length >= window) continue;
      if (best === undefined || slot.jobs.length < best.jobs.length) best = slot;
    }
    return best;
  }

  /** Sets the alarm for the next question that may run out of time; it comes about once in a timeout, not per question. */
  private arm(): void {
    if (this.alarm !== undefined || this.closed) return;
    const dues = this.slots.flatMap((slot) => {
      const open = slot.jobs.find((job) => job.settle !== undefined);
      return slot.jobs.length === 0 ? [] : [slot.headSince + this.settings.timeout, open?.due ?? Infinity];
    });
    // In a queue the first is the first to be due: what comes back from a dead worker is older still.
    if (this.queue.length > 0) dues.push(this.queue[0]!.due);
    if (dues.length === 0) return;
    const now = this.clock.now();
    // A worker that is being ended was due before now.
    const next = Math.min(...dues.filter((due) => due > now), now + this.settings.timeout);
    this.alarm = this.clock.setTimer(next - now, () => {
      // Where it was the event loop that stood still, the answers are there and only want to be read.
      this.alarm = this.clock.setTimer(readingTime, () => {
        this.alarm = undefined;
        this.expire();
        this.arm();
      });
    });
  }

  private expire(): void {
    const now = this.clock.now();
    while (this.queue.length > 0 && this.queue[0]!.due <= now) {
      const job = this.queue.shift()!;
      this.queueBytes -= job.frame.length;
      settle(job, { failed: "busy" });
    }
    for (const slot of this.slots) {
      const [head] = slot.jobs;
      if (head === undefined) continue;
      if (head.due <= now) settle(head, { failed: "timeout" });
      for (const job of slot.jobs) if (job.due <= now) settle(job, { failed: "busy" });
      if (now - slot.headSince < this.settings.timeout) continue;
      settle(head, { failed: "timeout" });
      slot.ready = false;
      slot.worker?.kill();
    }
  }
}

function settle(job: Job, verdict: ContentVerdict): void {
  job.settle?.(verdict);
  job.settle = undefined;
}
