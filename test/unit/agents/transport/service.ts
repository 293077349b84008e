/**
 * What the transports' tests connect to: a service that does what the client's first line says.
 *
 *     echo          gives everything back, ends when the client ends
 *     count         reads to the end, answers with the number of bytes that were the test stream
 *     stall MS      as count, but does not begin to read for MS milliseconds
 *     source N      gives N bytes of the test stream, then ends
 *     who           answers with the peer's address
 *     bye           ends at once, then counts as an event `bye N`
 *     reset         destroys the stream
 *     hold          does nothing; how it ends is an event `hold CODE`
 *     events        answers with all events, as JSON
 *     counters      answers with the transport's counters, as JSON
 */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { ByteStream, Transport } from "@topicast/agent/transport/transport.js";
import { pattern } from "../tcp/pattern.js";

export class Service {
  private readonly events: string[] = [];

  constructor(private readonly transport: Pick<Transport, "counters">) {}

  accept(stream: ByteStream): void {
    this.serve(stream).catch((error: NodeJS.ErrnoException) =>
      this.events.push(`error ${error.code ?? error.message}`),
    );
  }

  private async serve(stream: ByteStream): Promise<void> {
    const [command, argument] = (await firstLine(stream)).split(" ");
    switch (command) {
      case "echo":
        stream.pipe(stream);
        return;
      case "count":
        stream.end(`${await count(stream)}\n`);
        return;
      case "stall":
        await sleep(Number(argument));
        stream.end(`${await count(stream)}\n`);
        return;
      case "source":
        await source(stream, Number(argument));
        return;
      case "who":
        stream.end(`${stream.peer}\n`);
        stream.resume();
        return;
      case "bye":
        stream.end("bye\n");
        this.events.push(`bye ${await count(stream)}`);
        return;
      case "reset":
        stream.destroy();
        return;
      case "hold": {
        let code = "none";
        stream.on("error", (error: NodeJS.ErrnoException) => {
          code = error.code ?? error.message;
        });
        stream.on("end", () => stream.end());
        stream.on("close", () => this.events.push(`hold ${code}`));
        stream.resume();
        return;
      }
      case "events":
        stream.end(JSON.stringify(this.events));
        stream.resume();
        return;
      case "counters":
        stream.end(JSON.stringify(this.transport.counters()));
        stream.resume();
        return;
      default:
        stream.destroy(new Error(`unknown command ${command}`));
    }
  }
}

/** Reads up to the first newline and puts back what follows. */
function firstLine(stream: ByteStream): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = Buffer.alloc(0);
    const onReadable = () => {
      for (
        let chunk = stream.read() as Buffer | null;
        chunk !== null;
        chunk = stream.read() as Buffer | null
      ) {
        text = Buffer.concat([text, chunk]);
        const end = text.indexOf(10);
        if (end < 0) continue;
        stream.removeListener("readable", onReadable);
        stream.removeListener("close", onClose);
        if (end + 1 < text.length) stream.unshift(text.subarray(end + 1));
        resolve(text.toString("latin1", 0, end));
        return;
      }
    };
    const onClose = () => reject(new Error("closed before its first line"));
    stream.on("readable", onReadable);
    stream.on("close", onClose);
  });
}

/** Reads to the end; -1 when the bytes are not the test stream. */
async function count(stream: ByteStream): Promise<number> {
  let total = 0;
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    if (!chunk.equals(pattern(total, chunk.length))) return -1;
    total += chunk.length;
  }
  return total;
}

async function source(stream: ByteStream, total: number): Promise<void> {
  stream.resume();
  const closed = once(stream, "close");
  for (let sent = 0; sent < total && !stream.destroyed; ) {
    const size = Math.min(10_000, total - sent);
    const more = stream.write(pattern(sent, size));
    sent += size;
    if (!more) await Promise.race([once(stream, "drain"), closed]);
  }
  stream.end();
}
