/** Floods at the fabric ports of agents and forwarder, and at REST, all of them processes: they serve on, in bounded memory. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { setTimeout as later } from "node:timers/promises";
import { connectAsync, type MqttClient } from "mqtt";
import type { Child } from "topicast/testbed/child";
import { ROOT, Run } from "topicast/testbed/run";
import { eventually } from "topicast/testbed/testbed";
import { freePort } from "../unit/ports.js";

const TOPICAST = [process.execPath, `${ROOT}/scripts/bin/topicast.js`];
const SECONDS = 8;
const DATAGRAMS_PER_SECOND = 9_000;
/** Streams' early datagrams take 64 MiB at most; the rest is what the collector has not looked at yet. */
const GROWTH_MAX_MIB = 256;

describe("floods", () => {
  const run = new Run();
  const udp: number[] = [];
  const tcp: number[] = [];
  const http: number[] = [];
  let rest: number;
  const processes: Child[] = [];
  const clients: MqttClient[] = [];

  before(async () => {
    for (const ports of [udp, tcp, http]) for (let i = 0; i < 3; i++) ports.push(await freePort());
    rest = http[0]!;
    const controller = ["controller", "--listen", `127.0.0.1:${udp[0]}`, "--rest", `127.0.0.1:${rest}`];
    processes.push(run.start({ name: "forwarder", command: [...TOPICAST, ...controller] }));
    await processes[0]!.waitFor(/\bready\b/, 15_000);
    for (const n of [1, 2]) {
      const command = [
        ...[...TOPICAST, "agent", "--transport", "socket", "--address", "127.0.0.1", "--id", `e${n}`],
        ...["-t", String(tcp[n]), "-U", String(udp[n]), "-F", `127.0.0.1:${udp[0]}`, "--allow-anonymous"],
        ...["--rest", `127.0.0.1:${http[n]}`],
      ];
      processes.push(run.start({ name: `e${n}`, command }));
      await processes[n]!.waitFor(/registered with the forwarder/, 15_000);
      clients.push(await connectAsync(`mqtt://127.0.0.1:${tcp[n]}`, { protocolVersion: 5 }));
    }
  });
  after(async () => {
    for (const client of clients) await client.endAsync(true);
    await run.stopAll();
  });

  const status = (child: Child, key: string) =>
    Number(
      new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1],
    );

  /** The sum of a process's counters whose names match. */
  async function counted(port: number, pattern: RegExp): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    let sum = 0;
    for (const [, name, label, value] of text.matchAll(/^(topicast_\w+)(?:\{name="(\w+)"\})? (\d+)$/gm)) {
      if (pattern.test(label ?? name!)) sum += Number(value);
    }
    return sum;
  }

  /** From e1's client to e2's, QoS 1, for so long; answers how many. All must have come, in order. */
  async function converse(seconds: number): Promise<number> {
    const [here, there] = clients as [MqttClient, MqttClient];
    const got: number[] = [];
    const take = (_: string, payload: Buffer) => got.push(Number(payload.toString()));
    there.on("message", take);
    await there.subscribeAsync("plant/#", { qos: 1 });
    let sent = 0;
    for (const end = performance.now() + seconds * 1_000; performance.now() < end; await later(10)) {
      await here.publishAsync("plant/7", String(sent++), { qos: 1 });
    }
    await eventually("all have come", 10_000, () => got.length >= sent);
    assert.deepEqual(
      got,
      Array.from({ length: sent }, (_, i) => i),
    );
    there.off("message", take);
    return sent;
  }

  it("of invented datagrams: messages go on in order, memory is bounded, counters tell", async (t) => {
    await converse(1);
    const before = processes.map((p) => status(p, "VmRSS"));
    const flooder = run.start({
      name: "flood",
      command: [
        ...[
          process.execPath,
          `${import.meta.dirname}/flood-main.js`,
          String(SECONDS),
          String(DATAGRAMS_PER_SECOND),
        ],
        ...udp.map((port) => `127.0.0.1:${port}`),
      ],
    });
    const sent = await converse(SECONDS);
    const flooded = Number((await flooder.waitFor(/^sent \d+$/, 15_000)).split(" ")[1]);
    assert.ok(sent > SECONDS * 5, `only ${sent} messages went through`);
    const growth = processes.map((p, i) => Math.round((status(p, "VmHWM") - before[i]!) / 1_024));
    for (const [i, mib] of growth.entries())
      assert.ok(mib < GROWTH_MAX_MIB, `${processes[i]!.name}: ${mib} MiB`);
    for (const port of http) {
      const dropped = await counted(
        port,
        /dropped|drops|strangers|beyond_window|incomplete|entered|bad_statuses|resets/,
      );
      assert.ok(dropped > flooded / 100, `counted ${dropped} of about ${Math.round(flooded / 3)}`);
    }
    t.diagnostic(`${flooded} datagrams, ${sent} messages beside them, growth ${growth} MiB`);
    // Registrations of nobody fall silent and go.
    await eventually("only two agents are left", 20_000, async () => {
      const answer = await (await fetch(`http://127.0.0.1:${rest}/healthz`)).json();
      return (answer as { agents: number }).agents === 2;
    });
    assert.ok((await converse(1)) > 20, "as fast as before");
  });

  it("of connections and requests at REST: messages go on, memory is bounded, REST answers afterwards", async () => {
    const before = status(processes[0]!, "VmRSS");
    const sockets: Socket[] = [];
    const open = (text: string) => {
      const socket = connect(rest, "127.0.0.1", () => socket.write(text));
      socket.on("error", () => {});
      // What is answered is not read.
      sockets.push(socket.pause());
    };
    const flood = async () => {
      for (let i = 0; i < 600; i++) {
        open("GET /topics HTTP/1.1\r\nx-slow: ");
        open(`POST /topics HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n${"x".repeat(10_000)}`);
        open("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n".repeat(50));
        open("\u0000".repeat(1_000));
        await later(5);
      }
    };
    const [sent] = await Promise.all([converse(5), flood()]);
    assert.ok(sent > 25, `only ${sent} messages went through`);
    const growth = Math.round((status(processes[0]!, "VmHWM") - before) / 1_024);
    assert.ok(growth < GROWTH_MAX_MIB, `${growth} MiB`);
    for (const socket of sockets) socket.destroy();
    await eventually(
      "REST answers",
      15_000,
      async () => (await fetch(`http://127.0.0.1:${rest}/healthz`)).status === 200,
    );
  });
});
