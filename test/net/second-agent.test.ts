/** An agent that knows nothing of our code, in Python by protocol/README.md alone, beside one of ours and our forwarder. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { connectAsync, type MqttClient } from "mqtt";
import type { Child } from "topicast/testbed/child";
import { ROOT, Run } from "topicast/testbed/run";
import { eventually } from "topicast/testbed/testbed";
import { freePort } from "../unit/ports.js";

const TOPICAST = [process.execPath, `${ROOT}/scripts/bin/topicast.js`];
const COUNT = 300;

describe("a second implementation", () => {
  const run = new Run();
  let listen: number;
  let rest: number;
  let client: MqttClient;
  let forwarder: Child;

  before(async () => {
    [listen, rest] = [await freePort(), await freePort()];
    forwarder = await startForwarder();
    const tcp = await freePort();
    const agent = [
      ...["agent", "--transport", "socket", "--address", "127.0.0.1", "--id", "ours", "--allow-anonymous"],
      ...["-t", String(tcp), "-U", String(await freePort()), "-F", `127.0.0.1:${listen}`],
    ];
    const ours = run.start({ name: "ours", command: [...TOPICAST, ...agent] });
    await ours.waitFor(/registered with the forwarder/, 15_000);
    client = await connectAsync(`mqtt://127.0.0.1:${tcp}`, { protocolVersion: 5 });
  });
  after(async () => {
    await client?.endAsync(true);
    await run.stopAll();
  });

  async function startForwarder(): Promise<Child> {
    const command = ["controller", "--listen", `127.0.0.1:${listen}`, "--rest", `127.0.0.1:${rest}`];
    const child = run.start({ name: "forwarder", command: [...TOPICAST, ...command] });
    await child.waitFor(/\bready\b/, 15_000);
    return child;
  }

  async function start(
    id: string,
    filter: string,
    loss: number,
  ): Promise<{ child: Child; got: string[]; relayed: () => number }> {
    const words = [id, "127.0.0.1", await freePort(), "127.0.0.1", listen, filter, loss].map(String);
    const child = run.start({ name: id, command: ["python3", `${ROOT}/test/net/second-agent.py`, ...words] });
    const got: string[] = [];
    let relayed = 0;
    child.onLine((line) => {
      if (line.startsWith("got ")) got.push(line.slice(4));
      if (line === "relayed") relayed += 1;
    });
    await child.waitFor(/^subscribed$/, 15_000);
    return { child, got, relayed: () => relayed };
  }

  for (const loss of [0, 0.1]) {
    it(`gets and gives every QoS, all, once and in order, where ${loss * 100} % of what it receives is lost`, async () => {
      const id = `second-${loss * 100}`;
      const { child, got, relayed } = await start(id, `${id}/to/#`, loss);
      const sent: string[] = [];
      for (let i = 0; i < COUNT; i++) {
        const qos = (i % 3) as 0 | 1 | 2;
        sent.push(`${qos} ${id}/to/it ${i}`);
        await client.publishAsync(`${id}/to/it`, String(i), { qos });
      }
      await eventually("it has all", 15_000, () => got.length >= sent.length);
      assert.deepEqual(got, sent);

      const back: string[] = [];
      await client.subscribeAsync(`${id}/from/#`, { qos: 2 });
      client.on("message", (topic, payload, { qos }) => {
        if (topic.startsWith(`${id}/from/`)) back.push(`${qos} ${topic} ${payload}`);
      });
      const given = Array.from({ length: COUNT }, (_, i) => `${i % 3} ${id}/from/it ${i}`);
      for (const line of given) child.write(`${line}\n`);
      await eventually(
        "all has come back, and is acknowledged",
        20_000,
        () => back.length >= COUNT && relayed() === COUNT,
      );
      // MQTT.js tells a message of QoS 2 when it is released, after others that came behind it.
      for (const qos of ["0", "1", "2"]) {
        const ofQos = (line: string) => line.startsWith(qos);
        assert.deepEqual(back.filter(ofQos), given.filter(ofQos));
      }
      await child.stop();
    });
  }

  it("comes back by itself to a forwarder that has started anew", async () => {
    const { child, got } = await start("second-again", "again/#", 0);
    const count = (line: string) => child.lines.filter((l) => l === line).length;
    forwarder.signal("SIGKILL");
    await forwarder.exited;
    forwarder = await startForwarder();
    await eventually("it is registered and subscribed again", 15_000, () => count("subscribed") === 2);
    assert.equal(count("registered"), 2);
    await client.publishAsync("again/1", "x", { qos: 1 });
    await eventually("it has it", 15_000, () => got.length === 1);
    await child.stop();
  });
});
