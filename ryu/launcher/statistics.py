"""What switches answer, and what they do not."""

import functools
import logging
import time

import webob.exc
from ryu.base.app_manager import lookup_service_brick
from ryu.controller import ofp_handler
from ryu.lib import hub, ofctl_utils
from ryu.lib.dpid import dpid_to_str
from ryu.ofproto import ofproto_parser

LOG = logging.getLogger("ryu-manager")
# Refusals written to the log: this many at once, then one per second.
BURST = 20


def tell_silence_from_emptiness():
    """
    ofctl_rest waits one second for a part of a switch's statistics and then answers 200 with the parts it has, often
    none: a reader takes a busy or dead switch for an empty one. Now the answer is complete, or it is 504 (silence), or
    502 (the switch answered with an error, which Ryu does not wait for: the request then took the second for nothing).
    """
    ofctl_utils.send_stats_request = send_stats_request


def send_stats_request(dp, stats, waiters, msgs, logger=None):
    """As in ofctl_utils; the module's users call it by that name."""
    dp.set_xid(stats)
    waiting = waiters.setdefault(dp.id, {})
    done = hub.Event()
    done.refusal = None
    waiting[stats.xid] = (done, msgs)
    try:
        ofctl_utils.send_msg(dp, stats, logger)
        parts = -1
        while not done.is_set() and len(msgs) > parts:
            parts = len(msgs)
            done.wait(timeout=ofctl_utils.DEFAULT_TIMEOUT)
    finally:
        waiting.pop(stats.xid, None)
    if done.refusal is not None:
        raise webob.exc.HTTPBadGateway("switch %s refuses: %s" % (dpid_to_str(dp.id), done.refusal))
    if not done.is_set():
        raise webob.exc.HTTPGatewayTimeout(
            "switch %s sent no complete answer within %g s" % (dpid_to_str(dp.id), ofctl_utils.DEFAULT_TIMEOUT)
        )


def name_numbers_quickly():
    """
    For every table, port and group number in an answer ofctl_rest looks through all constants of OpenFlow, whether one
    has this value: nine tenths of the time that a list of flows takes, during which Ryu does nothing else. Now the
    constants of each kind are looked through once.
    """
    tables = {}

    def to_user(self, num, prefix):
        key = (self.ofproto.__name__, prefix)
        names = tables.get(key)
        if names is None:
            names = tables[key] = names_by_number(self, prefix)
        return names.get(num, num)

    ofctl_utils.OFCtlUtil._reserved_num_to_user = to_user


def names_by_number(util, prefix):
    """The first name of each number counts, as in the original."""
    names = {}
    for constant, number in vars(util.ofproto).items():
        if constant.startswith(prefix) and constant not in util.deprecated_value and isinstance(number, int):
            names.setdefault(number, constant.replace(prefix, ""))
    return names


def report_refusals():
    """
    A switch that refuses a command (group exists, bad match) says so, and Ryu writes it to the debug log only. Now it is
    a warning, at a bounded rate, and ends the wait of the statistics request it answers.
    """
    handle = ofp_handler.OFPHandler.error_msg_handler
    limit = Limit()

    @functools.wraps(handle)
    def handler(self, ev):
        refusal, request = describe(ev.msg)
        end_wait(ev.msg.datapath.id, request, refusal)
        limit.warn("switch %s refuses: %s", ev.msg.datapath.id, refusal)
        try:
            handle(self, ev)
        except Exception:
            # It stumbles over codes that it has no name for.
            LOG.debug("error message not understood", exc_info=True)

    ofp_handler.OFPHandler.error_msg_handler = handler


def leave_telling_to_the_answer():
    """
    ofctl_rest writes an error, mostly with a traceback, for every request about a switch that is not connected and every
    body it does not like. Whoever asked is told by the HTTP answer.
    """
    logging.getLogger("ryu.app.ofctl_rest").setLevel(logging.CRITICAL)


def describe(msg):
    """What is refused and why, and the transaction id of what is refused."""
    ofp = msg.datapath.ofproto
    request, xid = "message", msg.xid
    if len(msg.data) >= ofp.OFP_HEADER_SIZE:
        (_, request_type, _, xid) = ofproto_parser.header(msg.data)
        request = name(ofp.ofp_msg_type_to_str, request_type)
    kind = name(ofp.ofp_error_type_to_str, msg.type)
    code = name(ofp.ofp_error_code_to_str, msg.type, getattr(msg, "code", None))
    return "%s: %s, %s" % (request, kind, code), xid


def name(lookup, *numbers):
    try:
        return lookup(*numbers)
    except Exception:
        return "/".join(str(n) for n in numbers)


def end_wait(dpid, xid, refusal):
    rest = lookup_service_brick("RestStatsApi")
    waiting = rest.waiters.get(dpid, {}) if rest is not None else {}
    done, _ = waiting.pop(xid, (None, None))
    if done is not None:
        done.refusal = refusal
        done.set()


class Limit:
    def __init__(self):
        self.tokens = BURST
        self.at = time.monotonic()
        self.suppressed = 0

    def warn(self, text, dpid, refusal):
        now = time.monotonic()
        self.tokens = min(BURST, self.tokens + now - self.at)
        self.at = now
        if self.tokens < 1:
            self.suppressed += 1
            return
        self.tokens -= 1
        if self.suppressed:
            LOG.warning("%d refusals by switches were not written", self.suppressed)
            self.suppressed = 0
        LOG.warning(text, "unknown" if dpid is None else dpid_to_str(dpid), refusal)
