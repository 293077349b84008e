import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  Port,
  PortConfig,
  PortState,
  type RyuClient,
  RyuError,
  type RyuErrorKind,
} from "node-ryu-rest-client";
import { eventually, Lab, Ryu, udpFrame } from "./support.js";

/** Above 2^53: as a double it would be another switch. */
const DPID = 0xfedcba9876543211n;
const BRIDGE = "tcry0";
const COOKIE = 0x8000_0000_0000_0001n;
const ALL_BITS = (1n << 64n) - 1n;
const H2 = "02:00:00:00:00:02";

describe("statistics, ports, roles and topology of a real switch through a real Ryu", () => {
  let lab: Lab;
  let ryu: Ryu;
  let client: RyuClient;

  before(async () => {
    lab = await Lab.open();
    await lab.addSwitch({ name: BRIDGE, dpid: DPID, hosts: 3 });
    ryu = await Ryu.start();
    client = ryu.client;
    await lab.connect(BRIDGE, ryu);
    await eventually(async () => assert.deepEqual(await client.switches(), [DPID]));
  });

  after(async () => {
    await ryu?.stop();
    await lab?.close();
  });

  const ours = () => client.flows(DPID, { cookie: COOKIE, cookieMask: ALL_BITS });

  async function fails(call: Promise<unknown>, kind: RyuErrorKind, message: RegExp): Promise<RyuError> {
    const error = await call.then(
      () => assert.fail("the call succeeded"),
      (e: unknown) => e,
    );
    assert.ok(error instanceof RyuError, String(error));
    assert.equal(error.kind, kind, error.message);
    assert.match(error.message, message);
    return error;
  }

  describe("statistics", () => {
    it("desc says what the switch is", async () => {
      const desc = await client.desc(DPID);
      assert.equal(desc.hardware, "Open vSwitch");
      assert.match(desc.software, /^\d+\./);
      assert.equal(
        typeof desc.manufacturer + typeof desc.serialNumber + typeof desc.datapath,
        "stringstringstring",
      );
    });

    it("tables and tableFeatures describe table 0", async () => {
      const flows = await client.flows(DPID, { tableId: 0 });
      const [table] = await client.tables(DPID);
      assert.equal(table?.tableId, 0);
      assert.equal(table.activeCount, flows.length);
      assert.equal(typeof table.lookupCount, "bigint");
      const features = await client.tableFeatures(DPID);
      const zero = features.find((f) => f.tableId === 0);
      assert.ok(zero !== undefined && zero.maxEntries > 0);
      assert.equal(zero.metadataMatch, ALL_BITS);
      const match = zero.properties.find((p) => p.type === "MATCH")?.oxmIds;
      assert.ok(
        match?.some((oxm) => oxm.type === "ipv4_dst"),
        JSON.stringify(match),
      );
      assert.ok(zero.properties.find((p) => p.type === "INSTRUCTIONS")?.instructionIds?.length);
      assert.ok(zero.properties.find((p) => p.type === "APPLY_ACTIONS")?.actionIds?.length);
      assert.ok(zero.properties.find((p) => p.type === "NEXT_TABLES")?.tableIds?.includes(1));
    });

    it("ports and portDesc name every port, LOCAL included, or the one asked for", async () => {
      assert.deepEqual((await client.ports(DPID)).map((p) => p.portNo).sort(), [1, 2, 3, Port.LOCAL]);
      const [second, ...others] = await client.ports(DPID, 2);
      assert.equal(second?.portNo, 2);
      assert.equal(others.length, 0);
      assert.equal(typeof second.rxPackets, "bigint");
      const descs = await client.portDesc(DPID);
      assert.deepEqual(descs.map((p) => p.portNo).sort(), [1, 2, 3, Port.LOCAL]);
      const [third] = await client.portDesc(DPID, 3);
      assert.equal(third?.name, `${BRIDGE}p3`);
      assert.match(third.hwAddr, /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
      assert.equal(third.state, PortState.LIVE);
    });

    it("queues and queueConfig list a port's queues", async () => {
      await lab.vsctl(
        ...["--", "set", "port", `${BRIDGE}p1`, "qos=@qos"],
        ...[
          "--",
          "--id=@qos",
          "create",
          "qos",
          "type=linux-htb",
          "other-config:max-rate=10000000000",
          "queues:7=@q",
        ],
        ...["--", "--id=@q", "create", "queue", "other-config:min-rate=1000000000"],
      );
      try {
        const queues = await eventually(async () => {
          const found = await client.queues(DPID, 1);
          assert.ok(
            found.some((q) => q.queueId === 7),
            "queue 7 is not there",
          );
          return found;
        });
        assert.equal(queues.find((q) => q.queueId === 7)?.portNo, 1);
        assert.deepEqual(
          (await client.queues(DPID, 1, 7)).map((q) => q.queueId),
          [7],
        );
        assert.deepEqual(
          (await client.queues(DPID, undefined, 7)).map((q) => q.portNo),
          [1],
        );
        assert.ok((await client.queues(DPID)).length >= 1);
        const [config] = await client.queueConfig(DPID, 1);
        assert.equal(config?.portNo, 1);
        const queue = config.queues.find((q) => q.queueId === 7);
        // Open vSwitch names its queues and tells nothing of their rates in OpenFlow 1.3.
        assert.deepEqual(queue?.properties, []);
        const [all] = await client.queueConfig(DPID);
        assert.equal(all?.portNo, Port.ANY);
      } finally {
        await lab.vsctl(
          "--",
          "--all",
          "destroy",
          "qos",
          "--",
          "--all",
          "destroy",
          "queue",
          "--",
          "clear",
          "port",
          `${BRIDGE}p1`,
          "qos",
        );
      }
    });

    it("meterFeatures and groupFeatures say what the switch can", async () => {
      const meters = await client.meterFeatures(DPID);
      assert.ok(meters.maxMeter > 0 && meters.bandTypes.includes("DROP"));
      assert.ok(meters.capabilities.includes("KBPS"));
      const groups = await client.groupFeatures(DPID);
      assert.deepEqual([...groups.types].sort(), ["ALL", "FF", "INDIRECT", "SELECT"]);
      assert.ok(groups.maxGroups.ALL! >= 1024);
      assert.ok(groups.actions.ALL?.includes("SET_FIELD"));
    });

    it("queueDesc and meterDesc are not in OpenFlow 1.3", async () => {
      await fails(client.queueDesc(DPID, 1, 7), "unsupported", /GET \/stats\/queuedesc\/\d+\/1\/7: 501/);
      await fails(client.meterDesc(DPID, 1), "unsupported", /meterdesc/);
    });

    it("role is EQUAL until it is set; SLAVE may read but not write", async () => {
      assert.deepEqual(await client.role(DPID), { role: "EQUAL", generationId: ALL_BITS });
      await client.setRole(DPID, "SLAVE");
      assert.equal((await client.role(DPID)).role, "SLAVE");
      await client.addFlow(DPID, { cookie: COOKIE, priority: 5 });
      assert.deepEqual(await ours(), []);
      await client.setRole(DPID, "MASTER");
      assert.equal((await client.role(DPID)).role, "MASTER");
      await client.setRole(DPID, "EQUAL");
      assert.equal((await client.role(DPID)).role, "EQUAL");
    });
  });

  describe("ports, experimenter", () => {
    it("modifyPort changes configuration bits; a port that does not exist is named as such", async () => {
      await client.modifyPort(DPID, { portNo: 3, config: PortConfig.NO_FWD, mask: PortConfig.NO_FWD });
      assert.equal((await client.portDesc(DPID, 3))[0]!.config, PortConfig.NO_FWD);
      await client.modifyPort(DPID, { portNo: 3, config: 0, mask: PortConfig.NO_FWD });
      assert.equal((await client.portDesc(DPID, 3))[0]!.config, 0);
      await fails(
        client.modifyPort(DPID, { portNo: 9, config: 0, mask: 0 }),
        "unknown-switch",
        /no such port/,
      );
    });

    it("sendExperimenter reaches the switch, which knows no such experimenter", async () => {
      await client.sendExperimenter(DPID, {
        experimenter: 0x00abcdef,
        expType: 1,
        data: Buffer.from([0, 255]),
      });
      await eventually(async () =>
        assert.match(ryu.child.stderrLines.join("\n"), /refuses: OFPT_EXPERIMENTER.*BAD_EXPERIMENTER/),
      );
    });
  });

  describe("topology", () => {
    it("switches, with one dpid or all, carry exact ids", async () => {
      const [all] = await client.topologySwitches();
      assert.equal(all?.dpid, DPID);
      assert.deepEqual(
        all.ports.map((p) => p.portNo),
        [1, 2, 3],
      );
      assert.deepEqual(await client.topologySwitches(DPID), [all]);
      assert.deepEqual(await client.topologySwitches(1n), []);
    });

    it("hosts show MAC, IPv4 and port from their first frame on", async () => {
      await lab.send(`${BRIDGE}h2`, udpFrame("ff:ff:ff:ff:ff:ff", H2, "10.255.255.255", "10.0.0.2"));
      const host = await eventually(async () => {
        const found = (await client.topologyHosts()).find((h) => h.mac === H2);
        assert.ok(found !== undefined);
        return found;
      });
      assert.deepEqual(host.ipv4, ["10.0.0.2"]);
      assert.deepEqual([host.port.dpid, host.port.portNo, host.port.name], [DPID, 2, `${BRIDGE}p2`]);
      assert.ok((await client.topologyHosts(DPID)).some((h) => h.mac === H2));
      assert.deepEqual(await client.topologyHosts(1n), []);
    });
  });

  describe("errors", () => {
    it("name the switch, the call and what was said", async () => {
      const error = await fails(
        client.flows(5n),
        "unknown-switch",
        /switch 0000000000000005: GET \/stats\/flow\/5: 404/,
      );
      assert.equal(error.dpid, 5n);
      assert.equal(error.status, 404);
      await fails(client.addFlow(5n, {}), "unknown-switch", /POST \/stats\/flowentry\/add/);
    });

    it("a match that the switch would be sent wrongly is refused before it is sent", async () => {
      await fails(
        client.addFlow(DPID, { match: { ipv4_dst: "10.0.0.256" } }),
        "bad-request",
        /"10\.0\.0\.256" is no IPv4/,
      );
      await fails(
        client.addFlow(DPID, { match: { eth_typ: 1 } as object }),
        "bad-request",
        /eth_typ is not one/,
      );
      await fails(
        client.addFlow(DPID, { priority: 70000 }),
        "bad-request",
        /priority must be an integer of 16 bits/,
      );
    });
  });
});
