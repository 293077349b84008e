import { type Datagram, type Endpoint, FORWARDER_NUMBER, type Header, Kind } from "@topicast/protocol";

export interface SignalOptions {
  /** The forwarder's own. */
  readonly epoch: number;
  /** The UDP port of the fabric. */
  readonly port: number;
  readonly transmit: (header: Header, payload: Buffer, to: Endpoint) => void;
}

/** Datagrams that belong to no channel. */
export class Signals {
  readonly stats = { resets_sent: 0 };

  constructor(private readonly options: SignalOptions) {}

  /** Lets the switches see where this host lives. */
  announce(): void {
    this.send(Kind.ANNOUNCE, 0, { address: "255.255.255.255", port: this.options.port });
  }

  /** To who sent something that belongs to no channel. */
  reset({ epoch }: Datagram, to: Endpoint): void {
    this.stats.resets_sent += 1;
    this.send(Kind.RESET, epoch, to);
  }

  private send(kind: Kind, stream: number, to: Endpoint): void {
    const { epoch, transmit } = this.options;
    transmit({ kind, flags: 0, source: FORWARDER_NUMBER, epoch, stream, number: 0 }, Buffer.alloc(0), to);
  }
}
