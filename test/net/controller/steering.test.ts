/** Transparent mode on real switches behind the real Ryu: the rules, and what they do to frames of Linux. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { EdgeAgent } from "@topicast/controller/dataplane/dataplane.js";
import { OpenFlowDataplane } from "@topicast/controller/dataplane/openflow.js";
import { RyuAccess } from "@topicast/controller/dataplane/ryu-access.js";
import { systemClock } from "@topicast/protocol";
import { eventually } from "topicast/testbed/testbed";
import { Lab } from "./lab.js";

const AGENT = { id: "e1", address: "10.77.0.1", mac: "02:77:00:00:00:01", at: 1 };
/** A client beside the agent, and one on another switch, two links away. */
const NEAR = { id: "c5", address: "10.77.0.5", mac: "02:77:00:00:00:05", at: 1 };
const FAR = { id: "c6", address: "10.77.0.6", mac: "02:77:00:00:00:06", at: 2 };
/** Nobody has these. */
const V4 = "10.77.0.250";
const V6 = "fd00::250";
/** A MAC address that nobody has either: that of the real broker, as clients may know it. */
const BROKER_MAC = "02:99:00:00:00:99";

/** An ARP announcement (RFC 5227 section 1.1) of an address that the kernel need not have. */
const ANNOUNCE = `import socket
mac, ip = bytes.fromhex("${FAR.mac.replaceAll(":", "")}"), socket.inet_aton("${V4}")
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("eth0", 0))
s.send(b"\\xff" * 6 + mac + bytes.fromhex("08060001080006040001") + mac + ip + bytes(6) + ip)`;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

describe("steering on Open vSwitch and Ryu", { timeout: 120_000 }, () => {
  const lab = new Lab([0x77001n, 0x77002n, 0x77003n], [0, 0], [AGENT, NEAR, FAR]);
  let plane: OpenFlowDataplane;

  function agent(vacant: readonly string[]): EdgeAgent {
    const { id, address, mac } = AGENT;
    return {
      id,
      address,
      mac,
      port: 1883,
      vacant,
      intercepts: [V4, V6].map((a) => ({ address: a, port: 1883 })),
    };
  }

  /** Until the switches hold what they should, and nothing else. */
  const settled = () =>
    eventually("the switches hold what they should", 10_000, () => {
      const { switches, intercepts } = plane.topology();
      const whole = intercepts.every((i) => i.wanted > 0 && i.seen === i.wanted);
      return (
        switches.length === 3 && whole && switches.every((s) => s.differing === 0 && s.readAgoMs !== null)
      );
    });

  async function steeringFlows(at: number): Promise<string[]> {
    const lines = (await lab.ofctl("dump-flows", at)).split("\n");
    return lines
      .filter((line) => /priority=2[78][05]00,/.test(line))
      .map((line) => line.replace(/^.*(?=priority=)/, ""))
      .sort();
  }

  /** Tries to connect, and gives up soon. */
  const connect = (id: string, address: string, port: number) =>
    lab.inHost(
      id,
      "/usr/bin/python3",
      "-c",
      `import socket
s=socket.socket(${address.includes(":") ? "socket.AF_INET6" : "socket.AF_INET"});s.settimeout(0.4)
print(s.connect_ex(("${address}",${port})))`,
    );

  before(async () => {
    await lab.start();
    await lab.startRyu();
    for (const [n, host] of [AGENT, NEAR, FAR].entries()) await lab.addIpv6(host.id, `fd00::${n + 1}`);
    const quiet = { debug: () => {}, info: () => {}, warn: () => {} };
    const access = new RyuAccess(lab.url);
    const range = { base: 0xefc00000, size: 2 ** 18 };
    plane = new OpenFlowDataplane({ access, clock: systemClock, range, log: quiet });
    plane.onLocate = (id) => void lab.broadcast(id);
    plane.start();
    plane.setAgents([agent([V4, V6])]);
    plane.settled();
    await settled();
  });
  after(async () => {
    await plane?.close();
    await lab.stop();
  });

  it("reads back what it wrote, of both families, and leaves it alone then", async () => {
    const here = await steeringFlows(1);
    const toAgent = `set_field:${AGENT.mac}->eth_dst,output:11`;
    for (const match of [
      `tcp,in_port=15,nw_dst=${V4},tp_dst=1883 actions=${toAgent}`,
      `tcp6,in_port=15,ipv6_dst=${V6},tp_dst=1883 actions=${toAgent}`,
      `arp,in_port=15,arp_tpa=${V4},arp_op=1 actions=${toAgent},CONTROLLER:65535`,
      `icmp6,in_port=15,icmp_type=135,nd_target=${V6} actions=${toAgent},CONTROLLER:65535`,
    ])
      assert.ok(here.includes(`priority=28000,${match}`), `${match}\n${here.join("\n")}`);
    const between = await steeringFlows(0);
    assert.ok(
      between.includes(`priority=27000,tcp6,dl_dst=${AGENT.mac},ipv6_dst=${V6},tp_dst=1883 actions=output:2`),
    );
    const { commands } = plane.status().counters;
    const { reads } = plane.status().counters;
    await eventually("two more read-backs of each", 10_000, () => plane.status().counters.reads >= reads + 6);
    assert.equal(plane.status().counters.commands, commands);
    await settled();
  });

  for (const client of [NEAR, FAR]) {
    for (const [address, asked] of [
      [V4, `who-has ${V4}`],
      [V6, `who has ${V6}`],
    ] as const) {
      it(`leads ${client.id}'s question for ${address}, and its TCP to that port alone, to the agent`, async () => {
        const capture = await lab.capture(AGENT.id, `ether dst ${AGENT.mac}`);
        try {
          await connect(client.id, address, 1883);
          const frames = () => capture.lines.filter((l) => l.startsWith(`${client.mac} > ${AGENT.mac}`));
          await eventually(`${asked} arrives`, 3_000, () => frames().some((l) => l.includes(asked)));
          const known = ["neighbour", "replace", address, "lladdr", BROKER_MAC, "dev", "eth0"];
          await lab.inHost(client.id, "ip", ...known);
          await connect(client.id, address, 80);
          await connect(client.id, address, 1883);
          const syn = `> ${address}.1883: Flags [S]`;
          await eventually("a SYN arrives", 3_000, () => frames().some((l) => l.includes(syn)));
          assert.ok(!capture.lines.some((l) => l.includes(`${address}.80:`)), "not of other ports");
          await lab.inHost(client.id, "ip", "neighbour", "del", address, "dev", "eth0");
        } finally {
          await capture.stop();
        }
      });
    }
  }

  it("lets all hear of a machine that takes an address", async () => {
    const flows = await steeringFlows(2);
    for (const match of [
      `arp,in_port=16,arp_spa=${V4},arp_tpa=${V4},arp_op=1`,
      `icmp6,in_port=16,ipv6_src=::,icmp_type=135,nd_target=${V6}`,
    ])
      assert.ok(flows.includes(`priority=28500,${match} actions=CONTROLLER:65535`), flows.join("\n"));
    const capture = await lab.capture(AGENT.id, "arp or icmp6");
    await lab.inHost(FAR.id, "/usr/bin/python3", "-c", ANNOUNCE);
    await lab.inHost(FAR.id, "ip", "address", "add", `${V6}/64`, "dev", "eth0");
    const heard = (to: string, what: string) => () =>
      capture.lines.some((l) => l.startsWith(`${FAR.mac} > ${to}`) && l.includes(what));
    await eventually(
      "the test before it takes it is heard",
      3_000,
      heard("33:33:ff:00:02:50", `who has ${V6}`),
    );
    await eventually("the announcement is heard", 3_000, heard("ff:ff:ff:ff:ff:ff", `who-has ${V4}`));
    await lab.inHost(FAR.id, "ip", "address", "del", `${V6}/64`, "dev", "eth0");
    await capture.stop();
  });

  it("puts back the rules of both families that somebody deletes", async () => {
    const right = await steeringFlows(1);
    await lab.ofctl("del-flows", 1, "tcp6");
    await lab.ofctl("del-flows", 1, "icmp6");
    await eventually(
      "the rules are back",
      5_000,
      async () => (await steeringFlows(1)).join() === right.join(),
    );
  });

  it("leaves the questions to all once an address has an owner, each family by itself", async () => {
    plane.setAgents([agent([V4])]);
    await sleep(100);
    await settled();
    const flows = [...(await steeringFlows(1)), ...(await steeringFlows(2))];
    assert.ok(!flows.some((f) => f.includes("icmp6")));
    assert.ok(flows.some((f) => f.includes(`arp_tpa=${V4}`)) && flows.some((f) => f.includes("tcp6")));
    const capture = await lab.capture(AGENT.id, "icmp6");
    await connect(NEAR.id, V6, 1883);
    const flooded = `${NEAR.mac} > 33:33:ff:00:02:50`;
    await eventually("it is flooded", 3_000, () => capture.lines.some((l) => l.startsWith(flooded)));
    await capture.stop();
  });

  it("removes everything with the last agent", async () => {
    plane.setAgents([]);
    await eventually("nothing is left", 5_000, async () => {
      const left = await Promise.all([0, 1, 2].map(steeringFlows));
      return left.flat().length === 0;
    });
  });
});
