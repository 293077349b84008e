import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type RunningAgent, startAgent } from "@topicast/agent/agent.js";
import { loadAgentConfig } from "@topicast/agent/config.js";
import { connectAsync, type MqttClient } from "mqtt";
import { freePort } from "../../ports.js";

describe("an agent with a firewall", () => {
  const directory = mkdtempSync(join(tmpdir(), "topicast-firewall-"));
  const rules = join(directory, "rules.yaml");
  const events = join(directory, "events");
  let agent: RunningAgent;
  let ports: { tcp: number; ws: number; rest: number };
  const open: MqttClient[] = [];

  before(async () => {
    ports = { tcp: await freePort(), ws: await freePort(), rest: await freePort() };
    writeFileSync(rules, "content: off\ntopics: [{ deny: [secret] }]\n");
    const flags = {
      ...{
        id: "e1",
        transport: "socket",
        address: "127.0.0.1",
        "allow-anonymous": "true",
        "log-level": "silent",
      },
      ...{ tcpport: String(ports.tcp), wsport: String(ports.ws), rest: `127.0.0.1:${ports.rest}` },
      ...{
        firewall: "block",
        "firewall-rules": rules,
        "firewall-log": events,
        listener: ["ws.firewall=off"],
      },
    };
    agent = await startAgent(loadAgentConfig({ flags, env: {} }));
  });

  after(async () => {
    for (const client of open) await client.endAsync(true);
    await agent.close();
    rmSync(directory, { recursive: true });
  });

  async function connect(url: string): Promise<MqttClient> {
    const client = await connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0 });
    open.push(client);
    return client;
  }

  /** Waits until a counter of the firewall is there. */
  async function counted(name: string, count: number): Promise<void> {
    for (let n = 0; n < 500; n++) {
      const metrics = await (await fetch(`http://127.0.0.1:${ports.rest}/metrics`)).text();
      if (metrics.includes(`topicast_firewall{name="${name}"} ${count}\n`)) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.fail(`${name} is never ${count}`);
  }

  /** The reason code that a message is acknowledged with. */
  async function codeFor(client: MqttClient, topic: string, payload = "x"): Promise<number | undefined> {
    try {
      const packet = await client.publishAsync(topic, payload, { qos: 1 });
      return (packet as { reasonCode?: number } | undefined)?.reasonCode ?? 0;
    } catch (error) {
      return (error as { code?: number }).code;
    }
  }

  it("refuses on the ports that have it, writes down what, and counts", async () => {
    const guarded = await connect(`mqtt://127.0.0.1:${ports.tcp}`);
    const free = await connect(`ws://127.0.0.1:${ports.ws}`);
    assert.deepEqual([await codeFor(guarded, "secret"), await codeFor(free, "secret")], [0x87, 0]);
    const metrics = await (await fetch(`http://127.0.0.1:${ports.rest}/metrics`)).text();
    assert.match(metrics, /^topicast_firewall\{name="dropped"\} 1$/m);
    assert.match(metrics, /^topicast_firewall\{name="rule_topics"\} 1$/m);
    assert.match(metrics, /^topicast_firewall\{name="events_lost"\} 0$/m);
  });

  it("takes over new rules while clients are connected, and keeps the old ones where they are wrong", async () => {
    const client = await connect(`mqtt://127.0.0.1:${ports.tcp}`);
    writeFileSync(rules, "content: off\ntopics: [{ deny: [other] }]\n");
    agent.reload?.();
    await counted("rules_loaded", 2);
    assert.deepEqual([await codeFor(client, "secret"), await codeFor(client, "other")], [0, 0x87]);
    writeFileSync(rules, "topics: [{ deny: [secret, b#d] }]\n");
    agent.reload?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual([await codeFor(client, "secret"), await codeFor(client, "other")], [0, 0x87]);
    assert.equal(client.connected, true);
  });

  it("judges what clients write once the rules ask for it, by ModSecurity's rules", async () => {
    const client = await connect(`mqtt://127.0.0.1:${ports.tcp}`);
    const attack = "1' or 1=1 union select password from users--";
    assert.equal(await codeFor(client, "x", attack), 0);
    writeFileSync(rules, "content: { workers: 1 }\ntopics: []\n");
    agent.reload?.();
    await counted("rules_loaded", 3);
    assert.equal(await codeFor(client, "x", attack), 0x87);
    assert.equal(await codeFor(client, "x", '{"temp":21.5}'), 0);
    writeFileSync(rules, "content: off\n");
    agent.reload?.();
    await counted("rules_loaded", 4);
    assert.equal(await codeFor(client, "x", attack), 0);
  });

  it("has all events in its log when it has closed", async () => {
    await agent.close();
    const lines = readFileSync(events, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ agent, listener, answer, topic }) => [agent, listener, answer, topic]),
      [
        ["e1", "tcp", "drop", "secret"],
        ["e1", "tcp", "drop", "other"],
        ["e1", "tcp", "drop", "other"],
        ["e1", "tcp", "drop", "x"],
      ],
    );
  });

  it("does not start with rules that are wrong, or that nobody would ask", () => {
    writeFileSync(rules, "topics: [{ deny: [secret, b#d] }]\n");
    const flags = { transport: "socket", "firewall-rules": rules };
    assert.throws(() => loadAgentConfig({ flags, env: {} }), {
      message: "--firewall-rules needs a firewall: give --firewall detect, or block",
    });
    return assert.rejects(
      startAgent(
        loadAgentConfig({ flags: { ...flags, firewall: "detect", "log-level": "silent" }, env: {} }),
      ),
      { name: "UserError", message: /rules\.yaml:1: topics\[0\]\.deny\[1\]: "b#d" holds #/ },
    );
  });
});
