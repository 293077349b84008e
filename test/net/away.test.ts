/** Two agents and a forwarder as processes, all with `--store`: one agent is killed while mosquitto's clients publish at the other. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Child } from "topicast/testbed/child";
import { ROOT, Run } from "topicast/testbed/run";
import { eventually } from "topicast/testbed/testbed";
import { freePort } from "../unit/ports.js";

const TOPICAST = [process.execPath, `${ROOT}/scripts/bin/topicast.js`];
const EDGES = ["e1", "e2"] as const;
type EdgeId = (typeof EDGES)[number];

describe("an edge that is killed", () => {
  const run = new Run();
  const folder = mkdtempSync(join(tmpdir(), "topicast-away-"));
  const ports = new Map<EdgeId, { tcp: number; udp: number }>();
  const agents = new Map<EdgeId, Child>();
  let listen: number;
  let rest: number;
  let forwarder: Child;

  before(async () => {
    [listen, rest] = [await freePort(), await freePort()];
    for (const id of EDGES) ports.set(id, { tcp: await freePort(), udp: await freePort() });
    forwarder = await startForwarder();
    for (const id of EDGES) await startAgent(id);
  });

  after(async () => {
    await run.stopAll();
    rmSync(folder, { recursive: true });
  });

  async function startForwarder(): Promise<Child> {
    const command = [
      ...[...TOPICAST, "controller", "--listen", `127.0.0.1:${listen}`, "--rest", `127.0.0.1:${rest}`],
      ...["--store", join(folder, "forwarder")],
    ];
    const child = run.start({ name: "forwarder", command });
    await child.waitFor(/\bsettled\b/, 15_000);
    return child;
  }

  async function startAgent(id: EdgeId): Promise<void> {
    const { tcp, udp } = ports.get(id)!;
    const command = [
      ...[...TOPICAST, "agent", "--transport", "socket", "--address", "127.0.0.1", "--id", id],
      ...["-t", String(tcp), "-U", String(udp), "-F", `127.0.0.1:${listen}`, "--allow-anonymous"],
      ...["--store", join(folder, id)],
    ];
    const child = run.start({ name: id, command });
    agents.set(id, child);
    await child.waitFor(/registered with the forwarder/, 15_000);
  }

  async function kill(child: Child): Promise<void> {
    child.signal("SIGKILL");
    await child.exited;
  }

  function at(id: EdgeId): string[] {
    return ["-h", "127.0.0.1", "-p", String(ports.get(id)!.tcp), "-V", "mqttv5"];
  }

  /** The persistent session's client; `more` says when it ends. */
  function subscriber(...more: string[]): Child {
    const session = ["-i", "c", "-c", "-x", "3600", "-t", "a/#", "-q", "2", "-F", "%p"];
    const command = ["stdbuf", "-oL", "mosquitto_sub", ...at("e1"), ...session, ...more];
    return run.start({ name: "mosquitto_sub", command });
  }

  /** Resolves when the publisher has been acknowledged for all. */
  async function publish(qos: 1 | 2, texts: readonly string[]): Promise<void> {
    const command = ["mosquitto_pub", ...at("e2"), "-q", String(qos), "-t", "a/b", "-l"];
    const publisher = run.start({ name: "mosquitto_pub", command });
    publisher.write(`${texts.join("\n")}\n`);
    publisher.endInput();
    assert.equal(await publisher.exited, 0);
  }

  it("gets when it is back what was acknowledged meanwhile, over the forwarder's end, too, in order and once", async () => {
    assert.equal(await subscriber("-E").exited, 0);
    // The route of before the death is straight.
    await publish(2, ["before 1", "before 2"]);
    await kill(agents.get("e1")!);
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    // The first of them wait until the edge is declared gone.
    await publish(
      2,
      numbers.map((n) => `two ${n}`),
    );
    await kill(forwarder);
    forwarder = await startForwarder();
    await eventually("the other agent is back", 15_000, async () => {
      const agent = await fetch(`http://127.0.0.1:${rest}/healthz`).then((answer) => answer.json());
      return (agent as { agents: number }).agents === 1;
    });
    await publish(
      1,
      numbers.map((n) => `one ${n}`),
    );
    await startAgent("e1");
    await publish(2, ["after"]);
    const client = subscriber("-W", "5");
    await client.exited;
    // The client shows a message of QoS 2 when its handshake is over: those of QoS 1 may pass it.
    const ofQoS1 = (text: string) => text.startsWith("one");
    const got = client.lines.filter((line) => line !== "Timed out");
    assert.deepEqual(
      got.filter((text) => !ofQoS1(text)),
      ["before 1", "before 2", ...numbers.map((n) => `two ${n}`), "after"],
    );
    assert.deepEqual(
      got.filter(ofQoS1),
      numbers.map((n) => `one ${n}`),
    );
  });
});
