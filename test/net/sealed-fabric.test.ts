/** Real agents and a real forwarder on loopback, their fabric sealed by a key file; MQTT.js as clients. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type RunningAgent, startAgent } from "@topicast/agent/agent.js";
import { loadAgentConfig } from "@topicast/agent/config.js";
import { loadControllerConfig } from "@topicast/controller/config.js";
import { type RunningController, startController } from "@topicast/controller/controller.js";
import { connectAsync, type MqttClient } from "mqtt";

const OLD = "0f".repeat(32);
const NEW = "1e".repeat(32);
const FORWARDER = "127.0.0.1:18883";

describe("a fabric with a key file", () => {
  const dir = mkdtempSync(join(tmpdir(), "topicast-sealed-"));
  const files: string[] = [];
  const agents: RunningAgent[] = [];
  const clients: MqttClient[] = [];
  let controller: RunningController;

  function keyFile(name: string, text: string): string {
    const file = join(dir, name);
    writeFileSync(file, text);
    files.push(file);
    return file;
  }

  async function agent(n: number, key: string): Promise<MqttClient> {
    const flags = {
      ...{ transport: "socket", address: "127.0.0.1", id: `e${n}` },
      ...{ tcpport: String(18_890 + n), udpport: String(18_900 + n) },
      ...{ forwarder: FORWARDER, "fabric-key": keyFile(`e${n}.key`, key), "log-level": "silent" },
      "allow-anonymous": "true",
    };
    agents.push(await startAgent(loadAgentConfig({ flags, env: {} })));
    const client = await connectAsync(`mqtt://127.0.0.1:${18_890 + n}`, { protocolVersion: 5 });
    clients.push(client);
    return client;
  }

  before(async () => {
    const flags = {
      ...{ listen: FORWARDER, rest: "127.0.0.1:18885", "log-level": "silent" },
      "fabric-key": keyFile("forwarder.key", OLD),
    };
    controller = await startController(loadControllerConfig({ flags, env: {} }));
  });

  after(async () => {
    for (const client of clients) await client.endAsync(true);
    for (const a of agents) await a.close();
    await controller.close();
    rmSync(dir, { recursive: true });
  });

  async function registered(): Promise<string[]> {
    const answer = await fetch("http://127.0.0.1:18885/agents");
    const { agents } = (await answer.json()) as { agents: { id: string }[] };
    return agents.map((a) => a.id).sort();
  }

  it("carries QoS 0, 1 and 2 over a change of keys without a stop, and lets nobody in without the key", async () => {
    const [one, two] = [await agent(1, OLD), await agent(2, OLD)];
    await agent(3, NEW);
    const got: string[] = [];
    two.on("message", (_, payload) => got.push(payload.toString()));
    await eventually(async () => assert.deepEqual(await registered(), ["e1", "e2"]));
    await two.subscribeAsync("plant/#", { qos: 2 });
    const wanted: string[] = [];
    const publish = async () => {
      for (const qos of [0, 1, 2] as const) {
        for (let i = 0; i < 5; i++) {
          wanted.push(`${wanted.length}`);
          await one.publishAsync("plant/7/temp", wanted.at(-1)!, { qos });
        }
      }
    };
    await publish();
    for (const text of [`${OLD}\n${NEW}`, `${NEW}\n${OLD}`, NEW]) {
      // One process after the other, messages in between.
      for (const [i, file] of files.entries()) {
        writeFileSync(file, text);
        (i === 0 ? controller : agents[i - 1]!).reload?.();
        await publish();
      }
    }
    await eventually(() => assert.deepEqual(got, wanted));
    await eventually(async () => assert.deepEqual(await registered(), ["e1", "e2", "e3"]));
  });
});

async function eventually(check: () => void | Promise<void>): Promise<void> {
  for (const end = Date.now() + 20_000; ; ) {
    try {
      await check();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
