import { createServer, type Server, type Socket } from "node:net";
import { bindError, formatEndpoint } from "@topicast/protocol";
import type { ByteStream, Transport } from "./transport.js";

export interface SocketTransportOptions {
  readonly port: number;
  /** The flag that chooses the port, for error messages. */
  readonly flag?: string;
  /** Address to listen at; all of the host's where undefined. */
  readonly address?: string | undefined;
  /** Ms of silence after which the kernel probes a client; 0, the default: never. */
  readonly keepAliveMs?: number;
  /** Connections at a time; further ones are closed at once and counted. */
  readonly maxConnections?: number;
}

const MAX_CONNECTIONS = 65_536;

/** Byte streams from kernel sockets: no root, no capture; also for clients on the agent's own host. */
export class SocketTransport implements Transport {
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();
  private readonly count = { accepted: 0, closed: 0, errors: 0, drop_connections_full: 0 };

  constructor(private readonly options: SocketTransportOptions) {}

  listen(onStream: (stream: ByteStream) => void): Promise<void> {
    const { port, address, flag = "-t", keepAliveMs = 0, maxConnections = MAX_CONNECTIONS } = this.options;
    const keep = { keepAlive: keepAliveMs > 0, keepAliveInitialDelay: keepAliveMs };
    const server = createServer({ allowHalfOpen: true, noDelay: true, ...keep }, (socket) =>
      this.accept(socket, onStream),
    );
    server.maxConnections = maxConnections;
    server.on("drop", () => {
      this.count.drop_connections_full += 1;
    });
    return new Promise((resolve, reject) => {
      const what = address === undefined ? `TCP port ${port}` : `TCP ${formatEndpoint({ address, port })}`;
      server.once("error", (error) => reject(bindError(error, what, `choose another with ${flag}`)));
      const where = address === undefined ? { port } : { port, host: address };
      server.listen({ ...where, exclusive: true }, () => {
        server.removeAllListeners("error");
        // Running out of descriptors must not end the agent; the client tries again.
        server.on("error", () => {
          this.count.errors += 1;
        });
        this.server = server;
        resolve();
      });
    });
  }

  /** The port in use, for tests that ask for any with 0. */
  get port(): number {
    const address = this.server?.address();
    return typeof address === "object" && address !== null ? address.port : this.options.port;
  }

  async close(): Promise<void> {
    const { server } = this;
    if (server === undefined) return;
    this.server = undefined;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  counters(): Readonly<Record<string, number>> {
    return { ...this.count, connections_open: this.sockets.size };
  }

  private accept(socket: Socket, onStream: (stream: ByteStream) => void): void {
    const { remoteAddress, remotePort } = socket;
    // Gone between the handshake and now.
    if (remoteAddress === undefined || remotePort === undefined) {
      socket.destroy();
      return;
    }
    this.count.accepted += 1;
    this.sockets.add(socket);
    socket.on("error", () => {
      this.count.errors += 1;
    });
    socket.on("close", () => {
      this.count.closed += 1;
      this.sockets.delete(socket);
    });
    onStream(Object.assign(socket, { peer: peerName(remoteAddress, remotePort) }));
  }
}

/** `192.168.1.102:50123` or `[fe80::1]:50123`; IPv4 in IPv6 clothes (RFC 4291 section 2.5.5.2) as IPv4. */
export function peerName(address: string, port: number): string {
  return formatEndpoint({ address: address.replace(/^::ffff:(?=\d+\.)/i, ""), port });
}
