"""The least that an agent needs, by protocol/README.md alone: one filter, no routes, and a bad receiver if one wants.

usage: second-agent.py ID ADDRESS PORT FORWARDER-ADDRESS FORWARDER-PORT FILTER LOSS

Tells `registered`, `subscribed`, `got QOS TOPIC TEXT` and `relayed`, a line each; publishes what it reads, `QOS TOPIC TEXT`. Of all
that arrives LOSS (0 to 1) is not looked at.
"""

import hashlib
import os
import random
import select
import socket
import struct
import sys
import time

DATA, CONTROL, ACK, RESET, _, STATUS, HEARTBEAT = range(1, 8)
START, END, ASK, BEGIN, FENCE = 1, 2, 4, 8, 16
ROOM = 1452
U32 = 0xFFFFFFFF


def say(line):
    os.write(1, (line + "\n").encode())


def ahead(a, b):
    """How far b is ahead of a on the 32-bit circle (RFC 1982)."""
    d = (b - a) & U32
    return d - (1 << 32) if d >> 31 else d


def varint(n):
    out = bytearray()
    while True:
        n, low = n >> 7, n & 0x7F
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


def text(s):
    return struct.pack(">H", len(s.encode())) + s.encode()


def pair(key, value):
    return b"\x26" + text(key) + text(value)


def packet(first, body):
    return bytes([first]) + varint(len(body)) + body


def cut(data):
    """The MQTT packets that stand back to back: (first byte, body)."""
    at = 0
    while at < len(data):
        first, length, shift = data[at], 0, 0
        while True:
            at += 1
            length |= (data[at] & 0x7F) << shift
            shift += 7
            if not data[at] & 0x80:
                break
        yield first, data[at + 1 : at + 1 + length]
        at += 1 + length


def read_publish(first, body):
    """(QoS, topic, user properties, payload)"""
    qos = first >> 1 & 3
    at = 2 + struct.unpack_from(">H", body)[0]
    topic = body[2:at].decode()
    at += 2 if qos else 0
    # Fewer than 128 bytes of properties here.
    end = at + 1 + body[at]
    at += 1
    users = {}
    while at < end:
        kind = body[at]
        at += 1
        if kind == 0x26:
            words = []
            for _ in range(2):
                n = struct.unpack_from(">H", body, at)[0]
                words.append(body[at + 2 : at + 2 + n].decode())
                at += 2 + n
            users[words[0]] = words[1]
        elif kind in (0x03, 0x08, 0x09):
            at += 2 + struct.unpack_from(">H", body, at)[0]
        else:
            at += {0x01: 1, 0x02: 4}[kind]
    return qos, topic, users, body[end:]


class Stream:
    def __init__(self, epoch, sender, number):
        self.epoch, self.sender = epoch, sender
        self.next = self.end = number
        self.entering = number != 0
        self.early, self.gone, self.partial = {}, set(), b""
        self.asked = None
        self.nak_at, self.gap = None, 0.01


class Agent:
    def __init__(self, name, address, port, forwarder, topic_filter, loss):
        self.name, self.address, self.port = name, address, port
        self.forwarder, self.filter, self.loss = forwarder, topic_filter, loss
        self.number = struct.unpack(">I", hashlib.sha256(name.encode()).digest()[:4])[0] or 1
        self.data_epoch = self.epoch = int(time.time() * 10) & U32
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.streams, self.origins = {}, {}
        self.relays = []
        self.count = 0
        self.connect()

    # --- control ---

    def connect(self):
        self.peer, self.registered = 0, False
        self.out, self.flying, self.next_out = [], {}, 0
        self.expected, self.control_early, self.partial = 0, {}, b""
        self.heard = self.pinged = time.monotonic()
        told = pair("address", self.address) + pair("port", str(self.port)) + pair("epoch", str(self.data_epoch))
        body = text("MQTT") + b"\x05\x02" + struct.pack(">H", 5) + varint(len(told)) + told + text(self.name)
        self.send_control(packet(0x10, body))

    def send_control(self, data):
        self.out.append(data)
        while self.out and len(self.flying) < 32:
            self.flying[self.next_out] = [self.out.pop(0), 0.0]
            self.next_out = (self.next_out + 1) & U32
        self.repeat(time.monotonic())

    def repeat(self, now):
        for number, flying in self.flying.items():
            if now - flying[1] >= 0.1:
                flying[1] = now
                header = self.header(CONTROL, START | END, self.epoch, self.peer, number)
                self.socket.sendto(header + flying[0], self.forwarder)

    def header(self, kind, flags, epoch, stream, number):
        return struct.pack(">BBBBIIII", 1, kind, flags, 5, self.number, epoch, stream, number)

    def on_control(self, kind, flags, epoch, stream, number, payload):
        if stream != self.epoch or (self.peer and kind != RESET and epoch != self.peer):
            return
        if kind == RESET:
            return self.again()
        self.peer = epoch
        self.heard = time.monotonic()
        if kind == ACK:
            for n in [n for n in self.flying if ahead(n, number) > 0]:
                del self.flying[n]
            return
        if 0 <= ahead(self.expected, number) <= 32:
            self.control_early[number] = (flags, payload)
        while self.expected in self.control_early:
            flags, payload = self.control_early.pop(self.expected)
            self.expected = (self.expected + 1) & U32
            self.partial = payload if flags & START else self.partial + payload
            if flags & END:
                for first, body in cut(self.partial):
                    if self.on_packet(first, body):
                        return
        bits = 0
        for n in self.control_early:
            bits |= 1 << ahead(self.expected, n) - 1
        ack = self.header(ACK, 0, self.epoch, self.peer, self.expected) + struct.pack(">I", bits)
        self.socket.sendto(ack, self.forwarder)

    def again(self):
        """What has no PUBACK is relayed again, with the same origin."""
        self.epoch = max(self.epoch + 1, int(time.time() * 10) & U32)
        self.connect()

    def on_packet(self, first, body):
        """True where the registration has ended."""
        kind = first >> 4
        if kind == 2 and body[1] == 0:
            self.registered = True
            say("registered")
            # Retain Handling 2: nothing retained is wanted.
            self.send_control(packet(0x82, b"\x00\x01\x00" + text(self.filter) + b"\x20"))
            self.send_control(b"\xc0\x00")
            for relay in self.relays:
                self.send_control(relay)
        elif kind == 9:
            say("subscribed")
        elif kind == 4:
            self.relays.pop(0)
            say("relayed")
        elif kind == 14:
            self.again()
            return True
        elif kind == 3:
            self.deliver(first, body)
        return False

    def deliver(self, first, body):
        qos, topic, users, payload = read_publish(first, body)
        if topic.startswith("$"):
            return
        origin = users.get("$fabric/origin")
        if origin is not None:
            publisher, count = origin.rsplit("-", 1)
            if int(count) <= self.origins.get((publisher, topic), -1):
                return
            self.origins[(publisher, topic)] = int(count)
        say(f"got {qos} {topic} {payload.decode()}")

    def publish(self, qos, topic, payload):
        marks = pair("$fabric/origin", f"{self.number:x}-{self.data_epoch:x}-{self.count}")
        self.count += 1
        body = text(topic) + (b"\x00\x01" if qos else b"") + varint(len(marks)) + marks + payload.encode()
        relay = packet(0x30 | qos << 1, body)
        self.relays.append(relay)
        if self.registered:
            self.send_control(relay)

    # --- data ---

    def on_data(self, kind, flags, source, epoch, group, number, payload, sender):
        key = (source, group)
        stream = self.streams.get(key)
        if stream is None or ahead(stream.epoch, epoch) > 0:
            stream = self.streams[key] = Stream(epoch, sender, number if kind == DATA else number)
        if stream.epoch != epoch or stream.sender != sender:
            return
        if kind == DATA:
            if stream.entering and number == 0:
                stream.entering, stream.next = False, 0
            end = (number + 1) & U32
            if flags & ASK:
                stream.asked = number
            if stream.entering or 0 <= ahead(stream.next, number) < 2048:
                stream.early[number] = (flags, payload)
        else:
            end = number
            oldest = struct.unpack_from(">I", payload)[0]
            if flags & BEGIN and stream.entering:
                stream.entering, stream.next = False, oldest
            for n in range(4, len(payload), 8):
                first, count = struct.unpack_from(">II", payload, n)
                stream.gone.update((first + i) & U32 for i in range(min(count, 2048)))
            if not stream.entering:
                while ahead(stream.next, oldest) > 0 and stream.next not in stream.early:
                    stream.next = (stream.next + 1) & U32
            if flags & ASK:
                stream.asked = (number - 1) & U32
        if ahead(stream.end, end) > 0:
            stream.end = end
        self.take(stream, key)

    def take(self, stream, key):
        while not stream.entering:
            if stream.next in stream.early:
                flags, payload = stream.early.pop(stream.next)
                payload = payload[8:] if flags & FENCE else payload
                stream.partial = payload if flags & START else stream.partial + payload
                if flags & END:
                    for first, body in cut(stream.partial):
                        self.deliver(first, body)
            elif stream.next in stream.gone:
                stream.gone.discard(stream.next)
            else:
                break
            stream.next = (stream.next + 1) & U32
            stream.gap = 0.01
        if stream.asked is not None and not stream.entering and ahead(stream.asked, stream.next) > 0:
            stream.asked = None
            self.status(stream, key, [])
        lacks = stream.entering or ahead(stream.next, stream.end) > 0
        if not lacks:
            stream.nak_at = None
        elif stream.nak_at is None:
            stream.nak_at = time.monotonic() + (0 if stream.entering else 0.001 + random.random() / 1000)

    def status(self, stream, key, missing):
        flags = BEGIN if stream.entering else 0
        body = struct.pack(">I", stream.epoch) + b"".join(struct.pack(">II", n, 1) for n in missing[:64])
        self.socket.sendto(self.header(STATUS, flags, self.data_epoch, key[1], stream.next) + body, stream.sender)

    def naks(self, now):
        for key, stream in self.streams.items():
            if stream.nak_at is None or now < stream.nak_at:
                continue
            count = min(ahead(stream.next, stream.end), 2048)
            numbers = [(stream.next + i) & U32 for i in range(count)]
            missing = [] if stream.entering else [n for n in numbers if n not in stream.early and n not in stream.gone]
            self.status(stream, key, missing)
            stream.nak_at = now + stream.gap
            stream.gap = min(stream.gap * 2, 0.32)

    # --- all of it ---

    def run(self):
        line = b""
        while True:
            ready, _, _ = select.select([self.socket, 0], [], [], 0.002)
            if self.socket in ready:
                data, sender = self.socket.recvfrom(65536)
                if random.random() >= self.loss:
                    self.on_datagram(data, sender)
            if 0 in ready:
                more = os.read(0, 65536)
                if not more:
                    return
                *lines, line = (line + more).split(b"\n")
                for words in lines:
                    qos, topic, payload = words.decode().split(" ", 2)
                    self.publish(int(qos), topic, payload)
            now = time.monotonic()
            self.naks(now)
            self.repeat(now)
            if now - self.heard >= 5:
                self.again()
            elif self.registered and now - self.pinged >= 1:
                self.pinged = now
                self.send_control(b"\xc0\x00")

    def on_datagram(self, data, sender):
        if len(data) < 20 or data[0] != 1 or data[3] < 5:
            return
        _, kind, flags, words, source, epoch, stream, number = struct.unpack_from(">BBBBIIII", data)
        payload = data[words * 4 :]
        if kind in (CONTROL, ACK, RESET):
            if sender == self.forwarder:
                self.on_control(kind, flags, epoch, stream, number, payload)
        elif kind in (DATA, HEARTBEAT) and source != self.number:
            self.on_data(kind, flags, source, epoch, stream, number, payload, sender)


if __name__ == "__main__":
    name, address, port, forwarder, forwarder_port, topic_filter, loss = sys.argv[1:]
    random.seed(1)
    Agent(name, address, int(port), (forwarder, int(forwarder_port)), topic_filter, float(loss)).run()
