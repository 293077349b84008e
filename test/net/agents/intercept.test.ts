/** The raw transport in other machines' place, against Linux. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { captureFilter } from "@topicast/agent/capture/filter.js";
import { CLIENT_ADDRESS, Namespaces, PORT, SERVER_ADDRESS, type ServiceProcess } from "./namespaces.js";

/** Nobody has these; the second is in no network that is here, behind the server as a router. */
const VACANT = "10.77.0.50";
const REMOTE = "172.31.9.9";

describe("interception against Linux", () => {
  let net: Namespaces;
  let service: ServiceProcess;

  before(async () => {
    net = new Namespaces();
    // A kernel that forwards: it must not answer with an ICMP redirect, or send on what was answered.
    net.run(net.server, "sysctl", "-qw", "net.ipv4.ip_forward=1");
    net.run(net.client, "ip", "route", "add", "default", "via", SERVER_ADDRESS);
    service = await net.serve("{}", `${VACANT}:8883`, `${VACANT}:1884`, `${REMOTE}:1883`);
    for (let i = 0; !service.errors.includes("vacant"); i++) {
      assert.ok(i < 40, "the address is found to be vacant");
      await sleep(50);
    }
  });
  after(async () => {
    await service.stop();
    await net.close();
  });

  function ask(address: string, port: number, command: string): string {
    const script = `import socket,sys
s=socket.create_connection(("${address}",${port}),timeout=2)
s.sendall(b"${command}\\n");s.shutdown(1);sys.stdout.write(s.makefile().read())`;
    return net.run(net.client, "/usr/bin/python3", "-c", script).trim();
  }

  function icmpIn(): number {
    const lines = net.run(net.client, "cat", "/proc/net/snmp").split("\n");
    const [names, values] = lines.filter((l) => l.startsWith("Icmp:")).map((l) => l.split(" "));
    return Number(values![names!.indexOf("InMsgs")]);
  }

  it("answers at each address and port, by ARP or behind a router, and the kernel says nothing", () => {
    for (const [address, port] of [
      [VACANT, 8883],
      [VACANT, 1884],
      [REMOTE, 1883],
      [SERVER_ADDRESS, PORT],
    ] as const) {
      assert.match(ask(address, port, "who"), new RegExp(`^${CLIENT_ADDRESS}:\\d+$`), `${address}:${port}`);
    }
    assert.equal(icmpIn(), 0, "redirects or unreachable");
    const neighbours = net.run(net.client, "ip", "neighbour");
    assert.match(neighbours, new RegExp(`${VACANT.replaceAll(".", "\\.")} .*${net.serverMac()}`));
    const counters = JSON.parse(ask(VACANT, 8883, "counters")) as Record<string, number>;
    assert.ok(counters.neighbour_answered! > 0);
    assert.equal(counters.neighbour_vacant, 2);
  });

  it("has nothing to say at other ports", () => {
    const script = `import socket
s=socket.socket();s.settimeout(0.5);print(s.connect_ex(("${VACANT}",${PORT})))`;
    const code = Number(net.run(net.client, "/usr/bin/python3", "-c", script));
    assert.notEqual(code, 0);
    assert.notEqual(code, 111, "not even a reset");
  });

  it("refuses its own address, and what another agent answers for", async () => {
    await assert.rejects(net.serve("{}", `${SERVER_ADDRESS}:8883`), /port 1883 is in use/);
    const child = net.spawn(net.server, "service-main.js", "edge0", "1999", "{}", `${SERVER_ADDRESS}:8883`);
    assert.match(await complaint(child), /--intercept 10\.77\.0\.1:8883 is this host's own address/);
    const other = net.spawn(net.server, "service-main.js", "edge0", "1999", "{}", `${VACANT}:8883`);
    assert.match(await complaint(other), /another agent answers for it on interface edge0/);
  });

  it("leaves no rule behind", async () => {
    assert.match(net.rules(), new RegExp(`iifname "edge0" ip daddr ${REMOTE} tcp dport 1883`));
    assert.equal(await service.stop(), 0);
    assert.doesNotMatch(net.rules(), /topicast/);
  });

  it("captures by a filter that means what it says, tagged or not", () => {
    const station = { mac: Buffer.from("020000000001", "hex"), ipv4: ["10.0.0.1"], ipv6: [] };
    const v4 = Array.from({ length: 16 }, (_, i) => ({ address: `10.9.9.${i + 1}`, port: 1883 + i }));
    const v6 = v4.map(({ port }) => ({ address: `fd00:1:2:3:4:5:6:${port}`, port }));
    // It compiles, at its largest too (the kernel takes 4,096 instructions); what it takes is seen in the tests here and in
    // raw.test.ts.
    for (const intercepts of [
      [],
      v4.slice(0, 1),
      v4,
      v6.slice(0, 1),
      v6,
      [...v4.slice(0, 8), ...v6.slice(0, 8)],
    ]) {
      const filter = captureFilter(station, PORT, intercepts, addressesOf(intercepts));
      const code = execFileSync("tcpdump", ["-y", "EN10MB", "-d", filter], { encoding: "utf8" });
      const instructions = code.split("\n").length;
      assert.ok(instructions > 10 && instructions < 4_096, `${instructions} instructions`);
    }
  });
});

function addressesOf(intercepts: readonly { address: string }[]): string[] {
  return [...new Set(intercepts.map((i) => i.address))];
}

async function complaint(child: ReturnType<Namespaces["spawn"]>): Promise<string> {
  let text = "";
  for await (const chunk of child.stderr!) text += chunk;
  return text;
}
