/** The TCP stack by itself: two stacks back to back on one core, frames written, checked and taken apart on both sides. */
import { StackRunner } from "@topicast/agent/tcp/runner.js";
import type { StackConnection } from "@topicast/agent/tcp/stack.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { SimClock } from "@topicast/protocol";

export const name = "tcp";

const SERVER = { mac: parseMac("02:00:00:00:00:01"), ipv4: ["10.0.0.1"] };
const CLIENT = { mac: parseMac("02:00:00:00:00:02"), ipv4: ["10.0.0.2"] };
const PORTS = 50_000;

export function run(): void {
  throughput();
  messages();
  handshakes();
}

/** Frames wait in a queue until the turn is over, as they would on a link; no time passes. */
class Pair {
  readonly server: StackRunner;
  readonly client: StackRunner;
  frames = 0;
  private readonly clock = new SimClock();
  private queue: Array<() => void> = [];

  constructor() {
    const rim = (to: () => StackRunner) => ({
      clock: this.clock,
      defer: (fn: () => void) => void this.queue.push(fn),
      send: (bytes: Buffer, length: number) => {
        this.frames += 1;
        const frame = Buffer.from(bytes.subarray(0, length));
        this.queue.push(() => to().receive(frame, frame.length));
      },
    });
    const config = {
      ...{ maxConnections: 1_000_000, maxHalfOpen: 1_000_000, maxTimeWait: 1_000 },
      ...{ maxHalfOpenPerSource: 0, maxConnectionsPerSource: 0, connectionRatePerSource: 0 },
    };
    this.server = new StackRunner(
      SERVER,
      rim(() => this.client),
      config,
    );
    this.client = new StackRunner(
      CLIENT,
      rim(() => this.server),
      config,
    );
  }

  connect(n: number): StackConnection {
    const path = Path.between({
      localMac: CLIENT.mac,
      remoteMac: SERVER.mac,
      local: CLIENT.ipv4[0]!,
      localPort: 10_000 + n,
      remote: SERVER.ipv4[0]!,
      remotePort: 1883,
    });
    return this.client.stack.connect(path, this.clock.now());
  }

  settle(): void {
    while (this.queue.length > 0) {
      const now = this.queue;
      this.queue = [];
      for (const fn of now) fn();
    }
  }
}

function throughput(): void {
  const pair = new Pair();
  let received = 0;
  pair.server.stack.listen(1883, (connection) => {
    connection.handler = {
      onReadable: () => {
        for (let chunk = connection.read(); chunk !== undefined; chunk = connection.read())
          received += chunk.length;
      },
      onDrained: () => {},
      onClosed: () => {},
    };
  });
  const connection = pair.connect(0);
  pair.settle();
  const chunk = Buffer.alloc(64 * 1024, 1);
  const total = 500_000_000;
  const seconds = timed(() => {
    while (received < total) {
      while (connection.isWritable) connection.write(chunk);
      pair.settle();
    }
  });
  console.log(`  bulk: ${rate(received / 1e6, seconds)} MB/s, ${rate(pair.frames, seconds)} frames/s`);
}

/** Small messages one way, each in its own turn: what a publishing device costs. */
function messages(): void {
  const pair = new Pair();
  let received = 0;
  pair.server.stack.listen(1883, (connection) => {
    connection.handler = {
      onReadable: () => {
        for (let chunk = connection.read(); chunk !== undefined; chunk = connection.read())
          received += chunk.length;
      },
      onDrained: () => {},
      onClosed: () => {},
    };
  });
  const connection = pair.connect(0);
  pair.settle();
  const chunk = Buffer.alloc(100, 1);
  const count = 300_000;
  const seconds = timed(() => {
    for (let i = 0; i < count; i++) {
      connection.write(chunk);
      pair.settle();
    }
  });
  if (received !== count * chunk.length) throw new Error("messages are missing");
  console.log(`  100-byte messages, one per turn: ${rate(count, seconds)} messages/s`);
}

function handshakes(): void {
  const count = PORTS;
  const pair = new Pair();
  let closed = 0;
  pair.server.stack.listen(1883, (connection) => {
    connection.handler = {
      onReadable: () => connection.shutdown(),
      onDrained: () => {},
      onClosed: () => {
        closed += 1;
      },
    };
  });
  const seconds = timed(() => {
    for (let i = 0; i < count; i += 100) {
      const clients = Array.from({ length: 100 }, (_, k) => pair.connect(i + k));
      pair.settle();
      for (const client of clients) client.shutdown();
      pair.settle();
    }
  });
  if (closed !== count) throw new Error("connections are missing");
  console.log(`  connect and close: ${rate(count, seconds)} connections/s, both ends on this core`);
}

function timed(fn: () => void): number {
  const start = performance.now();
  fn();
  return (performance.now() - start) / 1_000;
}

function rate(count: number, seconds: number): string {
  return Math.round(count / seconds).toLocaleString("en");
}
