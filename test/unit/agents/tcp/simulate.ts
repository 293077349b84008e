/** One connection over a simulated link from its SYN to its end, and what must hold whatever the link does. */
import assert from "node:assert/strict";
import type { TcpConfig } from "@topicast/agent/tcp/config.js";
import { TCP_HEADER } from "@topicast/agent/tcp/wire/tcp.js";
import { type Faults, IPV4_HEADER, IPV6_HEADER, random, SERVER_PORT, SimLink } from "./link.js";
import { Peer } from "./peer.js";

export interface Run {
  seed: number;
  faults: Faults;
  /** Bytes from the client to the server, and back. */
  up: number;
  down: number;
  /** Of both sides, and what the client has otherwise. */
  config?: Partial<TcpConfig>;
  client?: Partial<TcpConfig>;
  slowReaders?: boolean;
  /** The server sends when the client has finished. */
  halfClose?: boolean;
  ipv6?: boolean;
  /** The path's MTU changes: each at its time (ms) since the first byte. Without ICMP nobody tells. */
  mtu?: { changes: ReadonlyArray<{ at: number; mtu: number }>; icmp: boolean };
}

/** How long (ms) a transfer may take. */
const HOURS = 24 * 3_600_000;

/** @returns the link as it is afterwards, and when (ms) the last byte was read */
export function simulate(run: Run): { link: SimLink; took: number } {
  const { seed, faults, up, down, config = {} } = run;
  const link = new SimLink(seed, faults, { server: config, client: { ...config, ...run.client } });
  const { clock } = link;
  const headers = (run.ipv6 ? IPV6_HEADER : IPV4_HEADER) + TCP_HEADER;
  const pauses = random(seed ^ 0x5bd1e995);
  const pause = run.slowReaders ? () => (pauses() < 0.3 ? pauses() * 400 : 0) : () => 0;
  let server: Peer | undefined;
  link.server.stack.listen(SERVER_PORT, (connection) => {
    server = new Peer(connection, clock, down, pause, run.halfClose);
  });
  const client = new Peer(
    link.client.stack.connect(link.path(40_000, run.ipv6), clock.now()),
    clock,
    up,
    pause,
  );
  const waitFor = (limit: number, step: number, done: () => boolean) => {
    for (const end = clock.now() + limit; clock.now() < end && !done(); ) clock.advance(step);
  };
  waitFor(600_000, 1, () => client.connection.state === "ESTABLISHED");
  client.send();
  for (const { at, mtu } of run.mtu?.changes ?? [])
    clock.setTimer(at, () => {
      link.mtu = mtu;
    });
  if (run.mtu?.icmp)
    link.onTooBig = (fromServer, seq) => {
      const connection = fromServer ? server?.connection : client.connection;
      connection?.onPathMtu(link.mtu - headers, seq, clock.now());
    };
  waitFor(HOURS, 100, () => client.ended && server?.ended === true);
  const context =
    `${JSON.stringify(run)}: server has ${server?.received} in ${server?.connection.state} ${server?.closed}, ` +
    `client ${client.received} in ${client.connection.state} ${client.closed}`;
  assert.equal(server?.received, up, context);
  assert.equal(client.received, down, context);
  assert(client.ended && server?.ended, context);
  const took = Math.max(client.lastAt, server.lastAt);
  // Afterwards nothing is left: no connection, no memory, no timer.
  clock.advance(8_000_000);
  for (const { stack } of [link.server, link.client]) {
    assert.deepEqual(stack.size, { open: 0, halfOpen: 0, timeWait: 0 }, context);
    assert.equal(stack.memory.inUse, 0, context);
    assert.equal(stack.deadline, Number.POSITIVE_INFINITY, context);
  }
  return { link, took };
}

/** A link, its users and what they send, all chosen by `seed`: mostly short transfers, some of a megabyte. */
export function scenario(seed: number): Run {
  const choose = random(seed);
  const chance = (probability: number) => choose() < probability;
  const between = (from: number, to: number) => from + choose() * (to - from);
  const faults: Faults = {
    loss: chance(0.2) ? 0 : between(0, 0.3),
    duplicate: between(0, 0.1),
    reorder: chance(0.3) ? 0 : between(0, 0.3),
    corrupt: between(0, 0.05),
    delay: between(1, 100),
    jitter: between(0, 200),
    ...(chance(0.3) ? { rate: between(10, 1_000), queue: between(5_000, 50_000) } : {}),
  };
  // Where half of all tries fail, the time-out's doubling makes a megabyte last for hours.
  const megabyte = faults.loss < 0.1 && chance(0.04);
  const size = () => Math.floor(choose() * (megabyte ? 1_000_000 : chance(0.3) ? 60_000 : 5_000));
  const small = chance(0.2);
  const ipv6 = chance(0.3);
  // What every path takes (RFC 791, RFC 8200 section 5).
  const smallest = ipv6 ? 1_280 : 576;
  const config: Partial<TcpConfig> = {
    // At 30 % each way half of all tries fail: patience must not be what is tested here.
    userTimeout: 3_600_000,
    finWait2: 0,
    synRetries: 20,
    timestamps: chance(0.7),
    sack: chance(0.7),
    ...(small
      ? {
          mss: Math.floor(between(48, 1_460)),
          receiveBuffer: Math.floor(between(500, 5_000)),
          sendBuffer: Math.floor(between(500, 5_000)),
        }
      : {}),
  };
  return {
    seed,
    faults,
    up: size(),
    down: size(),
    config,
    // What only one side offers, neither may use.
    client: chance(0.2) ? { timestamps: chance(0.5), sack: chance(0.5), ackDelay: 0 } : {},
    slowReaders: chance(0.3),
    halfClose: chance(0.3),
    ipv6,
    ...(chance(0.3)
      ? {
          mtu: {
            changes: Array.from({ length: 3 }, () => ({
              at: between(0, 1_000),
              mtu: Math.floor(between(smallest, 1_500)),
            })),
            icmp: chance(0.7),
          },
        }
      : {}),
  };
}
