import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { AccessControl } from "@topicast/agent/auth/access-control.js";
import type { AgentFabric } from "@topicast/agent/fabric/fabric.js";
import { AgentHttp } from "@topicast/agent/http.js";
import { Broker } from "@topicast/agent/mqtt/index.js";
import { TcpStack } from "@topicast/agent/tcp/stack.js";
import { SocketTransport } from "@topicast/agent/transport/socket.js";
import { systemClock, UserError } from "@topicast/protocol";
import { freePort } from "../ports.js";

describe("an agent's own window", () => {
  const broker = new Broker();
  const transport = new SocketTransport({ address: "127.0.0.1", port: 0 });
  const access = new AccessControl({ clock: systemClock, policies: new Map() });
  const none = { fabric: undefined, store: undefined, intercepts: [], vacant: () => [] };
  const parts = { id: "e1", broker, transport, access, ...none };
  let at: { address: string; port: number };
  let http: AgentHttp;
  const ask = (path: string, method = "GET") =>
    fetch(`http://${at.address}:${at.port}${path}`, { method, headers: { connection: "close" } });
  before(async () => {
    at = { address: "127.0.0.1", port: await freePort() };
    http = await AgentHttp.open(at, parts);
  });
  after(() => http.close());

  it("shows health and metrics", async () => {
    const health = await ask("/healthz?verbose");
    assert.deepEqual(
      [health.status, await health.json()],
      [200, { status: "ok", problems: [], id: "e1", clients: 0, forwarder: null, intercepts: [] }],
    );
    const metrics = await ask("/metrics");
    assert.match(metrics.headers.get("content-type") ?? "", /^text\/plain/);
    const text = await metrics.text();
    assert.match(text, /^topicast_mqtt\{name="clients"\} 0$/m);
    assert.match(text, /^topicast_auth\{name="logins_wrong"\} 0$/m);
  });

  it("shows every counter of the TCP stack, and the help", async () => {
    const io = { send: () => {}, wake: () => {} };
    const { counters } = new TcpStack({ mac: Buffer.alloc(6), ipv4: ["10.0.0.1"] }, io);
    const raw = { listen: async () => {}, close: async () => {}, counters: () => counters };
    const where = { address: "127.0.0.1", port: await freePort() };
    const window = await AgentHttp.open(where, { ...parts, transport: raw });
    counters.drop_paws = 7;
    const text = await (await fetch(`http://127.0.0.1:${where.port}/metrics`)).text();
    await window.close();
    assert.match(
      text,
      /^# HELP topicast_transport Counters and sizes of the agent's transport part, by name$/m,
    );
    for (const [name, value] of Object.entries(counters)) {
      assert(text.includes(`\ntopicast_transport{name="${name}"} ${value}\n`), name);
    }
  });

  it("tells of intercepted addresses, and why their clients may not come", async () => {
    const own = { address: "127.0.0.1", port: await freePort() };
    const fabric = {
      state: "registered",
      steering: [{ endpoint: "[fd00::250]:1883", problem: "3 flows are missing" }],
      counters: () => ({}),
    };
    const window = await AgentHttp.open(own, {
      ...parts,
      fabric: fabric as unknown as AgentFabric,
      intercepts: [
        { address: "fd00::250", port: 1883 },
        { address: "10.0.0.9", port: 8883 },
      ],
      vacant: () => ["fd00::250"],
    });
    const look = async () => {
      const answer = await fetch(`http://127.0.0.1:${own.port}/healthz`, {
        headers: { connection: "close" },
      });
      return (await answer.json()) as Record<string, unknown>;
    };
    const first = await look();
    assert.equal(first.status, "degraded");
    assert.deepEqual(first.problems, [
      "not all clients of [fd00::250]:1883 are led to agents: 3 flows are missing",
    ]);
    assert.deepEqual(first.intercepts, [
      { address: "fd00::250", port: 1883, vacant: true },
      { address: "10.0.0.9", port: 8883, vacant: false },
    ]);
    fabric.steering = [];
    assert.deepEqual((await look()).problems, []);
    fabric.state = "unreachable";
    const last = await look();
    assert.deepEqual(
      [last.status, last.problems],
      [
        "degraded",
        [
          "the forwarder is not reached (unreachable), and does not say where the switches lead intercepted clients",
        ],
      ],
    );
    await window.close();
  });

  it("answers HEAD like GET, without a body", async () => {
    for (const [path, status, type] of [
      ["/healthz", 200, "application/json"],
      ["/metrics", 200, "text/plain"],
      ["/nowhere", 404, "application/json"],
    ] as const) {
      const answer = await ask(path, "HEAD");
      assert.deepEqual([answer.status, await answer.text()], [status, ""], path);
      assert.ok(answer.headers.get("content-type")?.startsWith(type), path);
    }
  });

  it("says which methods there are", async () => {
    for (const method of ["POST", "DELETE", "OPTIONS"]) {
      const answer = await ask("/healthz", method);
      assert.equal(answer.status, 405, method);
      assert.equal(answer.headers.get("allow"), "GET, HEAD", method);
      assert.match(((await answer.json()) as { error: string }).error, /only GET and HEAD/);
    }
  });

  it("names an address that is in use", async () => {
    await assert.rejects(
      AgentHttp.open(at, parts),
      (error) =>
        error instanceof UserError &&
        /^--rest 127\.0\.0\.1:\d+ is in use.*another address or port/.test(error.message),
    );
  });
});
