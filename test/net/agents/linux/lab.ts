import { execFileSync } from "node:child_process";

/** Linux' side of the cable, and the address that scripts play; nobody has it. */
export const LINUX_ADDRESS = "10.88.0.2";
export const SCRIPT_ADDRESS = "10.88.0.1";
/** The scripts' end, in a namespace without addresses, so that no kernel answers there. */
export const SCRIPT_INTERFACE = "probe0";
const LINUX_INTERFACE = "dev0";

const SYSCTLS = [
  "tcp_no_metrics_save=1",
  "tcp_autocorking=0",
  "tcp_ecn=0",
  "tcp_rmem=4096 131072 6291456",
  "tcp_wmem=4096 262144 4194304",
];

/** Two namespaces with a cable between them; `remove` takes all of it away. */
export class Lab {
  readonly linux = `tl${process.pid}l`;
  readonly script = `tl${process.pid}s`;

  constructor() {
    try {
      this.build();
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  mac(side: "linux" | "script"): string {
    const link = side === "linux" ? LINUX_INTERFACE : SCRIPT_INTERFACE;
    return this.run(this[side], "cat", `/sys/class/net/${link}/address`).trim();
  }

  remove(): void {
    for (const name of [this.linux, this.script]) execFileSync("ip", ["netns", "delete", name]);
  }

  private build(): void {
    const ip = (...args: string[]) => execFileSync("ip", args);
    for (const name of [this.linux, this.script]) ip("netns", "add", name);
    ip(
      ...["link", "add", LINUX_INTERFACE, "netns", this.linux, "mtu", "9000", "type", "veth"],
      ...["peer", "name", SCRIPT_INTERFACE, "netns", this.script, "mtu", "9000"],
    );
    ip("-n", this.linux, "address", "add", `${LINUX_ADDRESS}/24`, "dev", LINUX_INTERFACE);
    for (const [name, link] of [
      [this.linux, LINUX_INTERFACE],
      [this.script, SCRIPT_INTERFACE],
    ] as const) {
      ip("-n", name, "link", "set", "lo", "up");
      const offloads = ["tso", "gso", "gro", "tx", "rx"].flatMap((offload) => [offload, "off"]);
      this.run(name, "ethtool", "-K", link, ...offloads);
      ip("-n", name, "link", "set", link, "up");
    }
    ip(
      ...["-n", this.linux, "route", "replace", "10.88.0.0/24", "dev", LINUX_INTERFACE],
      ...["src", LINUX_ADDRESS, "mtu", "lock", "1500"],
    );
    ip(
      ...["-n", this.linux, "neighbour", "add", SCRIPT_ADDRESS, "lladdr", this.mac("script")],
      ...["dev", LINUX_INTERFACE, "nud", "permanent"],
    );
    for (const sysctl of SYSCTLS) this.run(this.linux, "sysctl", "-qw", `net.ipv4.${sysctl}`);
  }

  private run(namespace: string, ...command: string[]): string {
    return execFileSync("ip", ["netns", "exec", namespace, ...command], { encoding: "utf8" });
  }
}
