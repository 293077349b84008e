import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Child } from "topicast/testbed/child";
import { CREDENTIALS, eventually, Testbed } from "topicast/testbed/testbed";

/** Host of each agent; the client beside it lives in the next host. */
const EDGES = { e1: "h1", e2: "h3" } as const;
type EdgeId = keyof typeof EDGES;

describe("one session per client over two edges", () => {
  let testbed: Testbed;
  let directory: string;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "topicast-sessions-"));
    testbed = await Testbed.start({ fanouts: [2, 2] });
    await testbed.startForwarder();
    await Promise.all((Object.keys(EDGES) as EdgeId[]).map(startAgent));
  });
  after(async () => {
    await testbed?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  function startAgent(id: EdgeId): Promise<Child> {
    return testbed.startAgent(EDGES[id], id, "--store", join(directory, id));
  }

  /** A mosquitto program beside an edge, connected there. */
  function start(program: "mosquitto_sub" | "mosquitto_pub", at: EdgeId, ...flags: string[]): Child {
    const { username, password } = CREDENTIALS;
    const host = `h${Number(EDGES[at].slice(1)) + 1}`;
    const broker = ["-h", testbed.network.address(EDGES[at]), "-u", username, "-P", password, "-d"];
    const command = ["stdbuf", "-oL", program, ...broker, ...flags];
    return testbed.run.start({ name: `${program} at ${at}`, command: testbed.network.inHost(host, command) });
  }

  /** A subscriber of `t/#` at QoS 1 whose session stays. */
  async function subscriber(at: EdgeId, ...flags: string[]): Promise<Child> {
    const child = start(
      "mosquitto_sub",
      at,
      "-i",
      "c",
      "-c",
      "-q",
      "1",
      "-t",
      "t/#",
      "-F",
      "MSG %p",
      ...flags,
    );
    await child.waitFor(/ received SUBACK/, 15_000);
    return child;
  }

  async function publish(at: EdgeId, text: string): Promise<void> {
    const child = start("mosquitto_pub", at, "-q", "1", "-t", "t/x", "-m", text);
    assert.equal(await child.exited, 0, child.lines.join("\n"));
  }

  const messages = ({ lines }: Child) =>
    lines.filter((line) => line.startsWith("MSG ")).map((line) => line.slice(4));

  it("a client that went away at one edge gets at the other what came meanwhile", async () => {
    const first = await subscriber("e1");
    await publish("e2", "while there");
    await eventually("the message is there", 5_000, () => messages(first).includes("while there"));
    await first.stop();
    for (const at of ["e1", "e2"] as const) await publish(at, `from ${at}`);
    const second = await subscriber("e2");
    await eventually("both are there", 5_000, () => messages(second).length >= 2);
    assert.deepEqual(messages(second), ["from e1", "from e2"]);
    await second.stop();
  });

  it("a client that connects elsewhere is told so where it was (0x8E)", async () => {
    const first = await subscriber("e1", "-V", "5", "-x", "1000");
    const second = await subscriber("e2", "-V", "5", "-x", "1000");
    await first.waitFor(/Received DISCONNECT \(142\)/, 5_000);
    await publish("e1", "to the second");
    await eventually("the message is there", 5_000, () => messages(second).includes("to the second"));
    assert.equal(messages(first).includes("to the second"), false);
    await first.stop();
    await second.stop();
  });

  it("what waits survives kill -9 of its edge, and goes to the other one when that is back", async () => {
    const first = await subscriber("e1");
    await first.stop();
    await publish("e2", "kept");
    const agent = testbed.agents.get("e1")!;
    agent.signal("SIGKILL");
    await agent.exited;
    await startAgent("e1");
    const second = await subscriber("e2");
    await eventually("the message is there", 10_000, () => messages(second).includes("kept"));
    assert.deepEqual(messages(second), ["kept"]);
    await second.stop();
  });
});
