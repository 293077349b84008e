/** Transparent mode: clients that keep a broker's address, which agents answer for. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Child } from "topicast/testbed/child";
import { CREDENTIALS, eventually, type Testbed } from "topicast/testbed/testbed";
import { Pki } from "../unit/agents/transport/pki.js";
import { AGENTS, numbered, startSevenSwitches, topics } from "./support.js";

/** Nobody has these. */
const NOWHERE = "192.168.1.250";
const NOWHERE6 = "fd00::250";
/** A machine with a broker of its own, and other services. */
const REAL = "192.168.1.108";
const OTHER_PORT = "7777";

/** Says where it is to whoever connects, at every port that it is given. */
const SERVER = `
import select, socket, sys
listeners = [
    socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True, backlog=8)
    for port in sys.argv[1:]
]
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
  const pki = new Pki();
  let testbed: Testbed;
  let server: Child;

  before(async () => {
    const broker = pki.issue("broker", "/CN=broker", { names: `IP:${NOWHERE6}` });
    const brokers = [NOWHERE, `${REAL}:1883`, NOWHERE6, `[${NOWHERE6}]:8883`];
    testbed = await startSevenSwitches(
      ...brokers.flatMap((address) => ["--intercept", address]),
      ...["--tlsport", "8883", "--cert", broker.cert, "--key", broker.key],
    );
    // Agents' hosts have no IPv6 at all, and need none.
    for (const host of ["h2", "h4", "h6", "h8"]) await addIpv6(host, `fd00::10${host.slice(1)}`);
    server = testbed.run.start({
      name: "services on h8",
      command: testbed.network.inHost("h8", ["/usr/bin/python3", "-c", SERVER, "1883", OTHER_PORT]),
    });
    await server.waitFor(/listening/, 5_000);
    await testbed.waitForIntercept(NOWHERE, true);
    await testbed.waitForIntercept(REAL, false);
    await testbed.waitForIntercept(NOWHERE6, true);
  });
  after(async () => {
    await testbed?.stop();
    pki.remove();
  });

  async function addIpv6(host: string, address: string): Promise<void> {
    const settings = ["all", "default", `${host}-eth0`].map((name) => `net.ipv6.conf.${name}.disable_ipv6=0`);
    await inHost(host, "sysctl", "-qw", ...settings);
    await inHost(host, "ip", "address", "add", `${address}/64`, "dev", `${host}-eth0`, "nodad");
  }

  function inHost(host: string, ...command: string[]): Promise<string> {
    return testbed.run.output(testbed.network.inHost(host, command));
  }

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

  for (const agent of [NOWHERE, NOWHERE6]) {
    it(`serves each client of ${agent}, which nobody has, at its own edge`, async () => {
      const filter = `nowhere/${agent}/+`;
      const subscribers = [
        await testbed.subscribe("h2", { agent, filter }),
        await testbed.subscribe("h6", { agent, filter }),
      ];
      assert.deepEqual(await edgesOf(filter), ["e1", "e5"]);
      const publisher = await testbed.publisher("h4", { agent, topic: `nowhere/${agent}/1` });
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
  }

  it("serves TLS at the port of the agents' own, by the name of the broker that nobody has", async () => {
    const subscriber = await testbed.subscribe("h6", { agent: NOWHERE, filter: "secret/+" });
    const { username, password } = CREDENTIALS;
    const broker = ["-h", NOWHERE6, "-p", "8883", "--cafile", pki.ca.cert, "-u", username, "-P", password];
    await inHost("h4", "mosquitto_pub", ...broker, "-q", "1", "-t", "secret/1", "-m", "over TLS");
    assert.ok(await subscriber.has(1, 5_000));
    assert.deepEqual(subscriber.received, [{ topic: "secret/1", payload: "over TLS" }]);
    await subscriber.stop();
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
        { address: NOWHERE6, port: 1883, agents, vacant: true, seen: undefined },
        { address: NOWHERE6, port: 8883, agents, vacant: true, seen: undefined },
      ],
    );
    const { status, problems } = (await testbed.get("/healthz")) as { status: string; problems: string[] };
    assert.deepEqual([status, problems], ["ok", []]);
  });

  it("goes on without the forwarder", async () => {
    await testbed.forwarder!.stop();
    assert.equal(await hear("h2", NOWHERE, "1883"), "connected");
    assert.equal(await hear("h6", REAL, "1883"), "connected");
    await inHost("h6", "ip", "neighbour", "flush", "dev", "h6-eth0");
    assert.equal(await hear("h6", NOWHERE6, "1883"), "connected");
    await testbed.startForwarder();
    await testbed.waitForIntercept(NOWHERE, true);
    await testbed.waitForIntercept(REAL, false);
  });

  for (const [address, prefix] of [
    [NOWHERE, 24],
    [NOWHERE6, 64],
  ] as const) {
    it(`sees the owner of ${address} appear`, async () => {
      const change = (how: string) =>
        inHost("h8", "ip", "address", how, `${address}/${prefix}`, "dev", "h8-eth0");
      await change("add");
      await testbed.waitForIntercept(address, false, 20_000);
      await inHost("h2", "ip", "neighbour", "flush", "dev", "h2-eth0");
      await eventually(
        "h8 answers at its other ports",
        5_000,
        async () => (await hear("h2", address, OTHER_PORT)) === "this is h8",
      );
      assert.equal(await hear("h2", address, "1883"), "connected");
      await change("del");
    });
  }

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
        const left = flows.find((f) => f.priority >= 27_000 && f.priority <= 28_500);
        if (left !== undefined) throw new Error(`${name}: ${left.match}`);
      }
      return true;
    });
  });
});
