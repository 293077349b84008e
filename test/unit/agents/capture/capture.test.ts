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

const LOCAL = { ipv4: ["127.0.0.1"], ipv6: [] };

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
        { family: "inet6", local: "fe80::1", prefixlen: 64, scope: "link" },
        { family: "inet6", local: "fd00::5", prefixlen: 64, scope: "global", tentative: true },
        { family: "inet6", local: "fd00::6", prefixlen: 64, scope: "global", dadfailed: true },
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
  it("gives MAC, MTU and all addresses, but for those that another station has", () => {
    assert.deepEqual(checkInterface("eth0", entry({})), {
      name: "eth0",
      mac: Buffer.from("02000000000a", "hex"),
      mtu: 1500,
      ipv4: ["192.168.1.101", "192.168.1.201"],
      ipv6: ["fe80::1", "fd00::5"],
    });
    const only6 = [{ family: "inet6", local: "fd00::5", scope: "global" }];
    assert.deepEqual(checkInterface("eth0", entry({ addr_info: only6 })).ipv4, []);
  });

  it("names what is wrong and the remedy", () => {
    const cases: Array<[object, RegExp]> = [
      [{ flags: ["BROADCAST"] }, /eth0 is down: ip link set eth0 up/],
      [{ addr_info: [] }, /eth0 has no IP address: ip address add/],
      [{ addr_info: [{ family: "inet6", local: "fe80::1", scope: "link" }] }, /eth0 has no IP address/],
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
  const mac = Buffer.from("02000000000a", "hex");
  const ofPort4 = (port: number) =>
    `(tcp dst port ${port} or (ip proto 6 and ip[6:2] & 0x1fff != 0) or (icmp and icmp[17] = 6 and icmp[28:2] = ${port}))`;
  const tagged = (wanted: string) => `${wanted} or (vlan and (${wanted} or (vlan and ${wanted})))`;

  it("asks for this station's port only, whatever the tags", () => {
    const station = { mac, ipv4: ["10.0.0.1", "10.0.0.2"], ipv6: [] };
    const tcp = `((dst host 10.0.0.1 or dst host 10.0.0.2) and ${ofPort4(1883)})`;
    assert.equal(captureFilter(station, 1883), tagged(`((ether dst 02:00:00:00:00:0a and (${tcp})))`));
  });

  it("asks for the port over IPv6, also behind an extension header", () => {
    const station = { mac, ipv4: [], ipv6: ["fd00::1", "fe80::1"] };
    const filter = captureFilter(station, 1883);
    assert.match(
      filter,
      /^\(\(ether dst 02:00:00:00:00:0a and \(\(\(dst host fd00::1 or dst host fe80::1\) and /,
    );
    assert.match(
      filter,
      /ip6\[6\] = 60\) and ip6\[40\] = 6 and ip6\[42 \+ 8 \* \(ip6\[41\] \+ 1\):2\] = 1883/,
    );
    assert.equal(filter.match(/dst host/g)?.length, 6);
  });

  it("asks for what is intercepted at its MAC address, and for ARP and ND about it from everywhere", () => {
    const station = { mac, ipv4: ["10.0.0.1"], ipv6: [] };
    const intercepts = [
      { address: "192.168.1.250", port: 1883 },
      { address: "192.168.1.250", port: 8883 },
      { address: "fd00::250", port: 8883 },
    ];
    const filter = captureFilter(station, 1883, intercepts, ["192.168.1.250", "fd00::250"]);
    const tcp = [
      `((dst host 10.0.0.1 or dst host 192.168.1.250) and ${ofPort4(1883)})`,
      `((dst host 192.168.1.250) and ${ofPort4(8883)})`,
      "((dst host fd00::250) and (tcp dst port 8883 or ",
    ].join(" or ");
    assert(filter.startsWith(`((ether dst 02:00:00:00:00:0a and (${tcp}`), filter);
    const arp = "(arp and (arp[24:4] = 0xc0a801fa or arp[14:4] = 0xc0a801fa))";
    const target = "ip6[48:4] = 0xfd000000 and ip6[52:4] = 0x0 and ip6[56:4] = 0x0 and ip6[60:4] = 0x250";
    const source = "ip6[8:4] = 0xfd000000 and ip6[12:4] = 0x0 and ip6[16:4] = 0x0 and ip6[20:4] = 0x250";
    const nd = `(ip6[6:2] = 0x3aff and (ip6[40] = 135 or ip6[40] = 136) and ((${target}) or (${source})))`;
    assert.equal(filter.split(` or ${arp} or ${nd})`).length, 4);
  });
});

describe("firewall rule", () => {
  const guarded = {
    interface: "h1-eth0",
    port: 1883,
    ipv4: ["10.0.0.1", "10.0.0.2"],
    ipv6: ["fd00::1", "fe80::1"],
  };

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
    assert(
      lines?.some((line) =>
        /^iifname != "lo" ip6 daddr \{ fd00::1, fe80::1 \} tcp dport 1883 counter drop/.test(line),
      ),
    );
    const only4 = nftables.install({ ...guarded, ipv6: [] })[0]?.input ?? "";
    assert.equal(only4.match(/ daddr /g)?.length, 1);
  });

  it("goes by iptables where there is no nft: in an own chain, hooked in once", () => {
    const [unhook, restore, , restore6] = iptables.install(guarded);
    assert.equal(unhook?.mayFail, true);
    assert.match(unhook?.args.join(" ") ?? "", /-t raw -D PREROUTING ! -i lo -j TOPIC-1883-h1-eth0/);
    assert.equal(
      restore?.input,
      "*raw\n:TOPIC-1883-h1-eth0 - [0:0]\n" +
        "-A TOPIC-1883-h1-eth0 -d 10.0.0.1 -p tcp --dport 1883 -j DROP\n" +
        "-A TOPIC-1883-h1-eth0 -d 10.0.0.2 -p tcp --dport 1883 -j DROP\n" +
        "-I PREROUTING ! -i lo -j TOPIC-1883-h1-eth0\nCOMMIT\n",
    );
    assert.equal(restore6?.name, "ip6tables-restore");
    assert.match(restore6?.input ?? "", /\n-A TOPIC-1883-h1-eth0 -d fd00::1 -p tcp --dport 1883 -j DROP\n/);
    const names = iptables
      .install({ ...guarded, ipv6: [] })
      .map(({ name, mayFail }) => [name, mayFail ?? false]);
    const without = [
      ["iptables", true],
      ["iptables-restore", false],
      ["ip6tables", true],
    ];
    assert.deepEqual(names, without, "without IPv6 there is nothing that must go well");
  });

  it("keeps a kernel that forwards away from what is intercepted, on that interface only", () => {
    const with2 = {
      ...guarded,
      intercepts: [
        { address: "192.168.1.250", port: 8883 },
        { address: "fd00::250", port: 8883 },
      ],
    };
    assert.match(
      nftables.install(with2)[0]?.input ?? "",
      /\n {4}iifname "h1-eth0" ip daddr 192\.168\.1\.250 tcp dport 8883 counter drop\n {4}iifname "h1-eth0" ip6 daddr fd00::250 tcp dport 8883 counter drop\n {2}}\n/,
    );
    assert.match(
      iptables.install(with2)[1]?.input ?? "",
      /\n-A TOPIC-1883-h1-eth0 -i h1-eth0 -d 192\.168\.1\.250 -p tcp --dport 8883 -j DROP\n-I PREROUTING/,
    );
  });

  it("has names that both programs take for any interface", () => {
    const longest = { interface: "abcdefgh-123.99", port: 65_535, ipv4: [], ipv6: [] };
    assert.match(tableName(longest), /^[A-Za-z][A-Za-z0-9_]*$/);
    assert(chainName(longest).length <= 28);
  });
});

describe("port claim", () => {
  it("refuses a port that a program listens at, and one that another claim holds", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const taken = await rejection(claimPort("test0", port, LOCAL));
    assert.match(
      taken,
      new RegExp(`^TCP 127.0.0.1:${port} is in use by another program .* choose another with -t$`),
    );
    server.close();
    await once(server, "close");
    const claim = await claimPort("test0", port, LOCAL);
    const second = await rejection(claimPort("test0", port, LOCAL));
    assert.match(second, new RegExp(`port ${port} is in use: another agent serves it on interface test0`));
    // Another interface is another matter; nothing keeps listening.
    (await claimPort("test1", port, LOCAL)).release();
    claim.release();
    (await claimPort("test0", port, LOCAL)).release();
  });
});
