import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { describe, it } from "node:test";
import { captureFilter } from "@topicast/agent/capture/filter.js";
import { chainName, iptables, nftables, tableName } from "@topicast/agent/capture/firewall.js";
import { checkInterface, readInterface } from "@topicast/agent/capture/interface.js";
import { claimPort } from "@topicast/agent/capture/port.js";
import { mayCapture } from "@topicast/agent/capture/privileges.js";
import { UserError } from "@topicast/protocol";

function entry(fields: object): string {
  return JSON.stringify([
    {
      ifname: "eth0",
      flags: ["BROADCAST", "UP", "LOWER_UP"],
      mtu: 1500,
      link_type: "ether",
      address: "02:00:00:00:00:0a",
      addr_info: [
        { family: "inet", local: "192.168.1.101", prefixlen: 24 },
        { family: "inet6", local: "fe80::1", prefixlen: 64 },
        { family: "inet", local: "192.168.1.201", prefixlen: 24 },
      ],
      ...fields,
    },
  ]);
}

function complaint(error: unknown): string {
  assert(error instanceof UserError, String(error));
  return error.message;
}

async function rejection(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return complaint(error);
  }
  assert.fail("no error");
}

describe("interface", () => {
  it("gives MAC, MTU and all IPv4 addresses", () => {
    assert.deepEqual(checkInterface("eth0", entry({})), {
      name: "eth0",
      mac: Buffer.from("02000000000a", "hex"),
      mtu: 1500,
      ipv4: ["192.168.1.101", "192.168.1.201"],
    });
  });

  it("names what is wrong and the remedy", () => {
    const cases: Array<[object, RegExp]> = [
      [{ flags: ["BROADCAST"] }, /eth0 is down: ip link set eth0 up/],
      [{ addr_info: [] }, /eth0 has no IPv4 address: ip address add/],
      [{ link_type: "loopback" }, /loopback.*--transport socket/],
      [{ link_type: "none", address: undefined }, /no Ethernet interface.*--transport socket/],
    ];
    for (const [fields, expected] of cases) {
      assert.throws(
        () => checkInterface("eth0", entry(fields)),
        (error) => expected.test(complaint(error)),
      );
    }
  });

  it("is read from the system: the loopback is told, a missing one too, and no name is taken for an option", async () => {
    assert.match(await rejection(readInterface("lo")), /loopback/);
    assert.match(await rejection(readInterface("nosuch0")), /no interface nosuch0.*choose with -i/);
    for (const name of ["-h", "a b", "", "far-too-long-a-name", "a/b"]) {
      assert.match(await rejection(readInterface(name)), /is no interface name/);
    }
  });
});

describe("privileges", () => {
  it("are both capabilities, whoever the user is", () => {
    assert(mayCapture("Name:\tnode\nCapEff:\t000001ffffffffff\n"));
    assert(mayCapture("CapEff:\t0000000000003000\n"));
    assert(!mayCapture("CapEff:\t0000000000002000\n"));
    assert(!mayCapture("CapEff:\t0000000000000000\n"));
    assert(!mayCapture(""));
  });
});

describe("capture filter", () => {
  it("asks for this station's port only, whatever the tags", () => {
    const station = { mac: Buffer.from("02000000000a", "hex"), ipv4: ["10.0.0.1", "10.0.0.2"] };
    const tcp = "(tcp dst port 1883 and (dst host 10.0.0.1 or dst host 10.0.0.2))";
    const wanted = `((ether dst 02:00:00:00:00:0a and (${tcp})))`;
    assert.equal(captureFilter(station, 1883), `${wanted} or (vlan and (${wanted} or (vlan and ${wanted})))`);
  });

  it("asks for what is intercepted at its MAC address, and for ARP about it from everywhere", () => {
    const station = { mac: Buffer.from("02000000000a", "hex"), ipv4: ["10.0.0.1"] };
    const intercepts = [
      { address: "192.168.1.250", port: 1884 },
      { address: "192.168.1.250", port: 8883 },
    ];
    const filter = captureFilter(station, 1883, intercepts);
    const tcp = [
      "(tcp dst port 1883 and (dst host 10.0.0.1))",
      "(tcp dst port 1884 and dst host 192.168.1.250)",
      "(tcp dst port 8883 and dst host 192.168.1.250)",
    ].join(" or ");
    const arp = "(arp and (arp[24:4] = 0xc0a801fa or arp[14:4] = 0xc0a801fa))";
    const wanted = `((ether dst 02:00:00:00:00:0a and (${tcp})) or ${arp})`;
    assert.equal(filter, `${wanted} or (vlan and (${wanted} or (vlan and ${wanted})))`);
  });
});

describe("firewall rule", () => {
  const guarded = { interface: "h1-eth0", port: 1883, ipv4: ["10.0.0.1", "10.0.0.2"] };

  it("is one nftables transaction that replaces a leftover of its own", () => {
    const [command, ...more] = nftables.install(guarded);
    assert.deepEqual(more, []);
    assert.deepEqual([command?.name, command?.args], ["nft", ["-f", "-"]]);
    const lines = command?.input?.split("\n").map((line) => line.trim());
    assert.deepEqual(lines?.slice(0, 3), [
      "add table inet topicast_1883_h1_eth0",
      "delete table inet topicast_1883_h1_eth0",
      "table inet topicast_1883_h1_eth0 {",
    ]);
    assert(
      lines?.some((line) =>
        /^iifname != "lo" ip daddr \{ 10\.0\.0\.1, 10\.0\.0\.2 \} tcp dport 1883 counter drop/.test(line),
      ),
    );
  });

  it("goes by iptables where there is no nft: in an own chain, hooked in once", () => {
    const [unhook, restore] = iptables.install(guarded);
    assert.equal(unhook?.mayFail, true);
    assert.match(unhook?.args.join(" ") ?? "", /-t raw -D PREROUTING ! -i lo -j TOPIC-1883-h1-eth0/);
    assert.equal(
      restore?.input,
      "*raw\n:TOPIC-1883-h1-eth0 - [0:0]\n" +
        "-A TOPIC-1883-h1-eth0 -d 10.0.0.1 -p tcp --dport 1883 -j DROP\n" +
        "-A TOPIC-1883-h1-eth0 -d 10.0.0.2 -p tcp --dport 1883 -j DROP\n" +
        "-I PREROUTING ! -i lo -j TOPIC-1883-h1-eth0\nCOMMIT\n",
    );
  });

  it("keeps a kernel that forwards away from what is intercepted, on that interface only", () => {
    const with2 = { ...guarded, intercepts: [{ address: "192.168.1.250", port: 8883 }] };
    assert.match(
      nftables.install(with2)[0]?.input ?? "",
      /\n {4}iifname "h1-eth0" ip daddr 192\.168\.1\.250 tcp dport 8883 counter drop\n {2}}\n/,
    );
    assert.match(
      iptables.install(with2)[1]?.input ?? "",
      /\n-A TOPIC-1883-h1-eth0 -i h1-eth0 -d 192\.168\.1\.250 -p tcp --dport 8883 -j DROP\n-I PREROUTING/,
    );
  });

  it("has names that both programs take for any interface", () => {
    const longest = { interface: "abcdefgh-123.99", port: 65_535, ipv4: [] };
    assert.match(tableName(longest), /^[A-Za-z][A-Za-z0-9_]*$/);
    assert(chainName(longest).length <= 28);
  });
});

describe("port claim", () => {
  it("refuses a port that a program listens at, and one that another claim holds", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const taken = await rejection(claimPort("test0", port, ["127.0.0.1"]));
    assert.match(taken, new RegExp(`port ${port} is in use: a program on this host listens at 127.0.0.1`));
    server.close();
    await once(server, "close");
    const claim = await claimPort("test0", port, ["127.0.0.1"]);
    const second = await rejection(claimPort("test0", port, ["127.0.0.1"]));
    assert.match(second, new RegExp(`port ${port} is in use: another agent serves it on interface test0`));
    // Another interface is another matter; nothing keeps listening.
    (await claimPort("test1", port, ["127.0.0.1"])).release();
    claim.release();
    (await claimPort("test0", port, ["127.0.0.1"])).release();
  });
});
