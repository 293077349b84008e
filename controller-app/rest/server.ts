import { createServer, type RequestListener, type Server, STATUS_CODES } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { bindError, formatEndpoint } from "@topicast/protocol";
import { errorBody, type RestLog, restApp } from "./app.js";
import type { ForwarderView } from "./view.js";

export interface RestOptions {
  readonly view: ForwarderView;
  readonly listen: { readonly address: string; readonly port: number };
  readonly log: RestLog;
}

/** Connections at a time; further ones are closed at once. */
const maxConnections = 256;
/** Bytes of a request's line and headers together. */
const maxHeaderSize = 16 * 1024;
/** Ms for a whole request to come in, and between requests on one connection. */
const requestTimeoutMs = 10_000;
const keepAliveMs = 5_000;
/** Ms that answers under way get when the server or their connection closes. */
const lingerMs = 1_000;

/** The HTTP server: its socket and its limits. */
export class RestServer {
  private constructor(private readonly server: Server) {}

  /** Binds and serves. Rejects with a UserError when the address cannot be bound. */
  static open({ view, listen, log }: RestOptions): Promise<RestServer> {
    const server = createServer(
      {
        maxHeaderSize,
        requestTimeout: requestTimeoutMs,
        headersTimeout: requestTimeoutMs,
        keepAliveTimeout: keepAliveMs,
        connectionsCheckingInterval: 1_000,
      },
      answerAlways(restApp(view, log)),
    );
    server.maxConnections = maxConnections;
    server.on("clientError", refuse);
    return new Promise((resolve, reject) => {
      const what = `REST address ${formatEndpoint(listen)}`;
      const refused = (error: Error) =>
        reject(bindError(error, what, "choose another with --rest ADDRESS:PORT"));
      server.once("error", refused);
      server.listen(listen.port, listen.address, () => {
        server.off("error", refused);
        server.on("error", (error) => log.error({ err: error }, "the REST server has a problem"));
        resolve(new RestServer(server));
      });
    });
  }

  /** Where it listens: the port that was chosen where 0 was asked for. */
  get address(): AddressInfo {
    return this.server.address() as AddressInfo;
  }

  /** Stops listening, lets answers under way finish for a moment, closes the rest. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeIdleConnections();
    const timer = setTimeout(() => this.server.closeAllConnections(), lingerMs);
    await closed;
    clearTimeout(timer);
  }
}

/**
 * Express leaves to its caller what its routes cannot look at: a target that is no path and no URL. An answer that
 * failed half-way can only be broken off.
 */
function answerAlways(app: RequestListener): RequestListener {
  const handle = app as (...args: [...Parameters<RequestListener>, done: () => void]) => void;
  return (request, response) =>
    handle(request, response, () => {
      if (response.headersSent) {
        response.destroy();
        return;
      }
      const body = JSON.stringify(errorBody(400, "the request target is neither a path nor a URL"));
      response.writeHead(400, {
        "content-type": "application/json; charset=utf-8",
        "content-length": Buffer.byteLength(body),
      });
      response.end(body);
    });
}

/** What Node's parser refuses never reaches the application: answer in the same form. */
function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  // Whoever does not read the answer does not keep the connection.
  socket.setTimeout(lingerMs, () => socket.destroy());
  const status = statusOf(error.code);
  const body = JSON.stringify(errorBody(status, STATUS_CODES[status] ?? "bad request"));
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\n` +
      `content-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function statusOf(code: string | undefined): number {
  if (code === "HPE_HEADER_OVERFLOW") return 431;
  return code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
}
