import { Duplex } from "node:stream";
import { WebSocket } from "ws";
import type { ByteStream } from "./transport.js";

export const WEBSOCKET_FAULTS = ["text_frame", "too_big", "too_many_parts", "protocol_error"] as const;
export type WebSocketFault = (typeof WEBSOCKET_FAULTS)[number];

/** RFC 6455 section 7.4.1. */
const CloseCode = { NORMAL: 1000, UNSUPPORTED_DATA: 1003 } as const;

type Done = (error?: Error | null) => void;

/**
 * The binary messages of a WebSocket as one stream of bytes (MQTT 3.1.1, section 6): where a message begins or ends means
 * nothing (MQTT-6.0.0-2). A close frame is the client's FIN; there is no half-open then, what is still written is lost.
 */
export class WebSocketStream extends Duplex implements ByteStream {
  readonly peer: string;
  readonly identity: string | undefined;
  /** The closing handshake is on its way: nothing is to be reset. */
  private leaving = false;

  /**
   * @param below what the WebSocket runs on
   * @param onFault called once when the client breaks the protocol; the stream is destroyed then
   */
  constructor(
    private readonly socket: WebSocket,
    private readonly below: ByteStream,
    onFault: (fault: WebSocketFault) => void,
  ) {
    super({ allowHalfOpen: true });
    this.peer = below.peer;
    this.identity = below.identity;
    this.on("error", () => {});
    const fault = (name: WebSocketFault, message: string) => {
      if (this.leaving || this.destroyed) return;
      onFault(name);
      this.leaving = true;
      this.destroy(new Error(message));
    };
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (this.leaving || this.destroyed) return;
      if (!isBinary) {
        // MQTT-6.0.0-1
        socket.close(CloseCode.UNSUPPORTED_DATA, "binary frames only");
        fault("text_frame", "a WebSocket text frame");
      } else if (data.length > 0 && !this.push(data)) socket.pause();
    });
    // What comes from below (ECONNRESET ...) comes with `close`; ws reports only what it could not parse.
    socket.on("error", (error) => fault(faultOf(error), error.message));
    socket.on("close", () => {
      if (this.destroyed) return;
      if (below.errored) this.destroy(below.errored);
      else this.push(null);
    });
  }

  override _read(): void {
    if (this.socket.isPaused) this.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(chunk, { binary: true }, done);
    else done();
  }

  override _writev(chunks: { chunk: Buffer }[], done: Done): void {
    const last = chunks.length - 1;
    this.below.cork();
    chunks.forEach(({ chunk }, i) => {
      this._write(chunk, "buffer" as BufferEncoding, i === last ? done : () => {});
    });
    this.below.uncork();
  }

  override _final(done: Done): void {
    this.socket.close(CloseCode.NORMAL);
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    if (!this.leaving) this.socket.terminate();
    done(error);
  }
}

function faultOf(error: NodeJS.ErrnoException): WebSocketFault {
  switch (error.code) {
    case "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH":
    case "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH":
      return "too_big";
    case "WS_ERR_TOO_MANY_BUFFERED_PARTS":
      return "too_many_parts";
    default:
      return "protocol_error";
  }
}
