import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import type { ClientOptions } from "topicast/testbed/clients";
import { ROOT, type Run } from "topicast/testbed/run";
import { Testbed } from "topicast/testbed/testbed";

export { ROOT };
export const TOPOLOGY = `${ROOT}/mininet/topo_mqtt_lora_VM_bridged.py`;

/** Host of each agent in the seven-switch tree; a client of it lives in the host behind it. */
export const AGENTS = { e1: "h1", e3: "h3", e5: "h5", e7: "h7" } as const;
export type AgentId = keyof typeof AGENTS;

/** The seven-switch tree with a forwarder and the four agents; `flags` are further ones for the agents. */
export async function startSevenSwitches(...flags: string[]): Promise<Testbed> {
  const testbed = await Testbed.start({ fanouts: [2, 2, 2] });
  try {
    await testbed.startForwarder();
    await Promise.all(Object.entries(AGENTS).map(([id, host]) => testbed.startAgent(host, id, ...flags)));
  } catch (error) {
    await testbed.stop();
    throw error;
  }
  return testbed;
}

type ClientSettings = Pick<Partial<ClientOptions>, "keepAlive" | "qos">;

/** A mosquitto_sub beside the agent's host, subscribed at that agent. */
export function subscribeAt(testbed: Testbed, id: AgentId, filter: string, options: ClientSettings = {}) {
  return testbed.subscribe(clientHost(id), { agent: AGENTS[id], filter, ...options });
}

/** A mosquitto_pub beside the agent's host, connected to that agent. */
export function publisherAt(testbed: Testbed, id: AgentId, topic: string, options: ClientSettings = {}) {
  return testbed.publisher(clientHost(id), { agent: AGENTS[id], topic, ...options });
}

/** The host beside the agent's, at the same switch. */
export function clientHost(id: AgentId): string {
  return `h${Number(AGENTS[id].slice(1)) + 1}`;
}

export interface TopicsAnswer {
  readonly dataplane: string;
  readonly filters: { filter: string; edges: string[] }[];
  readonly topics: { topic: string; edges: string[]; group: string | null; packets: number }[];
}

export async function topics(testbed: Testbed): Promise<TopicsAnswer> {
  return (await testbed.get("/topics")) as TopicsAnswer;
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** `prefix 1` … `prefix n`, the payloads of one stream. */
export const numbered = (count: number, prefix = "message") =>
  Array.from({ length: count }, (_, i) => `${prefix} ${i + 1}`);

/**
 * Fails when anything is there that a run could leave behind: processes, switches, interfaces, firewall rules. Mininet's
 * namespaces have no name and so live exactly as long as processes in them.
 */
export async function assertNothingLeft(run: Run): Promise<void> {
  const processes = testbedProcesses().filter((p) => p.run !== run.id && !isInUse(p.run));
  assert.deepEqual(processes, [], "processes of a run or in a Mininet host");
  const bridges = await run.exec(["ovs-vsctl", "--timeout=3", "list-br"]);
  assert.equal(bridges.code === 0 ? bridges.stdout.trim() : "", "", "switches");
  const marked = readdirSync("/sys/class/net").filter((name) => {
    try {
      return readFileSync(`/sys/class/net/${name}/address`, "utf8").startsWith("02:74:6f:70:");
    } catch {
      return false; // not an interface (bonding_masters), or just gone
    }
  });
  assert.deepEqual(marked, [], "interfaces with our mark");
  const tables = await run.output(["nft", "list", "tables"]);
  assert.doesNotMatch(tables, /topicast/, "firewall rules");
}

/** Whether the owner that a run's mark names is alive: what it has started is in use, and not left behind. */
export function isInUse(mark: string): boolean {
  const [pid, startTime] = mark.split(".");
  try {
    // After the name, which may hold anything, in parentheses: the state, and the time it was started at.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return fields[0] !== "Z" && fields[19] === startTime;
  } catch {
    return false;
  }
}

/** Every process that carries a run's mark, and every Mininet host's shell. */
export function testbedProcesses(): { pid: number; run: string; command: string }[] {
  const found = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const mark = readFileSync(`/proc/${entry}/environ`, "latin1")
        .split("\0")
        .find((v) => v.startsWith("TOPICAST_RUN="));
      const command = readFileSync(`/proc/${entry}/cmdline`, "latin1").replaceAll("\0", " ").trim();
      const run = mark?.slice("TOPICAST_RUN=".length) ?? "";
      if (command !== "" && (run !== "" || command.includes(" mininet:"))) {
        found.push({ pid: Number(entry), run, command });
      }
    } catch {
      // gone meanwhile
    }
  }
  return found;
}
