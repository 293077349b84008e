"""What must be in place before anything of Ryu 4.34 is imported into today's Python and eventlet."""

import os
import sys


def prepare():
    """To be called before anything of Ryu is imported."""
    # Eventlet's own resolver (dnspython) is of no use here, and reading its configuration can fail.
    os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")

    import eventlet

    # Ryu does this too, but so late that eventlet finds locks made before and complains on standard error.
    if "--enable-debugger" not in sys.argv:
        eventlet.monkey_patch()

    import eventlet.wsgi

    if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
        # Removed in eventlet 0.30.3. It was the body of a response that a WebSocket has already written; eventlet now
        # knows that by itself and looks at no body.
        eventlet.wsgi.ALREADY_HANDLED = ()
