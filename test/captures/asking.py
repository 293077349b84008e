"""Small clients for the captures: they ask what servers.py answers, and what nobody answers."""

import socket
import struct
import time

SERVER = "10.9.0.1"


def ask(sock, port, message, wait=0.2):
    sock.sendto(message, (SERVER, port))
    sock.settimeout(wait)
    try:
        while True:
            sock.recvfrom(65535)
    except (TimeoutError, ConnectionError):
        pass


def udp():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def name(text):
    labels = b"".join(bytes([len(label)]) + label for label in text.encode().split(b"."))
    return b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"


def coap(kind, code, mid, token, path, options=b"", payload=b""):
    out, number = b"", 0
    if options[:1] == b"o":
        out, number = b"\x60", 6
    for part in path.split("/"):
        out += bytes([(11 - number) << 4 | len(part)]) + part.encode()
        number = 11
    if options[:1] == b"b":
        out += b"\xc1" + options[1:]
    return bytes([0x40 | kind << 4 | len(token), code]) + struct.pack(">H", mid) + token + out + (b"\xff" + payload if payload else b"")


for host in ("coap.example", "broker.example", "nowhere.example"):
    ask(udp(), 53, name(host), 0.1)
for client in range(3):
    sock = udp()
    token = bytes([client, 1])
    for i, room in enumerate(("a", "bedroom", "longer")[: client + 1]):
        ask(sock, 5683, coap(0, 1, 100 * client + i, token + bytes([i]), f"{room}/temperature"), 0.1)
    ask(sock, 5683, coap(0, 2, 100 * client + 50, token + b"p", "basic/light", payload=b"on"), 0.1)
    ask(sock, 5683, coap(1, 2, 100 * client + 51, token + b"q", "other", payload=b"x"), 0.1)
sock = udp()
ask(sock, 5683, coap(1, 1, 500, b"ob", "temperature", b"o"))
for block in (b"b\x02", b"b\x12", b"b\x22"):
    ask(sock, 5683, coap(0, 1, 600 + block[1], b"bl" + block[1:], "large", block), 0.1)
ask(sock, 5683, coap(0, 1, 700, b"sp", "separate"))
for _ in range(2):
    ask(sock, 5683, coap(0, 1, 701, b"si", "silent"), 0.1)
sock.sendto(b"\x49\x01\x00\x01", (SERVER, 5683))

sn = udp()
ask(sn, 1884, b"\x0b\x04\x04\x01\x00\x3csen-1")
ask(sn, 1884, b"\x0e\x0a\x00\x00\x00\x01a/topic!")
ask(sn, 1884, b"\x0b\x0c\x20\x00\x06\x00\x02temp")
ask(sn, 1884, b"\x0a\x12\x20\x00\x03b/top")
ask(sn, 1884, b"\x02\x16")
ask(sn, 1884, b"\x02\x18")
closed = udp()
closed.connect((SERVER, 1885))
for i in range(3):
    try:
        closed.send(b"\x0b\x0c\x61\x00\x06\x00\x00lost")
    except ConnectionRefusedError:
        pass
    time.sleep(0.1)
# Larger than a frame: fragments.
udp().sendto(coap(1, 2, 800, b"fr", "frag", payload=b"F" * 3000), (SERVER, 5683))
time.sleep(0.3)
