/** Layers on in-memory streams. */
import assert from "node:assert/strict";
import type { ByteStream, Layer } from "@topicast/agent/transport/transport.js";
import { MemoryStream, settle, streamPair } from "../mqtt/harness.js";

/**
 * What is written arrives a moment later, as on a socket: an answer that was written from within the write would be
 * lost, because Writable forgets what is buffered during _writev.
 */
class LaterStream extends MemoryStream {
  protected override hand(bytes: Buffer, done: () => void): void {
    process.nextTick(() => super.hand(bytes, done));
  }
}

export interface Wrapped {
  /** The client's end below the layer. */
  readonly client: MemoryStream;
  readonly server: MemoryStream;
  /** What came out of the layer, so far. */
  readonly accepted: ByteStream[];
}

/** Puts the layers, lowest first, on a new stream. */
export function wrap(layers: readonly Layer[], highWaterMark?: number): Wrapped {
  const [server, client] = streamPair(highWaterMark, LaterStream);
  server.on("error", () => {});
  const accepted: ByteStream[] = [];
  const accept = layers.reduceRight<(stream: ByteStream) => void>(
    (next, layer) => (stream) => layer.wrap(stream, next),
    (stream) => accepted.push(stream),
  );
  accept(server);
  return { client, server, accepted };
}

/** What is not zero, so that a test sees each counter that moved and no other. */
export function moved(layer: Layer): Record<string, number> {
  return Object.fromEntries(Object.entries(layer.counters()).filter(([, value]) => value !== 0));
}

/** Waits until `condition` holds, for what crypto and real sockets take. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  for (const end = performance.now() + 5_000; !condition(); await settle()) {
    assert.ok(performance.now() < end, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Collects what a stream gives. */
export function collect(stream: ByteStream | MemoryStream): { bytes: () => Buffer } {
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  return { bytes: () => Buffer.concat(chunks) };
}
