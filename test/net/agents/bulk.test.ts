/** Much data and many clients over the raw transport, with Linux' TCP at the other end. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { crowdRound } from "./crowd.js";
import { Namespaces, PORT, SERVER_ADDRESS, type ServiceProcess } from "./namespaces.js";
import { transfer } from "./transfer.js";

/** Linux' counters of TCP that stand still while nothing goes wrong. */
const KERNEL_FAULTS = [
  ...["TcpRetransSegs", "TcpInErrs", "TcpInCsumErrors", "TcpExtTCPTimeouts", "TcpExtTCPLossProbes"],
  ...["TcpExtTCPSpuriousRTOs", "TcpExtTCPDSACKRecv", "TcpExtTCPDSACKOldSent", "TcpExtTCPDSACKOfoSent"],
  ...["TcpExtTCPOFOQueue", "TcpExtTCPSackShifted", "TcpExtTCPSACKReneging", "TcpExtPAWSEstab"],
  ...["TcpExtTCPChallengeACK", "TcpExtTCPAbortOnData", "TcpExtTCPAbortOnTimeout", "TcpEstabResets"],
];
/** The same of our stack. */
const OUR_FAULTS = [
  ...["retransmitted", "timeouts", "tail_probes", "fast_recoveries", "out_of_order", "drop_out_of_window"],
  ...["challenge_acks", "drop_tcp_checksum", "drop_paws", "drop_bad_ack"],
];
/** How often a transfer is tried: a busy machine makes losses and delays of its own. */
const TRIES = 10;

async function faults(net: Namespaces, service: ServiceProcess): Promise<Map<string, number>> {
  const told = net.run(net.client, "nstat", "-aszj");
  const { kernel } = JSON.parse(told) as { kernel: Record<string, number> };
  const ours = await service.counters();
  return new Map([
    ...KERNEL_FAULTS.map((name) => [name, kernel[name]!] as const),
    ...OUR_FAULTS.map((name) => [name, ours[name]!] as const),
  ]);
}

describe("what Linux sees of a connection on a clean link", () => {
  let net: Namespaces;
  let service: ServiceProcess;
  before(async () => {
    net = new Namespaces();
    net.sendSingleSegments();
    service = await net.serve();
  });
  after(async () => {
    await service.stop();
    await net.close();
  });

  it("SACK, timestamps, window scales and the MSS are agreed on", () => {
    // Of TCP_INFO the options: timestamps 1, SACK 2, window scale 4, ECN 8.
    const script = `import socket,subprocess
s=socket.create_connection(("${SERVER_ADDRESS}",${PORT}),timeout=5)
s.sendall(b"echo\\n"+b"x"*20000)
got=0
while got<20000: got+=len(s.recv(65536))
print("options:%d"%s.getsockopt(socket.IPPROTO_TCP,socket.TCP_INFO,8)[5])
print(subprocess.run(["ss","-tinOH","dst","${SERVER_ADDRESS}"],capture_output=True,text=True).stdout)`;
    const told = net.run(net.client, "/usr/bin/python3", "-c", script);
    assert.match(told, /^options:7$/m);
    // What we shift by, then what Linux does.
    assert.match(told, / wscale:3,\d+ /);
    for (const fact of ["mss:1448", "advmss:1448", "pmtu:1500", "rcvmss:1448"])
      assert.match(told, new RegExp(` ${fact}\\b`), told);
    assert.doesNotMatch(told, / (lost|dsack_dups|reord_seen):/);
  });

  it("nothing is sent twice, comes out of order or is faulty, in either direction", async () => {
    let wrong: string[] = [];
    for (let i = 0; i < TRIES; i++) {
      const before = await faults(net, service);
      const { sent, received } = await transfer(net, 1_000_000);
      assert.equal(received, sent);
      const now = await faults(net, service);
      wrong = [...now].filter(([name, n]) => n !== before.get(name)).map(([name]) => name);
      if (wrong.length === 0) return;
    }
    assert.fail(`in each of ${TRIES} transfers, in the last one: ${wrong.join(", ")}`);
  });

  it("64 MB go each way byte-exact", async (test) => {
    const { sent, received, bytes, seconds } = await transfer(net, 64_000_000);
    assert.equal(bytes, 64_000_000);
    assert.equal(received, sent);
    test.diagnostic(`${(64 / seconds).toFixed(0)} MB/s each way at once`);
  });
});

describe("bulk on a link that loses 5 % and reorders, in both directions", () => {
  let net: Namespaces;
  let service: ServiceProcess;
  let relay: ChildProcess;
  before(async () => {
    net = new Namespaces(true);
    net.sendSingleSegments();
    relay = net.spawn(net.middle!, "relay-main.js", "left0", "right0", "7", "0", "0.1", "4");
    await once(relay.stdout!, "data");
    service = await net.serve();
    const drop = "meta l4proto tcp numgen random mod 100 < 5 counter drop";
    net.run(
      net.client,
      "nft",
      `add table inet loss; add chain inet loss in { type filter hook prerouting priority -400; }; add chain inet loss out { type filter hook postrouting priority 400; }; add rule inet loss in ${drop}; add rule inet loss out ${drop}`,
    );
  });
  after(async () => {
    await service.stop();
    await net.close();
  });

  it("4 MB go each way byte-exact", async (test) => {
    const { sent, received, bytes, seconds } = await transfer(net, 4_000_000);
    assert.equal(bytes, 4_000_000);
    assert.equal(received, sent);
    test.diagnostic(`${(4_000 / seconds).toFixed(0)} kB/s each way at once`);
    const counters = await service.counters();
    assert(counters.retransmitted! > 50, `${counters.retransmitted} retransmitted`);
    assert(counters.out_of_order! > 50, `${counters.out_of_order} out of order`);
    relay.kill("SIGTERM");
    const [line] = (await once(createInterface({ input: relay.stdout! }), "line")) as [string];
    const { held } = JSON.parse(line) as { held: number };
    assert(held > 200, `${held} frames were held back`);
    const dropped = [
      ...net.run(net.client, "nft", "list", "table", "inet", "loss").matchAll(/packets (\d+)/g),
    ];
    assert.equal(dropped.length, 2);
    for (const [, packets] of dropped) assert(Number(packets) > 50, `${packets} dropped`);
  });
});

describe("clients that vanish", () => {
  let net: Namespaces;
  let service: ServiceProcess;
  before(async () => {
    net = new Namespaces();
    // Seconds instead of minutes.
    const tcp = {
      keepAliveIdle: 1_000,
      keepAliveInterval: 500,
      keepAliveProbes: 2,
      userTimeout: 2_000,
      timeWait: 500,
    };
    service = await net.serve(JSON.stringify(tcp));
  });
  after(async () => {
    await service.stop();
    await net.close();
  });

  it("leave nothing behind: 200 at a time, half killed, half behind a link that goes down", async (test) => {
    // Until all code is compiled the heap grows by itself.
    for (let round = 0; round < 2; round++) await crowdRound(net, service, 200);
    const first = (await service.counters()).heap_bytes!;
    for (let round = 0; round < 2; round++) await crowdRound(net, service, 200);
    const growth = (await service.counters()).heap_bytes! - first;
    test.diagnostic(`the heap grew by ${Math.round(growth / 1_000)} kB over 400 clients`);
    // A connection that stayed would cost 2 kB at least.
    assert(growth < 400 * 1_000, `the heap grew by ${growth} bytes`);
  });
});
