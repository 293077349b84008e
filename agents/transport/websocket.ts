import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { Duplex } from "node:stream";
import { type ServerOptions, WebSocketServer } from "ws";
import { type Handshake, type HandshakeOptions, Handshakes } from "./handshakes.js";
import type { Accept, ByteStream, Layer } from "./transport.js";
import { WEBSOCKET_FAULTS, WebSocketStream } from "./websocket-stream.js";

export interface WebSocketOptions extends HandshakeOptions {
  /** The one path that is served, e.g. `/mqtt`. Default: any. */
  readonly path?: string | undefined;
  /** Longest message, in bytes. */
  readonly maxMessageBytes?: number | undefined;
}

const REASONS = ["not_upgrade", "path", "subprotocol", "bad_request", ...WEBSOCKET_FAULTS] as const;

/** Names of MQTT as a sub-protocol: 3.1.1 and 5 (MQTT-6.0.0-3, MQTT-6.0.0-4), and 3.1 as brokers had it before. */
const SUBPROTOCOLS = ["mqtt", "mqttv3.1"] as const;

const MAX_MESSAGE_BYTES = 1_048_576;
const MAX_HTTP_HEADER_BYTES = 8_192;
/** A message of the largest size in TCP segments of the smallest; ws counts both. */
const MAX_CHUNKS = 32_768;
const MAX_FRAGMENTS = 1_024;
/** Time for the client's answer to a close frame, in ms. */
const CLOSE_TIMEOUT = 2_000;

interface Opening {
  readonly stream: ByteStream;
  readonly handshake: Handshake;
  readonly accept: Accept;
}

/** MQTT over WebSocket (RFC 6455; MQTT 3.1.1, section 6) over any stream: HTTP by node:http, frames by ws. */
export class WebSocketLayer implements Layer {
  private readonly handshakes: Handshakes;
  private readonly http: Server;
  private readonly sockets: WebSocketServer;
  private readonly openings = new WeakMap<Duplex, Opening>();

  constructor(private readonly options: WebSocketOptions = {}) {
    this.handshakes = new Handshakes("ws", REASONS, options);
    this.http = createServer({ maxHeaderSize: MAX_HTTP_HEADER_BYTES });
    this.http.on("request", (request, response) => this.onRequest(request, response));
    this.http.on("upgrade", (request, stream, head) => this.onUpgrade(request, stream, head));
    this.http.on("clientError", (error: NodeJS.ErrnoException, stream) => {
      const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : 400;
      this.refuse(stream, "bad_request", status, error.message);
    });
    const limits: ServerOptions & { closeTimeout: number; maxBufferedChunks: number; maxFragments: number } =
      {
        noServer: true,
        clientTracking: false,
        perMessageDeflate: false,
        maxPayload: options.maxMessageBytes ?? MAX_MESSAGE_BYTES,
        maxBufferedChunks: MAX_CHUNKS,
        maxFragments: MAX_FRAGMENTS,
        closeTimeout: CLOSE_TIMEOUT,
        handleProtocols: (offered) => SUBPROTOCOLS.find((name) => offered.has(name)) ?? false,
      };
    this.sockets = new WebSocketServer(limits);
    this.sockets.on("wsClientError", (error, stream, request) => {
      const status = request.method === "GET" ? 400 : 405;
      this.refuse(stream, "bad_request", status, error.message, "Sec-WebSocket-Version: 13\r\n");
    });
  }

  wrap(stream: ByteStream, accept: Accept): void {
    this.openings.set(stream, { stream, handshake: this.handshakes.begin(stream), accept });
    this.http.emit("connection", stream);
  }

  counters(): Readonly<Record<string, number>> {
    return this.handshakes.counters();
  }

  /** An HTTP request that asks for no upgrade: a browser, a health check. */
  private onRequest(request: IncomingMessage, response: ServerResponse): void {
    const here = this.serves(request);
    const status = here ? 426 : 404;
    const { method, url } = request;
    this.openings.get(request.socket)?.handshake.refuse(here ? "not_upgrade" : "path", `${method} ${url}`);
    response.writeHead(status, {
      Connection: "close",
      "Content-Type": "text/plain",
      ...(here ? { Upgrade: "websocket" } : {}),
    });
    response.end(
      here ? "MQTT over WebSocket is served here (sub-protocol mqtt)\n" : `${STATUS_CODES[status]}\n`,
    );
  }

  private onUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    const opening = this.openings.get(stream);
    if (opening === undefined) return;
    if (!this.serves(request)) return this.refuse(stream, "path", 404, `${request.url}`);
    const offered = request.headers["sec-websocket-protocol"] ?? "";
    const names = offered.split(",").map((name) => name.trim());
    if (!SUBPROTOCOLS.some((name) => names.includes(name))) {
      return this.refuse(stream, "subprotocol", 400, offered === "" ? "none offered" : offered);
    }
    this.sockets.handleUpgrade(request, stream, head, (socket) => {
      opening.handshake.succeed();
      opening.accept(
        new WebSocketStream(socket, opening.stream, (fault) => {
          this.handshakes.add(fault);
        }),
      );
    });
  }

  private serves({ url }: IncomingMessage): boolean {
    const { path } = this.options;
    return path === undefined || url?.split("?")[0] === path;
  }

  /** Tells the client by hand what node:http tells no more, or has not begun to. */
  private refuse(stream: Duplex, reason: string, status: number, detail: string, header = ""): void {
    this.openings.get(stream)?.handshake.refuse(reason, detail);
    if (!stream.writable) return;
    stream.end(
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${header}Connection: close\r\nContent-Length: 0\r\n\r\n`,
    );
    stream.resume();
  }
}
