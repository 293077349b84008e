"""simple_switch_13 on networks with loops, and after a change of the network."""

import functools
import time

from ryu.app import simple_switch_13
from ryu.base.app_manager import lookup_service_brick
from ryu.lib import hub
from ryu.lib.packet import ether_types, ethernet
from ryu.ofproto import ofproto_v1_3
from ryu.topology import event, switches

from launcher.homes import Homes, Ways

# Marks the flows that simple_switch_13 has learned, so that they can be deleted: "learned" in ASCII.
COOKIE = 0x6C6561726E6564
# Seconds after a port has come up during which it may turn out to lead to a switch.
LISTENING = 0.5
# Seconds after which a port that led to a switch may have hosts that were heard by it.
FREED = 1.0
# Seconds after an event until discovery's tables agree with it; others often follow.
SETTLING = 0.005


def keep_frames_from_circling():
    """
    simple_switch_13 floods by every port, so that one broadcast goes round a loop for ever and Ryu does nothing else; and
    its flows have no time-out, so that hosts whose way led over a link that has gone do not find one another again.

    Now, where links are observed, it floods by the links of a spanning tree and by the ports that lead to no switch, and
    takes no frame from other ports; a port that has just come up is left out for half a second, in which link discovery
    finds what it leads to. When a link leaves the tree, or a port goes down, all switches learn anew; a host that moves is
    forgotten. Nothing is learned from a frame that comes by another way than the tree's from where its host lives.
    """
    application = simple_switch_13.SimpleSwitch13
    create = application.__init__
    learn = application._packet_in_handler

    @functools.wraps(create)
    def init(self, *args, **kwargs):
        create(self, *args, **kwargs)
        self.flooding = None

    @functools.wraps(learn)
    def handler(self, ev):
        if refresh(self):
            take(self, ev, self.flooding, learn)
        else:
            learn(self, ev)

    application.__init__ = init
    application._packet_in_handler = handler
    application.add_flow = add_flow
    remember_changes(switches.Switches)


def refresh(application):
    """Brings a switch application up to date with the network; False where links are not observed."""
    discovery = lookup_service_brick("switches")
    if discovery is None or not discovery.link_discovery:
        return False
    if application.flooding is None:
        application.flooding = Flooding(discovery)
    if application.flooding.update(time.monotonic()):
        forget(application, discovery.dps.values())
    while discovery.moved:
        forget(application, discovery.dps.values(), discovery.moved.pop())
    return True


def take(application, ev, flooding, learn):
    """Learns from a frame and sends it on, as the original does but for where a flood goes."""
    msg = ev.msg
    datapath, in_port = msg.datapath, msg.match["in_port"]
    header = ethernet.ethernet.parser(msg.data)[0]
    if header.ethertype == ether_types.ETH_TYPE_LLDP:
        return
    ports = flooding.ports(datapath.id)
    if in_port not in ports:
        return
    if flooding.is_edge(datapath.id, in_port):
        is_news = flooding.homes.moves(header.src, (datapath.id, in_port))
        if is_news and any(header.src in known for known in application.mac_to_port.values()):
            forget(application, flooding.discovery.dps.values(), header.src)
    elif flooding.is_astray(datapath.id, in_port, header.src):
        return
    known = application.mac_to_port.setdefault(datapath.id, {})
    if known.get(header.dst) in ports:
        learn(application, ev)
        return
    known.pop(header.dst, None)
    known[header.src] = in_port
    parser = datapath.ofproto_parser
    data = msg.data if msg.buffer_id == datapath.ofproto.OFP_NO_BUFFER else None
    actions = [parser.OFPActionOutput(port) for port in ports if port != in_port]
    datapath.send_msg(
        parser.OFPPacketOut(
            datapath=datapath, buffer_id=msg.buffer_id, in_port=in_port, actions=actions, data=data
        )
    )


def add_flow(_application, datapath, priority, match, actions, buffer_id=None):
    """As the original, with the cookie."""
    ofproto, parser = datapath.ofproto, datapath.ofproto_parser
    apply = parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions)
    buffer = {} if buffer_id is None else {"buffer_id": buffer_id}
    cookie = COOKIE if priority > 0 else 0
    datapath.send_msg(
        parser.OFPFlowMod(
            datapath=datapath, cookie=cookie, priority=priority, match=match, instructions=[apply], **buffer
        )
    )


def forget(application, datapaths, mac=None):
    """All switches learn anew: everything, or where this host is."""
    if mac is None:
        application.mac_to_port.clear()
    for known in application.mac_to_port.values():
        known.pop(mac, None)
    for datapath in datapaths:
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        if ofproto.OFP_VERSION != ofproto_v1_3.OFP_VERSION:
            continue
        for match in [{}] if mac is None else [{"eth_src": mac}, {"eth_dst": mac}]:
            datapath.send_msg(
                parser.OFPFlowMod(
                    datapath=datapath, cookie=COOKIE, cookie_mask=0xFFFFFFFFFFFFFFFF, command=ofproto.OFPFC_DELETE,
                    out_port=ofproto.OFPP_ANY, out_group=ofproto.OFPG_ANY, match=parser.OFPMatch(**match),
                )
            )


def remember_changes(discovery):
    """
    Link discovery counts, in `changes`, what has come, gone or moved; `lost` are ports that have gone down, `moved` the MAC
    addresses of hosts. The switch application is told, since there may be no frame for long that it would see.
    """
    create, send = discovery.__init__, discovery.send_event_to_observers

    @functools.wraps(create)
    def init(self, *args, **kwargs):
        self.changes = 0
        self.lost = set()
        self.moved = set()
        self.telling = False
        create(self, *args, **kwargs)

    @functools.wraps(send)
    def note(self, ev, *args, **kwargs):
        self.changes += 1
        if isinstance(ev, event.EventPortDelete) or isinstance(ev, event.EventPortModify) and ev.port.is_down():
            self.lost.add((ev.port.dpid, ev.port.port_no))
        elif isinstance(ev, event.EventHostMove):
            self.moved.add(ev.src.mac)
        if not self.telling:
            self.telling = True
            hub.spawn_after(SETTLING, tell, self)
        return send(self, ev, *args, **kwargs)

    def tell(self):
        self.telling = False
        application = lookup_service_brick("SimpleSwitch13")
        if application is not None:
            refresh(application)

    discovery.__init__ = init
    discovery.send_event_to_observers = note


class Flooding:
    """Which ports a flood leaves by. Looks at link discovery's tables only when these have changed."""

    def __init__(self, discovery):
        self.discovery = discovery
        self.version = None
        # Switch -> its ports; when each came up; those that lead to switches, and those of them in the tree.
        self.known = {}
        self.since = {}
        self.linked = set()
        self.tree = {}
        self.young = set()
        self.homes = Homes()
        self.ways = Ways(self.tree)
        # Ports that led to switches a moment ago, and when they ceased to.
        self.freed = {}

    def update(self, now):
        """Takes over what has changed; true when what was learned may be wrong now."""
        version = (self.discovery.changes, self.discovery.links.found, len(self.discovery.links))
        self.young = {port for port in self.young if now - self.since[port] < LISTENING}
        if version == self.version:
            return False
        self.version = version
        self.known = {
            dpid: {number for number, port in state.items() if not is_down(port)}
            for dpid, state in self.discovery.port_state.items()
        }
        edges = {port for port in self.since if port not in self.linked and port not in self.young}
        there = {(dpid, number) for dpid, numbers in self.known.items() for number in numbers}
        self.since = {port: self.since.get(port, now) for port in there}
        self.young = {port for port in there if now - self.since[port] < LISTENING}
        linked, tree = spanning_tree(
            ((link.src.dpid, link.src.port_no), (link.dst.dpid, link.dst.port_no)) for link in self.discovery.links
        )
        # What only joins the tree leads nobody astray: links that are found one by one, as after a restart of Ryu.
        # A link's two ends go down one after the other; what the second one led to has been dealt with.
        self.freed = {port: at for port, at in self.freed.items() if now - at < FREED}
        lost = {
            port
            for port in self.discovery.lost
            if port in self.tree or port not in self.linked and port not in self.freed
        }
        self.discovery.lost.clear()
        self.freed.update((port, now) for port in self.linked - linked)
        left = self.tree.keys() - tree.keys() or edges & linked - tree.keys() or lost
        self.linked, self.tree = linked, tree
        self.homes.settle(linked)
        self.ways = Ways(tree)
        return bool(left)

    def ports(self, dpid):
        """The ports of a switch that frames are taken from and flooded by."""
        return [
            number
            for number in sorted(self.known.get(dpid, ()))
            if (dpid, number) in self.tree or (dpid, number) not in self.linked and (dpid, number) not in self.young
        ]

    def is_edge(self, dpid, number):
        """Whether one of `ports` leads to no switch."""
        return (dpid, number) not in self.linked

    def is_astray(self, dpid, in_port, mac):
        """Whether a frame of this host that came in from another switch has gone round a loop."""
        home = self.homes.at.get(mac)
        return home is not None and self.ways.is_astray(dpid, in_port, home)


def is_down(port):
    """Link or configuration: OFPPS_LINK_DOWN, OFPPC_PORT_DOWN (OpenFlow 1.3.5, 7.2.1)."""
    return port.state & 1 > 0 or port.config & 1 > 0


def spanning_tree(links):
    """
    The ports, (datapath id, number), that lead to switches, and those of them that belong to a spanning tree, each with the
    port at the other end of its link. Breadth first from the lowest datapath id of each part, neighbours in order of id and
    port. A link known in one direction counts.
    """
    cables = {frozenset((src, dst)) for src, dst in links if src[0] != dst[0]}
    linked = {port for cable in cables for port in cable}
    arcs = {}
    for cable in cables:
        one, other = cable
        arcs.setdefault(one[0], []).append((other, one))
        arcs.setdefault(other[0], []).append((one, other))
    tree, reached = {}, set()
    for root in sorted(arcs):
        if root in reached:
            continue
        reached.add(root)
        queue = [root]
        for dpid in queue:
            for there, here in sorted(arcs[dpid], key=lambda arc: (arc[0][0], arc[1][1])):
                if there[0] in reached:
                    continue
                reached.add(there[0])
                queue.append(there[0])
                tree.update({there: here, here: there})
    return linked, tree
