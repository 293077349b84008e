"""Telling who asks when the topology changes, instead of being asked again and again."""

import functools
import json
import time

from ryu.app.wsgi import Response, WSGIApplication, route
from ryu.lib import hub
from ryu.topology import switches

# Seconds that a question may wait for a change.
PATIENCE = 20.0
# Seconds after a change in which others may follow, and discovery's tables catch up with its events.
SETTLING = 0.005


class Changes:
    """Counts the changes; a new Ryu's counts are never those of the one before."""

    def __init__(self):
        self.begun = "%x" % int(time.time() * 1000)
        self.count = 0
        self.event = hub.Event()

    @property
    def version(self):
        return "%s-%d" % (self.begun, self.count)

    def happened(self):
        self.count += 1
        self.event.set()
        self.event = hub.Event()

    def after(self, version):
        """The version, as soon as it is another one, or when nothing has changed for long."""
        if version == self.version:
            self.event.wait(timeout=PATIENCE)
        if version != self.version:
            hub.sleep(SETTLING)
        return self.version


def tell():
    """
    GET /v1.0/topology/changes/VERSION: {"version": …}, once switches, ports, links or hosts are others than at that
    version, at once for one that this Ryu has not given, and after 20 s with the same one where nothing has changed.
    """
    changes = Changes()
    send = switches.Switches.send_event_to_observers

    @functools.wraps(send)
    def note(self, *args, **kwargs):
        send(self, *args, **kwargs)
        changes.happened()

    switches.Switches.send_event_to_observers = note

    @route("topology", "/v1.0/topology/changes/{version}", methods=["GET"])
    def list_changes(_self, _req, version, **_kwargs):
        body = json.dumps({"version": changes.after(version)})
        return Response(content_type="application/json", body=body)

    register = WSGIApplication.register

    @functools.wraps(register)
    def with_changes(self, controller, *args, **kwargs):
        # rest_topology's, which cannot be loaded yet: loading it loads applications.
        if controller.__name__ == "TopologyController":
            controller.list_changes = list_changes
        return register(self, controller, *args, **kwargs)

    WSGIApplication.register = with_changes
