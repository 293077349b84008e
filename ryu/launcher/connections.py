"""Switches that vanish, and switches that come back."""

import functools
import logging

from ryu.app import simple_switch_13
from ryu.controller import controller, dpset, ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER
from ryu.lib.dpid import dpid_to_str
from ryu.topology import switches

LOG = logging.getLogger("ryu-manager")


def notice_dead_switches():
    """
    A switch whose connection dies silently (power, cable, partition) stays connected for ever, and every call about it
    waits a second for nothing: echo requests are sent only if unanswered ones are to be counted, and by default they
    are not. Now the fourth unanswered one, 5 s apart, ends the connection.
    """
    controller.CONF.set_default("echo_request_interval", 5.0)
    controller.CONF.set_default("maximum_unreplied_echo_requests", 3)


def take_reconnection_as_leave_and_enter():
    """
    A switch may connect again before its old connection is known to be dead. Ryu then goes on with the ports it knew,
    though they may be others now (rest_topology, LLDP and portdesc/modify use them), and a port that is not listed
    makes the next removal stop half way. Now the old connection's end is handled first, as if it had been noticed.
    """
    leave_first(switches.Switches, "state_change_handler")
    leave_first(dpset.DPSet, "dispatcher_change")


def leave_first(application, name):
    handle = getattr(application, name)

    @functools.wraps(handle)
    def handler(self, ev):
        datapath = ev.datapath
        old = self.dps.get(datapath.id) if ev.state == MAIN_DISPATCHER else None
        if old is not None and old is not datapath:
            LOG.info("switch %s connects again; its old connection is closed", dpid_to_str(datapath.id))
            leave = ofp_event.EventOFPStateChange(old)
            leave.state = DEAD_DISPATCHER
            handle(self, leave)
            old.close()
        handle(self, ev)

    setattr(application, name, handler)


def forget_what_a_switch_learned_when_it_connects():
    """
    simple_switch_13 keeps what it learned of a switch's ports over a reconnection. If the switch was rewired meanwhile
    (a new Mininet with the same Ryu), it installs flows without time-out to the wrong ports. Learning costs a flood.
    """
    application = simple_switch_13.SimpleSwitch13
    handle = application.switch_features_handler

    @functools.wraps(handle)
    def handler(self, ev):
        self.mac_to_port.pop(ev.msg.datapath.id, None)
        handle(self, ev)

    application.switch_features_handler = handler
