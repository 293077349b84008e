import assert from "node:assert/strict";
import test from "node:test";
import { Pool, type PoolSettings } from "@topicast/agent/firewall/content/pool.js";
import type { Worker, WorkerEvents } from "@topicast/agent/firewall/content/worker-process.js";
import type { ContentVerdict } from "@topicast/agent/firewall/content.js";
import { SimClock } from "@topicast/protocol";

/** A worker whose answers, silence and death the test decides; a question is one byte. */
class Puppet implements Worker {
  readonly asked: number[] = [];
  killed = false;

  constructor(
    readonly pid: number,
    readonly events: WorkerEvents,
  ) {}

  send(frames: Buffer): void {
    this.asked.push(...frames);
  }

  kill(): void {
    this.killed = true;
  }

  answer(): void {
    this.events.answer({ clean: true });
  }
}

class Stage {
  readonly clock = new SimClock();
  readonly workers: Puppet[] = [];
  readonly deaths: string[] = [];
  readonly pool: Pool;
  readonly verdicts = new Map<number, ContentVerdict>();

  constructor(settings: Partial<PoolSettings> = {}) {
    this.pool = new Pool(
      { workers: 2, queue: 100, queueBytes: 1000, timeout: 1000, ...settings },
      this.clock,
      (events) => {
        const worker = new Puppet(this.workers.length + 1, events);
        this.workers.push(worker);
        return worker;
      },
      { died: (reason, pid, wait) => this.deaths.push(`${pid} ${reason} ${wait}`) },
    );
  }

  ready(worker: number): void {
    this.workers[worker]!.events.ready({ engine: "test", rules: 1 });
  }

  async ask(...questions: number[]): Promise<void> {
    for (const question of questions) {
      void this.pool.ask(Buffer.from([question])).then((verdict) => this.verdicts.set(question, verdict));
    }
    await turn();
  }

  failed(question: number): string | undefined {
    const verdict = this.verdicts.get(question);
    return verdict !== undefined && "failed" in verdict ? verdict.failed : undefined;
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function started(settings: Partial<PoolSettings> = {}): Promise<Stage> {
  const stage = new Stage(settings);
  stage.ready(0);
  assert.equal(await stage.pool.started, undefined);
  for (let i = 1; i < stage.workers.length; i++) stage.ready(i);
  return stage;
}

test("the first worker alone shows whether rules load; the others follow", async () => {
  const bad = new Stage();
  bad.workers[0]!.events.ended({ refused: "rules.conf:3: no", reason: "exit code 1" });
  assert.equal(await bad.pool.started, "rules.conf:3: no");
  assert.equal(bad.workers.length, 1);
  assert.equal((await started({ workers: 3 })).workers.length, 3);
});

test("questions of one turn are spread over the workers, and answers go to the oldest", async () => {
  const stage = await started();
  await stage.ask(1, 2, 3, 4);
  assert.deepEqual(
    stage.workers.map((w) => w.asked),
    [
      [1, 3],
      [2, 4],
    ],
  );
  stage.workers[1]!.answer();
  await turn();
  assert.deepEqual([...stage.verdicts.keys()], [2]);
  assert.equal(stage.pool.waiting, 3);
});

test("a worker gets sixteen questions ahead, the rest wait, and what does not fit is busy at once", async () => {
  const stage = await started({ workers: 1, queue: 4 });
  const first = Array.from({ length: 16 }, (_, i) => i);
  await stage.ask(...first.slice(0, 4));
  await stage.ask(...first.slice(4, 8));
  await stage.ask(...first.slice(8, 12));
  await stage.ask(...first.slice(12));
  await stage.ask(20, 21, 22, 23, 24);
  assert.deepEqual(stage.workers[0]!.asked, first);
  assert.equal(stage.failed(24), "busy");
  assert.equal(stage.failed(20), undefined);
  stage.workers[0]!.answer();
  await turn();
  assert.equal(stage.workers[0]!.asked.at(-1), 20);
});

test("the queue is bounded in bytes too", async () => {
  const stage = new Stage({ queueBytes: 10 });
  const big = stage.pool.ask(Buffer.alloc(8));
  assert.deepEqual(await stage.pool.ask(Buffer.alloc(3)), { failed: "busy" });
  stage.pool.close();
  assert.deepEqual(await big, { failed: "crashed" });
});

test("a worker that dies: the question it was at is lost, the others are asked again", async () => {
  const stage = await started({ workers: 1 });
  await stage.ask(1, 2, 3);
  stage.workers[0]!.answer();
  stage.workers[0]!.events.ended({ reason: "SIGSEGV" });
  await turn();
  assert.equal(stage.failed(2), "crashed");
  assert.deepEqual(stage.deaths, ["1 SIGSEGV 100"]);
  stage.clock.advance(100);
  stage.ready(1);
  await turn();
  assert.deepEqual(stage.workers[1]!.asked, [3]);
  assert.equal(stage.pool.restarts, 1);
});

test("a worker that is silent for the timeout is ended; nobody waits longer", async () => {
  const stage = await started({ workers: 1 });
  await stage.ask(1);
  stage.clock.advance(600);
  await stage.ask(2);
  stage.clock.advance(399);
  await turn();
  assert.equal(stage.verdicts.size, 0);
  stage.clock.advance(3);
  await turn();
  assert.equal(stage.failed(1), "timeout");
  assert.ok(stage.workers[0]!.killed);
  stage.workers[0]!.events.ended({ reason: "killed" });
  await turn();
  assert.equal(stage.failed(2), undefined);
  stage.clock.advance(600);
  await turn();
  assert.equal(stage.failed(2), "busy");
});

test("an answer that the agent itself was too slow to read counts", async () => {
  const stage = await started({ workers: 1 });
  await stage.ask(1);
  stage.clock.advance(1001);
  stage.workers[0]!.answer();
  stage.clock.advance(10);
  await turn();
  assert.deepEqual(stage.verdicts.get(1), { clean: true });
  assert.ok(!stage.workers[0]!.killed);
});

test("a slow worker that does answer is kept; who waited too long behind it is told so, once", async () => {
  const stage = await started({ workers: 1 });
  await stage.ask(1, 2, 3);
  stage.clock.advance(700);
  stage.workers[0]!.answer();
  stage.clock.advance(700);
  await turn();
  assert.deepEqual(
    [1, 2, 3].map((n) => stage.failed(n)),
    [undefined, "timeout", "busy"],
  );
  assert.ok(!stage.workers[0]!.killed);
  stage.workers[0]!.answer();
  stage.workers[0]!.answer();
  await turn();
  assert.equal(stage.failed(2), "timeout");
  await stage.ask(4);
  stage.workers[0]!.answer();
  await turn();
  assert.deepEqual(stage.verdicts.get(4), { clean: true });
});

test("restarts come later and later, to a limit, and soon again after a long life", async () => {
  const stage = await started({ workers: 1 });
  const waits: number[] = [];
  for (let i = 0; i < 11; i++) {
    stage.workers.at(-1)!.events.ended({ reason: "x" });
    const wait = Number(stage.deaths.at(-1)!.split(" ").at(-1));
    waits.push(wait);
    stage.clock.advance(wait);
  }
  assert.deepEqual(waits.slice(0, 4), [100, 200, 400, 800]);
  await stage.ask(9);
  assert.equal(stage.failed(9), "crashed", "nobody waits for workers that die and die");
  assert.deepEqual(waits.slice(-2), [30_000, 30_000]);
  stage.ready(stage.workers.length - 1);
  stage.clock.advance(30_000);
  stage.workers.at(-1)!.events.ended({ reason: "x" });
  assert.match(stage.deaths.at(-1)!, / 100$/);
});

test("a worker is exchanged after 250,000 answers, and no question is lost by it", async () => {
  const stage = await started({ workers: 1 });
  const [old] = stage.workers;
  for (let i = 0; i < 249_999; i++) old!.answer();
  await stage.ask(1, 2);
  old!.answer();
  await stage.ask(3);
  assert.deepEqual(old!.asked, [1, 2]);
  assert.ok(!old!.killed);
  old!.answer();
  assert.ok(old!.killed);
  old!.events.ended({ reason: "killed" });
  stage.ready(1);
  await turn();
  assert.deepEqual(stage.workers[1]!.asked, [3]);
  assert.deepEqual([stage.deaths, stage.pool.restarts], [[], 0]);
});

test("a worker that never gets ready is ended", async () => {
  const stage = new Stage();
  stage.clock.advance(10_000);
  assert.ok(stage.workers[0]!.killed);
});

test("draining answers what there is, then ends the workers", async () => {
  const stage = await started({ workers: 1 });
  await stage.ask(1);
  const drained = stage.pool.drain();
  stage.clock.advance(100);
  await turn();
  assert.ok(!stage.workers[0]!.killed);
  stage.workers[0]!.answer();
  stage.clock.advance(100);
  await drained;
  assert.ok(stage.workers[0]!.killed);
  assert.deepEqual(await stage.pool.ask(Buffer.from([2])), { failed: "crashed" });
  assert.equal(stage.clock.pending, 0);
});
