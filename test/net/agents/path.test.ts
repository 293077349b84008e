/** The raw transport behind a router whose next link is smaller, or that cuts what comes to us. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { PORT, SERVER_ADDRESS, SERVER_ADDRESS6, type ServiceProcess } from "./namespaces.js";
import { RoutedNamespaces } from "./routed.js";

describe("raw transport behind a router", () => {
  let net: RoutedNamespaces;
  let service: ServiceProcess;
  before(async () => {
    net = new RoutedNamespaces();
    service = await net.serve();
  });
  after(async () => {
    await service.stop();
    await net.close();
  });

  function python(address: string, code: string): string {
    const script = `import socket,threading\ns=socket.create_connection(("${address}",${PORT}),timeout=20)\n${code}`;
    return net.run(net.far, "/usr/bin/python3", "-c", script).trim();
  }

  const counters = () =>
    JSON.parse(
      python(SERVER_ADDRESS, `s.send(b"counters\\n");s.shutdown(1);print(s.makefile().read())`),
    ) as Record<string, number>;

  /** The scenarios' errors, with Linux at the far end as the client. */
  async function scenarios(address: string): Promise<string[]> {
    const child = net.spawn(net.far, "client-main.js", address, String(PORT));
    const errors: string[] = [];
    let results = 0;
    createInterface({ input: child.stdout! }).on("line", (line) => {
      const { name, error } = JSON.parse(line) as { name: string; error: string | null };
      results += 1;
      if (error !== null) errors.push(`${name}: ${error}`);
    });
    await once(child, "close");
    assert(results > 5);
    return errors;
  }

  for (const [address, mtu] of [
    [SERVER_ADDRESS, 1_400],
    [SERVER_ADDRESS6, 1_300],
    [SERVER_ADDRESS, 576],
  ] as const) {
    it(`fits its segments to a path of ${mtu} bytes to ${address} as soon as the router tells`, async () => {
      net.setFarMtu(mtu);
      const before = counters();
      assert.deepEqual(await scenarios(address), []);
      const seen = counters();
      assert(seen.icmp_too_big! > before.icmp_too_big!, "no report was taken");
      assert.equal(seen.drop_icmp, 0);
      assert.equal(seen.timed_out, 0);
    });
  }

  it("lets the router cut where the path takes less than 552 bytes", () => {
    net.setFarMtu(400);
    const code = `data=bytes((i*31+(i>>8)*7)&255 for i in range(65536))*4
s.send(b"source 262144\\n");s.shutdown(1)
print(s.makefile("rb").read()==data)`;
    assert.equal(python(SERVER_ADDRESS, code), "True");
    // Two lines for IP: the names of the counters, and their values.
    const [names, values] = net
      .run(net.client, "cat", "/proc/net/snmp")
      .split("\n")
      .map((line) => line.split(" "));
    assert(Number(values![names!.indexOf("FragOKs")]) > 400, "the router has cut them");
  });

  it("puts together what the router cut for it", () => {
    net.setFarMtu(1_500);
    net.run(net.far, "sysctl", "-qw", "net.ipv4.ip_no_pmtu_disc=1");
    const before = counters();
    // Its other end would lose our own large frames, but here we only acknowledge.
    net.run(net.client, "ip", "link", "set", "dev0", "mtu", "600");
    const code = `data=bytes((i*31+(i>>8)*7)&255 for i in range(65536))*16
s.send(b"count\\n");s.sendall(data);s.shutdown(1);print(s.makefile().read().strip())`;
    assert.equal(python(SERVER_ADDRESS, code), "1048576");
    net.run(net.client, "ip", "link", "set", "dev0", "mtu", "1500");
    const seen = counters();
    assert(seen.fragments_joined! - before.fragments_joined! > 500, `${seen.fragments_joined} joined`);
    assert.deepEqual([seen.drop_fragment, seen.drop_fragment_overlap, seen.drop_tcp_checksum], [0, 0, 0]);
  });
});
