import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, afterEach, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { SCENARIOS } from "../../unit/agents/transport/scenarios.js";
import { CLIENT_ADDRESS, Namespaces, PORT, SERVER_ADDRESS, type ServiceProcess } from "./namespaces.js";

const TABLE = `table inet topicast_${PORT}_edge0`;

interface Result {
  name: string;
  error: string | null;
  ms: number;
}

/** Runs all scenarios from the client's namespace. */
async function runScenarios(net: Namespaces): Promise<Result[]> {
  const child = net.spawn(net.client, "client-main.js", SERVER_ADDRESS, String(PORT));
  const results: Result[] = [];
  createInterface({ input: child.stdout! }).on("line", (line) => results.push(JSON.parse(line) as Result));
  child.stderr?.pipe(process.stderr);
  await once(child, "close");
  return results;
}

/** A python3 one-liner in the client's namespace, with `s` connected. */
function python(net: Namespaces, code: string): string {
  const script = `import socket,sys,time\ns=socket.create_connection(("${SERVER_ADDRESS}",${PORT}),timeout=5)\n${code}`;
  return net.run(net.client, "/usr/bin/python3", "-c", script).trim();
}

/** Sends frames of no connection from the client's namespace for `ms` milliseconds. */
function flood(net: Namespaces, ms: number): void {
  const main = `${import.meta.dirname}/flood-main.js`;
  net.run(
    net.client,
    process.execPath,
    main,
    "dev0",
    net.serverMac(),
    SERVER_ADDRESS,
    String(PORT),
    String(ms),
  );
}

async function counters(net: Namespaces): Promise<Record<string, number>> {
  return JSON.parse(python(net, `s.send(b"counters\\n");s.shutdown(1);print(s.makefile().read())`));
}

/** Waits until the service's counter has a value. */
async function counterBecomes(net: Namespaces, name: string, value: number): Promise<void> {
  let seen: number | undefined;
  for (let i = 0; i < 50; i++) {
    seen = (await counters(net))[name];
    if (seen === value) return;
    await sleep(50);
  }
  assert.fail(`${name} is ${seen}, not ${value}`);
}

describe("raw transport against Linux", () => {
  let net: Namespaces;
  let service: ServiceProcess;
  let results: Result[];

  before(async () => {
    net = new Namespaces();
    service = await net.serve();
    results = await runScenarios(net);
  });
  after(async () => {
    await service.stop();
    await net.close();
  });

  for (const { name } of SCENARIOS) {
    it(name, () => {
      const result = results.find((r) => r.name === name);
      assert(result !== undefined, "the client did not come so far");
      assert.equal(result.error, null);
    });
  }

  it("gives warning of nothing that a proper installation has", () => {
    assert.equal(service.errors.replace(/^warning: cap is built with assertions.*\n/m, ""), "ready\n");
  });

  it("lost nothing, and the kernel answered nothing", async () => {
    const seen = await counters(net);
    // Where the machine let a process wait for 40 ms, a tail loss probe went out, and nothing else.
    assert(
      seen.retransmitted! <= seen.tail_probes!,
      `${seen.retransmitted} of them ${seen.tail_probes} probes`,
    );
    assert.equal(seen.drop_tcp_checksum, 0);
    assert.equal(seen.receive_memory_bytes, 0);
    assert.match(net.rules(), new RegExp(`${TABLE} {`));
  });

  it("drops connections whose clients were killed, by the kernel's FIN or RST", async () => {
    const clients: ChildProcess[] = [];
    for (let i = 0; i < 5; i++) {
      const child = net.spawn(
        net.client,
        `${import.meta.dirname}/hold-main.js`,
        SERVER_ADDRESS,
        String(PORT),
      );
      await once(child.stdout!, "data");
      clients.push(child);
    }
    await counterBecomes(net, "connections_open", 6);
    for (const child of clients) child.kill("SIGKILL");
    await counterBecomes(net, "connections_open", 1);
  });

  it("answers a segment of a connection that it does not know with RST", () => {
    // An ACK from port 4444, where there is no connection, by a raw socket.
    const code = python(
      net,
      `import struct
raw=socket.socket(socket.AF_INET,socket.SOCK_RAW,socket.IPPROTO_TCP); raw.settimeout(2)
h=struct.pack("!HHIIBBHHH",4444,${PORT},7,9,0x50,0x10,100,0,0)
def cs(b):
  t=sum(struct.unpack("!%dH"%(len(b)//2),b)); t=(t>>16)+(t&0xffff); return ~(t+(t>>16))&0xffff
p=socket.inet_aton("${CLIENT_ADDRESS}")+socket.inet_aton("${SERVER_ADDRESS}")+struct.pack("!HH",6,20)
raw.sendto(h[:16]+struct.pack("!H",cs(p+h))+h[18:],("${SERVER_ADDRESS}",0))
while True:
  d=raw.recv(100)
  if struct.unpack("!HH",d[20:24])==(${PORT},4444): break
print(d[33], struct.unpack("!I",d[24:28])[0])`,
    );
    assert.equal(code, "4 9");
  });

  it("answers with the VLAN tags that the request has", () => {
    const mac = net.serverMac();
    for (const vlans of ["7", "100,7"]) {
      const main = `${import.meta.dirname}/vlan-main.js`;
      const answer = net.run(
        net.client,
        process.execPath,
        main,
        "dev0",
        mac,
        SERVER_ADDRESS,
        String(PORT),
        vlans,
      );
      assert.equal(answer, `${CLIENT_ADDRESS}:40000\n`);
    }
  });

  it("refuses a client on the agent's own host at once", () => {
    const script = `import socket,time
t=time.time()
for a in ("${SERVER_ADDRESS}","127.0.0.1"):
  try: socket.create_connection((a,${PORT}),timeout=5); print("connected")
  except ConnectionRefusedError: pass
print("refused" if time.time()-t<1 else "late")`;
    assert.equal(net.run(net.server, "/usr/bin/python3", "-c", script).trim(), "refused");
  });
});

describe("raw transport on a lossy link", () => {
  let net: Namespaces;
  let service: ServiceProcess;

  before(async () => {
    net = new Namespaces();
    service = await net.serve();
    // Frames of one segment each, so that a drop is a segment's drop.
    net.run(net.client, "ethtool", "-K", "dev0", "tso", "off", "gso", "off", "gro", "off");
    const drop = "numgen random mod 1000 < 20 drop";
    net.run(
      net.client,
      "nft",
      `add table inet loss; add chain inet loss in { type filter hook prerouting priority -400; }; add chain inet loss out { type filter hook postrouting priority 400; }; add rule inet loss in meta l4proto tcp ${drop}; add rule inet loss out meta l4proto tcp ${drop}`,
    );
  });
  after(async () => {
    await service.stop();
    await net.close();
  });

  it("echoes 2 MB both ways, byte-exact, with 2 % lost each way", async () => {
    const code = `import threading
data=bytes((i*31+(i>>8)*7)&255 for i in range(65536))*32
s.settimeout(40)
s.send(b"echo\\n")
threading.Thread(target=lambda:(s.sendall(data),s.shutdown(1))).start()
got=bytearray()
while True:
  d=s.recv(65536)
  if not d: break
  got+=d
print("same" if bytes(got)==data else "differs", len(got))`;
    assert.equal(python(net, code), "same 2097152");
    const seen = await counters(net);
    assert(seen.retransmitted! > 0);
    assert(seen.fast_recoveries! > 0);
  });
});

describe("raw transport's firewall rule and port", () => {
  let net: Namespaces;
  before(() => {
    net = new Namespaces();
  });
  after(() => net.close());
  afterEach(() => assert.equal(net.rules().trim(), ""));

  it("is gone after SIGTERM", async () => {
    const service = await net.serve();
    assert.match(net.rules(), new RegExp(TABLE));
    assert.equal(await service.stop("SIGTERM"), 0);
  });

  it("is gone after an uncaught exception", async () => {
    const service = await net.serve();
    assert.match(net.rules(), new RegExp(TABLE));
    assert.equal(await service.stop("SIGHUP"), 1);
  });

  it("is taken over from an agent that was killed, and the port too", async () => {
    const killed = await net.serve();
    killed.child.kill("SIGKILL");
    await once(killed.child, "exit");
    // `ip netns exec` has become the program, so nothing is left of it but the rule.
    assert.match(net.rules(), new RegExp(TABLE));
    const service = await net.serve();
    assert.equal(net.rules().match(/ip daddr/g)?.length, 1);
    assert.equal(net.rules().match(/ip6 daddr/g)?.length, 1);
    assert.equal(python(net, `s.send(b"who\\n");print(s.recv(100).decode().split(":")[0])`), CLIENT_ADDRESS);
    await service.stop();
  });

  it("is not made when the port is in use, by another agent or by the kernel", async () => {
    const service = await net.serve();
    await assert.rejects(net.serve(), /port 1883 is in use: another agent serves it on interface edge0/);
    assert.match(net.rules(), new RegExp(TABLE));
    await service.stop();
    const listener = net.spawn(net.server, "listen-main.js", String(PORT));
    await once(listener.stdout!, "data");
    await assert.rejects(net.serve(), /TCP 10\.77\.0\.1:1883 is in use by another program/);
    listener.kill("SIGKILL");
    await once(listener, "exit");
  });

  it("is not made without privileges", () => {
    // Root without its capabilities: another user might not be allowed to read this file.
    const bare = "setpriv --bounding-set=-all --inh-caps=-all";
    const main = `${import.meta.dirname}/service-main.js`;
    const script = `${bare} '${process.execPath}' '${main}' edge0 ${PORT} 2>&1; echo $?`;
    assert.match(
      net.run(net.server, "sh", "-c", script),
      /the raw transport needs root.*--transport socket\n1\n/,
    );
  });

  it("is not made for an interface that is missing, down, without address or the loopback", async () => {
    const starting = async (name: string) => {
      const child = net.spawn(net.server, "service-main.js", name, String(PORT));
      let errors = "";
      child.stderr?.on("data", (text) => {
        errors += text;
      });
      await once(child, "close");
      return errors;
    };
    net.run(net.server, "ip", "link", "add", "bare0", "type", "veth", "peer", "name", "bare1");
    assert.match(await starting("nosuch0"), /no interface nosuch0/);
    assert.match(await starting("bare0"), /bare0 is down/);
    net.run(net.server, "ip", "link", "set", "bare0", "up");
    assert.match(await starting("bare0"), /bare0 has no IP address/);
    assert.match(await starting("lo"), /loopback/);
  });
});

describe("capture that is slower than its frames come", () => {
  let net: Namespaces;
  before(() => {
    net = new Namespaces();
  });
  after(() => net.close());

  /** Lets a flood of two seconds go over it, and returns what it tells in the end. */
  async function overrun(maxBurst: number): Promise<Record<string, number>> {
    const child = net.spawn(net.server, "burst-main.js", net.interface, String(PORT), String(maxBurst));
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    assert.equal((await lines.next()).value, "ready");
    flood(net, 2_000);
    child.kill("SIGTERM");
    return JSON.parse((await lines.next()).value!) as Record<string, number>;
  }

  it("drops the rest of a burst, and everything else in the process has its turn", async () => {
    const result = await overrun(50);
    assert(result.frames! > 100);
    assert(result.capture_shed! > 1_000);
    // Otherwise it would be the whole flood; the flood itself takes this machine's processors.
    assert(result.longest! < 1_000, JSON.stringify(result));
  });

  it("closes and opens the interface when that is not enough, and goes on", async () => {
    const result = await overrun(0.1);
    assert(result.capture_bursts_cut! > 1, JSON.stringify(result));
    assert(result.capture_reopened! >= result.capture_bursts_cut! - 1);
    assert(result.frames! > 10);
  });
});

describe("raw transport while its interface changes", () => {
  let net: Namespaces;
  let service: ServiceProcess;
  before(async () => {
    net = new Namespaces();
    service = await net.serve();
  });
  after(async () => {
    await service.stop();
    await net.close();
  });

  const answers = () =>
    python(net, `s.send(b"who\\n");print(s.recv(100).decode().split(":")[0])`) === CLIENT_ADDRESS;

  it("goes on after the client's link was down", async () => {
    net.run(net.client, "ip", "link", "set", "dev0", "down");
    await sleep(200);
    net.run(net.client, "ip", "link", "set", "dev0", "up");
    assert(answers());
  });

  it("goes on after its own interface was down", async (test) => {
    if (service.errors.includes("built with assertions")) return test.skip("cap is built with assertions");
    net.run(net.server, "ip", "link", "set", "edge0", "down");
    await sleep(200);
    net.run(net.server, "ip", "link", "set", "edge0", "up");
    await sleep(2_500);
    assert(answers());
  });

  it("follows a change of address", async () => {
    net.run(net.server, "ip", "address", "add", "10.77.0.9/24", "dev", "edge0");
    await sleep(2_500);
    assert.match(net.rules(), /10\.77\.0\.9/);
    const script = `import socket
s=socket.create_connection(("10.77.0.9",${PORT}),timeout=3)
s.send(b"who\\n");print(s.recv(100).decode().split(":")[0])`;
    assert.equal(net.run(net.client, "/usr/bin/python3", "-c", script).trim(), CLIENT_ADDRESS);
    assert(answers());
  });
});
