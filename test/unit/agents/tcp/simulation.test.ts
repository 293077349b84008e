import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TcpConfig } from "@topicast/agent/tcp/config.js";
import { type Faults, PERFECT, random, SERVER_PORT, SimLink } from "./link.js";
import { Peer } from "./peer.js";

interface Run {
  seed: number;
  faults: Faults;
  up: number;
  down: number;
  config?: Partial<TcpConfig>;
  slowReaders?: boolean;
  /** The path's MTU changes: each at its time since the first byte. Without ICMP nobody tells. */
  mtu?: { changes: ReadonlyArray<{ at: number; mtu: number }>; icmp: boolean };
}

/** Runs one connection to its end and checks everything that must hold whatever the link does. */
function transfer({ seed, faults, up, down, config = {}, slowReaders = false, mtu }: Run): {
  link: SimLink;
  took: number;
} {
  const link = new SimLink(seed, faults, { server: config, client: config });
  const pauses = random(seed ^ 0x5bd1e995);
  const pause = slowReaders ? () => (pauses() < 0.3 ? pauses() * 400 : 0) : () => 0;
  let server: Peer | undefined;
  link.server.stack.listen(SERVER_PORT, (connection) => {
    server = new Peer(connection, link.clock, down, pause);
  });
  const client = new Peer(
    link.client.stack.connect(link.path(40_000), link.clock.now()),
    link.clock,
    up,
    pause,
  );
  const waitFor = (limit: number, step: number, done: () => boolean) => {
    for (const end = link.clock.now() + limit; link.clock.now() < end && !done(); ) link.clock.advance(step);
  };
  waitFor(600_000, 1, () => client.connection.state === "ESTABLISHED");
  client.send();
  for (const change of mtu?.changes ?? [])
    link.clock.setTimer(change.at, () => {
      link.mtu = change.mtu;
    });
  if (mtu?.icmp)
    link.onTooBig = (fromServer, seq) => {
      const connection = fromServer ? server?.connection : client.connection;
      connection?.onPathMtu(link.mtu - 40, seq, link.clock.now());
    };
  waitFor(3_600_000, 100, () => client.ended && server?.ended === true);
  const context =
    `seed ${seed}, ${JSON.stringify(faults)}: ` +
    `client ${client.connection.state} ${client.closed}, server ${server?.connection.state} ${server?.closed}`;
  assert.equal(server?.received, up, context);
  assert.equal(client.received, down, context);
  assert(client.ended && server?.ended, context);
  const took = Math.max(client.lastAt, server.lastAt);
  // Afterwards nothing is left: no connection, no memory, no timer.
  link.clock.advance(8_000_000);
  for (const { stack } of [link.server, link.client]) {
    assert.deepEqual(stack.size, { open: 0, halfOpen: 0, timeWait: 0 }, context);
    assert.equal(stack.memory.inUse, 0, context);
    assert.equal(stack.deadline, Number.POSITIVE_INFINITY, context);
  }
  return { link, took };
}

describe("TCP over a simulated link", () => {
  it("carries a megabyte each way on a perfect link without sending anything twice", () => {
    const { link } = transfer({ seed: 1, faults: PERFECT, up: 1_000_000, down: 1_000_000 });
    assert.equal(link.server.stack.counters.retransmitted, 0);
    assert.equal(link.client.stack.counters.retransmitted, 0);
    assert.equal(link.server.stack.counters.drop_out_of_window, 0);
  });

  it("is byte-exact at any loss, duplication, reordering and damage", () => {
    for (let seed = 0; seed < 300; seed++) {
      const choose = random(seed);
      const faults: Faults = {
        loss: choose() * 0.3,
        duplicate: choose() * 0.1,
        reorder: choose() * 0.3,
        corrupt: choose() * 0.05,
        delay: 1 + choose() * 100,
        jitter: choose() * 200,
      };
      // At 30 % each way half of all tries fail: patience must not be what is tested here.
      const config = { userTimeout: 3_600_000, finWait2: 0, synRetries: 20 };
      const up = Math.floor(choose() * 60_000);
      const down = Math.floor(choose() * 60_000);
      const { link } = transfer({ seed, faults, up, down, config, slowReaders: seed % 3 === 0 });
      assert(link.frames > 0);
    }
  });

  it("is byte-exact with small buffers, small segments and slow readers", () => {
    for (let seed = 0; seed < 100; seed++) {
      const choose = random(seed + 10_000);
      const config = {
        mss: 48 + Math.floor(choose() * 500),
        receiveBuffer: 500 + Math.floor(choose() * 4_000),
        sendBuffer: 500 + Math.floor(choose() * 4_000),
      };
      const faults = { ...PERFECT, loss: choose() * 0.1, reorder: choose() * 0.2, jitter: 50 };
      transfer({ seed, faults, up: 20_000, down: 20_000, config, slowReaders: true });
    }
  });

  it("goes on when the path's MTU falls in the middle of a transfer, without a time-out", () => {
    const mtu = {
      changes: [
        { at: 40, mtu: 1_400 },
        { at: 60, mtu: 576 },
      ],
      icmp: true,
    };
    const { link } = transfer({ seed: 12, faults: PERFECT, up: 300_000, down: 300_000, mtu });
    for (const { stack } of [link.server, link.client]) {
      assert.equal(stack.counters.path_mtu_lowered, 2);
      assert.equal(stack.counters.timeouts, 0);
      assert.equal(stack.counters.fast_recoveries, 0);
    }
  });

  it("survives memory that is too small for all, by sending again", () => {
    const config = { receiveMemory: 20_000 };
    const faults = { ...PERFECT, loss: 0.05 };
    const { link } = transfer({ seed: 5, faults, up: 300_000, down: 0, config, slowReaders: true });
    assert(link.server.stack.counters.drop_memory_full > 0);
  });

  it("reaches a useful speed on lossy links", () => {
    // 20 ms round trip, megabytes: bytes per second of goodput must not fall below what these links give.
    const speed = (loss: number) => {
      const { took } = transfer({ seed: 7, faults: { ...PERFECT, delay: 10, loss }, up: 1_000_000, down: 0 });
      return 1_000_000 / (took / 1_000);
    };
    assert(speed(0) > 2_500_000);
    assert(speed(0.01) > 300_000);
    assert(speed(0.05) > 60_000);
  });

  it("gives the peer up when the link is cut, at both ends, and holds nothing for it", () => {
    const link = new SimLink(9, PERFECT);
    let server: Peer | undefined;
    link.server.stack.listen(SERVER_PORT, (connection) => {
      server = new Peer(connection, link.clock, 1_000_000);
    });
    const client = new Peer(link.client.stack.connect(link.path(40_000), 0), link.clock, 1_000_000);
    link.clock.advance(30);
    client.send();
    link.clock.advance(20);
    link.cut = true;
    link.clock.advance(300_000);
    assert.equal(client.closed, "timeout");
    assert.equal(server?.closed, "timeout");
    assert.deepEqual(link.server.stack.size, { open: 0, halfOpen: 0, timeWait: 0 });
    assert.equal(link.server.stack.memory.inUse, 0);
  });

  it("keeps a thousand connections apart", () => {
    const link = new SimLink(11, { ...PERFECT, loss: 0.02, reorder: 0.1, jitter: 20 });
    const peers: Peer[] = [];
    link.server.stack.listen(SERVER_PORT, (connection) => {
      peers.push(new Peer(connection, link.clock, 2_000));
    });
    const clients = Array.from({ length: 1_000 }, (_, i) => {
      return new Peer(link.client.stack.connect(link.path(10_000 + i), 0), link.clock, 3_000);
    });
    link.clock.advance(20_000);
    for (const client of clients) client.send();
    link.clock.advance(100_000);
    assert.equal(peers.length, 1_000);
    assert(peers.every((peer) => peer.received === 3_000 && peer.ended));
    assert(clients.every((client) => client.received === 2_000 && client.ended));
  });
});
