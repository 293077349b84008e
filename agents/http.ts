import { createServer, type Server, type ServerResponse } from "node:http";
import { bindError, type Endpoint, formatEndpoint } from "@topicast/protocol";
import type { Store } from "@topicast/protocol/store";
import { Gauge, Registry } from "prom-client";
import type { AccessControl } from "./auth/access-control.js";
import type { AgentFabric } from "./fabric/fabric.js";
import type { AgentFirewall } from "./firewall/agent-firewall.js";
import type { Broker } from "./mqtt/index.js";
import type { Transport } from "./transport/transport.js";

export interface AgentParts {
  readonly id: string;
  readonly broker: Broker;
  readonly transport: Transport;
  readonly access: AccessControl;
  /** Undefined where no listener has one. */
  readonly firewall?: AgentFirewall | undefined;
  /** Undefined where the agent stands alone. */
  readonly fabric: AgentFabric | undefined;
  /** Undefined where sessions are in memory. */
  readonly store: Store | undefined;
  readonly intercepts: readonly Endpoint[];
  /** Those of their addresses that no machine has now. */
  readonly vacant: () => readonly string[];
}

/** The agent's own window: GET (or HEAD) /healthz (JSON) and GET /metrics (Prometheus text). */
export class AgentHttp {
  private constructor(private readonly server: Server) {}

  /** Rejects with a UserError where the address cannot be bound. */
  static async open(at: Endpoint, parts: AgentParts): Promise<AgentHttp> {
    const metrics = agentMetrics(parts);
    const server = createServer((request, response) => {
      const path = request.url?.split("?")[0];
      if (request.method !== "GET" && request.method !== "HEAD") {
        response.setHeader("allow", "GET, HEAD");
        return answer(response, 405, { error: "only GET and HEAD are answered here" });
      }
      if (path === "/healthz") return answer(response, 200, health(parts));
      if (path !== "/metrics")
        return answer(response, 404, { error: `no ${path}; there are /healthz and /metrics` });
      void metrics.metrics().then((text) => {
        response.writeHead(200, { "content-type": metrics.contentType }).end(text);
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) =>
        reject(bindError(error, `--rest ${formatEndpoint(at)}`, "choose another address or port")),
      );
      server.listen(at.port, at.address, resolve);
    });
    return new AgentHttp(server);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(`${JSON.stringify(body)}\n`);
}

function health({ id, broker, fabric, intercepts, vacant }: AgentParts): unknown {
  const { clients } = broker.stats();
  const problems: string[] = [];
  if (fabric !== undefined && fabric.state !== "registered") {
    const but =
      intercepts.length === 0 ? "" : ", and does not say where the switches lead intercepted clients";
    problems.push(`the forwarder is not reached (${fabric.state})${but}`);
  }
  for (const { endpoint, problem } of fabric?.steering ?? [])
    problems.push(`not all clients of ${endpoint} are led to agents: ${problem}`);
  const unowned = vacant();
  return {
    status: problems.length === 0 ? "ok" : "degraded",
    problems,
    id,
    clients,
    forwarder: fabric === undefined ? null : { state: fabric.state },
    intercepts: intercepts.map((i) => ({ ...i, vacant: unowned.includes(i.address) })),
  };
}

/** Every counter of every part, read when it is asked for: counting costs nothing extra. */
function agentMetrics({ broker, transport, access, firewall, fabric, store }: AgentParts): Registry {
  const registry = new Registry();
  const parts: Array<[string, () => Readonly<Record<string, number>>]> = [
    ["mqtt", () => broker.stats()],
    ["transport", () => transport.counters()],
    ["auth", () => access.counters()],
  ];
  if (firewall !== undefined) parts.push(["firewall", () => firewall.counters()]);
  if (fabric !== undefined) parts.push(["fabric", () => fabric.counters()]);
  if (store !== undefined) {
    parts.push(["store", () => ({ ...store.counters, pending_bytes: store.pendingBytes })]);
  }
  for (const [part, read] of parts) {
    new Gauge({
      name: `topicast_${part}`,
      help: `Counters and sizes of the agent's ${part} part, by name`,
      labelNames: ["name"],
      registers: [registry],
      collect() {
        for (const [name, value] of Object.entries(read())) this.set({ name }, value);
      },
    });
  }
  return registry;
}
