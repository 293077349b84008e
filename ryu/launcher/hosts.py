"""Where hosts are."""

import functools

from ryu.topology import switches

MAX_HOSTS = 65536
MAX_ADDRESSES = 16


def keep_all_sightings():
    """
    Until the links are known (up to two seconds after switches connect), every port looks like one with hosts. A flooded
    frame is then seen at each switch on its way, the host "moves" with it and is forgotten when the port turns out to
    lead to a switch. It comes back only with its next frame that no flow of simple_switch_13 takes, which may be never.
    Now every sighting is kept until its port is known to lead to a switch; the latest one left is the host's place.

    Besides: a host keeps its addresses when it moves; an IPv4 or IPv6 address belongs to the host that used it last (a
    host that was replaced, with another MAC address, otherwise stays listed with the same address); 0.0.0.0 and :: are
    no addresses; and there are bounds: the oldest host, or a host's oldest address, makes room.
    """
    create = switches.Switches.__init__

    @functools.wraps(create)
    def init(self, *args, **kwargs):
        create(self, *args, **kwargs)
        self.hosts = Sightings()

    switches.Switches.__init__ = init
    handle = switches.Switches.lldp_packet_in_handler

    @functools.wraps(handle)
    def handler(self, ev):
        found = self.links.found
        handle(self, ev)
        if self.links.found != found:
            self.hosts.settle(self._is_edge_port)

    switches.Switches.lldp_packet_in_handler = handler


class Sightings(switches.HostState):
    """MAC address -> Host at its latest place. `seen` has all its places, latest last; `users` the MAC by address."""

    def __init__(self):
        super().__init__()
        self.seen = {}
        self.users = {}

    def add(self, host):
        if host.mac not in self:
            self[host.mac] = host

    def __setitem__(self, mac, host):
        known = self.get(mac)
        if known is not None:
            host.ipv4, host.ipv6 = known.ipv4, known.ipv6
        elif len(self) >= MAX_HOSTS:
            self.forget(next(iter(self)))
        places = self.seen.setdefault(mac, {})
        places.pop(host.port, None)
        places[host.port] = host
        super().__setitem__(mac, host)

    def __delitem__(self, mac):
        """Ryu does this when the host's port turns out to lead to a switch."""
        self.leave(mac, {self[mac].port})

    def settle(self, is_edge):
        """Drops all sightings at ports that are no edge ports."""
        verdicts = {}
        for mac, places in list(self.seen.items()):
            for port in places:
                if port not in verdicts:
                    verdicts[port] = is_edge(port)
            self.leave(mac, {port for port in places if not verdicts[port]})

    def leave(self, mac, ports):
        places = self.seen[mac]
        for port in ports:
            places.pop(port, None)
        if not places:
            self.forget(mac)
        elif self[mac].port in ports:
            super().__setitem__(mac, next(reversed(places.values())))

    def forget(self, mac):
        host = self[mac]
        for address in host.ipv4 + host.ipv6:
            self.users.pop(address, None)
        self.seen.pop(mac, None)
        super().__delitem__(mac)

    def update_ip(self, host, ip_v4=None, ip_v6=None):
        known = self.get(host.mac)
        if known is None:
            return
        if ip_v4 is not None and ip_v4 != "0.0.0.0":
            self.use(known, "ipv4", ip_v4)
        if ip_v6 is not None and ip_v6 != "::":
            self.use(known, "ipv6", ip_v6)

    def use(self, host, family, address):
        user = self.users.get(address)
        if user is not None and user != host.mac:
            getattr(self[user], family).remove(address)
        addresses = getattr(host, family)
        if user == host.mac:
            addresses.remove(address)
        elif len(addresses) >= MAX_ADDRESSES:
            self.users.pop(addresses.pop(0), None)
        addresses.append(address)
        self.users[address] = host.mac
