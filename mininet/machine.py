"""What the machine must have before a network can be built, and what a killed run left on it."""

import fcntl
import os
import subprocess
import sys
import time

RUN_DIRECTORY = "/run/topicast"
OVS_CTL = "/usr/share/openvswitch/scripts/ovs-ctl"
# There while the Open vSwitch that runs is one that a network started; it then goes with the network.
OVS_STARTED = f"{RUN_DIRECTORY}/openvswitch-started"
CLEANUP = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "scripts", "cleanup")
DEBIAN_PYTHON = "/usr/bin/python3"


class MachineError(Exception):
    """The machine lacks something; the message names it and the remedy."""


def run(*command, timeout=30):
    """Runs a command; (exit code, standard output, standard error). A missing program is code 127."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        return 127, "", f"{command[0]}: not installed"
    except subprocess.TimeoutExpired:
        return 124, "", f"{' '.join(command)}: no answer within {timeout} s"
    return done.returncode, done.stdout, done.stderr.strip()


def require_root():
    if os.geteuid() != 0:
        raise MachineError("network namespaces and Open vSwitch need root: start me with sudo")


def require_mininet():
    """Debian's Mininet belongs to Debian's Python; where `python3` is another one, start again under that."""
    try:
        import mininet.net  # noqa: F401  pylint: disable=unused-import,import-outside-toplevel
    except ImportError as problem:
        again = os.path.realpath(sys.executable) != os.path.realpath(DEBIAN_PYTHON)
        if again and run(DEBIAN_PYTHON, "-c", "import mininet.net")[0] == 0:
            os.execv(DEBIAN_PYTHON, [DEBIAN_PYTHON, *sys.argv])
        raise MachineError(
            f"Mininet is not installed ({problem}): run scripts/setup, or apt-get install mininet"
        ) from None


def require_namespaces():
    """Mininet itself would wait for ever for a host that cannot be made."""
    code, _, error = run("mnexec", "-c", "-n", "true")
    if code != 0:
        raise MachineError(
            f"this machine does not let me make network namespaces ({error or 'mnexec fails'}): "
            "a container must be privileged for that"
        )


def require_netem():
    """A delay is made by the kernel's netem queue; tried in a namespace that is gone afterwards."""
    code, _, error = run(
        "unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"
    )
    if code != 0:
        raise MachineError(
            f"this kernel has no netem, which link delays need ({error}): "
            "load the sch_netem module or leave out -d and -D"
        )


def lock_network():
    """One network at a time, since names are fixed. The lock goes with this process, however it ends."""
    os.makedirs(RUN_DIRECTORY, mode=0o755, exist_ok=True)
    lock = open(f"{RUN_DIRECTORY}/network.lock", "a+", encoding="ascii")  # pylint: disable=consider-using-with
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise MachineError(
            f"a Topicast network is running already (process {lock.read().strip() or 'unknown'}): "
            "end it first, or run scripts/cleanup --all"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def start_openvswitch():
    """Starts Open vSwitch where it does not run yet."""
    if run("ovs-vsctl", "--version")[0] == 127:
        raise MachineError("Open vSwitch is not installed: run scripts/setup, or apt-get install openvswitch-switch")
    if run("ovs-vsctl", "--timeout=3", "show")[0] == 0 and run("ovs-appctl", "--timeout=3", "version")[0] == 0:
        return
    with open(OVS_STARTED, "w", encoding="ascii"):
        pass
    if os.path.isdir("/run/systemd/system"):
        command = ["systemctl", "start", "openvswitch-switch"]
    else:
        command = [OVS_CTL, "start", "--system-id=random", "--no-record-hostname"]
    # Without the mark of this run: whoever ends this run's processes must not end these.
    environment = {name: value for name, value in os.environ.items() if name != "TOPICAST_RUN"}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False
    )
    code, _, error = run("ovs-appctl", "--timeout=3", "version")
    if done.returncode != 0 or code != 0:
        raise MachineError(
            f"Open vSwitch does not start: {' '.join(command)} says: "
            f"{(done.stdout + done.stderr).strip() or error or 'nothing'}"
        )


def has_kernel_datapath():
    if os.path.isdir("/sys/module/openvswitch"):
        return True
    return run("modprobe", "--quiet", "openvswitch")[0] == 0


def remove_leftovers(*options):
    """Ends processes of dead runs, removes every bridge and interface with our marks.

    The caller holds the lock, so nobody uses them. Answers what there was to remove, by line.
    """
    code, said, error = run(CLEANUP, "--locked", *options, timeout=60)
    if code != 0:
        raise MachineError(f"leftovers of an earlier run cannot be removed: {error}")
    return said.splitlines()


def require_free_names(bridges, interfaces):
    """Refuses names that others use: Mininet would delete such a bridge without asking."""
    _, listed, _ = run("ovs-vsctl", "--timeout=5", "list-br")
    taken = sorted(set(bridges) & set(listed.split()))
    taken += [name for name in interfaces if name not in taken and os.path.exists(f"/sys/class/net/{name}")]
    if taken:
        raise MachineError(
            f"{', '.join(taken)} exists on this machine and is not ours (another Mininet?): "
            "end that network first"
        )


def end_processes_in(namespaces, spare):
    """Ends what still runs in these network namespaces (agents, terminals) but the pids to spare: TERM, after 3 s KILL."""

    def inside():
        found = []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.stat(f"/proc/{entry}/ns/net").st_ino in namespaces:
                    if int(entry) not in spare:
                        found.append(int(entry))
            except OSError:
                pass  # gone meanwhile
        return found

    for sign, patience in ((15, 3.0), (9, 1.0)):
        for pid in inside():
            try:
                os.kill(pid, sign)
            except ProcessLookupError:
                pass
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if not inside():
                return
            time.sleep(0.02)
