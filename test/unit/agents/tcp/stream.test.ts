import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";
import type { TcpConfig } from "@topicast/agent/tcp/config.js";
import { StackRunner } from "@topicast/agent/tcp/runner.js";
import { TcpStream } from "@topicast/agent/tcp/stream.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { systemClock } from "@topicast/protocol";
import { type Access, SCENARIOS } from "../transport/scenarios.js";
import { Service } from "../transport/service.js";
import { pattern } from "./pattern.js";

const SERVER = { mac: parseMac("02:00:00:00:00:01"), ipv4: ["10.0.0.1"] };
const CLIENT = { mac: parseMac("02:00:00:00:00:02"), ipv4: ["10.0.0.2"] };

/** Two stacks back to back in real time, with a service behind one. */
class Pair {
  readonly server: StackRunner;
  readonly client: StackRunner;
  frames = 0;
  private nextPort = 10_000;

  constructor(config: Partial<TcpConfig> = {}) {
    const rim = (to: () => StackRunner) => ({
      clock: systemClock,
      defer: (fn: () => void) => void setImmediate(fn),
      send: (bytes: Buffer, length: number) => {
        this.frames += 1;
        const frame = Buffer.from(bytes.subarray(0, length));
        setImmediate(() => to().receive(frame, frame.length));
      },
    });
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

  serve(accept: (stream: TcpStream) => void): this {
    this.server.stack.listen(1883, (connection) => accept(new TcpStream(connection)));
    return this;
  }

  /** The client's stream; writes wait for the handshake. */
  async connect(): Promise<TcpStream> {
    const path = Path.between({
      localMac: CLIENT.mac,
      remoteMac: SERVER.mac,
      local: CLIENT.ipv4[0]!,
      localPort: this.nextPort++,
      remote: SERVER.ipv4[0]!,
      remotePort: 1883,
    });
    const connection = this.client.stack.connect(path, systemClock.now());
    const stream = new TcpStream(connection);
    while (connection.state === "SYN-SENT") await new Promise(setImmediate);
    return stream;
  }

  get access(): Access {
    return {
      resets: true,
      connect: () => this.connect(),
      localName: () => `10.0.0.2:${this.nextPort - 1}`,
      abort: (client) => void client.destroy(),
    };
  }
}

/** Returns once that is true, or in vain after a long time. */
async function soon(isTrue: () => boolean): Promise<void> {
  for (const end = performance.now() + 5_000; !isTrue() && performance.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 5));
}

function closing(stream: Duplex): Promise<void> {
  return new Promise((resolve) => void stream.once("close", resolve));
}

describe("TCP streams, stack to stack", () => {
  const pair = new Pair();
  const service = new Service({ counters: () => ({ ...pair.server.stack.counters }) });
  pair.serve((stream) => service.accept(stream));

  for (const { name, run } of SCENARIOS) it(name, () => run(pair.access));

  it("leaves no connection and no memory behind", async () => {
    const { server, client } = pair;
    const left = () => [server.stack.size.open, client.stack.size.open, server.stack.memory.inUse];
    await soon(() => left().every((n) => n === 0));
    assert.deepEqual(left(), [0, 0, 0]);
    // A probe may leave when the process stood still for a while, nothing else leaves twice.
    const { retransmitted, tail_probes } = pair.server.stack.counters;
    assert(retransmitted <= tail_probes);
  });
});

describe("TCP streams", () => {
  it("send what is written in one turn in one frame", async () => {
    const pair = new Pair().serve((stream) => void stream.pipe(stream));
    const client = await pair.connect();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = pair.frames;
    for (let i = 0; i < 50; i++) client.write("some bytes");
    let received = 0;
    for await (const chunk of client as AsyncIterable<Buffer>) {
      received += chunk.length;
      if (received === 500) break;
    }
    // Request; echo with acknowledgement; acknowledgement.
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(received, 500);
    assert(pair.frames - before <= 4, `${pair.frames - before} frames`);
  });

  it("hold no more than both buffers for a reader that does not read", async () => {
    const pair = new Pair({ receiveBuffer: 50_000, sendBuffer: 50_000 });
    let reader: TcpStream | undefined;
    pair.serve((stream) => {
      reader = stream;
    });
    const client = await pair.connect();
    let written = 0;
    while (client.write(pattern(written, 1_000))) written += 1_000;
    await new Promise((resolve) => setTimeout(resolve, 50));
    let more = 0;
    client.on("drain", () => {
      more += 1;
      while (client.write(pattern(0, 1_000))) written += 1_000;
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert(written + client.writableLength < 250_000, `${written} bytes taken, ${more} times drained`);
    assert(pair.server.stack.memory.inUse <= 50_000);
    reader?.destroy();
    await closing(client);
    assert.equal(pair.server.stack.memory.inUse, 0);
  });

  it("destroyed right after end() still reset, as nothing says that the client got everything", async () => {
    const pair = new Pair().serve((stream) => {
      stream.end("bye");
      stream.destroy();
    });
    const client = await pair.connect();
    const errors: string[] = [];
    client.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? ""));
    client.resume();
    await closing(client);
    assert.deepEqual(errors, ["ECONNRESET"]);
  });

  it("finish quietly when both sides have ended, with data still on its way", async () => {
    const pair = new Pair().serve((stream) => {
      stream.resume().on("end", () => stream.end(pattern(0, 200_000)));
    });
    const client = await pair.connect();
    client.end();
    let received = 0;
    for await (const chunk of client as AsyncIterable<Buffer>) received += chunk.length;
    assert.equal(received, 200_000);
    await soon(() => pair.server.stack.size.open === 0);
    assert.equal(pair.server.stack.size.open, 0);
    assert.equal(pair.server.stack.counters.resets_out, 0);
  });

  it("end with ETIMEDOUT when the peer falls silent, and need no listener for it", async () => {
    const pair = new Pair({ userTimeout: 300, minRto: 20, initialRto: 50, maxRto: 100 });
    pair.serve((stream) => void stream.resume());
    const client = await pair.connect();
    pair.server.receive = () => {};
    client.write("anybody there?");
    // The stack's own timer does not keep a process alive.
    const alive = setInterval(() => {}, 1_000);
    await closing(client);
    clearInterval(alive);
    assert.equal(client.errored?.message, "connection timed out");
    assert.equal(pair.client.stack.size.open, 0);
  });

  it("are reset and closed when the stack closes, those that have ended apart", async () => {
    const pair = new Pair();
    const streams: TcpStream[] = [];
    pair.serve((stream) => void streams.push(stream));
    const open = await pair.connect();
    const ended = await pair.connect();
    ended.end();
    while (streams.length < 2) await new Promise(setImmediate);
    const farewell = text(ended);
    streams[1]?.end("farewell");
    pair.server.beginClose();
    assert.equal(await farewell, "farewell");
    await closing(open);
    assert.equal((open.errored as NodeJS.ErrnoException).code, "ECONNRESET");
    pair.server.close();
    assert.equal(pair.server.stack.size.open, 0);
  });
});
