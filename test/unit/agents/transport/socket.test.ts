import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer } from "node:net";
import { text } from "node:stream/consumers";
import { after, before, describe, it } from "node:test";
import { peerName, SocketTransport } from "@topicast/agent/transport/socket.js";
import { UserError } from "@topicast/protocol";
import { SCENARIOS, socketAccess } from "./scenarios.js";
import { Service } from "./service.js";

const HOST = "127.0.0.1";

describe("socket transport", () => {
  const transport = new SocketTransport({ port: 0, address: HOST });
  before(() => {
    const service = new Service(transport);
    return transport.listen((stream) => service.accept(stream));
  });
  after(() => transport.close());

  for (const { name, run } of SCENARIOS) {
    it(name, () => run(socketAccess(HOST, transport.port, false)));
  }
});

describe("socket transport's edges", () => {
  async function rejection(transport: SocketTransport): Promise<string> {
    try {
      await transport.listen(() => {});
    } catch (error) {
      assert(error instanceof UserError, String(error));
      return error.message;
    }
    await transport.close();
    assert.fail("no error");
  }

  it("names a port in use and an address of another host", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
    const { port } = server.address() as { port: number };
    assert.match(
      await rejection(new SocketTransport({ port, address: HOST })),
      new RegExp(`^TCP ${HOST}:${port} is in use .* choose another with -t$`),
    );
    server.close();
    assert.match(
      await rejection(new SocketTransport({ port: 0, address: "192.0.2.77" })),
      /^TCP 192\.0\.2\.77:0: no interface of this host has that address/,
    );
  });

  it("refuses connections beyond its limit and counts them", async () => {
    const transport = new SocketTransport({ port: 0, address: HOST, maxConnections: 1 });
    await transport.listen((stream) => void stream.pipe(stream));
    const access = socketAccess(HOST, transport.port, false);
    const first = await access.connect();
    const second = await access.connect();
    second.on("error", () => {});
    second.resume();
    await new Promise((resolve) => void second.on("close", resolve).on("end", () => second.end()));
    assert.equal(transport.counters().drop_connections_full, 1);
    first.end("still there");
    assert.equal(await text(first), "still there");
    await transport.close();
  });

  it("closes what is open, once and again, and frees its port", async () => {
    const transport = new SocketTransport({ port: 0, address: HOST });
    await transport.listen((stream) => void stream.resume());
    const { port } = transport;
    const client = await socketAccess(HOST, port, false).connect();
    client.resume();
    const closed = new Promise((resolve) => void client.on("close", resolve).on("end", () => client.end()));
    await transport.close();
    await transport.close();
    await closed;
    const again = new SocketTransport({ port, address: HOST });
    await again.listen(() => {});
    await again.close();
  });

  it("survives a client's reset that nobody listens for", async () => {
    const transport = new SocketTransport({ port: 0, address: HOST });
    const closed = new Promise<void>((resolve) => {
      void transport.listen((stream) => stream.resume().on("close", resolve));
    });
    await new Promise(setImmediate);
    const access = socketAccess(HOST, transport.port, false);
    access.abort(await access.connect());
    await closed;
    assert.equal(transport.counters().closed, 1);
    await transport.close();
  });

  it("has the kernel probe silent clients when asked to", async () => {
    for (const [keepAliveMs, timer] of [
      [0, /^(?!.*keepalive)/],
      [90_000, /timer:\(keepalive,1min(2\d|30)sec,0\)/],
    ] as const) {
      const transport = new SocketTransport({ port: 0, address: HOST, keepAliveMs });
      const accepted = new Promise<void>((resolve) => void transport.listen(() => resolve()));
      await new Promise(setImmediate);
      const client = await socketAccess(HOST, transport.port, false).connect();
      client.resume();
      await accepted;
      const sockets = execFileSync("ss", ["-Htno", `sport = :${transport.port}`], { encoding: "utf8" });
      assert.match(sockets, timer);
      client.destroy();
      await transport.close();
    }
  });

  it("writes addresses the way the contract says", () => {
    assert.equal(peerName("192.168.1.102", 5), "192.168.1.102:5");
    assert.equal(peerName("::ffff:192.168.1.102", 5), "192.168.1.102:5");
    assert.equal(peerName("fe80::1", 5), "[fe80::1]:5");
  });
});
