import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Child } from "topicast/testbed/child";
import { ROOT, Run } from "topicast/testbed/run";
import { freePort } from "../unit/ports.js";

const TOPICAST = [process.execPath, `${ROOT}/scripts/bin/topicast.js`];

interface Edge {
  readonly tcp: number;
  readonly udp: number;
  agent: Child;
}

/** A forwarder with `--store` and agents, as processes on the loopback interface; each can be killed and started again. */
export class Edges {
  readonly run = new Run();
  forwarder!: Child;
  private readonly folder = mkdtempSync(join(tmpdir(), "topicast-edges-"));
  private readonly edges = new Map<string, Edge>();
  private listen = 0;
  private rest = 0;

  /** @param keepsSessions whether the agents have a `--store`, too */
  private constructor(private readonly keepsSessions: boolean) {}

  static async start(ids: readonly string[], keepsSessions: boolean): Promise<Edges> {
    const edges = new Edges(keepsSessions);
    [edges.listen, edges.rest] = [await freePort(), await freePort()];
    await edges.startForwarder();
    for (const id of ids) await edges.startAgent(id);
    return edges;
  }

  async stop(): Promise<void> {
    await this.run.stopAll();
    rmSync(this.folder, { recursive: true });
  }

  /** Resolves when it has settled. */
  async startForwarder(): Promise<void> {
    const command = [
      ...[...TOPICAST, "controller", "--listen", `127.0.0.1:${this.listen}`],
      ...["--rest", `127.0.0.1:${this.rest}`, "--store", join(this.folder, "forwarder")],
    ];
    this.forwarder = this.run.start({ name: "forwarder", command });
    await this.forwarder.waitFor(/\bsettled\b/, 15_000);
  }

  /** Resolves when it is registered. */
  async startAgent(id: string): Promise<void> {
    const { tcp, udp } = this.edges.get(id) ?? { tcp: await freePort(), udp: await freePort() };
    const command = [
      ...[...TOPICAST, "agent", "--transport", "socket", "--address", "127.0.0.1", "--id", id],
      ...["-t", String(tcp), "-U", String(udp), "-F", `127.0.0.1:${this.listen}`, "--allow-anonymous"],
      ...(this.keepsSessions ? ["--store", join(this.folder, id)] : []),
    ];
    const agent = this.run.start({ name: id, command });
    this.edges.set(id, { tcp, udp, agent });
    await agent.waitFor(/registered with the forwarder/, 15_000);
  }

  killForwarder(): Promise<unknown> {
    return kill(this.forwarder);
  }

  killAgent(id: string): Promise<unknown> {
    return kill(this.edges.get(id)!.agent);
  }

  /** How many agents are registered. */
  async registered(): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${this.rest}/healthz`);
    return ((await answer.json()) as { agents: number }).agents;
  }

  /** Arguments of mosquitto's clients for MQTT 5 at this edge. */
  at(id: string): string[] {
    return ["-h", "127.0.0.1", "-p", String(this.edges.get(id)!.tcp), "-V", "mqttv5"];
  }
}

function kill(child: Child): Promise<unknown> {
  child.signal("SIGKILL");
  return child.exited;
}
