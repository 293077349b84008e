/** Streams that stand in for sockets in benches: they count what is written to them, or hand it on. */
import { Duplex } from "node:stream";
import type { ByteStream } from "@topicast/agent/transport/transport.js";
import mqtt from "mqtt-packet";

export class CountingStream extends Duplex implements ByteStream {
  readonly peer = "192.0.2.1:1";
  bytes = 0;
  onBytes: ((bytes: Buffer) => void) | undefined;

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.received(chunk);
    done();
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    for (const { chunk } of chunks) this.received(chunk);
    done();
  }

  /** As the client: an acknowledgement. */
  answer(cmd: "puback" | "pubrec" | "pubcomp", messageId: number): void {
    this.push(mqtt.generate({ cmd, messageId }));
  }

  private received(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.onBytes?.(chunk);
  }
}
