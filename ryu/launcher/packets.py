"""Frames that switches send up."""

import functools
import logging

from ryu.app import simple_switch_13
from ryu.lib.packet import ethernet
from ryu.ofproto.ether import ETH_TYPE_LLDP
from ryu.topology import switches

LOG = logging.getLogger("ryu-manager")


def look_no_deeper_than_needed():
    """
    simple_switch_13 and link discovery take every frame apart completely, and an odd one (Ryu has parsers for dozens of
    protocols, chosen by port number) ends in an exception: the frame is dropped, and a traceback written, though neither
    needed more than the Ethernet header. Now they look at nothing else; what is broken even there is dropped quietly.
    """
    simple_switch_13.packet = EthernetOnly
    ignore_broken(simple_switch_13.SimpleSwitch13, "_packet_in_handler", lambda data: True)
    ignore_broken(switches.Switches, "lldp_packet_in_handler", is_lldp)
    ignore_broken(switches.Switches, "host_discovery_packet_in_handler", lambda data: True)


def is_lldp(data):
    return int.from_bytes(data[12:14], "big") == ETH_TYPE_LLDP


class EthernetOnly:
    """Takes the place of the module ryu.lib.packet.packet in simple_switch_13."""

    class Packet:
        def __init__(self, data):
            self.header = ethernet.ethernet.parser(data)[0]

        def get_protocols(self, _protocol):
            return [self.header]


def ignore_broken(application, name, wanted):
    handle = getattr(application, name)

    @functools.wraps(handle)
    def handler(self, ev):
        if not wanted(ev.msg.data):
            return
        try:
            handle(self, ev)
        except Exception:
            LOG.debug("frame ignored by %s", name, exc_info=True)

    setattr(application, name, handler)
