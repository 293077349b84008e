/**
 * The two namespaces, and behind the client, which is a router now, a third one: `far` (10.78.0.2, fd78::2). The station
 * has no route to it: its answers take the way that the segments came.
 */
import { execFileSync } from "node:child_process";
import { Namespaces, SERVER_ADDRESS, SERVER_ADDRESS6 } from "./namespaces.js";

export class RoutedNamespaces extends Namespaces {
  readonly far = `tc${process.pid}f`;

  constructor() {
    super();
    const ip = (...args: string[]) => execFileSync("ip", args);
    ip("netns", "add", this.far);
    const [router, far] = [this.client, this.far];
    ip("link", "add", "far0", "netns", router, "type", "veth", "peer", "name", "dev1", "netns", far);
    for (const [name, link, n] of [
      [router, "far0", 1],
      [far, "dev1", 2],
    ] as const) {
      ip("-n", name, "address", "add", `10.78.0.${n}/24`, "dev", link);
      ip("-n", name, "address", "add", `fd78::${n}/64`, "dev", link, "nodad");
      ip("-n", name, "link", "set", "lo", "up");
      ip("-n", name, "link", "set", link, "up");
    }
    for (const setting of ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
      this.run(router, "sysctl", "-qw", setting);
    // Segments as large as Ethernet takes are asked for, whatever the MTU of its own link.
    ip("-n", far, "route", "add", "10.77.0.0/24", "via", "10.78.0.1", "advmss", "1460");
    ip("-n", far, "-6", "route", "add", "fd77::/64", "via", "fd78::1", "advmss", "1440");
    // So that frames are as large as what is sent by TCP, and the router cuts those.
    for (const link of ["dev0", "far0"])
      this.run(router, "ethtool", "-K", link, "gro", "off", "tso", "off", "gso", "off");
    this.run(far, "ethtool", "-K", "dev1", "tso", "off", "gso", "off", "tx", "off");
    // The first datagram of a connection must not wait for the neighbours.
    for (const address of ["10.78.0.1", "fd78::1"]) this.run(far, "ping", "-c", "1", "-W", "5", address);
    for (const address of [SERVER_ADDRESS, SERVER_ADDRESS6])
      this.run(router, "ping", "-c", "1", "-W", "5", address);
  }

  /** Sets the MTU of the link between router and `far`, both ends. */
  setFarMtu(mtu: number): void {
    this.run(this.client, "ip", "link", "set", "far0", "mtu", String(mtu));
    this.run(this.far, "ip", "link", "set", "dev1", "mtu", String(mtu));
  }

  override async close(): Promise<void> {
    await super.close();
    execFileSync("ip", ["netns", "delete", this.far]);
  }
}
