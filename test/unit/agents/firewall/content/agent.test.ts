import assert from "node:assert/strict";

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { startAgent } from "@topicast/agent/agent.js";
import { loadAgentConfig } from "@topicast/agent/config.js";
import { connectAsync, type MqttClient } from "mqtt";
import { freePort } from "../../../ports.js";
import { attacks } from "./attacks.js";

/** A running agent whose clients' content is judged, and a client of it. */
class Judged {
  private constructor(
    private readonly rest: number,
    readonly client: MqttClient,
  ) {}

  static async start(t: TestContext, content: string): Promise<Judged> {
    const directory = mkdtempSync(join(tmpdir(), "topicast-content-"));
    const rules = join(directory, "rules.yaml");
    writeFileSync(rules, `rates: []\ncontent: { workers: 1, ${content} }\n`);
    const [tcp, rest] = [await freePort(), await freePort()];
    const flags = {
      ...{
        id: "e1",
        transport: "socket",
        address: "127.0.0.1",
        "allow-anonymous": "true",
        "log-level": "silent",
      },
      ...{ tcpport: String(tcp), rest: `127.0.0.1:${rest}`, firewall: "block", "firewall-rules": rules },
      "firewall-log": join(directory, "events"),
    };
    const agent = await startAgent(loadAgentConfig({ flags, env: {} }));
    const client = await connectAsync(`mqtt://127.0.0.1:${tcp}`, { protocolVersion: 5, reconnectPeriod: 0 });
    t.after(async () => {
      await client.endAsync(true);
      await agent.close();
      rmSync(directory, { recursive: true });
    });
    return new Judged(rest, client);
  }

  /** The reason code that a message is acknowledged with; each is one that the engine has not seen. */
  async send(payload: string, topic = "plant/7/note"): Promise<number> {
    try {
      const packet = await this.client.publishAsync(topic, payload, { qos: 1 });
      return (packet as { reasonCode?: number } | undefined)?.reasonCode ?? 0;
    } catch (error) {
      return (error as { code: number }).code;
    }
  }

  async counter(name: string): Promise<number> {
    const metrics = await (await fetch(`http://127.0.0.1:${this.rest}/metrics`)).text();
    return Number(new RegExp(`^topicast_firewall\\{name="${name}"\\} (\\d+)$`, "m").exec(metrics)?.[1]);
  }
}

/** The process id of the only worker among this process' children. */
function worker(): number {
  const found = readdirSync("/proc").filter((pid) => {
    try {
      const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
      return (
        Number(parent) === process.pid &&
        readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("content/worker.js")
      );
    } catch {
      return false;
    }
  });
  assert.equal(found.length, 1);
  return Number(found[0]);
}

async function until(what: string, done: () => Promise<boolean>): Promise<void> {
  const start = performance.now();
  while (!(await done())) {
    assert.ok(performance.now() - start < 20_000, `waited 20 s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("attacks in the messages and topics of a real client are not acknowledged, readings are", async (t) => {
  const judged = await Judged.start(t, "timeout: 20000");
  const some = Object.values(attacks)
    .flatMap((texts) => texts.slice(0, 2))
    .filter((text) => !/[+#]|\$ne|return/.test(text));
  assert.ok(some.length >= 12);
  for (const text of some) {
    assert.equal(await judged.send(JSON.stringify({ note: text })), 0x87, text);
    assert.equal(await judged.send("21.5", text), 0x87, `topic ${text}`);
  }
  assert.equal(await judged.send('{"temp":21.5}'), 0);
  assert.equal(await judged.counter("content_engine_matched"), some.length * 2);
});

for (const [failed, code] of [
  ["pass", 0],
  ["refuse", 0x87],
] as const) {
  test(`a worker that is killed or stopped: the agent lives, ${failed} decides, counters tell`, async (t) => {
    const judged = await Judged.start(t, `timeout: 300, failed: ${failed}`);
    let n = 0;
    const fresh = () => judged.send(`note ${n++} of today`);
    await until("a first verdict", async () => (await fresh()) === 0);

    process.kill(worker(), "SIGSTOP");
    assert.equal(await fresh(), code);
    assert.equal(await judged.counter("content_engine_timeout"), 1);
    await until("the next worker", async () => (await judged.counter("content_engine_restarts")) === 1);
    await until(
      "verdicts again",
      async () => (await judged.send(`x${n++}' or 1=1--`)) === 0x87 && (await fresh()) === 0,
    );

    const before = await judged.counter("content_failed");
    process.kill(worker(), "SIGSTOP");
    const waiting = fresh();
    process.kill(worker(), "SIGKILL");
    assert.equal(await waiting, code);
    assert.ok((await judged.counter("content_failed")) > before);
    await until("the next worker", async () => (await judged.counter("content_engine_restarts")) === 2);
    await until(
      "verdicts again",
      async () => (await judged.send(`x${n++}' or 1=1--`)) === 0x87 && (await fresh()) === 0,
    );
    assert.ok(judged.client.connected);
  });
}
