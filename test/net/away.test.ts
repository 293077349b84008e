/** Two agents and a forwarder as processes, all with `--store`: one agent is killed while mosquitto's clients publish at the other. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Child } from "topicast/testbed/child";
import { eventually } from "topicast/testbed/testbed";
import { Edges } from "./edges.js";

describe("an edge that is killed", () => {
  let edges: Edges;

  before(async () => {
    edges = await Edges.start(["e1", "e2"], true);
  });

  after(() => edges.stop());

  /** The persistent session's client; `more` says when it ends. */
  function subscriber(...more: string[]): Child {
    const session = ["-i", "c", "-c", "-x", "3600", "-t", "a/#", "-q", "2", "-F", "%p"];
    const command = ["stdbuf", "-oL", "mosquitto_sub", ...edges.at("e1"), ...session, ...more];
    return edges.run.start({ name: "mosquitto_sub", command });
  }

  /** Resolves when the publisher has been acknowledged for all. */
  async function publish(qos: 1 | 2, texts: readonly string[]): Promise<void> {
    const command = ["mosquitto_pub", ...edges.at("e2"), "-q", String(qos), "-t", "a/b", "-l"];
    const publisher = edges.run.start({ name: "mosquitto_pub", command });
    publisher.write(`${texts.join("\n")}\n`);
    publisher.endInput();
    assert.equal(await publisher.exited, 0);
  }

  it("gets when it is back what was acknowledged meanwhile, over the forwarder's end, too, in order and once", async () => {
    assert.equal(await subscriber("-E").exited, 0);
    // The route of before the death is straight.
    await publish(2, ["before 1", "before 2"]);
    await edges.killAgent("e1");
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    // The first of them wait until the edge is declared gone.
    await publish(
      2,
      numbers.map((n) => `two ${n}`),
    );
    await edges.killForwarder();
    await edges.startForwarder();
    await eventually("the other agent is back", 15_000, async () => (await edges.registered()) === 1);
    await publish(
      1,
      numbers.map((n) => `one ${n}`),
    );
    await edges.startAgent("e1");
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
