#!/usr/bin/env python3
"""A tree of Open vSwitch switches with hosts at its leaves, controlled by Ryu, with Mininet's command line.

See README.md beside this file.
"""

import argparse
import os
import signal
import sys
from ipaddress import IPv4Interface, IPv4Network

sys.dont_write_bytecode = True  # run by root in a user's directory

# pylint: disable=wrong-import-position,import-outside-toplevel
import machine
import tree

MANAGEMENT_INTERFACE = "topicast-mgmt"


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise tree.PlanError(f"{message}; see -h")


def parse_options(arguments):
    parser = Parser(
        description="Builds a tree of Open vSwitch switches controlled by Ryu and opens Mininet's command line.",
        epilog="Example: -f 2 -f 2 -f 2 is a root, two levels of 2 and 4 switches, and 8 hosts h1 to h8.",
    )
    parser.add_argument(
        "-f", "--fanout", dest="fanouts", metavar="N", action="append", type=int,
        help="fan-out of the next level; repeat it; the last level is hosts (default: -f 2 -f 2)",
    )
    parser.add_argument(
        "-x", dest="joins", metavar="NODE", action="append", nargs=2, default=[],
        help="one more link between two switches, e.g. -x s2 s3, which makes a loop; repeat it",
    )
    parser.add_argument("-D", dest="switch_delay", metavar="DELAY", help="one-way delay of links between switches")
    parser.add_argument("-d", dest="host_delay", metavar="DELAY", help="one-way delay of links to hosts, e.g. 10ms")
    parser.add_argument("-r", dest="real", metavar="IFACE", help="a real interface of this machine to join in")
    parser.add_argument("-R", dest="real_node", metavar="NODE", help="the switch or host that gets it, e.g. s1 or h1")
    parser.add_argument("--real-address", metavar="CIDR", help="its address inside a host (default 192.168.2.(100+N)/24)")
    parser.add_argument(
        "-c", "--controller", default="tcp:127.0.0.1:6653", metavar="tcp:ADDRESS:PORT",
        help="OpenFlow controller (default %(default)s)",
    )
    parser.add_argument(
        "--management", default="169.254.240.0/30", metavar="CIDR",
        help="subnet of the link between this machine and fwd (default %(default)s)",
    )
    parser.add_argument("--ryu-port", type=int, default=8080, metavar="PORT", help="port of Ryu's REST (default 8080)")
    parser.add_argument("-v", dest="verbose", action="store_true", help="tell every step")
    options = parser.parse_args(arguments)

    options.plan = tree.plan_tree(options.fanouts or [2, 2], options.joins)
    options.switch_delay = tree.parse_delay(options.switch_delay or "0")
    options.host_delay = tree.parse_delay(options.host_delay or "0")
    protocol, _, rest = options.controller.partition(":")
    address, _, port = rest.rpartition(":")
    if protocol != "tcp" or not address or not port.isdigit() or not 0 < int(port) < 65536:
        raise tree.PlanError(f"{options.controller!r} is not a controller; write for example tcp:127.0.0.1:6653")
    options.controller = (address, int(port))
    try:
        options.management = IPv4Network(options.management, strict=False)
        if options.management.num_addresses < 4:
            raise ValueError("it has no room for two addresses")
    except ValueError as problem:
        raise tree.PlanError(f"--management {options.management}: {problem}") from None
    if options.management.overlaps(IPv4Network(f"{tree.NETWORK}/{tree.PREFIX}")):
        raise tree.PlanError(f"--management {options.management} overlaps the hosts' {tree.NETWORK}/{tree.PREFIX}")
    check_real_interface(options)
    return options


def check_real_interface(options):
    if (options.real is None) != (options.real_node is None):
        raise tree.PlanError("-r and -R belong together: -r IFACE -R NODE")
    if options.real is None:
        return
    names = [node.name for node in options.plan.switches + options.plan.hosts]
    if options.real_node not in names:
        raise tree.PlanError(f"-R {options.real_node}: there is no such node; there are {names[0]} to {names[-2]}")
    if not os.path.exists(f"/sys/class/net/{options.real}"):
        raise tree.PlanError(f"-r {options.real}: this machine has no such interface; see: ip link")
    _, addresses, _ = machine.run("ip", "-4", "-oneline", "address", "show", "dev", options.real)
    if addresses.strip():
        raise tree.PlanError(
            f"-r {options.real} carries the address {addresses.split()[3]} and so seems in use; "
            f"if it is free to give away: ip address flush dev {options.real}"
        )
    number = options.real_node[1:]
    chosen = options.real_address or (f"192.168.2.{100 + int(number)}/24" if number.isdigit() else "none")
    try:
        options.real_address = None if chosen == "none" else str(IPv4Interface(chosen))
    except ValueError:
        raise tree.PlanError(f"--real-address {chosen} is not an address; write for example 192.168.2.101/24") from None


class Network:
    """Builds the plan with Mininet, and takes it down completely from whatever state it is in."""

    def __init__(self, options):
        from mininet.net import Mininet
        from mininet.node import OVSSwitch, RemoteController

        class Ryu(RemoteController):
            """A controller that may come later; Mininet would ask by telnet."""

            def checkListening(self):
                pass

        class MarkedSwitch(OVSSwitch):
            """Carries the mark of its run from the transaction on that creates it."""

            def bridgeOpts(self):
                return f"{super().bridgeOpts()} external_ids:topicast={os.getpid()}"

            def dpctl(self, *args):
                return self.cmd("ovs-ofctl", "--protocols=OpenFlow13", args[0], self, *args[1:])

        self.options = options
        self.plan = options.plan
        self.datapath = "kernel" if machine.has_kernel_datapath() else "user"
        self.moved_real = False
        self.net = Mininet(topo=None, build=False, controller=None, autoSetMacs=False)
        address, port = options.controller
        self.net.addController("c0", controller=Ryu, ip=address, port=port)
        for switch in self.plan.switches:
            self.net.addSwitch(
                switch.name, cls=MarkedSwitch, dpid=f"{switch.dpid:016x}", datapath=self.datapath,
                protocols="OpenFlow13", failMode="secure",
            )
        for host in self.plan.hosts:
            self.net.addHost(host.name, ip=f"{host.address}/{tree.PREFIX}", mac=host.mac)

    def start(self):
        for link in self.plan.links:
            self.add_link(link)
        self.quiet_ports()
        self.net.build()
        for host in self.plan.hosts:
            self.net[host.name].cmd(
                "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1;"
                f" ethtool -K {host.name}-eth0 tx off"
            )
        self.add_management_link()
        if self.options.real:
            self.add_real_interface()
        self.net.start()
        _, broken, _ = machine.run(
            "ovs-vsctl", "--timeout=5", "--bare", "--columns=name,error", "find", "Interface", "error!=[]"
        )
        ours = [line for line in broken.splitlines() if line.partition("-")[0] in self.net.nameToNode]
        if ours:
            raise machine.MachineError(f"Open vSwitch cannot use these ports: {', '.join(ours)}; see ovs-vsctl show")

    def add_link(self, link):
        from mininet.link import Intf, Link, TCIntf

        parent, child = self.net[link.parent], self.net[link.child]
        if link.to_host:
            child_port, child_mac = 0, child.params["mac"]
        else:
            child_port, child_mac = link.child_port, tree.port_mac(int(link.child[1:]), link.child_port)
        delay = self.options.host_delay if link.to_host else self.options.switch_delay
        timed = {"intf": TCIntf, "delay": delay} if delay != "0us" else {"intf": Intf}
        self.net.addLink(
            parent, child, port1=link.port, port2=child_port, cls=Link,
            addr1=tree.port_mac(int(link.parent[1:]), link.port), addr2=child_mac, **timed,
        )

    def quiet_ports(self):
        """The machine's own IPv6 must not speak on the switches' ports."""
        for switch in self.plan.switches:
            for port in self.net[switch.name].intfNames():
                forbid_ipv6(port)

    def add_management_link(self):
        subnet = self.options.management
        forwarder = self.net[tree.FORWARDER]
        make = (
            f"ip link add {MANAGEMENT_INTERFACE} address {tree.port_mac(0, 1)}"
            f" type veth peer name {tree.FORWARDER}-mgmt address {tree.port_mac(0, 2)} netns {forwarder.pid}"
        )
        for command in (
            make,
            f"ip address add {subnet[1]}/{subnet.prefixlen} dev {MANAGEMENT_INTERFACE}",
            f"ip link set {MANAGEMENT_INTERFACE} up",
        ):
            code, _, error = machine.run(*command.split())
            if code != 0:
                raise machine.MachineError(f"management link to {tree.FORWARDER}: {command}: {error}")
        forbid_ipv6(MANAGEMENT_INTERFACE)
        forwarder.cmd(
            f"ip address add {subnet[2]}/{subnet.prefixlen} dev {tree.FORWARDER}-mgmt;"
            f" ip link set {tree.FORWARDER}-mgmt up"
        )

    def add_real_interface(self):
        from mininet.link import Intf

        node, interface = self.net[self.options.real_node], self.options.real
        Intf(interface, node=node)
        if node in self.net.hosts:
            self.moved_real = True
            if self.options.real_address:
                node.cmd(f"ip address add {self.options.real_address} dev {interface}; sysctl -qw net.ipv4.ip_forward=1")

    def stop(self):
        """Ends everything in the hosts and gives the real interface back; switches go as leftovers do.

        Mininet's own way down asks the nodes' shells, which cannot answer when the building was interrupted, and deletes
        interfaces by parts of their names.
        """
        for terminal in self.net.terms:
            terminal.terminate()
        nodes = self.net.hosts + self.net.switches + self.net.controllers
        shells = [node.pid for node in nodes if node.shell and node.shell.poll() is None]
        namespaces = {os.stat(f"/proc/{pid}/ns/net").st_ino for pid in shells}
        namespaces.discard(os.stat("/proc/self/ns/net").st_ino)
        machine.end_processes_in(namespaces, spare=shells)
        if self.moved_real:
            holder = str(self.net[self.options.real_node].pid)
            move = ("ip", "link", "set", self.options.real, "down", "netns", str(os.getpid()))
            machine.run("nsenter", f"--target={holder}", "--net", *move)
        for node in nodes:
            node.terminate()

    def describe(self):
        fwd, subnet = self.plan.hosts[-1], self.options.management
        kind = "kernel" if self.datapath == "kernel" else "userspace"
        say(f"{len(self.plan.switches)} switches, {len(self.plan.hosts) - 1} hosts (Open vSwitch, {kind} datapath)")
        for switch in self.plan.switches:
            say(f"{switch.name}: {' '.join(self.plan.children(switch.name))}")
        for link in self.plan.links:
            if link.one_more:
                say(f"one more link: {link.parent}-eth{link.port} {link.child}-eth{link.child_port}")
        say(f"{fwd.name} ({fwd.address}) reaches Ryu at http://{subnet[1]}:{self.options.ryu_port}")


def forbid_ipv6(interface):
    try:
        with open(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6", "w", encoding="ascii") as setting:
            setting.write("1")
    except OSError:
        pass  # a kernel without IPv6


def say(text):
    """Tells whoever reads; that nobody does any more must not keep the network from being taken down."""
    try:
        print(f"*** {text}", flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="ascii")  # pylint: disable=consider-using-with


def open_command_line(net):
    from mininet.cli import CLI

    class CommandLine(CLI):
        """Mininet's, except that commands from a pipe wait for the running one instead of being typed into it."""

        def __init__(self, network):
            self.piped = not os.isatty(sys.stdin.fileno())
            if self.piped:
                self.prompt = ""
            super().__init__(network)

        def waitForNode(self, node):
            if not self.piped:
                super().waitForNode(node)
                return
            while node.waiting:
                print(node.monitor(), end="", flush=True)

        def do_EOF(self, line):
            return self.do_exit(line)

    CommandLine(net)


def on_signal(number, _frame):
    raise SystemExit(128 + number)


def main():
    """Returns the exit code."""
    options = parse_options(sys.argv[1:])
    machine.require_root()
    machine.require_mininet()
    machine.require_namespaces()
    if "0us" != options.switch_delay or "0us" != options.host_delay:
        machine.require_netem()

    from mininet.log import lg, setLogLevel

    setLogLevel("info" if options.verbose else "output")
    lg.ch.setStream(sys.stdout)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    if not os.isatty(sys.stdin.fileno()):
        signal.signal(signal.SIGINT, on_signal)
    if not os.environ.get("TOPICAST_RUN"):
        with open("/proc/self/stat", encoding="ascii") as stat:
            started = stat.read().rpartition(")")[2].split()[19]
        os.environ["TOPICAST_RUN"] = f"{os.getpid()}.{started}"

    lock = machine.lock_network()
    network = None
    try:
        machine.start_openvswitch()
        for line in machine.remove_leftovers("--keep-openvswitch"):
            say(line)
        interfaces = [f"{link.parent}-eth{link.port}" for link in options.plan.links]
        machine.require_free_names([switch.name for switch in options.plan.switches], interfaces)
        network = Network(options)
        network.start()
        network.describe()
        say("ready")
        open_command_line(network.net)
        return 0
    except KeyboardInterrupt:
        return 130
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if network is not None:
            say("taking the network down")
            network.stop()
        machine.remove_leftovers("--quiet")
        lock.close()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (tree.PlanError, machine.MachineError) as problem:
        print(f"{os.path.basename(sys.argv[0])}: {problem}", file=sys.stderr)
        sys.exit(1)
