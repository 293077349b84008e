import type { Run } from "./run.js";

/** Topicast's own mark on its flows: "topicast" in ASCII. */
export const COOKIE = 0x746f706963617374n;

export interface Flow {
  readonly cookie: bigint;
  readonly priority: number;
  /** For how long it has been there, in seconds. A new one in its place begins anew. */
  readonly age: number;
  readonly packets: number;
  /** As ovs-ofctl writes it, e.g. `ip,nw_dst=239.192.0.1`. */
  readonly match: string;
  /** As ovs-ofctl writes them, e.g. `group:1413480449`. */
  readonly actions: string;
}

export interface GroupCounters {
  readonly id: number;
  /** As of a flow. */
  readonly age: number;
  readonly packets: number;
}

export interface PortCounters {
  readonly rx: number;
  readonly tx: number;
}

/** What the switches say themselves, asked by ovs-ofctl over OpenFlow 1.3. */
export class Switches {
  constructor(private readonly run: Run) {}

  /** Waits until the counters are complete: Open vSwitch adds a datapath flow's packets up only now and then. */
  async settle(): Promise<void> {
    await this.run.output(["ovs-appctl", "revalidator/wait"]);
  }

  async flows(name: string): Promise<Flow[]> {
    return parseFlows(await this.ofctl("dump-flows", name));
  }

  /** The flows with Topicast's cookie that lead into a group. */
  async groupFlows(name: string): Promise<Flow[]> {
    return (await this.flows(name)).filter((f) => f.cookie === COOKIE && f.actions.startsWith("group:"));
  }

  async groupIds(name: string): Promise<number[]> {
    const text = await this.ofctl("dump-groups", name);
    return [...text.matchAll(/group_id=(\d+)/g)].map((m) => Number(m[1]));
  }

  /** The groups of all kinds with what they have carried. */
  async groups(name: string): Promise<GroupCounters[]> {
    return parseGroups(await this.ofctl("dump-group-stats", name));
  }

  /** Packets by OpenFlow port number. */
  async ports(name: string): Promise<Map<number, PortCounters>> {
    return parsePorts(await this.ofctl("dump-ports", name));
  }

  /** Adds a flow as a person would, in ovs-ofctl's notation. */
  async addFlow(name: string, flow: string): Promise<void> {
    await this.ofctl("add-flow", name, flow);
  }

  async deleteFlows(name: string, match: string): Promise<void> {
    await this.ofctl("del-flows", name, match);
  }

  private ofctl(command: string, name: string, ...rest: string[]): Promise<string> {
    return this.run.output(["ovs-ofctl", "--protocols=OpenFlow13", "--no-names", command, name, ...rest]);
  }
}

/** Reads `ovs-ofctl dump-flows`. Its fields and flags are separated by spaces, the match within by "," alone. */
export function parseFlows(text: string): Flow[] {
  const flows: Flow[] = [];
  for (const line of text.split("\n")) {
    const at = line.indexOf(" actions=");
    const cookie = /^ *cookie=(0x[0-9a-f]+),/.exec(line)?.[1];
    if (at < 0 || cookie === undefined) continue;
    const match = line.slice(0, at).split(" ").at(-1)!.split(",");
    // The default priority goes unsaid (ovs-ofctl(8)).
    const priority = match[0]!.startsWith("priority=") ? Number(match.shift()!.slice(9)) : 32768;
    flows.push({
      cookie: BigInt(cookie),
      priority,
      age: Number(/ duration=([\d.]+)s/.exec(line)?.[1]),
      packets: Number(/ n_packets=(\d+)/.exec(line)?.[1]),
      match: match.join(","),
      actions: line.slice(at + " actions=".length),
    });
  }
  return flows;
}

/** Reads `ovs-ofctl dump-group-stats`. */
export function parseGroups(text: string): GroupCounters[] {
  const entry = /group_id=(\d+),duration=([\d.]+)s,ref_count=\d+,packet_count=(\d+)/g;
  return [...text.matchAll(entry)].map(([, id, age, packets]) => ({
    id: Number(id),
    age: Number(age),
    packets: Number(packets),
  }));
}

/** Reads `ovs-ofctl dump-ports`; the LOCAL port is left out. */
export function parsePorts(text: string): Map<number, PortCounters> {
  const ports = new Map<number, PortCounters>();
  const entry = /port +(\d+): rx pkts=(\d+),[^\n]*\n\s*tx pkts=(\d+),/g;
  for (const [, port, rx, tx] of text.matchAll(entry))
    ports.set(Number(port), { rx: Number(rx), tx: Number(tx) });
  return ports;
}
