/** Very many clients of one stack that exist only as frames: each opens a connection and says nothing more. */
import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { TcpConfig } from "@topicast/agent/tcp/config.js";
import { StackRunner } from "@topicast/agent/tcp/runner.js";
import { TcpStream } from "@topicast/agent/tcp/stream.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { seqAdd } from "@topicast/agent/tcp/wire/sequence.js";
import { ACK, emptySegment, type Segment, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import { SimClock } from "@topicast/protocol";

const SERVER = { mac: parseMac("02:00:00:00:00:01"), ipv4: ["10.0.0.1"] };
const CLIENT_MAC = parseMac("02:00:00:00:00:02");

/** What an idle connection may take of the heap, its place in every table included; and what Node's Duplex on it may. */
const CONNECTION_BYTES = 3 * 1024;
const STREAM_BYTES = 1024;

export interface Scale {
  readonly count: number;
  /** Each connection has its stream. */
  readonly streams?: boolean;
  readonly config?: Partial<TcpConfig>;
}

export interface Measured {
  readonly bytesEach: number;
  readonly handshakesPerSecond: number;
}

/** Opens `count` connections of as many addresses, checks that they cost neither timers nor too much memory, closes them. */
export function openIdle({ count, streams = false, config = {} }: Scale): Measured {
  const kept: unknown[] = [];
  const clients = new Clients();
  const server = new StackRunner(SERVER, clients, { maxConnections: count, ...config });
  const { stack } = server;
  stack.listen(1883, (connection) => kept.push(streams ? new TcpStream(connection) : connection));
  const before = heap();
  const start = performance.now();
  for (let i = 0; i < count; i++) clients.connect(server, i);
  const seconds = (performance.now() - start) / 1_000;
  // The SYN-ACKs' time-outs are forgotten when they come up.
  clients.clock.advance(10_000);
  const bytesEach = (heap() - before) / count;
  assert.equal(kept.length, count);
  assert.deepEqual(stack.size, { open: count, halfOpen: 0, timeWait: 0 });
  assert.equal(stack.deadline, Number.POSITIVE_INFINITY, "idle connections have no deadline");
  const bound = CONNECTION_BYTES + (streams ? STREAM_BYTES : 0);
  assert(bytesEach <= bound, `${Math.round(bytesEach)} bytes for each connection`);
  kept.length = 0;
  server.close();
  assert.deepEqual(stack.size, { open: 0, halfOpen: 0, timeWait: 0 });
  assert(stack.sources <= stack.config.maxRestingSources);
  const left = heap() - before;
  assert(left < count * bytesEach * 0.2, `${left} bytes are left of ${count} connections`);
  return { bytesEach, handshakesPerSecond: count / seconds };
}

/** The rim of a stack whose every SYN-ACK is answered. */
class Clients {
  readonly clock = new SimClock();
  private deferred: () => void = () => {};
  private readonly frame = new Frame();
  private readonly bytes = Buffer.alloc(200);
  private answerLength = 0;
  private readonly syn: Segment = {
    ...emptySegment(),
    ...{
      flags: SYN,
      window: 65_535,
      mss: 1460,
      windowScale: 7,
      sackPermitted: true,
      timestamps: true,
      tsVal: 1,
    },
  };

  defer(fn: () => void): void {
    this.deferred = fn;
  }

  connect(server: StackRunner, i: number): void {
    this.answerLength = 0;
    server.receive(this.bytes, pathOf(i).write(this.syn, this.bytes));
    this.deferred();
    assert(this.answerLength > 0, `client ${i} got no answer`);
    server.receive(this.bytes, this.answerLength);
    this.deferred();
  }

  send(sent: Buffer, length: number): void {
    const { frame } = this;
    assert.equal(frame.parse(sent, length), undefined, "the stack sent a faulty frame");
    const { segment } = frame;
    if ((segment.flags & SYN) === 0) return;
    this.answerLength = Path.replyTo(frame).write(
      {
        ...emptySegment(),
        ...{ flags: ACK, seq: segment.ack, ack: seqAdd(segment.seq, 1), window: 512 },
        ...{ timestamps: true, tsVal: 2, tsEcr: segment.tsVal },
      },
      this.bytes,
    );
  }
}

function pathOf(i: number): Path {
  return Path.between({
    ...{ localMac: CLIENT_MAC, remoteMac: SERVER.mac },
    ...{ local: `10.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`, localPort: 50_000 },
    ...{ remote: SERVER.ipv4[0]!, remotePort: 1883 },
  });
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes of heap and of buffers outside of it. */
function heap(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
