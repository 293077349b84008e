import {
  type Clock,
  ControlChannel,
  type Datagram,
  DEAD_MS,
  type Endpoint,
  encodePacket,
  epochAt,
  FORWARDER_NUMBER,
  formatEndpoint,
  formatPosition,
  type Header,
  Kind,
  PING_MS,
  type RetainedPosition,
  type Timer,
} from "@topicast/protocol";
import type { IConnackPacket, Packet, UserProperties } from "mqtt-packet";

/**
 * connecting: CONNECT is on its way. registered: the forwarder knows this agent. unreachable: connecting for 5 s or
 * longer. refused: the forwarder does not want this id.
 */
export type RegistrationState = "connecting" | "registered" | "unreachable" | "refused";

export interface RegistrationOptions {
  readonly clock: Clock;
  /** Milliseconds since 1970, from which epochs are made. */
  readonly unixTime: () => number;
  readonly id: string;
  readonly number: number;
  /** The epoch of this agent's streams: it stays over registrations. */
  readonly dataEpoch: number;
  /** Where group datagrams reach this agent, and the MAC address there where it is known. */
  readonly local: Endpoint & { readonly mac: string | undefined };
  /** Brokers' addresses that this agent answers for. */
  readonly intercepts?: readonly Endpoint[] | undefined;
  /** Which of the forwarder's users and rules this agent has; undefined: none. */
  readonly accessDigest?: (() => string | undefined) | undefined;
  /** What this agent has of the retained messages; undefined: nothing. */
  readonly retained?: (() => RetainedPosition | undefined) | undefined;
  readonly payloadBytes: number;
  readonly transmit: (header: Header, payload: Buffer) => void;
  /** Broadcasts one frame, so that the switches see where this agent lives. */
  readonly announce: () => void;
  /** See `FabricOptions.durable`. */
  readonly durable?: (() => Promise<void> | undefined) | undefined;
  /** CONNACK 0 has arrived, with these user properties: send the state that the forwarder must know. */
  readonly onRegistered: (properties: UserProperties) => void;
  /** The registration has ended; what was sent and not acknowledged is settled by then. */
  readonly onLost: () => void;
  readonly onPacket: (packet: Packet) => void;
  readonly onState: (state: RegistrationState, detail: string) => void;
}

/** Keeps this agent registered with its forwarder: protocol/README.md, "State machines". */
export class Registration {
  state: RegistrationState = "connecting";
  private channel: ControlChannel | undefined;
  private epoch: number | undefined;
  private lastHeard = 0;
  private connectingSince = 0;
  private tick: Timer | undefined;
  /** The forwarder knows all of this agent's state: from then on PINGREQ keeps the registration alive. */
  private synced = false;
  private closed = false;

  readonly stats = { registrations: 0, resets: 0, silences: 0 };

  constructor(private readonly options: RegistrationOptions) {}

  start(): void {
    this.connectingSince = this.options.clock.now();
    this.connect();
    this.armTick();
  }

  get registered(): boolean {
    return this.state === "registered";
  }

  get waitingBytes(): number {
    return this.channel?.waitingBytes ?? 0;
  }

  /** Resolves when there is room for more on the channel, or the registration has ended. */
  async ready(): Promise<void> {
    await this.channel?.ready();
  }

  /** Sends on the current registration; false: it ended before the forwarder had processed this. */
  send(packet: Buffer): Promise<boolean> {
    return this.channel?.send(packet) ?? Promise.resolve(false);
  }

  /** Everything that a new registration must know has been sent. */
  endOfState(): void {
    this.synced = true;
    void this.send(encodePacket({ cmd: "pingreq" }));
  }

  /** A CONTROL, ACK or RESET datagram from the forwarder's address. */
  onDatagram(datagram: Datagram): void {
    const channel = this.channel;
    if (channel === undefined || datagram.source !== FORWARDER_NUMBER || datagram.stream !== this.epoch)
      return;
    if (datagram.kind === Kind.RESET) {
      this.stats.resets += 1;
      this.reconnect();
      return;
    }
    // Another epoch than this channel's is another forwarder process; its own RESET will say so.
    if (channel.peerEpoch !== 0 && channel.peerEpoch !== datagram.epoch) return;
    this.lastHeard = this.options.clock.now();
    channel.onDatagram(datagram);
  }

  /** Says DISCONNECT, once and unacknowledged: the forwarder's time-out covers its loss. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.tick?.cancel();
    if (this.registered) void this.send(encodePacket({ cmd: "disconnect", reasonCode: 0 }));
    this.channel?.close();
  }

  private connect(): void {
    const { options } = this;
    // Contact was lost: maybe because it lives at another port now, from which switches let nothing else of it through.
    if (this.epoch !== undefined) options.announce();
    const epoch = epochAt(options.unixTime(), this.epoch);
    this.synced = false;
    this.epoch = epoch;
    this.lastHeard = options.clock.now();
    const channel = new ControlChannel({
      clock: options.clock,
      source: options.number,
      epoch,
      peerEpoch: 0,
      payloadBytes: options.payloadBytes,
      transmit: options.transmit,
      durable: options.durable,
      onPacket: (packet) => {
        if (packet.cmd === "connack") this.onConnack(packet);
        else if (packet.cmd === "disconnect") this.reconnect();
        else options.onPacket(packet);
      },
      onBroken: () => this.reconnect(),
    });
    this.channel = channel;
    const { address, port, mac } = options.local;
    const { intercepts = [] } = options;
    const access = options.accessDigest?.();
    const retained = options.retained?.();
    void channel.send(
      encodePacket({
        cmd: "connect",
        protocolId: "MQTT",
        protocolVersion: 5,
        clean: true,
        keepalive: DEAD_MS / 1000,
        clientId: options.id,
        properties: {
          userProperties: {
            address,
            port: String(port),
            epoch: String(options.dataEpoch),
            ...(mac === undefined ? {} : { mac }),
            ...(intercepts.length === 0 ? {} : { intercept: intercepts.map(formatEndpoint) }),
            ...(access === undefined ? {} : { access }),
            ...(retained === undefined ? {} : { retained: formatPosition(retained) }),
          },
        },
      }),
    );
  }

  private onConnack({ reasonCode = 0, properties }: IConnackPacket): void {
    if (reasonCode === 0) {
      this.stats.registrations += 1;
      this.setState("registered", "");
      this.options.onRegistered(properties?.userProperties ?? {});
      return;
    }
    this.channel?.close();
    this.channel = undefined;
    this.setState(
      "refused",
      `the forwarder refuses id ${this.options.id} (reason 0x${reasonCode.toString(16)})`,
    );
  }

  private reconnect(): void {
    if (this.closed) return;
    this.channel?.close();
    if (this.registered) {
      this.connectingSince = this.lastHeard;
      this.setState("connecting", "the registration has ended");
      this.options.onLost();
    }
    this.connect();
  }

  private armTick(): void {
    this.tick = this.options.clock.setTimer(PING_MS, () => {
      this.armTick();
      this.onTick();
    });
  }

  private onTick(): void {
    const now = this.options.clock.now();
    const silent = now - this.lastHeard >= DEAD_MS;
    if (this.registered && !silent) {
      if (this.synced) void this.send(encodePacket({ cmd: "pingreq" }));
    } else if (silent && this.registered) {
      this.stats.silences += 1;
      this.reconnect();
    } else if (silent) {
      // Also where an earlier forwarder has taken the CONNECT and died before its answer: nothing is repeated then.
      this.channel?.close();
      this.connect();
    }
    if (this.state === "connecting" && now - this.connectingSince >= DEAD_MS) {
      this.setState("unreachable", "no answer from the forwarder");
    }
  }

  private setState(state: RegistrationState, detail: string): void {
    if (state === this.state) return;
    this.state = state;
    this.options.onState(state, detail);
  }
}
