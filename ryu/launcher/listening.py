"""The listening sockets: errors that a person understands, and one line when everything is up."""

import os
import socket
import sys

import eventlet
import eventlet.wsgi
from ryu import cfg
from ryu.app import wsgi
from ryu.lib import hub
from ryu.ofproto import ofproto_common

CONF = cfg.CONF


def tell(message):
    print("ryu-manager: " + message, file=sys.stderr, flush=True)


def die(message):
    """Ends the process from any greenlet: an exception would only end that one."""
    tell(message)
    os._exit(1)


def watch(verbose):
    """To be called once, before the manager starts: takes over how Ryu opens its ports."""
    open_port = hub.StreamServer.__init__
    up = {}

    def listen(*args, **kwargs):
        # Eventlet shares ports by default (SO_REUSEPORT): a second Ryu would start without an error, and switches and
        # requests would reach one or the other by chance.
        kwargs["reuse_port"] = False
        return shared_listen(*args, **kwargs)

    shared_listen, eventlet.listen = eventlet.listen, listen

    def init(self, listen_info, *args, **kwargs):
        rest = isinstance(self, wsgi.WSGIServer)
        address = "%s:%s" % (listen_info[0], listen_info[1])
        old = not rest and is_old_port(listen_info[1])
        try:
            open_port(self, listen_info, *args, **kwargs)
        except OSError as error:
            if old:
                tell("cannot listen on OpenFlow's old port %s too: %s" % (address, error.strerror))
                raise hub.TaskExit() from error
            die(
                "cannot listen on %s for %s: %s; stop what uses it or choose another with %s"
                % (
                    address,
                    "REST" if rest else "OpenFlow",
                    error.strerror or error,
                    "--wsapi-host and --wsapi-port" if rest else "--ofp-listen-host and --ofp-tcp-listen-port",
                )
            )
        if old:
            return
        up["REST" if rest else "OpenFlow"] = address
        if "OpenFlow" in up and ("REST" in up or not has_rest()):
            rest_part = ", REST on http://%s" % up["REST"] if "REST" in up else ""
            tell("ready: OpenFlow on %s%s" % (up["OpenFlow"], rest_part))

    hub.StreamServer.__init__ = init

    def serve_forever(self):
        # An answer longer than a write buffer goes out in parts, and Nagle's algorithm keeps the last one back until the
        # client's delayed acknowledgement: 40 ms for a list of 50 flows. Linux hands the option down to connections.
        self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # As Ryu does it, but formatting no line per request unless it is going to be written.
        eventlet.wsgi.server(self.server, self.handle, hub.LoggingWrapper(), log_output=verbose)

    hub.WSGIServer.serve_forever = serve_forever


def is_old_port(port):
    """Without a port option Ryu listens on 6653 and, for very old switches, on 6633."""
    return port == ofproto_common.OFP_TCP_PORT_OLD and CONF.ofp_tcp_listen_port is None


def has_rest():
    from ryu.base.app_manager import AppManager

    return any(isinstance(c, wsgi.WSGIApplication) for c in AppManager.get_instance().contexts.values())

