"""Where hosts live, and which way a frame of theirs can come."""

MAX_HOSTS = 65536


class Homes:
    """
    MAC address -> the port, (datapath id, number), where the host was last heard; it leads to no switch. In the moment in which
    a new link closes a loop a flooded frame can come back to where it was. Whoever learns from it sends what is for the
    host away from it, and its flows, which have no time-out, go on doing so.
    """

    def __init__(self):
        self.at = {}

    def moves(self, mac, port):
        """The host is heard at this port: True when it was not the last time."""
        if self.at.get(mac) == port:
            return False
        self.at.pop(mac, None)
        if len(self.at) >= MAX_HOSTS:
            del self.at[next(iter(self.at))]
        self.at[mac] = port
        return True

    def settle(self, linked):
        """These ports lead to switches: nobody lives there."""
        self.at = {mac: port for mac, port in self.at.items() if port not in linked}


class Ways:
    """The ways of a spanning tree, given as port -> the port at the other end of its link."""

    def __init__(self, tree):
        self.links = {}
        for here, there in tree.items():
            self.links.setdefault(here[0], []).append(there)
        self.ports = {}

    def towards(self, dpid):
        """Switch -> number of its port towards this one, None for itself; without the switches that the tree does not join."""
        ports = self.ports.get(dpid)
        if ports is None:
            ports = self.ports[dpid] = {dpid: None}
            queue = [dpid]
            for each in queue:
                for there, number in self.links.get(each, ()):
                    if there not in ports:
                        ports[there] = number
                        queue.append(there)
        return ports

    def is_astray(self, dpid, in_port, home):
        """Whether a frame that came in at `in_port`, from a switch, cannot have come straight from this home."""
        return self.towards(home[0]).get(dpid, in_port) != in_port
