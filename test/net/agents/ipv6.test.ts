/** The raw transport over IPv6, with Linux, and programs of every Debian, as clients. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { SCENARIOS } from "../../unit/agents/transport/scenarios.js";
import { CLIENT_ADDRESS6, Namespaces, PORT, SERVER_ADDRESS6, type ServiceProcess } from "./namespaces.js";

const bin = fileURLToPath(new URL("../../../../scripts/bin/topicast.js", import.meta.url));

/** Asks the service for something from the client's namespace, at `address`, which may have a zone. */
function ask(net: Namespaces, address: string, command: string): string {
  const script = `import socket
s=socket.create_connection(("${address}",${PORT}),timeout=5)
s.send(b"${command}\\n");s.shutdown(1);print(s.makefile().read())`;
  return net.run(net.client, "/usr/bin/python3", "-c", script).trim();
}

describe("raw transport over IPv6 against Linux", () => {
  let net: Namespaces;
  let service: ServiceProcess;
  const results = new Map<string, string | null>();

  before(async () => {
    net = new Namespaces();
    service = await net.serve();
    const child = net.spawn(net.client, "client-main.js", SERVER_ADDRESS6, String(PORT));
    createInterface({ input: child.stdout! }).on("line", (line) => {
      const { name, error } = JSON.parse(line) as { name: string; error: string | null };
      results.set(name, error);
    });
    child.stderr?.pipe(process.stderr);
    await once(child, "close");
  });
  after(async () => {
    await service.stop();
    await net.close();
  });

  for (const { name } of SCENARIOS) it(name, () => assert.equal(results.get(name), null));

  it("took every frame, and the kernel answered nothing", () => {
    const seen = JSON.parse(ask(net, SERVER_ADDRESS6, "counters")) as Record<string, number>;
    for (const name of ["drop_tcp_checksum", "drop_truncated", "drop_jumbogram", "drop_ip_extension"])
      assert.equal(seen[name], 0, name);
    assert.match(net.rules(), /ip6 daddr \{[^}]*fd77::1[^}]*\} tcp dport 1883 counter packets [1-9]/);
  });

  it("answers at the link-local address as well", () => {
    const shown = net.run(net.server, "ip", "-6", "-o", "address", "show", "dev", "edge0", "scope", "link");
    const address = /inet6 (fe80:[0-9a-f:]+)/.exec(shown)?.[1];
    assert.match(ask(net, `${address}%dev0`, "who"), /^\[(fe80|fd77):.*\]:\d+$/);
  });

  it("leaves neighbour discovery and echo to the kernel", () => {
    net.run(net.client, "ip", "-6", "neighbour", "flush", "dev", "dev0");
    assert.match(net.run(net.client, "ping", "-6", "-c", "1", "-W", "2", SERVER_ADDRESS6), / 0% packet loss/);
    assert.match(ask(net, SERVER_ADDRESS6, "who"), new RegExp(`^\\[${CLIENT_ADDRESS6}\\]`));
  });

  it("answers with the VLAN tags that the request has", () => {
    const main = `${import.meta.dirname}/vlan-main.js`;
    for (const vlans of ["7", "100,7"]) {
      const args = [main, "dev0", net.serverMac(), SERVER_ADDRESS6, String(PORT), vlans];
      assert.equal(net.run(net.client, process.execPath, ...args), `[${CLIENT_ADDRESS6}]:40000\n`);
    }
  });

  for (const [how, what] of [
    ["cut", "fragments of it, the last first"],
    ["options", "destination options in front"],
  ] as const) {
    it(`takes every segment with ${what}`, () => {
      const main = `${import.meta.dirname}/cut-main.js`;
      const args = [main, "dev0", net.serverMac(), SERVER_ADDRESS6, String(PORT), how];
      assert.equal(net.run(net.client, process.execPath, ...args), "100000\n");
      const seen = JSON.parse(ask(net, SERVER_ADDRESS6, "counters")) as Record<string, number>;
      if (how === "cut") assert(seen.fragments_joined! >= 70, `${seen.fragments_joined} joined`);
      assert.equal(seen.drop_fragment! + seen.drop_fragment_overlap!, 0);
    });
  }

  it("follows an address that comes later", async () => {
    net.run(net.server, "ip", "address", "add", "fd77::9/64", "dev", "edge0", "nodad");
    await sleep(2_500);
    assert.match(net.rules(), /fd77::9/);
    assert.match(ask(net, "fd77::9", "who"), new RegExp(`^\\[${CLIENT_ADDRESS6}\\]`));
  });
});

describe("raw transport's port over IPv6", () => {
  it("is refused when a program listens there, be it over IPv6 alone", async () => {
    const net = new Namespaces();
    try {
      const script = `import socket,time
s=socket.socket(socket.AF_INET6);s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_V6ONLY,1)
s.bind(("::",${PORT}));s.listen();print("listening",flush=True);time.sleep(30)`;
      const child = spawn("ip", ["netns", "exec", net.server, "/usr/bin/python3", "-c", script]);
      await once(child.stdout, "data");
      await assert.rejects(net.serve(), /TCP \[fd77::1\]:1883 is in use by another program/);
      child.kill("SIGKILL");
      await once(child, "exit");
    } finally {
      await net.close();
    }
  });
});

for (const transport of ["raw", "socket"]) {
  describe(`an agent's clients over IPv6, transport ${transport}`, () => {
    let net: Namespaces;
    before(async () => {
      net = new Namespaces();
      const args = [
        "agent",
        "-i",
        "edge0",
        "--wsport",
        "9001",
        "--allow-anonymous",
        "--transport",
        transport,
      ];
      const agent = net.spawn(net.server, bin, ...args);
      let errors = "";
      agent.stderr?.on("data", (text) => {
        errors += text;
      });
      const isReady = () =>
        transport === "raw"
          ? net.rules().includes("topicast_9001")
          : net.run(net.server, "ss", "-Hltn", "sport = :9001").length > 0;
      for (let i = 0; !isReady(); i++) {
        assert(i < 100 && agent.exitCode === null, errors);
        await sleep(100);
      }
    });
    after(() => net.close());

    it("are mosquitto's, on either version of IP", () => {
      const script = `mosquitto_sub -h ${SERVER_ADDRESS6} -t t -C 2 -W 8 & sleep 1
mosquitto_pub -h ${SERVER_ADDRESS6} -t t -q 1 -m six && mosquitto_pub -h 10.77.0.1 -t t -q 2 -m four; wait`;
      assert.equal(net.run(net.client, "sh", "-c", script), "six\nfour\n");
    });

    it("are curl, which is told that this is for WebSocket", () => {
      const url = `http://[${SERVER_ADDRESS6}]:9001/`;
      assert.match(
        net.run(net.client, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url),
        /^4\d\d$/,
      );
    });
  });
}
