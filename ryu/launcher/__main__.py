"""
The program behind ryu-manager: supplies what Ryu misses, loads the corrections, sets defaults and runs Ryu's own
manager with the arguments given.
"""

import os
import pathlib
import signal
import sys

# What Python puts here is this folder, whose module names are nobody's business.
sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

DEFAULT_APPS = ("ryu.app.ofctl_rest", "ryu.app.rest_topology", "ryu.app.simple_switch_13")


def defaults(arguments):
    """Options put in front of the user's, who can therefore override each: the last one counts."""
    options = ["--observe-links", "--app-lists", ",".join(DEFAULT_APPS)]
    if not any(a == "--verbose" or a.startswith("--default-log-level") for a in arguments):
        # Otherwise Ryu writes a line per HTTP request and per packet that simple_switch_13 sees.
        options += ["--default-log-level", "30"]
    return options


def stop(_signal, _frame):
    """Ryu keeps nothing that would need saving, and its own way down can hang on a busy switch."""
    sys.stderr.flush()
    os._exit(0)


def main():
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    from launcher import compat

    compat.prepare()

    # First of Ryu's modules, since they import one another in a circle that only opens here.
    from ryu.cmd import manager

    from launcher import corrections, listening

    arguments = sys.argv[1:]
    verbose = "--verbose" in arguments
    corrections.apply(verbose)
    listening.watch(verbose)

    try:
        manager.main(args=defaults(arguments) + arguments, prog="ryu-manager")
    except Exception as error:
        if verbose:
            raise
        listening.die("%s: %s (--verbose shows where)" % (type(error).__name__, error))


if __name__ == "__main__":
    main()
