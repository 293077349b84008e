"""The user of Linux' sockets for segment scripts. One command per line on standard input:

    ID listen PORT OPTIONS | ID connect PORT REMOTE-PORT OPTIONS | ID write N more|now | ID close | ID abort
    ID hold | ID resume | ID ask | ID drop

Each is answered with one line, "ID JSON": what is known of that script's connection. OPTIONS is a JSON object of socket
options by name, without spaces. Sockets are read as soon as they can be, unless on hold.
"""

import errno
import json
import os
import selectors
import socket
import struct
import sys

ADDRESS, REMOTE = sys.argv[1], sys.argv[2]
STATES = {
    "01": "ESTABLISHED",
    "02": "SYN-SENT",
    "03": "SYN-RECEIVED",
    "04": "FIN-WAIT-1",
    "05": "FIN-WAIT-2",
    "06": "TIME-WAIT",
    "07": "NONE",
    "08": "CLOSE-WAIT",
    "09": "LAST-ACK",
    "0B": "CLOSING",
    "0C": "SYN-RECEIVED",
}
LEVELS = {"SO": socket.SOL_SOCKET, "TC": socket.IPPROTO_TCP}
selector = selectors.DefaultSelector()


def pattern(start, length):
    return bytes((i * 31 + (i >> 8) * 7) & 0xFF for i in range(start, start + length))


def make(port, options):
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    for name, value in options.items():
        made.setsockopt(LEVELS[name[:2]], getattr(socket, name), value)
    made.bind((ADDRESS, port))
    made.setblocking(False)
    return made


class User:
    """One script's end: a listener, or a connection, or both."""

    def __init__(self):
        self.port = 0
        self.listener = None
        self.held = False
        self.forget()

    def forget(self):
        self.socket = None
        self.received = 0
        self.written = 0
        self.queue = b""
        self.closing = False
        self.ended = False
        self.error = None
        self.faulty = False

    def listen(self, port, options):
        self.port = port
        self.listener = make(port, options)
        self.listener.listen(16)
        selector.register(self.listener, selectors.EVENT_READ, self.accept)

    def connect(self, port, remote, options):
        self.port = port
        self.socket = make(port, options)
        self.socket.connect_ex((REMOTE, remote))
        self.watch()

    def accept(self, _events):
        if self.listener is None:
            return
        try:
            accepted, _ = self.listener.accept()
        except BlockingIOError:
            return
        self.leave()
        self.forget()
        accepted.setblocking(False)
        self.socket = accepted
        self.watch()

    def require(self):
        """The selector may not have come to what is to be accepted."""
        if self.socket is None and self.listener is not None:
            self.accept(0)
        if self.socket is None:
            raise LookupError("no connection")

    def watch(self):
        if self.socket is None:
            return
        events = 0 if self.held or self.ended or self.error else selectors.EVENT_READ
        if self.queue:
            events |= selectors.EVENT_WRITE
        known = self.socket in selector.get_map()
        if events == 0:
            if known:
                selector.unregister(self.socket)
        elif known:
            selector.modify(self.socket, events, self.ready)
        else:
            selector.register(self.socket, events, self.ready)

    def ready(self, events):
        if self.socket is None:
            return
        try:
            if events & selectors.EVENT_WRITE:
                self.push(0)
            if events & selectors.EVENT_READ:
                self.read()
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(error.errno)
        self.watch()

    def read(self):
        data = self.socket.recv(1 << 20)
        self.ended = data == b""
        self.faulty |= data != pattern(self.received, len(data))
        self.received += len(data)

    def push(self, flags):
        if self.queue:
            self.queue = self.queue[self.socket.send(self.queue, flags) :]
        if self.closing and not self.queue:
            self.closing = False
            self.socket.shutdown(socket.SHUT_WR)

    def write(self, length, more):
        self.queue += pattern(self.written, length)
        self.written += length
        self.try_push(socket.MSG_MORE if more else 0)

    def close(self):
        self.closing = True
        self.try_push(0)

    def try_push(self, flags):
        try:
            self.push(flags)
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(error.errno)
        self.watch()

    def abort(self):
        if self.socket is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.leave()
        self.error = "aborted"

    def leave(self):
        if self.socket is not None:
            if self.socket in selector.get_map():
                selector.unregister(self.socket)
            self.socket.close()
            self.socket = None

    def drop(self):
        self.abort()
        if self.listener is not None:
            selector.unregister(self.listener)
            self.listener.close()
            self.listener = None

    def fail(self, number):
        name = errno.errorcode.get(number, str(number))
        # EPIPE: the kernel's word for a RST in CLOSE-WAIT.
        meaning = {"ECONNRESET": "reset", "ECONNREFUSED": "reset", "EPIPE": "reset", "ETIMEDOUT": "timeout"}
        self.error = self.error or meaning.get(name, name)

    def state(self):
        with open("/proc/net/tcp") as table:
            for line in list(table)[1:]:
                fields = line.split()
                local, remote = (int(fields[i].split(":")[1], 16) for i in (1, 2))
                if local == self.port and remote != 0:
                    return STATES[fields[3]]
        return "NONE"

    def tell(self):
        state = self.state()
        if self.socket is not None and self.error is None:
            pending = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if pending:
                self.fail(pending)
        finished = self.ended and state in ("NONE", "TIME-WAIT")
        return {
            "state": state,
            "closed": self.error or ("finished" if finished else None),
            "read": self.received,
            "faulty": self.faulty,
            "eof": self.ended,
            "blocked": bool(self.queue),
        }


users = {}


def obey(line):
    name, verb, *args = line.split(" ")
    user = users.setdefault(name, User())
    if verb == "listen":
        user.listen(int(args[0]), json.loads(args[1]))
    elif verb == "connect":
        user.connect(int(args[0]), int(args[1]), json.loads(args[2]))
    elif verb == "write":
        user.require()
        user.write(int(args[0]), args[1] == "more")
    elif verb in ("hold", "resume"):
        user.held = verb == "hold"
        user.watch()
    elif verb == "ask":
        return user.tell()
    elif verb == "drop":
        user.drop()
    else:
        user.require()
        {"close": user.close, "abort": user.abort}[verb]()
    return {}


def main():
    partial = b""
    # Past the buffer of sys.stdin: the selector sees only what the kernel holds.
    selector.register(0, selectors.EVENT_READ)
    while True:
        # A command may leave what a later event of the same round is about: `accept` and `ready` look first.
        for key, events in selector.select():
            if key.fd != 0:
                key.data(events)
                continue
            data = os.read(0, 65536)
            if data == b"":
                return
            *lines, partial = (partial + data).split(b"\n")
            for line in lines:
                name = line.split(b" ")[0].decode()
                try:
                    answer = obey(line.decode())
                except LookupError as error:
                    answer = {"fault": str(error)}
                print(name, json.dumps(answer), flush=True)


main()
