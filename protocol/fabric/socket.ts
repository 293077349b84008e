import { DgramAsPromised, type SocketAsPromised } from "dgram-as-promised";
import { type Endpoint, formatEndpoint } from "../addresses.js";
import { bindError } from "../bind-error.js";
import { encodeHeader, type Header, isPlain } from "./header.js";
import type { Seal, SealFault } from "./seal.js";

export interface SocketOptions {
  /** The local address to bind: also the source of group and broadcast datagrams, so it must not be 0.0.0.0. */
  readonly address: string;
  /** UDP port; 0 lets the system choose one. */
  readonly port: number;
  readonly onDatagram: (bytes: Buffer, from: Endpoint) => void;
  /** Seals what is sent; what it does not let in is counted and dropped, but for plain MQTT, which has no header. */
  readonly seal?: Seal | undefined;
}

/** Unsent bytes in the socket above which datagrams are dropped: UDP has no back-pressure of its own. */
const SEND_QUEUE_BYTES_MAX = 16 * 1024 * 1024;
const KERNEL_BUFFER_BYTES = 4 * 1024 * 1024;
/** Groups do not leave the layer-2 network; switches do not count the TTL down. */
const MULTICAST_TTL = 8;

/** The rim of the fabric: one UDP socket. */
export class FabricSocket {
  readonly stats = {
    ...{ sent: 0, send_errors: 0, send_queue_drops: 0, received: 0 },
    ...({ unsealed: 0, unknown_key: 0, wrong_tag: 0, replayed: 0 } satisfies Record<SealFault, number>),
  };
  private closed = false;

  private constructor(
    private readonly socket: SocketAsPromised,
    readonly local: Endpoint,
    private readonly seal: Seal | undefined,
  ) {}

  /** Rejects with a UserError where the address is not this host's or the port is in use. */
  static async open(options: SocketOptions): Promise<FabricSocket> {
    let self: FabricSocket | undefined;
    const socket = DgramAsPromised.createSocket({ type: "udp4" }, (bytes, from) => {
      if (self === undefined) return;
      self.stats.received += 1;
      const fault = isPlain(bytes) ? undefined : options.seal?.check(bytes);
      if (fault !== undefined) {
        self.stats[fault] += 1;
        return;
      }
      options.onDatagram(bytes, from);
    });
    let local: Endpoint;
    try {
      local = await socket.bind(options.port, options.address);
    } catch (error) {
      socket.destroy();
      const what = `UDP ${formatEndpoint(options)}`;
      throw bindError(error, what, "choose another address or port");
    }
    socket.setMulticastInterface(options.address);
    socket.setMulticastLoopback(false);
    socket.setMulticastTTL(MULTICAST_TTL);
    socket.setBroadcast(true);
    // The system may grant less than asked; a larger buffer only saves datagrams in a burst.
    socket.setRecvBufferSize(KERNEL_BUFFER_BYTES);
    socket.setSendBufferSize(KERNEL_BUFFER_BYTES);
    self = new FabricSocket(socket, { address: local.address, port: local.port }, options.seal);
    return self;
  }

  /** Sends one datagram; a failure is counted, as a loss in the network would be. */
  send(header: Header, payload: Buffer, to: Endpoint): void {
    this.sendBytes(this.encode(header, payload), to);
  }

  /** Sends the same bytes to each destination, encoded once. */
  sendEach(header: Header, payload: Buffer, to: readonly Endpoint[]): void {
    const parts = this.encode(header, payload);
    for (const endpoint of to) this.sendBytes(parts, endpoint);
  }

  /** Sends bare MQTT packets, as who speaks the plain form takes them. */
  sendPlain(packets: Buffer, to: Endpoint): void {
    this.sendBytes([packets], to);
  }

  private encode(header: Header, payload: Buffer): Buffer[] {
    const bytes = encodeHeader(header);
    return [this.seal === undefined ? bytes : this.seal.seal(bytes, payload), payload];
  }

  private sendBytes(parts: Buffer[], to: Endpoint): void {
    if (this.closed) return;
    if (this.socket.socket.getSendQueueSize() > SEND_QUEUE_BYTES_MAX) {
      this.stats.send_queue_drops += 1;
      return;
    }
    this.stats.sent += 1;
    this.socket.send(parts, to.port, to.address).catch(() => {
      this.stats.send_errors += 1;
    });
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.socket.close();
  }
}
