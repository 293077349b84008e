import { Duplex } from "node:stream";
import type { CloseReason, ConnectionHandler } from "./connection.js";
import type { StackConnection } from "./stack.js";

type Done = (error?: Error | null) => void;

/**
 * A connection as a Duplex. Back-pressure holds both ways: a reader that stops lets the advertised window close, a
 * peer that stops reading lets `write` return false. The peer's FIN gives `end` and leaves the writing side open;
 * `end()` sends FIN after everything written; `destroy()` before both have happened resets.
 */
export class TcpStream extends Duplex implements ConnectionHandler {
  /** The peer, e.g. `192.168.1.102:50123`. */
  readonly peer: string;
  private wantsData = false;
  private ended = false;
  private finished = false;
  private writeDone: Done | undefined;

  constructor(private readonly connection: StackConnection) {
    super({ allowHalfOpen: true });
    this.peer = connection.path.peer;
    connection.handler = this;
    // `close` follows every error: who does not care about the reason need not listen, and nothing crashes.
    this.on("error", () => {});
  }

  onReadable(): void {
    this.pump();
  }

  onDrained(): void {
    const done = this.writeDone;
    this.writeDone = undefined;
    done?.();
  }

  onClosed(reason: CloseReason): void {
    if (reason === "reset") this.destroy(failure("ECONNRESET", "connection reset by peer"));
    else if (reason === "timeout") this.destroy(failure("ETIMEDOUT", "connection timed out"));
  }

  override _read(): void {
    this.wantsData = true;
    this.pump();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.connection.write(chunk);
    if (this.connection.isWritable) done();
    else this.writeDone = done;
  }

  override _final(done: Done): void {
    this.finished = true;
    this.connection.shutdown();
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    if (this.ended && this.finished) this.connection.release();
    else this.connection.abort();
    this.writeDone?.(error ?? failure("ECONNABORTED", "connection closed here"));
    this.writeDone = undefined;
    done(error);
  }

  private pump(): void {
    while (this.wantsData) {
      const chunk = this.connection.read();
      if (chunk !== undefined) this.wantsData = this.push(chunk);
      else {
        if (this.connection.isEnded && !this.ended) {
          this.ended = true;
          this.push(null);
        }
        return;
      }
    }
  }
}

function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
