import assert from "node:assert/strict";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { formatEndpoint } from "@topicast/protocol";
import { pattern } from "../tcp/pattern.js";

/** A client's way to the service. */
export interface Access {
  connect(): Promise<Duplex>;
  /** Our own end as the other side sees it. */
  localName(client: Duplex): string;
  /** Ends the connection by RST. */
  abort(client: Duplex): void;
  /** Whether the service's `destroy` resets (a kernel socket's may close in order). */
  readonly resets: boolean;
}

export interface Scenario {
  readonly name: string;
  run(access: Access): Promise<void>;
}

/** What every transport must do, seen from a client. */
export const SCENARIOS: readonly Scenario[] = [
  {
    name: "echoes",
    async run({ connect }) {
      const client = await connect();
      client.end("echo\nhello");
      assert.equal(await text(client), "hello");
    },
  },
  {
    name: "names its peer",
    async run({ connect, localName }) {
      const client = await connect();
      const name = localName(client);
      client.end("who\n");
      assert.equal(await text(client), `${name}\n`);
    },
  },
  {
    name: "echoes 10 MB both ways at once, byte-exact",
    async run({ connect }) {
      const client = await connect();
      const total = 10_000_000;
      client.write("echo\n");
      const [received] = await Promise.all([receive(client), send(client, total)]);
      assert.equal(received, total);
    },
  },
  {
    name: "takes 10 MB, then answers over the half-closed connection",
    async run({ connect }) {
      const client = await connect();
      client.write("count\n");
      await send(client, 10_000_000);
      assert.equal(await text(client), "10000000\n");
    },
  },
  {
    name: "gives 10 MB to a reader that pauses, and ends",
    async run({ connect }) {
      const client = await connect();
      client.write("source 10000000\n");
      let received = 0;
      for await (const chunk of client as AsyncIterable<Buffer>) {
        assert(chunk.equals(pattern(received, chunk.length)));
        if (received >> 21 !== (received + chunk.length) >> 21) await sleep(50);
        received += chunk.length;
      }
      assert.equal(received, 10_000_000);
    },
  },
  {
    name: "ends first and still takes what the client sends",
    async run({ connect }) {
      const client = await connect();
      client.write("bye\n");
      assert.equal(await receiveText(client), "bye\n");
      await send(client, 100_000);
      await eventually(connect, (events) => events.includes("bye 100000"));
    },
  },
  {
    name: "holds a sender back while nobody reads",
    async run({ connect }) {
      const client = await connect();
      client.write("stall 700\n");
      const total = 20_000_000;
      let written = 0;
      const sent = send(client, total, (bytes) => {
        written = bytes;
      });
      await sleep(400);
      assert(written < total, "20 MB went to a reader that does not read");
      await sent;
      assert.equal(await text(client), `${total}\n`);
    },
  },
  {
    name: "tells a client's reset from an end",
    async run({ connect, abort }) {
      const client = await connect();
      client.write("hold\n");
      await sleep(100);
      abort(client);
      await eventually(connect, (events) => events.includes("hold ECONNRESET"));
    },
  },
  {
    name: "resets",
    async run({ connect, resets }) {
      const client = await connect();
      let code = "none";
      client.on("error", (error: NodeJS.ErrnoException) => {
        code = error.code ?? error.message;
      });
      client.write("reset\n");
      client.resume();
      await new Promise((resolve) => void client.on("close", resolve).on("end", () => client.end()));
      assert.equal(code, resets ? "ECONNRESET" : "none");
    },
  },
  {
    name: "keeps 200 connections apart",
    async run({ connect }) {
      const clients = await Promise.all(Array.from({ length: 200 }, connect));
      const answers = clients.map(async (client, i) => {
        client.end(`echo\nclient ${i}`);
        assert.equal(await text(client), `client ${i}`);
      });
      await Promise.all(answers);
    },
  },
  {
    name: "answers connections that come and go one after the other",
    async run({ connect }) {
      for (let i = 0; i < 100; i++) {
        const client = await connect();
        client.end(`echo\n${i}`);
        assert.equal(await text(client), String(i));
      }
    },
  },
];

/** Sends `total` bytes of the test stream as fast as it is taken, then ends. */
async function send(
  client: Duplex,
  total: number,
  progress: (bytes: number) => void = () => {},
): Promise<void> {
  for (let sent = 0; sent < total; ) {
    const size = Math.min(30_000, total - sent);
    const more = client.write(pattern(sent, size));
    sent += size;
    progress(sent);
    if (!more) await new Promise<void>((resolve) => void client.once("drain", resolve));
  }
  client.end();
}

/** Reads the test stream to its end. */
async function receive(client: Duplex): Promise<number> {
  let received = 0;
  for await (const chunk of client.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    assert(chunk.equals(pattern(received, chunk.length)), `differs at or after ${received}`);
    received += chunk.length;
  }
  return received;
}

/** Reads to the end and leaves the writing side open, which `text` does not. */
async function receiveText(client: Duplex): Promise<string> {
  let received = "";
  for await (const chunk of client.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    received += chunk.toString("latin1");
  }
  return received;
}

async function eventually(connect: Access["connect"], holds: (events: string[]) => boolean): Promise<void> {
  let events: string[] = [];
  for (let i = 0; i < 50; i++) {
    const client = await connect();
    client.end("events\n");
    events = JSON.parse(await text(client)) as string[];
    if (holds(events)) return;
    await sleep(50);
  }
  assert.fail(`events: ${events.join(", ")}`);
}

/** Kernel sockets to the service at `host:port`. */
export function socketAccess(host: string, port: number, resets: boolean): Access {
  return {
    resets,
    connect: () =>
      new Promise((resolve, reject) => {
        const socket = new Socket({ allowHalfOpen: true });
        socket.once("error", reject);
        socket.connect({ host, port, noDelay: true }, () => {
          socket.removeListener("error", reject);
          resolve(socket);
        });
      }),
    localName: (client) => {
      const { localAddress, localPort } = client as Socket;
      return formatEndpoint({ address: localAddress!, port: localPort! });
    },
    abort: (client) => void (client as Socket).resetAndDestroy(),
  };
}
