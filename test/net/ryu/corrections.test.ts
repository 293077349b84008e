/** What the launcher corrects in Ryu, one test per correction, against the real Ryu with ill-behaved switches. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RyuClient, RyuError } from "node-ryu-rest-client";
import { ROOT, Run } from "topicast/testbed/run";
import { FakeSwitch, type Manners } from "./fake-switch.js";
import { eventually, Ryu, udpFrame } from "./support.js";

const BROADCAST = "ff:ff:ff:ff:ff:ff";
const LLDP = 0x88cc;

describe("Ryu as the launcher corrects it", () => {
  let ryu: Ryu;
  let client: RyuClient;
  const switches: FakeSwitch[] = [];

  before(async () => {
    ryu = await Ryu.start();
    client = ryu.client;
  });
  afterEach(async () => {
    for (const fake of switches.splice(0)) fake.close();
    await eventually(async () => assert.deepEqual(await client.switches(), []));
  });
  after(() => ryu?.stop());

  async function connect(dpid: bigint, ports: number[], manners?: Manners): Promise<FakeSwitch> {
    const named = ports.map((no) => ({ no, name: `s${dpid}-p${no}` }));
    const fake = await FakeSwitch.connect(ryu.openflowPort, dpid, named, manners);
    switches.push(fake);
    await eventually(async () => assert.ok((await client.topologySwitches(dpid)).length === 1));
    return fake;
  }

  /** Hands the newest LLDP frame that Ryu sent out of a port to the switch at the other end. */
  async function cable(from: FakeSwitch, fromPort: number, to: FakeSwitch, toPort: number): Promise<void> {
    const frame = await eventually(async () => {
      const sent = from.sent.findLast((s) => s.port === fromPort && s.frame.readUInt16BE(12) === LLDP);
      assert.ok(sent !== undefined, "no LLDP frame yet");
      return sent.frame;
    });
    to.packetIn(toPort, frame);
    await eventually(async () => {
      const links = await client.topologyLinks(from.dpid);
      assert.ok(
        links.some((l) => l.src.portNo === fromPort && l.dst.dpid === to.dpid && l.dst.portNo === toPort),
      );
    });
  }

  const broadcast = (mac: string, ip: string) => udpFrame(BROADCAST, mac, "10.255.255.255", ip);

  async function host(mac: string) {
    return (await client.topologyHosts()).find((h) => h.mac === mac);
  }

  it("a silent switch is an error after a second, not an empty list", async () => {
    await connect(1n, [1]);
    const start = performance.now();
    await assert.rejects(client.groups(1n), (error: RyuError) => {
      assert.equal(error.kind, "no-answer");
      assert.equal(error.status, 504);
      assert.match(error.message, /switch 0000000000000001 sent no complete answer within 1 s/);
      return true;
    });
    const took = performance.now() - start;
    assert.ok(took >= 900 && took < 3000, `${took} ms`);
  });

  it("a switch that refuses a statistics request is an error at once, with its reason", async () => {
    await connect(2n, [1], "refusing");
    const start = performance.now();
    await assert.rejects(client.meterFeatures(2n), (error: RyuError) => {
      assert.equal(error.kind, "refused");
      assert.match(error.message, /switch 0000000000000002 refuses: OFPT_MULTIPART_REQUEST.*BAD_MULTIPART/);
      return true;
    });
    assert.ok(performance.now() - start < 900);
    assert.match(ryu.child.stderrLines.join("\n"), /switch 0000000000000002 refuses/);
  });

  it("a host seen on its way through the network before the links are known stays at its own port", async () => {
    const a = await connect(3n, [1, 2]);
    const b = await connect(4n, [1, 2]);
    const mac = "02:00:00:00:03:01";
    a.packetIn(1, broadcast(mac, "10.0.3.1"));
    await eventually(async () => assert.equal((await host(mac))?.port.dpid, 3n));
    b.packetIn(2, broadcast(mac, "10.0.3.1"));
    await eventually(async () => assert.equal((await host(mac))?.port.dpid, 4n));
    await cable(a, 2, b, 2);
    await cable(b, 2, a, 2);
    const found = await host(mac);
    assert.deepEqual([found?.port.dpid, found?.port.portNo], [3n, 1]);
    assert.deepEqual(found?.ipv4, ["10.0.3.1"]);
  });

  it("a host that moves keeps its addresses; an address goes to the host that used it last", async () => {
    const a = await connect(5n, [1, 2, 3]);
    const mac = "02:00:00:00:05:01";
    a.packetIn(1, broadcast(mac, "10.0.5.1"));
    await eventually(async () => assert.deepEqual((await host(mac))?.ipv4, ["10.0.5.1"]));
    const silent = Buffer.alloc(60);
    Buffer.from("ffffffffffff020000000501", "hex").copy(silent);
    a.packetIn(2, silent);
    await eventually(async () => assert.equal((await host(mac))?.port.portNo, 2));
    assert.deepEqual((await host(mac))?.ipv4, ["10.0.5.1"]);
    a.packetIn(3, broadcast("02:00:00:00:05:02", "10.0.5.1"));
    await eventually(async () => assert.deepEqual((await host("02:00:00:00:05:02"))?.ipv4, ["10.0.5.1"]));
    assert.deepEqual((await host(mac))?.ipv4, []);
    a.packetIn(3, broadcast("02:00:00:00:05:03", "0.0.0.0"));
    await eventually(async () => assert.deepEqual((await host("02:00:00:00:05:03"))?.ipv4, []));
  });

  it("a switch that connects again has the ports it has now, and its old connection is closed", async () => {
    const old = await connect(6n, [1, 2]);
    await FakeSwitch.connect(ryu.openflowPort, 6n, [{ no: 7, name: "new" }]).then((s) => switches.push(s));
    await eventually(async () => {
      const [now] = await client.topologySwitches(6n);
      assert.deepEqual(
        now?.ports.map((p) => [p.portNo, p.name]),
        [[7, "new"]],
      );
    });
    await eventually(async () => assert.ok(old.closed, "the old connection is open"));
    await client.modifyPort(6n, { portNo: 7, config: 0, mask: 0 });
    await assert.rejects(client.modifyPort(6n, { portNo: 1, config: 0, mask: 0 }), {
      kind: "unknown-switch",
    });
    assert.deepEqual(await client.switches(), [6n]);
  });

  it("a switch that connects again is learned anew by simple_switch_13", async () => {
    const [near, far] = ["02:00:00:00:07:01", "02:00:00:00:07:02"];
    const a = await connect(7n, [1, 2, 3]);
    a.packetIn(2, broadcast(far, "10.0.7.2"));
    await eventually(async () => assert.equal((await host(far))?.port.portNo, 2));
    const port = (s: FakeSwitch) => s.sent.findLast((p) => p.frame.readUInt16BE(12) === 0x0800)?.port;
    await eventually(async () => {
      // For half a second after its ports have come up, it might have turned out to have none for hosts.
      a.packetIn(2, broadcast(far, "10.0.7.2"));
      a.packetIn(1, udpFrame(far, near, "10.0.7.2", "10.0.7.1"));
      assert.equal(port(a), 2);
    });
    a.close();
    await eventually(async () => assert.deepEqual(await client.switches(), []));
    const again = await connect(7n, [1, 2, 3]);
    again.packetIn(1, udpFrame(far, near, "10.0.7.2", "10.0.7.1"));
    await eventually(async () => {
      again.packetIn(1, udpFrame(far, near, "10.0.7.2", "10.0.7.1"));
      const ports = again.sent.filter((p) => p.frame.readUInt16BE(12) === 0x0800).map((p) => p.port);
      assert.deepEqual([...new Set(ports)].sort(), [2, 3], "not flooded");
    });
  });

  it("simple_switch_13 floods by a spanning tree and takes nothing from beside it; when a link goes it learns anew", async () => {
    const [near, far] = ["02:00:00:00:08:01", "02:00:00:00:08:02"];
    const [a, b, c] = await Promise.all([11n, 12n, 13n].map((dpid) => connect(dpid, [1, 2, 3])));
    // A triangle: the link from b to c (port 2 of both) is none of the tree's.
    const cables = [
      [a!, 1, b!, 1],
      [a!, 2, c!, 1],
      [b!, 2, c!, 2],
    ] as const;
    for (const [from, fromPort, to, toPort] of cables) await cable(from, fromPort, to, toPort);
    const arp = (s: FakeSwitch) =>
      s.sent.filter((p) => p.frame.readUInt16BE(12) === 0x0800).map((p) => p.port);
    const flooded = async (at: FakeSwitch, inPort: number, ports: number[]) => {
      await eventually(async () => {
        at.sent.length = 0;
        at.packetIn(inPort, broadcast(near, "10.0.8.1"));
        await eventually(async () => assert.deepEqual(arp(at), ports), 200);
      });
    };
    await flooded(b!, 3, [1]);
    await flooded(a!, 1, [2, 3]);
    await flooded(c!, 1, [3]);
    c!.sent.length = 0;
    c!.packetIn(2, broadcast(near, "10.0.8.1"));
    b!.packetIn(3, udpFrame(far, near, "10.0.8.2", "10.0.8.1"));
    await sleep(300);
    assert.deepEqual(arp(c!), [], "nothing from beside the tree");
    const before = b!.deletions;
    a!.close();
    await eventually(async () => assert.ok(b!.deletions > before, "what it has learned is deleted"));
    await flooded(b!, 3, [1, 2]);
  });

  it("a link that dies without a port going down is gone when six LLDP frames in a row have not come", async (test) => {
    const [a, b] = await Promise.all([41n, 42n].map((dpid) => connect(dpid, [1])));
    await cable(a!, 1, b!, 1);
    const heard = performance.now();
    const asked = () => a!.sent.filter((p) => p.frame.readUInt16BE(12) === LLDP).length;
    const before = asked();
    await eventually(async () => assert.deepEqual(await client.topologyLinks(41n), []), 9_000);
    test.diagnostic(`gone after ${((performance.now() - heard) / 1000).toFixed(1)} s`);
    assert.ok(asked() - before >= 5, `only ${asked() - before} LLDP frames since`);
  });

  it("a frame that has gone round a closing loop teaches simple_switch_13 nothing", async () => {
    const [near, far] = ["02:00:00:00:09:01", "02:00:00:00:09:02"];
    const [a, b] = await Promise.all([31n, 32n].map((dpid) => connect(dpid, [1, 2, 3])));
    await cable(a!, 1, b!, 1);
    const outputs = () => a!.sent.filter((p) => p.frame.readUInt16BE(12) === 0x0800).map((p) => p.port);
    await eventually(async () => {
      a!.sent.length = 0;
      a!.packetIn(2, broadcast(near, "10.0.9.1"));
      await eventually(async () => assert.deepEqual(outputs(), [1, 3]), 200);
    });
    a!.sent.length = 0;
    // It comes back by the link, and is not sent on.
    a!.packetIn(1, broadcast(near, "10.0.9.1"));
    a!.packetIn(3, udpFrame(near, far, "10.0.9.1", "10.0.9.2"));
    await eventually(async () => assert.deepEqual(outputs(), [2]));
    // Heard first where it does not live, as if its own frame had been overtaken: that is forgotten.
    a!.packetIn(1, broadcast("02:00:00:00:09:03", "10.0.9.3"));
    a!.packetIn(2, broadcast("02:00:00:00:09:03", "10.0.9.3"));
    a!.packetIn(1, broadcast("02:00:00:00:09:03", "10.0.9.3"));
    a!.sent.length = 0;
    a!.packetIn(3, udpFrame("02:00:00:00:09:03", far, "10.0.9.3", "10.0.9.2"));
    await eventually(async () => assert.equal(outputs().at(-1), 2));
  });

  it("broken frames end in no traceback and in no harm", async () => {
    const a = await connect(8n, [1, 2]);
    const lldp = Buffer.from(`0180c200000e02000000080188cc${"ff".repeat(40)}`, "hex");
    const arp = Buffer.from("ffffffffffff0200000008010806", "hex");
    const port2600 = udpFrame(BROADCAST, "02:00:00:00:08:02", "10.255.255.255", "10.0.8.2", "\u0000\u0006");
    port2600.writeUInt16BE(67, 14 + 20 + 2);
    for (const frame of [Buffer.alloc(5), lldp, arp, lldp.subarray(0, 20)]) a.packetIn(1, frame);
    a.packetIn(2, broadcast("02:00:00:00:08:03", "10.0.8.3"));
    await eventually(async () => assert.equal((await host("02:00:00:00:08:03"))?.port.portNo, 2));
    // Forwarded although nobody understands what is in it.
    await eventually(async () => {
      a.packetIn(1, port2600);
      assert.ok(a.sent.some((s) => s.frame.equals(port2600)));
    });
    assert.doesNotMatch(ryu.child.stderrLines.join("\n"), /Traceback/);
  });

  it("a switch that falls silent altogether is dropped", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tcry-"));
    const config = join(folder, "ryu.conf");
    // The time between echo requests is 5 s otherwise.
    writeFileSync(config, "[DEFAULT]\necho_request_interval = 0.2\n");
    const quick = await Ryu.start("--config-file", config);
    try {
      const [alive, mute] = await Promise.all(
        [21n, 22n].map((dpid) => FakeSwitch.connect(quick.openflowPort, dpid, [{ no: 1, name: "p" }])),
      );
      await eventually(async () => assert.deepEqual((await quick.client.switches()).sort(), [21n, 22n]));
      mute!.answersEchoes = false;
      await eventually(async () => assert.deepEqual(await quick.client.switches(), [21n]), 5000);
      await sleep(1000);
      assert.deepEqual(await quick.client.switches(), [21n]);
      alive!.close();
      mute!.close();
    } finally {
      await quick.stop();
      rmSync(folder, { recursive: true });
    }
  });

  it("tables of links and hosts keep their invariants (Python unit tests)", async () => {
    const python = `${ROOT}/ryu/.venv/bin/python`;
    const { code, stderr } = await new Run().exec(
      [python, "-BW", "ignore", `${ROOT}/test/net/ryu/launcher_tables.py`],
      30_000,
    );
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^Ran [1-9][0-9]* tests/m);
  });
});
