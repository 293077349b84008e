/** Transparent mode: clients that keep a broker's address, which agents answer for. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Child } from "topicast/testbed/child";
import { eventually, type Testbed } from "topicast/testbed/testbed";
import { AGENTS, numbered, startSevenSwitches, topics } from "./support.js";

/** Nobody has this one. */
const NOWHERE = "192.168.1.250";
/** A machine with a broker of its own, and other services. */
const REAL = "192.168.1.108";
const OTHER_PORT = "7777";

/** Says where it is to whoever connects, at every port that it is given. */
const SERVER = `
import select, socket, sys
listeners = [socket.create_server(("", int(port)), backlog=8) for port in sys.argv[1:]]
print("listening", flush=True)
while True:
    for ready in select.select(listeners, [], [])[0]:
        client, _ = ready.accept()
        client.sendall(b"this is h8")
        client.close()
`;
const CLIENT = `
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3) as s:
    s.settimeout(1)
    try:
        print(s.recv(100).decode())
    except TimeoutError:
        print("connected")
`;

describe("transparent mode on seven switches", () => {
  let testbed: Testbed;
  let server: Child;

  before(async () => {
    testbed = await startSevenSwitches("--intercept", NOWHERE, "--intercept", `${REAL}:1883`);
    server = testbed.run.start({
      name: "services on h8",
      command: testbed.network.inHost("h8", ["/usr/bin/python3", "-c", SERVER, "1883", OTHER_PORT]),
    });
    await server.waitFor(/listening/, 5_000);
    await testbed.waitForIntercept(NOWHERE, true);
    await testbed.waitForIntercept(REAL, false);
  });
  after(() => testbed?.stop());

  /** What a TCP client in `host` hears first: the server's words, "connected" where nothing is said, or an error. */
  async function hear(host: string, address: string, port: string): Promise<string> {
    const command = testbed.network.inHost(host, ["/usr/bin/python3", "-c", CLIENT, address, port]);
    const { code, stdout, stderr } = await testbed.run.exec(command, 10_000);
    return code === 0 ? stdout.trim() : (stderr.trim().split("\n").at(-1) ?? "");
  }

  /** The edges that hold a filter's subscribers. */
  async function edgesOf(filter: string): Promise<readonly string[]> {
    return (await topics(testbed)).filters.find((f) => f.filter === filter)?.edges ?? [];
  }

  it("serves each client of an address that nobody has at its own edge", async () => {
    const subscribers = [
      await testbed.subscribe("h2", { agent: NOWHERE, filter: "nowhere/+" }),
      await testbed.subscribe("h6", { agent: NOWHERE, filter: "nowhere/+" }),
    ];
    assert.deepEqual(await edgesOf("nowhere/+"), ["e1", "e5"]);
    const publisher = await testbed.publisher("h4", { agent: NOWHERE, topic: "nowhere/1" });
    await testbed.openRoute(AGENTS.e3, publisher, subscribers);
    const had = subscribers.map((s) => s.received.length);
    const before = await testbed.links.snapshot();
    await publisher.publishAll(numbered(100), 100);
    for (const [i, subscriber] of subscribers.entries()) {
      await subscriber.has(had[i]! + 100, 5000);
      assert.deepEqual(
        subscriber.received.slice(had[i]).map((m) => m.payload),
        numbered(100),
      );
    }
    for (const { link, datagrams } of await testbed.links.since(before)) {
      const least = 100 * testbed.tree.least(link, AGENTS.e3, [AGENTS.e1, AGENTS.e5]);
      assert.equal(datagrams, least, `${link.from}-${link.to}`);
    }
    await publisher.stop();
    for (const subscriber of subscribers) await subscriber.stop();
  });

  it("answers in a real machine's place at that port, and leaves its others, and agents' hosts, to it", async () => {
    const subscriber = await testbed.subscribe("h2", { agent: REAL, filter: "real/+" });
    assert.deepEqual(await edgesOf("real/+"), ["e1"]);
    assert.equal(await hear("h2", REAL, "1883"), "connected");
    assert.equal(await hear("h2", REAL, OTHER_PORT), "this is h8");
    assert.equal(await hear("h7", REAL, "1883"), "this is h8", "an agent's host");
    await subscriber.stop();
  });

  it("shows in GET /topology who answers for what", async () => {
    const { intercepts } = (await testbed.get("/topology")) as { intercepts: { wanted: number }[] };
    assert.ok(intercepts.every((i) => i.wanted > 0));
    const agents = Object.keys(AGENTS);
    assert.deepEqual(
      intercepts.map(({ wanted: _, ...rest }) => ({ ...rest, seen: undefined })),
      [
        { address: REAL, port: 1883, agents, vacant: false, seen: undefined },
        { address: NOWHERE, port: 1883, agents, vacant: true, seen: undefined },
      ],
    );
  });

  it("goes on without the forwarder", async () => {
    await testbed.forwarder!.stop();
    assert.equal(await hear("h2", NOWHERE, "1883"), "connected");
    assert.equal(await hear("h6", REAL, "1883"), "connected");
    await testbed.startForwarder();
    await testbed.waitForIntercept(NOWHERE, true);
    await testbed.waitForIntercept(REAL, false);
  });

  it("sees the owner of a vacant address appear", async () => {
    const address = testbed.network.inHost("h8", ["ip", "address", "add", `${NOWHERE}/24`, "dev", "h8-eth0"]);
    await testbed.run.output(address);
    await testbed.waitForIntercept(NOWHERE, false, 20_000);
    await testbed.run.output(testbed.network.inHost("h2", ["ip", "neighbour", "flush", "dev", "h2-eth0"]));
    assert.equal(await hear("h2", NOWHERE, OTHER_PORT), "this is h8");
    assert.equal(await hear("h2", NOWHERE, "1883"), "connected");
    await testbed.run.output(address.map((word) => (word === "add" ? "del" : word)));
  });

  it("leads clients to the next agent when theirs has gone, and to the real broker after the last", async () => {
    await testbed.agents.get("e1")!.stop();
    await eventually("e3 answers h2", 8_000, async () => {
      const subscriber = await testbed.subscribe("h2", { agent: REAL, filter: "next/+" });
      const edges = await edgesOf("next/+");
      await subscriber.stop();
      return edges.join() === "e3";
    });
    await Promise.all([...testbed.agents.values()].map((agent) => agent.stop()));
    await eventually("h8 answers h2", 8_000, async () => (await hear("h2", REAL, "1883")) === "this is h8");
    await eventually("no steering flow is left", 3_000, async () => {
      for (const name of testbed.tree.switches) {
        const flows = await testbed.switches.flows(name);
        const left = flows.find((f) => f.priority === 28_000 || f.priority === 27_000);
        if (left !== undefined) throw new Error(`${name}: ${left.match}`);
      }
      return true;
    });
  });
});
