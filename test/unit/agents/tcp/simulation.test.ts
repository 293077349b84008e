import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PERFECT, SERVER_PORT, SimLink } from "./link.js";
import { Peer } from "./peer.js";
import { scenario, simulate } from "./simulate.js";

/** `SEED=n` replays one of the random scenarios; `SEEDS=n` runs so many. */
const { SEED, SEEDS = "5000" } = process.env;

describe("TCP over a simulated link", () => {
  it("carries a megabyte each way on a perfect link without sending anything twice", () => {
    const { link } = simulate({ seed: 1, faults: PERFECT, up: 1_000_000, down: 1_000_000 });
    assert.equal(link.server.stack.counters.retransmitted, 0);
    assert.equal(link.client.stack.counters.retransmitted, 0);
    assert.equal(link.server.stack.counters.drop_out_of_window, 0);
  });

  it("is byte-exact whatever the link does, over thousands of seeds", () => {
    const first = SEED === undefined ? 0 : Number(SEED);
    const count = SEED === undefined ? Number(SEEDS) : 1;
    const seen = { harmed: 0, retransmitted: 0, spurious: 0, probes: 0, lowered: 0 };
    for (let seed = first; seed < first + count; seed++) {
      try {
        const { link } = simulate(scenario(seed));
        seen.harmed += link.harmed + link.overflows;
        for (const { stack } of [link.server, link.client]) {
          seen.retransmitted += stack.counters.retransmitted;
          seen.spurious += stack.counters.spurious_recoveries;
          seen.probes += stack.counters.tail_probes;
          seen.lowered += stack.counters.path_mtu_lowered;
        }
      } catch (error) {
        const replay = `SEED=${seed} node test/dist/run.js unit tcp/simulation`;
        throw new Error(`replay with: ${replay}`, { cause: error });
      }
    }
    // What the scenarios are for has happened.
    if (count >= 1_000) for (const [what, times] of Object.entries(seen)) assert(times > 100, what);
  });

  it("goes on when the path's MTU falls in the middle of a transfer, without a time-out", () => {
    const mtu = {
      changes: [
        { at: 40, mtu: 1_400 },
        { at: 60, mtu: 576 },
      ],
      icmp: true,
    };
    const { link } = simulate({ seed: 12, faults: PERFECT, up: 300_000, down: 300_000, mtu });
    for (const { stack } of [link.server, link.client]) {
      assert.equal(stack.counters.path_mtu_lowered, 2);
      assert.equal(stack.counters.timeouts, 0);
      assert.equal(stack.counters.fast_recoveries, 0);
    }
  });

  it("survives memory that is too small for all, by sending again", () => {
    const config = { receiveMemory: 20_000 };
    const faults = { ...PERFECT, loss: 0.05 };
    const { link } = simulate({ seed: 5, faults, up: 300_000, down: 0, config, slowReaders: true });
    assert(link.server.stack.counters.drop_memory_full > 0);
  });

  it("reaches a useful speed on lossy links", () => {
    // 20 ms round trip, megabytes: bytes per second of goodput must not fall below what these links give.
    const speed = (loss: number) => {
      const { took } = simulate({ seed: 7, faults: { ...PERFECT, delay: 10, loss }, up: 1_000_000, down: 0 });
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
