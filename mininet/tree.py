"""The tree as a plan: names, addresses and links, computed from the fan-out per level. Pure; needs no Mininet."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

NETWORK = IPv4Address("192.168.1.0")
PREFIX = 24
FORWARDER = "fwd"
FORWARDER_ADDRESS = NETWORK + 100
FIRST_HOST = 101
MAX_HOSTS = 254 - FIRST_HOST + 1
MAX_SWITCHES = 200

# Locally administered; the mark by which a killed run's interfaces are found again.
SWITCH_MAC_MARK = "02:74:6f:70"


class PlanError(Exception):
    """What was asked for cannot be built; the message is for a person."""


@dataclass(frozen=True)
class Node:
    name: str
    address: str = ""  # IPv4, hosts only
    mac: str = ""  # hosts only
    dpid: int = 0  # switches only


@dataclass(frozen=True)
class Link:
    """A link from a switch's port down to a child, whose own end is its port 1 in the tree; or one more between switches."""

    parent: str
    port: int
    child: str
    to_host: bool
    child_port: int = 1
    one_more: bool = False


@dataclass(frozen=True)
class Tree:
    switches: tuple
    hosts: tuple  # h1.. and, last, the forwarder's
    links: tuple

    def children(self, switch):
        return [link.child for link in self.links if link.parent == switch and not link.one_more]


def port_mac(switch, port):
    """MAC address of a switch's port."""
    return f"{SWITCH_MAC_MARK}:{switch:02x}:{port:02x}"


def host_mac(address):
    return "02:00:" + ":".join(f"{octet:02x}" for octet in IPv4Address(address).packed)


def plan_tree(fanouts, joins=()):
    """
    Plans the tree for the fan-outs, root first, the last level being hosts, and further links between pairs of switch
    names, which make loops; one that the tree does not have is added with its first link. Raises PlanError.
    """
    if not fanouts:
        raise PlanError("a tree needs at least one fan-out, for example -f 2 -f 2")
    for fanout in fanouts:
        if fanout < 1:
            raise PlanError(f"fan-out {fanout} is not possible: it must be 1 or more")
    n_switches, level = 1, 1
    for fanout in fanouts[:-1]:
        level *= fanout
        n_switches += level
        if n_switches > MAX_SWITCHES:
            raise PlanError(f"these fan-outs need more than {MAX_SWITCHES} switches; use smaller ones")
    if level * fanouts[-1] > MAX_HOSTS:
        raise PlanError(
            f"these fan-outs need {level * fanouts[-1]} hosts; 192.168.1.101 to .254 has room for {MAX_HOSTS}"
        )

    links = []
    ports = [0] * (n_switches + 1)  # last used port, by switch number

    def connect(parent, child, to_host):
        ports[parent] += 1
        links.append(Link(f"s{parent}", ports[parent], child, to_host))

    this_level, next_switch = [1], 2
    for fanout in fanouts[:-1]:
        next_level = []
        for parent in this_level:
            for _ in range(fanout):
                connect(parent, f"s{next_switch}", False)
                ports[next_switch] = 1  # towards the parent
                next_level.append(next_switch)
                next_switch += 1
        this_level = next_level
    hosts = []
    for parent in this_level:
        for _ in range(fanouts[-1]):
            number = len(hosts) + 1
            address = str(NETWORK + FIRST_HOST - 1 + number)
            hosts.append(Node(f"h{number}", address=address, mac=host_mac(address)))
            connect(parent, f"h{number}", True)
    hosts.append(Node(FORWARDER, address=str(FORWARDER_ADDRESS), mac=host_mac(FORWARDER_ADDRESS)))
    connect(1, FORWARDER, True)
    for one, other in joins:
        numbers = [int(name[1:]) for name in (one, other) if re.fullmatch(r"s[1-9]\d{0,2}", name)]
        if len(numbers) != 2 or one == other:
            raise PlanError(f"a link from {one} to {other} is not possible: name two switches, for example s2 s3")
        if max(numbers) > n_switches + 1 or max(numbers) > MAX_SWITCHES:
            raise PlanError(f"there is no switch s{max(numbers)}; the next new one is s{n_switches + 1}")
        n_switches = max(n_switches, *numbers)
        ports += [0] * (n_switches + 1 - len(ports))
        for number in numbers:
            ports[number] += 1
        links.append(Link(one, ports[numbers[0]], other, False, ports[numbers[1]], True))
    switches = tuple(Node(f"s{n}", dpid=n) for n in range(1, n_switches + 1))
    return Tree(switches, tuple(hosts), tuple(links))


def parse_delay(text):
    """`10ms`, `500us`, `0.5s` or a bare number of milliseconds, as tc writes it ("0us" for none)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s)?", text.strip())
    if match is None:
        raise PlanError(f"{text!r} is not a delay; write for example 10ms, 500us or 0.5s")
    microseconds = float(match[1]) * {"us": 1, "ms": 1000, "s": 1000000}[match[2] or "ms"]
    if microseconds > 60e6:
        raise PlanError(f"a delay of {text} is not possible: 60s is the most")
    return f"{round(microseconds)}us"
