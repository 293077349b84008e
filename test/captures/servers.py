"""Small servers for the captures, on 10.9.0.1: DNS for a few names, CoAP with some resources, an MQTT-SN gateway."""

import select
import socket
import struct

NAMES = {b"coap.example": "10.9.0.1", b"broker.example": "10.9.0.1"}


def dns(query):
    """An answer with the address, or NXDOMAIN."""
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]])
        at += query[at] + 1
    question = query[12 : at + 5]
    address = NAMES.get(b".".join(labels))
    head = query[:2] + struct.pack(">HHHHH", 0x8180 if address else 0x8183, 1, 1 if address else 0, 0, 0)
    if address is None:
        return [head + question]
    return [head + question + b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address)]


def coap_parse(message):
    token_length = message[0] & 15
    at, number, options, payload = 4 + token_length, 0, [], b""
    while at < len(message):
        if message[at] == 0xFF:
            payload = message[at + 1 :]
            break
        delta, length = message[at] >> 4, message[at] & 15
        at += 1
        number += delta
        options.append((number, message[at : at + length]))
        at += length
    return message[4 : 4 + token_length], options, payload


def coap(message):
    token, options, _ = coap_parse(message)
    kind, code, message_id = (message[0] >> 4) & 3, message[1], message[2:4]
    path = b"/".join(value for number, value in options if number == 11)
    reply = lambda kind, code, rest=b"", mid=message_id: bytes([0x40 | kind << 4 | len(token), code]) + mid + token + rest
    answer_kind = 2 if kind == 0 else 1
    if code == 0:
        return []
    if path.endswith(b"temperature") and code == 1:
        if any(number == 6 for number, _ in options):
            notify = [reply(1, 0x45, b"\x61" + bytes([i]) + b"\xff2" + bytes([0x30 + i]), struct.pack(">H", 900 + i)) for i in (2, 3)]
            return [reply(answer_kind, 0x45, b"\x61\x01\xff21")] + notify
        return [reply(answer_kind, 0x45, b"\xff" + b"21.5" * (1 + len(path) % 7))]
    if path == b"large" and code == 1:
        block = next((value[0] if value else 0 for number, value in options if number == 23), 2)
        index = block >> 4
        return [reply(answer_kind, 0x45, b"\xd1\x0a" + bytes([index << 4 | (8 if index < 2 else 0) | 2]) + b"\xff" + b"L" * 64)]
    if path == b"separate":
        return [b"\x60\x00" + message_id, reply(0, 0x45, b"\xfflate", b"\x77\x77")]
    if path == b"silent":
        return []
    return [reply(answer_kind, 0x84 if code == 1 else 0x85)]


def mqttsn(message):
    kind, body = message[1], message[2:]
    if kind == 0x04:
        return [b"\x03\x05\x00"]
    if kind == 0x0A:
        return [b"\x07\x0b\x00\x06" + body[2:4] + b"\x00"]
    if kind == 0x12:
        return [b"\x08\x13" + body[:1] + b"\x00\x07" + body[1:3] + b"\x00", b"\x0b\x0c\x20\x00\x07\x00\x0123456"[:11]]
    if kind == 0x0C and body[0] & 0x60 == 0x20:
        return [b"\x07\x0d" + body[1:3] + body[3:5] + b"\x00"]
    if kind == 0x16:
        return [b"\x02\x17"]
    if kind == 0x18:
        return [b"\x02\x18"]
    return []


sockets = {}
for port, answer in ((53, dns), (5683, coap), (1884, mqttsn)):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("10.9.0.1", port))
    sockets[sock] = answer
while True:
    for sock in select.select(list(sockets), [], [], 20)[0] or exit():
        data, peer = sock.recvfrom(65535)
        for reply in sockets[sock](data):
            sock.sendto(reply, peer)
