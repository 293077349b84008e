import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { RyuClient } from "node-ryu-rest-client";
import type { Child } from "topicast/testbed/child";
import { ensureOvs, type Ovs } from "topicast/testbed/ovs";
import { ROOT, Run } from "topicast/testbed/run";

/** TCP ports that are free now, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** A Ryu of its own on free ports of the loopback interface, started by ryu/ryu-manager. */
export class Ryu {
  private constructor(
    private readonly run: Run,
    readonly child: Child,
    readonly openflowPort: number,
    readonly restPort: number,
    readonly client: RyuClient,
  ) {}

  static async start(...args: string[]): Promise<Ryu> {
    const [openflowPort, restPort] = (await freePorts(2)) as [number, number];
    const run = new Run();
    const child = run.start({
      name: "ryu-manager",
      command: [`${ROOT}/ryu/ryu-manager`, ...listenOn(openflowPort, restPort), ...args],
    });
    try {
      await child.waitFor(/\bready\b/, 30_000);
    } catch (error) {
      await run.stopAll();
      throw error;
    }
    const client = new RyuClient({ url: `http://127.0.0.1:${restPort}` });
    return new Ryu(run, child, openflowPort, restPort, client);
  }

  async stop(): Promise<void> {
    this.client.close();
    await this.run.stopAll();
  }
}

export function listenOn(openflowPort: number, restPort: number): string[] {
  const loopback = ["--ofp-listen-host", "127.0.0.1", "--wsapi-host", "127.0.0.1"];
  return [...loopback, "--ofp-tcp-listen-port", String(openflowPort), "--wsapi-port", String(restPort)];
}

export interface SwitchPlan {
  readonly name: string;
  readonly dpid: bigint;
  /** Ports 1 … n, each a veth whose other end `<name>h<i>` is alone in the namespace `<name>h<i>`. */
  readonly hosts: number;
}

/** Real Open vSwitch bridges (userspace datapath) with hosts in namespaces; `close` removes all of it. */
export class Lab {
  private readonly namespaces: string[] = [];
  private readonly bridges: string[] = [];

  private constructor(
    readonly run: Run,
    private readonly ovs: Ovs,
  ) {}

  static async open(): Promise<Lab> {
    return new Lab(new Run(), await ensureOvs());
  }

  async addSwitch({ name, dpid, hosts }: SwitchPlan): Promise<void> {
    await this.removeSwitch(name);
    this.bridges.push(name);
    const id = dpid.toString(16).padStart(16, "0");
    await this.vsctl(
      ...["add-br", name, "--", "set", "bridge", name, "datapath_type=netdev", "protocols=OpenFlow13"],
      ...["fail-mode=secure", `other-config:datapath-id=${id}`],
    );
    for (let i = 1; i <= hosts; i++) await this.addHost(name, i);
  }

  private async addHost(bridge: string, i: number): Promise<void> {
    const host = `${bridge}h${i}`;
    const port = `${bridge}p${i}`;
    await this.run.exec(["ip", "netns", "del", host]);
    await this.run.exec(["ip", "link", "del", port]);
    await this.run.output(["ip", "netns", "add", host]);
    this.namespaces.push(host);
    await this.run.output(["ip", "link", "add", port, "type", "veth", "peer", "name", host, "netns", host]);
    // Nothing but the test's own frames: the kernel's IPv6 would speak up by itself.
    await this.run.output(["sysctl", "-qw", `net.ipv6.conf.${port}.disable_ipv6=1`]);
    await this.inHost(host, "sysctl", "-qw", `net.ipv6.conf.${host}.disable_ipv6=1`);
    await this.inHost(host, "ip", "link", "set", host, "up");
    await this.run.output(["ip", "link", "set", port, "up"]);
    await this.vsctl("add-port", bridge, port, "--", "set", "interface", port, `ofport_request=${i}`);
  }

  /** Joins port `a` of one bridge and port `b` of another. */
  async join(bridgeA: string, a: number, bridgeB: string, b: number): Promise<void> {
    const [from, to] = [`${bridgeA}x${a}`, `${bridgeB}x${b}`];
    await this.run.exec(["ip", "link", "del", from]);
    await this.run.output(["ip", "link", "add", from, "type", "veth", "peer", "name", to]);
    for (const [bridge, end, number] of [
      [bridgeA, from, a],
      [bridgeB, to, b],
    ] as const) {
      await this.run.output(["sysctl", "-qw", `net.ipv6.conf.${end}.disable_ipv6=1`]);
      await this.run.output(["ip", "link", "set", end, "up"]);
      await this.vsctl("add-port", bridge, end, "--", "set", "interface", end, `ofport_request=${number}`);
    }
  }

  async connect(bridge: string, ryu: Ryu): Promise<void> {
    await this.vsctl("set-controller", bridge, `tcp:127.0.0.1:${ryu.openflowPort}`);
  }

  async disconnect(bridge: string): Promise<void> {
    await this.vsctl("del-controller", bridge);
  }

  vsctl(...args: string[]): Promise<string> {
    return this.run.output(["ovs-vsctl", "--timeout=10", ...args]);
  }

  ofctl(command: string, bridge: string, ...args: string[]): Promise<string> {
    return this.run.output(["ovs-ofctl", "--protocols=OpenFlow13", "--no-names", command, bridge, ...args]);
  }

  inHost(host: string, ...command: string[]): Promise<string> {
    return this.run.output(["ip", "netns", "exec", host, ...command]);
  }

  /** Sends a frame `count` times out of a host, exactly as given. */
  async send(host: string, frame: Uint8Array, count = 1): Promise<void> {
    const hex = Buffer.from(frame).toString("hex");
    const program = `import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((${JSON.stringify(host)}, 0))
for _ in range(${count}): s.send(bytes.fromhex("${hex}"))`;
    await this.inHost(host, "/usr/bin/python3", "-c", program);
  }

  private async removeSwitch(name: string): Promise<void> {
    await this.run.exec(["ovs-vsctl", "--timeout=10", "--if-exists", "del-br", name]);
  }

  async close(): Promise<void> {
    for (const bridge of this.bridges) await this.removeSwitch(bridge);
    for (const namespace of this.namespaces) await this.run.exec(["ip", "netns", "del", namespace]);
    const { stdout } = await this.run.exec(["ip", "-o", "link"]);
    for (const bridge of this.bridges) {
      for (const [, name] of stdout.matchAll(new RegExp(`: (${bridge}[xp]\\d+)@`, "g"))) {
        await this.run.exec(["ip", "link", "del", name!]);
      }
    }
    await this.ovs.stop();
  }
}

/** Asks again until `check` is content; its last complaint is the error after `ms`. */
export async function eventually<T>(check: () => Promise<T>, ms = 10_000): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
      await sleep(50);
    }
  }
}

const MAC_BYTES = /../g;

/** An Ethernet frame with an IPv4/UDP datagram in it (checksums as the standards want them; UDP's left out). */
export function udpFrame(to: string, from: string, ipTo: string, ipFrom: string, payload = "x"): Buffer {
  const mac = (text: string) =>
    text
      .replaceAll(":", "")
      .match(MAC_BYTES)!
      .map((b) => Number.parseInt(b, 16));
  const ip = (text: string) => text.split(".").map(Number);
  const data = Buffer.from(payload);
  const udp = Buffer.alloc(8);
  udp.writeUInt16BE(1883, 0);
  udp.writeUInt16BE(1883, 2);
  udp.writeUInt16BE(8 + data.length, 4);
  const header = Buffer.from([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, ...ip(ipFrom), ...ip(ipTo)]);
  header.writeUInt16BE(28 + data.length, 2);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += header.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  header.writeUInt16BE(~sum & 0xffff, 10);
  return Buffer.concat([Buffer.from([...mac(to), ...mac(from), 0x08, 0x00]), header, udp, data]);
}
