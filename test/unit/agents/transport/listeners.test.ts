import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { describe, it } from "node:test";
import { Listeners } from "@topicast/agent/transport/listeners.js";
import { ProxyLayer } from "@topicast/agent/transport/proxy.js";
import { SocketTransport } from "@topicast/agent/transport/socket.js";
import { UserError } from "@topicast/protocol";
import { until } from "./support.js";

function socket(port = 0, flag = "-t"): SocketTransport {
  return new SocketTransport({ address: "127.0.0.1", port, flag });
}

describe("several ports as one transport", () => {
  it("adds up what the ports count, a shared layer once", async () => {
    const layer = new ProxyLayer();
    const ports = [socket(), socket()];
    const listeners = new Listeners(
      ports.map((transport, i) => ({ name: `p${i}`, transport, layers: [layer] })),
    );
    const peers: string[] = [];
    const names = new Set<string | undefined>();
    await listeners.listen((stream) => {
      peers.push(stream.peer);
      names.add(stream.listener);
    });
    const clients = ports.map(({ port }) => connect(port, "127.0.0.1"));
    for (const client of clients) {
      client.on("error", () => {});
      client.write(Buffer.from("0d0a0d0a000d0a515549540a2111000cc0000207c0000201c353075b", "hex"));
    }
    await until("both", () => peers.length === 2);
    assert.deepEqual(peers, ["192.0.2.7:50003", "192.0.2.7:50003"]);
    assert.deepEqual([...names].sort(), ["p0", "p1"]);
    const { accepted, connections_open, proxy_accepted } = listeners.counters();
    assert.deepEqual([accepted, connections_open, proxy_accepted], [2, 2, 2]);
    await listeners.close();
    await until("close", () => clients.every((client) => client.destroyed));
    assert.equal(listeners.counters().connections_open, 0);
  });

  it("leaves no port open when one of them is in use, and names its flag", async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
    const { port } = blocker.address() as { port: number };
    const first = socket();
    const listeners = new Listeners([
      { name: "tcp", transport: first, layers: [] },
      { name: "tls", transport: socket(port, "--tlsport"), layers: [] },
    ]);
    await assert.rejects(
      listeners.listen(() => {}),
      (error) => {
        assert.ok(error instanceof UserError);
        assert.match(
          error.message,
          new RegExp(`^TCP .*:${port} is in use .* choose another with --tlsport$`),
        );
        return true;
      },
    );
    blocker.close();
    assert.equal(first.port, 0, "the first one listens no more");
  });
});
