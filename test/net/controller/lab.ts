import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Child } from "topicast/testbed/child";
import { ensureOvs, type Ovs } from "topicast/testbed/ovs";
import { ROOT } from "topicast/testbed/run";

const run = promisify(execFile);

export async function sh(...command: string[]): Promise<string> {
  const [program, ...args] = command;
  return (await run(program!, args)).stdout;
}

export interface LabHost {
  readonly id: string;
  readonly address: string;
  readonly mac: string;
  /** Index of its switch. */
  readonly at: number;
}

const bridge = (i: number) => `tdp${i + 1}`;
const namespace = (id: string) => `tdp-${id}`;
/** Ports towards other switches are numbered from 1, hosts have 10 and above. */
const hostPort = (host: LabHost) => 10 + Number(host.id.slice(1));

/**
 * Real switches in a row or star joined by patch ports, hosts in namespaces, and Ryu: all of this process's own, with
 * names and ports that nothing else uses.
 */
export class Lab {
  readonly ofPort = 17_653;
  readonly restPort = 18_090;
  readonly url = `http://127.0.0.1:${this.restPort}`;
  ryu: Child | undefined;
  private ovs: Ovs | undefined;

  /** `parents`: for each switch but the first the index of the one it hangs on. */
  constructor(
    readonly dpids: readonly bigint[],
    readonly parents: readonly number[],
    readonly hosts: readonly LabHost[],
  ) {}

  async start(): Promise<void> {
    this.ovs = await ensureOvs();
    await this.clear();
    for (const [i, dpid] of this.dpids.entries()) {
      const settings = [
        "datapath_type=netdev",
        "protocols=OpenFlow13",
        "fail_mode=secure",
        `other_config:datapath-id=${dpid.toString(16).padStart(16, "0")}`,
      ];
      await sh("ovs-vsctl", "add-br", bridge(i), "--", "set", "bridge", bridge(i), ...settings);
      const target = `tcp:127.0.0.1:${this.ofPort}`;
      await sh("ovs-vsctl", "set-controller", bridge(i), target);
      await sh("ovs-vsctl", "set", "controller", bridge(i), "max_backoff=1000");
    }
    for (const [i] of this.parents.entries()) await this.plug(i + 1);
    for (const host of this.hosts) await this.addHost(host);
  }

  /** Joins a switch to its parent; on the parent's side port 1 + index of the child, on the child's port 1. */
  async plug(child: number): Promise<void> {
    const parent = this.parents[child - 1]!;
    const [down, up] = [`tdpd${child}`, `tdpu${child}`];
    const side = (name: string, peer: string, port: number) =>
      [
        "--",
        "set",
        "interface",
        name,
        "type=patch",
        `options:peer=${peer}`,
        `ofport_request=${port}`,
      ] as const;
    await sh("ovs-vsctl", "add-port", bridge(parent), down, ...side(down, up, 1 + child));
    await sh("ovs-vsctl", "add-port", bridge(child), up, ...side(up, down, 1));
  }

  async unplug(child: number): Promise<void> {
    await sh("ovs-vsctl", "del-port", `tdpd${child}`, "--", "del-port", `tdpu${child}`);
  }

  private async addHost(host: LabHost): Promise<void> {
    const [ns, outside] = [namespace(host.id), `tdp${host.id}`];
    await sh("ip", "netns", "add", ns);
    // Otherwise the kernel's own IPv6 frames show the host to the switches before anybody asks for it.
    await sh("ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1");
    await sh("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", ns);
    await sh("ip", "netns", "exec", ns, "ethtool", "-K", "eth0", "tx", "off");
    await sh("ip", "-n", ns, "link", "set", "eth0", "address", host.mac, "up");
    await sh("ip", "-n", ns, "link", "set", "lo", "up");
    await sh("ip", "-n", ns, "addr", "add", `${host.address}/24`, "dev", "eth0");
    await sh("ip", "-n", ns, "route", "add", "239.192.0.0/14", "dev", "eth0");
    await sh("ip", "link", "set", outside, "up");
    const port = `ofport_request=${hostPort(host)}`;
    await sh("ovs-vsctl", "add-port", bridge(host.at), outside, "--", "set", "interface", outside, port);
  }

  async startRyu(): Promise<void> {
    this.ryu = new Child({
      name: "ryu",
      command: [
        `${ROOT}/ryu/ryu-manager`,
        "--ofp-listen-host=127.0.0.1",
        `--ofp-tcp-listen-port=${this.ofPort}`,
        "--wsapi-host=127.0.0.1",
        `--wsapi-port=${this.restPort}`,
      ],
    });
    await this.ryu.waitFor(/ready/, 30_000);
  }

  async killRyu(): Promise<void> {
    this.ryu?.signal("SIGKILL");
    await this.ryu?.exited;
  }

  /** One broadcast frame from the host, as an agent sends it when it is asked to show itself. */
  async broadcast(id: string): Promise<void> {
    const script = `const s=require("dgram").createSocket("udp4");s.bind(0,()=>{s.setBroadcast(true);s.send("?",9,"10.77.0.255",()=>s.close())})`;
    await sh("ip", "netns", "exec", namespace(id), process.execPath, "-e", script);
  }

  /** Sends numbered datagrams to the group's address, paced at about one a millisecond. */
  async send(id: string, group: string, count: number): Promise<void> {
    const script = `const s=require("dgram").createSocket("udp4");let n=0;s.bind(0,()=>{const t=setInterval(()=>{s.send(String(n),1883,"${group}");if(++n===${count}){clearInterval(t);setTimeout(()=>s.close(),50)}},1)})`;
    await sh("ip", "netns", "exec", namespace(id), process.execPath, "-e", script);
  }

  /** Listens on the host's own unicast address; `received` has the payloads so far. */
  async listen(host: LabHost): Promise<{ received: string[]; stop(): Promise<unknown> }> {
    const script = `const s=require("dgram").createSocket("udp4");s.on("message",m=>console.log("got "+m));s.bind(1883,"${host.address}",()=>console.log("bound"))`;
    const child = new Child({
      name: `listener ${host.id}`,
      command: ["ip", "netns", "exec", namespace(host.id), process.execPath, "-e", script],
    });
    const received: string[] = [];
    child.onLine((line) => {
      if (line.startsWith("got ")) received.push(line.slice(4));
    });
    await child.waitFor(/bound/, 5_000);
    return { received, stop: () => child.stop() };
  }

  /** Waits until each listener has as many datagrams as `counts` says, and a moment longer for what is too many. */
  async arrived(
    listeners: readonly { readonly received: readonly string[] }[],
    counts: readonly number[],
  ): Promise<void> {
    const all = () => listeners.every(({ received }, i) => received.length >= counts[i]!);
    const end = performance.now() + 5_000;
    while (!all() && performance.now() < end) await sleep(10);
    await sleep(100);
    assert.deepEqual(
      listeners.map(({ received }) => received.length),
      counts,
    );
  }

  /** Runs a command in a host; resolves with what it prints, whatever its exit code. */
  async inHost(id: string, ...command: string[]): Promise<string> {
    const inside = ["netns", "exec", namespace(id), ...command];
    return run("ip", inside).then(
      ({ stdout }) => stdout,
      (error: { stdout?: string }) => error.stdout ?? "",
    );
  }

  /** Gives a host IPv6, which it has not by itself, and an address. */
  async addIpv6(id: string, address: string): Promise<void> {
    await this.inHost(id, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0");
    await this.inHost(id, "ip", "address", "add", `${address}/64`, "dev", "eth0", "nodad");
  }

  /** Frames at a host's interface, as tcpdump tells them, one line each with both MAC addresses. */
  async capture(id: string, filter: string): Promise<{ lines: string[]; stop(): Promise<unknown> }> {
    const command = ["tcpdump", "--immediate-mode", "-l", "-n", "-e", "-t", "-i", "eth0", filter];
    const child = new Child({
      name: `tcpdump ${id}`,
      command: ["ip", "netns", "exec", namespace(id), ...command],
    });
    const lines: string[] = [];
    child.onLine((line) => lines.push(line));
    await child.waitFor(/listening on/, 5_000);
    return { lines, stop: () => child.stop() };
  }

  async ofctl(command: string, at: number, ...rest: string[]): Promise<string> {
    return sh("ovs-ofctl", "--protocols=OpenFlow13", "--no-names", command, bridge(at), ...rest);
  }

  async vsctl(at: number, ...rest: string[]): Promise<string> {
    return sh("ovs-vsctl", "set", "bridge", bridge(at), ...rest);
  }

  async stop(): Promise<void> {
    await this.ryu?.stop();
    await this.clear();
    await this.ovs?.stop();
  }

  /** Also what a killed run has left. */
  private async clear(): Promise<void> {
    for (const i of this.dpids.keys()) await sh("ovs-vsctl", "--if-exists", "del-br", bridge(i));
    const spaces = await sh("ip", "netns", "list");
    for (const { id } of this.hosts) {
      if (spaces.split("\n").some((line) => line.split(" ")[0] === namespace(id))) {
        await sh("ip", "netns", "del", namespace(id));
      }
      await sh("ip", "link", "del", `tdp${id}`).catch(() => {});
    }
  }
}
