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
const VACANT6 = "fd00:77::50";
const REMOTE6 = "fd00:99::9";
const CLIENT6 = "fd00:77::2";
/** Nobody's as well, until the client takes it. */
const TAKEN6 = "fd00:77::60";

describe("interception against Linux", () => {
  let net: Namespaces;
  let service: ServiceProcess;

  before(async () => {
    net = new Namespaces();
    // A kernel that forwards: it must not answer with an ICMP redirect, or send on what was answered.
    net.run(net.server, "sysctl", "-qw", "net.ipv4.ip_forward=1");
    net.run(net.client, "ip", "route", "add", "default", "via", SERVER_ADDRESS);
    net.run(net.server, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1");
    net.run(net.server, "ip", "address", "add", "fd00:77::1/64", "dev", "edge0", "nodad");
    net.run(net.client, "ip", "address", "add", `${CLIENT6}/64`, "dev", "dev0", "nodad");
    net.run(net.client, "ip", "-6", "route", "add", "default", "via", "fd00:77::1");
    const v4 = [`${VACANT}:8883`, `${VACANT}:1884`, `${REMOTE}:1883`];
    service = await net.serve("{}", ...v4, `[${VACANT6}]:1884`, `[${REMOTE6}]:1883`, `[${TAKEN6}]:1883`);
    await until("the addresses are found to be vacant", () => vacant().length === 5);
  });

  /** What the service says that no machine has. */
  function vacant(): string[] {
    const lines = service.errors.split("\n").filter((line) => line.startsWith("vacant "));
    return lines.at(-1)?.split(" ").slice(1) ?? [];
  }

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
      [VACANT6, 1884],
      [REMOTE6, 1883],
      ["fd00:77::1", PORT],
    ] as const) {
      const client = address.includes(":") ? `\\[${CLIENT6}\\]` : CLIENT_ADDRESS;
      assert.match(ask(address, port, "who"), new RegExp(`^${client}:\\d+$`), `${address}:${port}`);
    }
    assert.equal(icmpIn(), 0, "redirects or unreachable");
    const neighbours = net.run(net.client, "ip", "neighbour");
    assert.match(neighbours, new RegExp(`${VACANT.replaceAll(".", "\\.")} .*${net.serverMac()}`));
    assert.match(neighbours, new RegExp(`${VACANT6} .*${net.serverMac()}`));
    const counters = JSON.parse(ask(VACANT, 8883, "counters")) as Record<string, number>;
    assert.ok(counters.neighbour_answered! > 0);
    assert.equal(counters.neighbour_vacant, 5);
    assert.equal(counters.drop_neighbour, 0);
  });

  it("has nothing to say at other ports", () => {
    const script = `import socket
s=socket.socket();s.settimeout(0.5);print(s.connect_ex(("${VACANT}",${PORT})))`;
    const code = Number(net.run(net.client, "/usr/bin/python3", "-c", script));
    assert.notEqual(code, 0);
    assert.notEqual(code, 111, "not even a reset");
  });

  it("lets a machine take an address that nobody had, and says no more for it", async () => {
    const take = (how: string) => net.run(net.client, "ip", "address", how, `${TAKEN6}/64`, "dev", "dev0");
    const state = () => net.run(net.client, "ip", "address", "show", "dev", "dev0", "to", TAKEN6);
    take("add");
    await until("its owner is seen", () => !vacant().includes(TAKEN6));
    await until("the address is no longer tested", () => !state().includes("tentative"));
    assert.doesNotMatch(state(), /dadfailed/, "the agent did not object");
    assert.equal(vacant().length, 4);
    // An agent that starts now asks, and its owner answers.
    const other = net.spawn(net.server, "service-main.js", "edge0", "1999", "{}", `[${TAKEN6}]:1884`);
    let told = "";
    other.stderr?.on("data", (chunk) => {
      told += chunk;
    });
    await until("it is ready", () => told.includes("ready"));
    await sleep(1_000);
    assert.doesNotMatch(told, /vacant/);
    other.kill("SIGTERM");
    take("del");
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

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i++) {
    assert.ok(i < 100, what);
    await sleep(50);
  }
}

async function complaint(child: ReturnType<Namespaces["spawn"]>): Promise<string> {
  let text = "";
  for await (const chunk of child.stderr!) text += chunk;
  return text;
}
