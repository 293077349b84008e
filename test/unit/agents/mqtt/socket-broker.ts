/** A broker on kernel sockets of the loopback, for tests with real clients. */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { Broker, type BrokerOptions } from "@topicast/agent/mqtt/index.js";
import type { ByteStream } from "@topicast/agent/transport/transport.js";

export interface SocketBroker {
  readonly broker: Broker;
  readonly port: number;
  close(): Promise<void>;
}

export async function socketBroker(options: BrokerOptions = {}): Promise<SocketBroker> {
  const broker = new Broker(options);
  const server = createServer({ noDelay: true }, (socket: Socket) => {
    broker.accept(
      Object.assign(socket, { peer: `${socket.remoteAddress}:${socket.remotePort}` }) as ByteStream,
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    broker,
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      await broker.close();
      await closed;
    },
  };
}
