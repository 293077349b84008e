"""Clients of one process: crowd.py HOST PORT COUNT. Each connects, and sends test bytes for ever to the service's `hold`.
Prints "connected" when all have."""

import socket
import sys
import time

host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
clients = [socket.create_connection((host, port), timeout=10) for _ in range(count)]
for client in clients:
    client.sendall(b"hold\n")
print("connected", flush=True)
while True:
    for client in clients:
        try:
            client.setblocking(False)
            client.send(b"x" * 200)
        except OSError:
            pass
    time.sleep(0.05)
