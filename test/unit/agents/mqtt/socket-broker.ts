/** A broker on kernel sockets of the loopback, for tests with real clients. */
import { Broker, type BrokerOptions } from "@topicast/agent/mqtt/index.js";
import { SocketTransport } from "@topicast/agent/transport/socket.js";

export interface SocketBroker {
  readonly broker: Broker;
  readonly port: number;
  close(): Promise<void>;
}

export async function socketBroker(options: BrokerOptions = {}): Promise<SocketBroker> {
  const broker = new Broker(options);
  const transport = new SocketTransport({ address: "127.0.0.1", port: 0 });
  await transport.listen((stream) => broker.accept(stream));
  return {
    broker,
    port: transport.port,
    async close() {
      await broker.close();
      await transport.close();
    },
  };
}
