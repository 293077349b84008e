import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Namespaces, PORT, SERVER_ADDRESS, type ServiceProcess } from "./namespaces.js";

const PROGRAM = fileURLToPath(new URL("../../../net/agents/crowd.py", import.meta.url));
const PROCESSES = 10;
/** In s; the service's time-outs must be shorter. */
const PATIENCE = 15;

/**
 * Lets `total` clients connect, send for a while and vanish: half are killed, the others' link goes down first. Afterwards the
 * service must have forgotten all of them.
 */
export async function crowdRound(net: Namespaces, service: ServiceProcess, total: number): Promise<void> {
  const crowd = await Promise.all(Array.from({ length: PROCESSES }, () => connect(net, total / PROCESSES)));
  assert.equal((await service.counters()).connections_open, total);
  await sleep(500);
  const half = crowd.splice(0, PROCESSES / 2);
  await kill(half);
  net.run(net.client, "ip", "link", "set", "dev0", "down");
  await kill(crowd);
  try {
    for (let i = 0; ; i++) {
      const { connections_open, connections_half_open, connections_time_wait, receive_memory_bytes } =
        await service.counters();
      const left = [connections_open, connections_half_open, connections_time_wait, receive_memory_bytes];
      if (left.every((n) => n === 0)) break;
      assert(i < PATIENCE * 2, `open, half-open, in TIME-WAIT, bytes: ${left.join(", ")}`);
      await sleep(500);
    }
  } finally {
    net.run(net.client, "ip", "link", "set", "dev0", "up");
  }
}

async function connect(net: Namespaces, count: number): Promise<ChildProcess> {
  const child = spawn(
    "ip",
    [
      ...["netns", "exec", net.client, "/usr/bin/python3", PROGRAM],
      ...[SERVER_ADDRESS, String(PORT), String(count)],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  await once(child.stdout!, "data");
  return child;
}

async function kill(children: readonly ChildProcess[]): Promise<void> {
  for (const child of children) child.kill("SIGKILL");
  await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, "exit")));
}
