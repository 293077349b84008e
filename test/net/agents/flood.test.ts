import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { Namespaces, PORT, SERVER_ADDRESS, type ServiceProcess } from "./namespaces.js";

/**
 * A flood takes this machine's processors as well, and opening an interface anew, which may follow, can take seconds: a client
 * that is served in time for its third SYN is well served.
 */
const PATIENCE_S = 20;

/** A python3 script in the client's namespace, with `connect()`. */
function python(net: Namespaces, code: string): string {
  const connect = `socket.create_connection(("${SERVER_ADDRESS}",${PORT}),timeout=${PATIENCE_S})`;
  const script = `import socket\ndef connect(): return ${connect}\n${code}`;
  return net.run(net.client, "/usr/bin/python3", "-c", script).trim();
}

function counters(net: Namespaces): Record<string, number> {
  return JSON.parse(
    python(net, `s=connect();s.send(b"counters\\n");s.shutdown(1);print(s.makefile().read())`),
  );
}

describe("raw transport under a flood", () => {
  let net: Namespaces;
  let service: ServiceProcess;
  const flood = (ms: number, ...rate: string[]) =>
    net.spawn(
      net.client,
      "flood-main.js",
      "dev0",
      net.serverMac(),
      SERVER_ADDRESS,
      String(PORT),
      `${ms}`,
      ...rate,
    );

  before(async () => {
    net = new Namespaces();
    service = await net.serve(JSON.stringify({ maxHalfOpen: 64 }));
  });
  after(async () => {
    await service.stop();
    await net.close();
  });

  it("serves clients afterwards, when it was frames of no connection as fast as they go", async () => {
    const before = counters(net);
    await once(flood(500), "exit");
    const seen = counters(net);
    const noticed = (all: Record<string, number>) => all.drop_no_connection! + all.capture_shed!;
    assert(noticed(seen) - noticed(before) > 500, "at least what the ring holds");
  });

  it("serves clients of Linux meanwhile by SYN cookies, when it is SYNs of forged addresses", async () => {
    const attacker = flood(6_000, "2000");
    // The first SYNs take all places of half-open connections.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const code = `data=bytes((i*31+(i>>8)*7)&255 for i in range(65536))
for n in range(10):
  s=connect()
  s.send(b"echo\\n"+data[:20000]); s.shutdown(1)
  got=b"".join(iter(lambda:s.recv(65536),b""))
  assert got==data[:20000], len(got)
s=connect(); s.send(b"source 3000000\\n")
got=b"".join(iter(lambda:s.recv(65536),b""))
assert got[:65536]==data and len(got)==3000000
print("served")`;
    assert.equal(python(net, code), "served");
    const seen = counters(net);
    attacker.kill("SIGKILL");
    await once(attacker, "exit");
    const { cookies_sent, cookies_accepted, connections_half_open } = seen;
    assert(cookies_sent! > 500, `${cookies_sent} sent`);
    assert(cookies_accepted! >= 11, `${cookies_accepted} accepted`);
    assert.equal(connections_half_open, 64);
  });
});
