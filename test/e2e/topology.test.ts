import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, describe, it } from "node:test";
import type { Child } from "topicast/testbed/child";
import { Run } from "topicast/testbed/run";
import { eventually } from "topicast/testbed/testbed";
import { assertNothingLeft, ROOT, sleep, TOPOLOGY, testbedProcesses } from "./support.js";

const LOCK = "/run/topicast/network.lock";

describe("mininet/topo_mqtt_lora_VM_bridged.py", () => {
  const run = new Run();
  before(async () => {
    await run.exec([`${ROOT}/scripts/cleanup`], 60_000);
  });
  afterEach(async () => {
    await run.exec(["ovs-vsctl", "--timeout=5", "--if-exists", "del-br", "notours0"]);
    await run.exec([`${ROOT}/scripts/cleanup`], 60_000);
  });
  after(() => run.stopAll());

  /** Runs it to its end with `input` on standard input. */
  async function topology(args: readonly string[], input = ""): Promise<{ exit: unknown; text: string }> {
    const child = start(...args);
    child.write(input);
    child.endInput();
    const exit = await child.exited;
    return { exit, text: child.lines.join("\n") };
  }

  function start(...args: string[]): Child {
    // Its own owner: the mark of this test would make its leftovers look like those of a living run.
    return run.start({ name: "topology", command: ["env", "TOPICAST_RUN=", "python3", TOPOLOGY, ...args] });
  }

  async function refuses(args: readonly string[], pattern: RegExp): Promise<void> {
    const { exit, text } = await topology(args);
    assert.match(text, pattern, args.join(" "));
    assert.equal(text.split("\n").length, 1, `one line for ${args.join(" ")}`);
    assert.equal(exit, 1, args.join(" "));
  }

  it("builds the tree, runs the commands of standard input in order, and leaves nothing", async () => {
    const { exit, text } = await topology(
      ["-f", "2", "-f", "2"],
      [
        "h1 sleep 0.3; echo first",
        "h4 ip -4 -brief address",
        "fwd ip -4 -brief address",
        "h1 cat /proc/sys/net/ipv6/conf/all/disable_ipv6",
        "h2 ethtool --show-offload h2-eth0",
        "sh ovs-ofctl -O OpenFlow13 show s3",
        "sh ovs-vsctl get bridge s2 protocols fail_mode datapath_type",
        "sh ovs-vsctl get-controller s3",
        "dpctl dump-flows",
        "nodes",
        "",
      ].join("\n"),
    );
    assert.equal(exit, 0, text);
    assert.match(text, /^\*\*\* s1: s2 s3 fwd\n\*\*\* s2: h1 h2\n\*\*\* s3: h3 h4$/m);
    assert.match(text, /reaches Ryu at http:\/\/169\.254\.240\.1:8080/);
    assert.ok(text.indexOf("first") < text.indexOf("192.168.1.104/24"), "in order");
    assert.match(text, /h4-eth0\S* +UP +192\.168\.1\.104\/24/);
    assert.match(text, /fwd-eth0\S* +UP +192\.168\.1\.100\/24/);
    assert.match(text, /fwd-mgmt\S* +UP +169\.254\.240\.2\/30/);
    assert.match(text, /^1$/m, "IPv6 is off in hosts");
    assert.match(text, /tx-checksumming: off/);
    assert.match(text, /dpid:0000000000000003/);
    assert.match(text, /\[OpenFlow13\]/);
    assert.match(text, /^secure$/m);
    assert.match(text, /^"?tcp:127\.0\.0\.1:6653"?$/m);
    assert.match(text, /available nodes are:/);
    assert.doesNotMatch(text, /error|exception/i);
    await assertNothingLeft(run);
  });

  it("is the same network at each run", async () => {
    const addresses = "h1 cat /sys/class/net/h1-eth0/address\nsh cat /sys/class/net/s1-eth1/address\n";
    const first = await topology(["-f", "1", "-f", "1"], addresses);
    const second = await topology(["-f", "1", "-f", "1"], addresses);
    assert.equal(first.text, second.text);
    assert.match(first.text, /02:00:c0:a8:01:65\n02:74:6f:70:01:01/);
  });

  it("obeys the controller, management and Ryu port options", async () => {
    const { exit, text } = await topology(
      [
        ...["-f", "1", "-c", "tcp:127.0.0.1:16999", "--management", "169.254.77.0/30"],
        ...["--ryu-port", "18080"],
      ],
      "sh ovs-vsctl get-controller s1\nfwd ping -c 1 -W 2 169.254.77.1\n",
    );
    assert.equal(exit, 0, text);
    assert.match(text, /reaches Ryu at http:\/\/169\.254\.77\.1:18080/);
    assert.match(text, /tcp:127\.0\.0\.1:16999/);
    assert.match(text, /1 received/);
  });

  it("refuses what cannot be built, in one line", async () => {
    await refuses(["-f", "0"], /fan-out 0 is not possible: it must be 1 or more$/);
    await refuses(["-f", "two"], /invalid int value: 'two'; see -h$/);
    await refuses(["-f", "20", "-f", "20"], /need 400 hosts; 192\.168\.1\.101 to \.254 has room for 154$/);
    await refuses(["-d", "3parsec"], /'3parsec' is not a delay; write for example 10ms/);
    await refuses(["-D", "2min"], /'2min' is not a delay/);
    await refuses(["-c", "ryu"], /'ryu' is not a controller; write for example tcp:127\.0\.0\.1:6653$/);
    await refuses(["--management", "192.168.1.0/30"], /overlaps the hosts' 192\.168\.1\.0\/24$/);
    await refuses(
      ["-r", "nosuch0", "-R", "s1"],
      /-r nosuch0: this machine has no such interface; see: ip link$/,
    );
    await refuses(["-r", "lo"], /-r and -R belong together/);
    await refuses(["-r", "lo", "-R", "h1"], /-r lo carries the address 127\.0\.0\.1\/8 and so seems in use/);
    await refuses(["-r", "lo", "-R", "h9"], /-R h9: there is no such node; there are s1 to h4$/);
    await refuses(["--nonsense"], /unrecognized arguments: --nonsense; see -h$/);
    await assertNothingLeft(run);
  });

  it("makes link delays, or says clearly that this kernel cannot", async () => {
    const netem = await run.exec(
      ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root"].concat(["netem", "delay", "1ms"]),
    );
    if (netem.code === 0) {
      // Without a controller a switch forwards what its flows say: let the one switch forward everything.
      const flood = "sh ovs-ofctl -O OpenFlow13 add-flow s1 actions=NORMAL\n";
      const { text } = await topology(["-f", "2", "-d", "20ms"], `${flood}h1 ping -c 3 h2\n`);
      const fastest = Number(/rtt min[^=]*= ([\d.]+)/.exec(text)?.[1]);
      assert.ok(fastest >= 80 && fastest < 200, text);
    } else {
      await refuses(
        ["-f", "2", "-d", "10ms"],
        /this kernel has no netem, which link delays need .*leave out -d and -D$/,
      );
      await refuses(["-f", "2", "-D", "10"], /this kernel has no netem/);
    }
    await assertNothingLeft(run);
  });

  it("needs root, and says so", async () => {
    const { code, stdout, stderr } = await run.exec([
      ...["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
      // Read for it, where the clone is in a folder that others may not enter.
      ...["/usr/bin/python3", "-c", asNobody("-f", "2")],
    ]);
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, /^\S+: network namespaces and Open vSwitch need root: start me with sudo\n$/);
  });

  it("runs one network at a time, and leaves other bridges alone", async () => {
    const first = start("-f", "1");
    await first.waitFor(/^\*\*\* ready$/, 30_000);
    await run.output([
      "ovs-vsctl",
      "add-br",
      "notours0",
      "--",
      "set",
      "bridge",
      "notours0",
      "datapath_type=netdev",
    ]);
    await refuses(["-f", "1"], /a Topicast network is running already \(process \d+\): end it first/);
    first.endInput();
    assert.equal(await first.exited, 0);
    assert.equal((await run.output(["ovs-vsctl", "list-br"])).trim(), "notours0");
    // The network started Open vSwitch, but now somebody else has a bridge on it.
    await run.output(["ovs-vsctl", "add-br", "s1", "--", "set", "bridge", "s1", "datapath_type=netdev"]);
    await refuses(["-f", "1"], /s1 exists on this machine and is not ours/);
    assert.deepEqual((await run.output(["ovs-vsctl", "list-br"])).trim().split("\n"), ["notours0", "s1"]);
    await run.output(["ovs-vsctl", "del-br", "s1"]);
  });

  it("removes what a killed run left, by itself and by scripts/cleanup", async () => {
    for (const way of ["cleanup", "next run"]) {
      const killed = start("-f", "2", "-f", "2");
      await killed.waitFor(/^\*\*\* ready$/, 30_000);
      const within = run.start({
        name: "sleep",
        command: [`${ROOT}/scripts/in-host`, "h1", "sleep", "1000"],
      });
      await eventually("it sleeps", 5000, () => testbedProcesses().some((p) => p.command === "sleep 1000"));
      killed.signal("SIGKILL");
      await killed.exited;
      assert.equal(within.exit, undefined);
      assert.deepEqual(
        (await run.output(["ovs-vsctl", "list-br"])).trim().split("\n"),
        ["s1", "s2", "s3"],
        "they are there",
      );
      if (way === "cleanup") {
        await run.output([`${ROOT}/scripts/cleanup`], 60_000);
      } else {
        const { exit, text } = await topology(["-f", "1"], "h1 true\n");
        assert.equal(exit, 0, text);
      }
      await assertNothingLeft(run);
    }
  });

  it("is taken down by SIGTERM, SIGHUP and SIGINT at any time, what runs in its hosts included", async () => {
    for (const [signal, code, delay] of [
      ["SIGTERM", 143, -1],
      ["SIGHUP", 129, -1],
      ["SIGINT", 130, 700],
      ["SIGTERM", 143, 300],
    ] as const) {
      const child = start("-f", "2", "-f", "2");
      if (delay < 0) {
        await child.waitFor(/^\*\*\* ready$/, 30_000);
        child.write("h1 setsid nohup sleep 1000 >/dev/null 2>&1 &\nsh echo started\n");
        await child.waitFor(/^started$/, 5000);
      } else {
        await sleep(delay);
      }
      child.signal(signal);
      const exit = await child.exited;
      // Python itself takes some 100 ms to start, and until then ends by the signal.
      const early = delay > 0 && exit === signal;
      assert.ok(early || exit === code, `${signal} after ${delay} ms: ${exit} ${child.lines.join("\n")}`);
      await assertNothingLeft(run);
    }
  });

  it("is left alone by scripts/cleanup while it runs, and ended by --all", async () => {
    const child = start("-f", "1");
    await child.waitFor(/^\*\*\* ready$/, 30_000);
    const said = await run.output([`${ROOT}/scripts/cleanup`], 60_000);
    assert.match(
      said,
      new RegExp(`a network is running \\(process ${readFileSync(LOCK, "utf8")}\\); it stays`),
    );
    assert.equal(child.exit, undefined);
    // The test carries no mark itself, so only the network is ended.
    await run.output(["env", "TOPICAST_RUN=", `${ROOT}/scripts/cleanup`, "--all"], 60_000);
    await eventually("it ended", 5000, () => child.exit !== undefined);
    assert.equal(child.exit, 143);
    await assertNothingLeft(run);
  });

  describe("with a real interface", () => {
    // A pair of interfaces stands for the network card; its far end is "the LAN", in a namespace of its own.
    const namespace = "tc-e2e-lan";
    before(async () => {
      await run.exec(["ip", "netns", "delete", namespace]);
      await run.output(["ip", "netns", "add", namespace]);
    });
    after(async () => {
      await run.exec(["ip", "netns", "delete", namespace]);
    });

    async function makeCard(address: string): Promise<void> {
      await run.exec(["ip", "link", "delete", "tce2ecard"]);
      const peer = ["peer", "name", "lan0", "netns", namespace];
      await run.output(["ip", "link", "add", "tce2ecard", "type", "veth", ...peer]);
      await run.output(["ip", "-n", namespace, "address", "add", address, "dev", "lan0"]);
      await run.output(["ip", "-n", namespace, "link", "set", "lan0", "up"]);
      await run.output(["ip", "netns", "exec", namespace, "ethtool", "-K", "lan0", "tx", "off"]);
    }

    it("joins it to a switch, and gives it back", async () => {
      await makeCard("192.168.1.50/24");
      const flood = "sh ovs-ofctl -O OpenFlow13 add-flow s1 actions=NORMAL\n";
      const { exit, text } = await topology(
        ["-f", "2", "-r", "tce2ecard", "-R", "s1"],
        `${flood}h2 ping -c 2 -i 0.2 -W 2 192.168.1.50\n`,
      );
      assert.equal(exit, 0, text);
      assert.match(text, /2 received/);
      await run.output(["ip", "link", "show", "dev", "tce2ecard"]);
      await assertNothingLeft(run);
    });

    it("moves it into a host with an address of its own, and gives it back", async () => {
      await makeCard("192.168.2.50/24");
      const { exit, text } = await topology(
        ["-f", "2", "-r", "tce2ecard", "-R", "h1"],
        `h1 ping -c 2 -i 0.2 -W 2 192.168.2.50\nh1 cat /proc/sys/net/ipv4/ip_forward\n`,
      );
      assert.equal(exit, 0, text);
      assert.match(text, /2 received/);
      assert.match(text, /^1$/m);
      await run.output(["ip", "link", "show", "dev", "tce2ecard"]);
      await assertNothingLeft(run);
    });
  });
});

/** A Python program that runs the topology script from its text, as it would run from its file. */
function asNobody(...args: string[]): string {
  const folder = TOPOLOGY.slice(0, TOPOLOGY.lastIndexOf("/"));
  const load = (name: string) => `
m = types.ModuleType(${JSON.stringify(name)}); m.__file__ = ${JSON.stringify(TOPOLOGY)}
sys.modules[${JSON.stringify(name)}] = m
exec(${JSON.stringify(readFileSync(`${folder}/${name}.py`, "utf8"))}, m.__dict__)`;
  return `
import sys, types
sys.argv = ${JSON.stringify([TOPOLOGY, ...args])}
${load("tree")}
${load("machine")}
exec(${JSON.stringify(readFileSync(TOPOLOGY, "utf8"))}, {"__name__": "__main__", "__file__": ${JSON.stringify(TOPOLOGY)}})
`;
}
