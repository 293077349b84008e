import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Publisher, Subscriber } from "topicast/testbed/clients";
import { COOKIE } from "topicast/testbed/switches";
import { eventually, type Testbed } from "topicast/testbed/testbed";
import { AGENTS, publisherAt, sleep, startSevenSwitches, subscribeAt, topics } from "./support.js";

/** Sends UDP datagrams with any source address; sys.argv: interface, source, destination, how many, payload in hexadecimal. */
const FORGE = `
import socket, struct, sys
device, src, dst, count, payload = *sys.argv[1:4], int(sys.argv[4]), bytes.fromhex(sys.argv[5])
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
udp = struct.pack("!HHHH", 1883, 1883, 8 + len(payload), 0) + payload
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 8, 17, 0, socket.inet_aton(src), socket.inet_aton(dst))
for i in range(count):
    s.sendto(ip + udp, (dst, 1883))
`;
/** A DATA datagram of e5 in a far future (protocol/README.md), which an agent that got it would have to believe. */
const DATA = "0101030500000005fffffff0efc000010000000030070001740021";
const COUNT = 100;
/** A port that no switch has yet. */
const NEW_PORT = 40;

describe("fabric datagrams of strangers", () => {
  let testbed: Testbed;
  let publisher: Publisher;
  const subscribers: Subscriber[] = [];
  let expected = 0;
  before(async () => {
    testbed = await startSevenSwitches();
    for (const id of ["e1", "e5"] as const) subscribers.push(await subscribeAt(testbed, id, "guard/#"));
    publisher = await publisherAt(testbed, "e3", "guard/x");
    await testbed.openRoute(AGENTS.e3, publisher, subscribers);
    expected = subscribers[0]!.received.length;
    await rulesStand();
  });
  after(() => testbed?.stop());

  /** Until the switches hold all that they should, what keeps strangers off among it. */
  async function rulesStand(): Promise<void> {
    await eventually("the switches keep strangers off", 15_000, async () => {
      const { switches } = (await testbed.get("/topology")) as { switches: { differing: number }[] };
      if (switches.some((s) => s.differing > 0)) throw new Error("switches still hold other rules");
      return (await keptOff()).rules > 0;
    });
  }

  /** The rules of the switch that h1 and h2 share, and what they have dropped. */
  async function keptOff(): Promise<{ rules: number; packets: number }> {
    await testbed.switches.settle();
    const flows = await testbed.switches.flows(testbed.tree.parent("h2")!);
    const drops = flows.filter(
      (f) => f.cookie === COOKIE && f.actions === "drop" && f.match.includes("in_port"),
    );
    return { rules: drops.length, packets: drops.reduce((sum, f) => sum + f.packets, 0) };
  }

  async function counted(): Promise<number> {
    const answer = await fetch(`${testbed.forwarderUrl}/metrics`);
    return Number(/^topicast_dataplane_fabric_drops_total (\d+)$/m.exec(await answer.text())?.[1]);
  }

  async function forge(host: string, from: string, to: string): Promise<void> {
    const command = ["/usr/bin/python3", "-c", FORGE, `${host}-eth0`, from, to, String(COUNT), DATA];
    await testbed.run.output(testbed.network.inHost(host, command));
  }

  /** Everybody who should have them has 50 more messages, in order. */
  async function assertUnaffected(): Promise<void> {
    for (let i = 0; i < 50; i++) publisher.publish(`steady ${++expected}`);
    for (const subscriber of subscribers) {
      assert.ok(await subscriber.has(expected, 10_000), `${subscriber.child.name} has all`);
      assert.equal(subscriber.received.length, expected);
    }
  }

  it("are dropped at the switch where they come in, and counted; agents go on", async () => {
    const { network, links } = testbed;
    const group = (await topics(testbed)).topics.find((t) => t.topic === "guard/x")!.group!;
    const [h1, h2, h5] = ["h1", "h2", "h5"].map((host) => network.address(host)) as [string, string, string];
    await sleep(2_000);
    const before = { ...(await keptOff()), counted: await counted(), links: await links.snapshot() };
    await forge("h2", h2, group);
    await forge("h2", h2, h1);
    await forge("h2", h5, network.address("fwd"));
    await forge("h1", h5, group);
    const { packets } = await keptOff();
    assert.equal(packets - before.packets, 4 * COUNT);
    const entered = new Map(
      [...(await links.snapshot())].map(([key, n]) => [key, n - before.links.get(key)!]),
    );
    for (const link of testbed.tree.links) {
      assert.equal(entered.get(`${link.from}>${link.to}`), 0, `from ${link.from} to ${link.to}`);
      if (testbed.tree.isInner(link))
        assert.equal(entered.get(`${link.to}>${link.from}`), 0, `up from ${link.to}`);
    }
    await eventually(
      "the forwarder has counted them",
      5_000,
      async () => (await counted()) === before.counted + 4 * COUNT,
    );
    // With an address of its own anybody may speak to the forwarder: so does who is about to register.
    await forge("h2", h2, network.address("fwd"));
    assert.equal((await keptOff()).packets, packets);
    await assertUnaffected();
  });

  it("become an agent's when one starts there", async () => {
    await testbed.startAgent("h2", "e2");
    const client = await testbed.publisher("h1", { agent: "h2", topic: "guard/new" });
    await testbed.openRoute("h2", client, subscribers);
    expected = subscribers[0]!.received.length;
    await client.stop();
    await assertUnaffected();
  });

  it("become an agent's when it moves there: within seconds it is heard and hears", async (t) => {
    const { run, tree } = testbed;
    const name = tree.parent("h3")!;
    const link = tree.links.find((l) => l.to === "h3")!;
    const device = `${name}-eth${link.port}`;
    const moved = performance.now();
    await run.output(
      `ovs-vsctl del-port ${device} -- add-port ${name} ${device} -- set Interface ${device} ofport_request=${NEW_PORT}`.split(
        " ",
      ),
    );
    await eventually("the forwarder knows its new port", 30_000, async () => {
      const { agents } = (await testbed.get("/topology")) as {
        agents: { id: string; at: { port: number } | null }[];
      };
      return agents.find((a) => a.id === "e3")?.at?.port === NEW_PORT;
    });
    t.diagnostic(`known at its new port ${Math.round(performance.now() - moved)} ms after the move`);
    // simple_switch_13 sends its client's TCP to the old port for ever: its flows do not age.
    const mac = "02:00:c0:a8:01:67";
    for (const other of tree.switches) await testbed.switches.deleteFlows(other, `dl_dst=${mac}`);
    // e3's publisher is at it: what it publishes once a while must come to e1 and e5 again.
    const had = subscribers.map((s) => s.received.length);
    await eventually("its messages arrive again", 30_000, async () => {
      publisher.publish(`moving ${Math.round(performance.now() - moved)}`);
      await sleep(200);
      return subscribers.every((s, i) => s.received.length > had[i]!);
    });
    t.diagnostic(`heard ${Math.round(performance.now() - moved)} ms after the move`);
    await rulesStand();
    const late = await subscribeAt(testbed, "e3", "back/#");
    const other = await publisherAt(testbed, "e5", "back/x");
    await testbed.openRoute(AGENTS.e5, other, [late]);
    t.diagnostic(`whole ${Math.round(performance.now() - moved)} ms after the move`);
    await sleep(1_000);
    expected = subscribers[0]!.received.length;
    await assertUnaffected();
    for (const subscriber of [...subscribers, late]) await subscriber.stop();
    await Promise.all([publisher.stop(), other.stop()]);
  });
});
