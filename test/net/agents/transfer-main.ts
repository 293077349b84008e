/**
 * Sends BYTES to the service's echo and compares what comes back, with Linux' own TCP: transfer-main.js HOST PORT BYTES.
 * Prints {"sent": SHA-256, "received": SHA-256, "bytes": N, "seconds": S}.
 */
import { createHash, randomFillSync } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";

const [host, port, bytes] = process.argv.slice(2);
const total = Number(bytes);
const socket = connect({ host: host!, port: Number(port) });
await once(socket, "connect");
const start = performance.now();
const received = createHash("sha256");
let count = 0;
socket.on("data", (chunk) => {
  received.update(chunk);
  count += chunk.length;
});
const ended = once(socket, "end");
socket.write("echo\n");
const sent = createHash("sha256");
const block = randomFillSync(Buffer.alloc(256 * 1024));
for (let at = 0; at < total; ) {
  // No two blocks are alike, so none can stand for another.
  const chunk = Buffer.from(block.subarray(0, Math.min(block.length, total - at)));
  if (chunk.length >= 6) chunk.writeUIntBE(at, 0, 6);
  sent.update(chunk);
  at += chunk.length;
  if (!socket.write(chunk)) await once(socket, "drain");
}
socket.end();
await ended;
console.log(
  JSON.stringify({
    sent: sent.digest("hex"),
    received: received.digest("hex"),
    bytes: count,
    seconds: (performance.now() - start) / 1_000,
  }),
);
