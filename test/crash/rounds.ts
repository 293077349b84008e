/**
 * An agent of its own process that is killed (SIGKILL) at random moments, and started again on the same store, while clients
 * publish and subscribe at QoS 1 and 2: nothing acknowledged may be lost, nothing of QoS 2 may arrive twice, and order holds.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort } from "../unit/ports.js";
import { Publisher, Subscriber } from "./client.js";

const program = fileURLToPath(new URL("../../../scripts/bin/topicast.js", import.meta.url));
/** For all that is on its way to arrive after the last round. */
const DRAIN_MS = 60_000;

export interface Outcome {
  /** Kills while the agent was starting; the others were in the middle of traffic. */
  readonly early: number;
  /** Messages that the agent had taken responsibility for. */
  readonly acknowledged: number;
  readonly received: number;
  /** What was not as it must be; empty: all is well. */
  readonly faults: readonly string[];
}

/** @param random uniform in [0, 1) */
export async function crashRounds(rounds: number, random: () => number): Promise<Outcome> {
  const directory = mkdtempSync(join(tmpdir(), "topicast-crash-"));
  const port = await freePort();
  const publishers = [new Publisher("p1", port, 20, 20), new Publisher("p2", port, 5, 3_000)];
  const subscribers = [
    ...[new Subscriber("s1", port, 2), new Subscriber("s2", port, 1), new Subscriber("s3", port, 2)],
  ];
  const clients = [...publishers, ...subscribers];
  let agent: Agent | undefined;
  let early = 0;
  try {
    agent = await Agent.start(directory, port);
    for (const subscriber of subscribers) subscriber.come();
    await until(() => subscribers.every(({ isReady }) => isReady), DRAIN_MS, "no SUBACK");
    for (const publisher of publishers) publisher.come();
    for (let round = 0; round < rounds; round++) {
      await later(random() * 200);
      // Now and then somebody is away, so that messages wait.
      for (const subscriber of subscribers) if (random() < 0.3) subscriber.leave();
      await later(random() * 100);
      await agent.kill();
      while (random() < 0.1) {
        early += 1;
        agent = new Agent(directory, port);
        await later(random() * 500);
        await agent.kill();
      }
      agent = await Agent.start(directory, port);
      for (const subscriber of subscribers) subscriber.come();
    }
    for (const publisher of publishers) publisher.stop();
    const stuck = "messages are not acknowledged";
    await until(() => publishers.every(({ isDone }) => isDone), DRAIN_MS, stuck);
    await quiet(() => subscribers.reduce((sum, { received }) => sum + received, 0));
    return {
      early,
      acknowledged: publishers.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0),
      received: subscribers.reduce((sum, { received }) => sum + received, 0),
      faults: [...clients.flatMap(({ faults }) => faults), ...losses(publishers, subscribers)],
    };
  } finally {
    for (const client of clients) client.leave();
    await agent?.kill();
    rmSync(directory, { recursive: true });
  }
}

function losses(publishers: readonly Publisher[], subscribers: readonly Subscriber[]): string[] {
  const lost: string[] = [];
  for (const { id, acknowledged } of publishers) {
    for (const subscriber of subscribers) {
      const counts = subscriber.counts.get(id);
      for (const [count, qos] of acknowledged) {
        if (!counts?.has(count)) lost.push(`${subscriber.id} never got ${id} ${count}, QoS ${qos}`);
      }
    }
  }
  return lost;
}

class Agent {
  private readonly child: ChildProcess;
  private errors = "";

  constructor(directory: string, port: number) {
    const flags = ["--transport", "socket", "--address", "127.0.0.1", "-t", `${port}`, "--allow-anonymous"];
    const args = [program, "agent", ...flags, "--store", directory, "--log-level", "error"];
    this.child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
    this.child.stderr!.on("data", (chunk) => {
      this.errors += chunk;
    });
  }

  static async start(directory: string, port: number): Promise<Agent> {
    const agent = new Agent(directory, port);
    await until(() => agent.isReady, DRAIN_MS, "the agent does not start");
    return agent;
  }

  private get isReady(): boolean {
    const { exitCode } = this.child;
    if (exitCode !== null) throw new Error(`the agent ended with ${exitCode}: ${this.errors}`);
    if (this.errors.includes('"level":50')) throw new Error(`the agent reports: ${this.errors}`);
    return this.errors.includes("is ready");
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill("SIGKILL");
    await once(this.child, "exit");
  }
}

/** Resolves when `count` has not changed for a second. */
async function quiet(count: () => number): Promise<void> {
  for (let before = -1; before !== count(); ) {
    before = count();
    await later(1_000);
  }
}

async function until(holds: () => boolean, ms: number, otherwise: string): Promise<void> {
  const end = performance.now() + ms;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${otherwise} within ${ms / 1_000} s`);
    await later(10);
  }
}
