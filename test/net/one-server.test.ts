/** Three agents and a forwarder as processes, and mosquitto's clients, which must not be able to tell that it is not one broker. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Child } from "topicast/testbed/child";
import { eventually } from "topicast/testbed/testbed";
import { Edges } from "./edges.js";

const EDGES = ["e1", "e2", "e3"] as const;
type EdgeId = (typeof EDGES)[number];

describe("mosquitto's clients at three edges", () => {
  let edges: Edges;

  before(async () => {
    edges = await Edges.start(EDGES, false);
  });

  after(() => edges.stop());

  function publish(id: EdgeId, ...args: string[]): Promise<string> {
    return edges.run.output(["mosquitto_pub", ...edges.at(id), "-q", "1", ...args]);
  }

  /** What a new subscriber gets within a second: `retain topic payload` each. */
  async function fetch(id: EdgeId, filter: string): Promise<string[]> {
    const { stdout } = await edges.run.exec([
      ...["mosquitto_sub", ...edges.at(id), "-t", filter, "-q", "1", "-F", "%r %t %p", "-W", "1"],
    ]);
    return stdout.split("\n").filter((line) => line !== "");
  }

  /** A subscriber that stays, subscribed by the time that this resolves; its messages are its lines of output. */
  async function subscribe(id: EdgeId, filter: string): Promise<{ child: Child; got: string[] }> {
    const got: string[] = [];
    const command = [
      "stdbuf",
      "-oL",
      "mosquitto_sub",
      ...edges.at(id),
      "-t",
      filter,
      "-q",
      "1",
      "-d",
      "-F",
      "got %t %p",
    ];
    const child = edges.run.start({ name: `mosquitto_sub at ${id}`, command });
    child.onLine((line) => {
      if (line.startsWith("got ")) got.push(line.slice(4));
    });
    await child.waitFor(/^Subscribed \(mid/, 15_000);
    return { child, got };
  }

  it("find retained messages wherever they were published", async () => {
    await publish("e1", "-r", "-t", "r/1", "-m", "one");
    await publish("e2", "-r", "-t", "r/2", "-m", "two");
    for (const id of EDGES) assert.deepEqual((await fetch(id, "r/+")).sort(), ["1 r/1 one", "1 r/2 two"], id);
    const { child, got } = await subscribe("e3", "r/#");
    await eventually("retained ones", 5_000, async () => got.length === 2);
    await publish("e2", "-r", "-t", "r/1", "-m", "new");
    await eventually("the live one", 5_000, async () => got.length === 3);
    await publish("e3", "-r", "-t", "r/2", "-n");
    assert.deepEqual(await fetch("e1", "r/+"), ["1 r/1 new"]);
    assert.equal(got.length, 4, `once each: ${got}`);
    await child.stop(5_000);
  });

  it("find them after kill -9 of the forwarder, and after kill -9 of an agent", async () => {
    await publish("e1", "-r", "-t", "k/1", "-m", "kept");
    await edges.killForwarder();
    await edges.startForwarder();
    await eventually("e3 is registered", 15_000, async () => {
      const found = await fetch("e3", "k/#");
      return found.length === 1 && found[0] === "1 k/1 kept";
    });
    await publish("e2", "-r", "-t", "k/2", "-m", "later");
    await edges.killAgent("e2");
    await edges.startAgent("e2");
    assert.deepEqual((await fetch("e2", "k/#")).sort(), ["1 k/1 kept", "1 k/2 later"]);
  });

  it("get the will of a client whose edge was killed, once, and find it where it was to be retained", async () => {
    const { child, got } = await subscribe("e1", "will/#");
    const will = ["--will-topic", "will/c", "--will-payload", "gone", "--will-retain", "--will-qos", "1"];
    const client = edges.run.start({
      name: "client with a will",
      command: ["stdbuf", "-oL", "mosquitto_sub", ...edges.at("e3"), "-t", "nothing", "-d", ...will],
    });
    await client.waitFor(/^Subscribed \(mid/, 15_000);
    await edges.killAgent("e3");
    await client.stop(5_000);
    await eventually("the will", 15_000, async () => got.length > 0);
    await edges.startAgent("e3");
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    assert.deepEqual(got, ["will/c gone"]);
    assert.deepEqual(await fetch("e3", "will/#"), ["1 will/c gone"]);
    await child.stop(5_000);
  });

  it("share a subscription over two and three edges: each message once, and about as many for each", async () => {
    const members = [await subscribe("e1", "$share/g/jobs/#"), await subscribe("e2", "$share/g/jobs/#")];
    const plain = await subscribe("e3", "jobs/#");
    const publishAll = async (id: EdgeId, prefix: string, count: number) => {
      for (const member of members) member.got.length = 0;
      const lines = Array.from({ length: count }, (_, i) => `${prefix} ${i}`);
      const publisher = edges.run.start({
        name: "mosquitto_pub",
        command: ["mosquitto_pub", ...edges.at(id), "-q", "1", "-t", "jobs/1", "-l"],
      });
      publisher.write(`${lines.join("\n")}\n`);
      publisher.endInput();
      await publisher.exited;
      const all = () => members.flatMap(({ got }) => got);
      await eventually(`all of ${prefix}`, 10_000, async () => all().length >= count);
      assert.deepEqual(all().sort(), lines.map((line) => `jobs/1 ${line}`).sort());
      return members.map(({ got }) => got.length);
    };
    assert.deepEqual(await publishAll("e3", "two", 60), [30, 30]);
    assert.deepEqual(await publishAll("e1", "here", 60), [30, 30]);
    members.push(await subscribe("e3", "$share/g/jobs/#"));
    assert.deepEqual(await publishAll("e3", "three", 60), [20, 20, 20]);
    await eventually("the plain one has all", 5_000, async () => plain.got.length === 180);
    for (const { child } of [...members, plain]) await child.stop(5_000);
  });
});
