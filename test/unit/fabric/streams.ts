/** One sender and some receivers of data streams, joined by a network that a seed makes bad; time is virtual. */
import {
  type Datagram,
  type Edge,
  type Endpoint,
  encodePublish,
  type Header,
  Kind,
  SimClock,
  StreamReceiver,
  StreamSenders,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import { random } from "./sim.js";

export const GROUP = 0xefc00001;
const SENDER: Endpoint = { address: "10.0.0.1", port: 1883 };
const TO_ALL: Endpoint = { address: "239.192.0.1", port: 1883 };

export interface Weather {
  loss: number;
  repeat: number;
  delay: readonly [number, number];
}

export const CALM: Weather = { loss: 0, repeat: 0, delay: [0, 0] };

export function publish(text: string, qos: 0 | 1 | 2 = 0): Buffer {
  return encodePublish({ topic: "t", payload: Buffer.from(text), qos, retain: false });
}

export class Hearer {
  readonly got: string[] = [];
  readonly receiver: StreamReceiver;
  readonly endpoint: Endpoint;
  /** Nothing comes or goes. */
  cut = false;

  constructor(
    readonly net: Streams,
    readonly number: number,
    readonly epoch: number,
  ) {
    this.endpoint = { address: `10.0.0.${number}`, port: 1883 };
    this.receiver = new StreamReceiver({
      clock: net.clock,
      source: number,
      epoch,
      random: net.rand,
      defer: (fn) => void net.clock.setTimer(0, fn),
      transmit: (header, payload) => net.toSender(this, header, payload),
      onPacket: (packet) => this.got.push((packet as IPublishPacket).payload.toString()),
    });
  }

  get edge(): Edge {
    return { number: this.number, endpoint: this.endpoint, epoch: this.epoch };
  }
}

export class Streams {
  readonly clock = new SimClock();
  readonly rand: () => number;
  readonly hearers: Hearer[] = [];
  /** What the sender put on the wire, copies not counted. */
  readonly sent: Datagram[] = [];
  readonly statuses: Datagram[] = [];
  /** Datagrams to lose, whatever the weather. */
  lose: (datagram: Datagram, hearer: Hearer) => boolean = () => false;
  senders: StreamSenders;

  constructor(
    seed = 1,
    public weather: Weather = CALM,
    private readonly payloadBytes = 100,
    hearers = 1,
  ) {
    this.rand = random(seed);
    this.senders = this.newSenders(7);
    for (let i = 0; i < hearers; i++) this.hearers.push(new Hearer(this, i + 2, 100 + i));
    this.join(GROUP, ...this.hearers);
  }

  newSenders(epoch: number): StreamSenders {
    this.senders = new StreamSenders({
      clock: this.clock,
      source: 1,
      epoch,
      payloadBytes: this.payloadBytes,
      defer: (fn) => void this.clock.setTimer(0, fn),
      transmit: (header, payload, to) => this.fromSender({ ...header, payload }, to),
    });
    return this.senders;
  }

  /** The group leads to these. */
  join(group: number, ...hearers: Hearer[]): void {
    this.senders.getOrAdd(group).setEdges(hearers.map((h) => h.edge));
  }

  send(text: string, done?: () => void, group = GROUP): boolean {
    return this.senders.getOrAdd(group).send(publish(text), { to: [TO_ALL], done });
  }

  /** Sends, and lets all of what is under way at this moment happen. */
  now(text: string, done?: () => void): void {
    this.send(text, done);
    this.clock.advance(0);
  }

  get hearer(): Hearer {
    return this.hearers[0]!;
  }

  /** What was sent of DATA. */
  get data(): Datagram[] {
    return this.sent.filter((d) => d.kind === Kind.DATA);
  }

  toSender(from: Hearer, header: Header, payload: Buffer): void {
    const datagram = { ...header, payload };
    this.statuses.push(datagram);
    if (from.cut) return;
    this.carry(() => this.senders.onStatus(datagram, from.endpoint));
  }

  private fromSender(datagram: Datagram, to: readonly Endpoint[]): void {
    this.sent.push(datagram);
    for (const { address } of to) {
      for (const hearer of this.hearers) {
        if (address !== TO_ALL.address && address !== hearer.endpoint.address) continue;
        if (hearer.cut || this.lose(datagram, hearer)) continue;
        this.carry(() => hearer.receiver.onDatagram(datagram, SENDER));
      }
    }
  }

  private carry(arrive: () => void): void {
    const { loss, repeat, delay } = this.weather;
    if (this.rand() < loss) return;
    for (let copies = this.rand() < repeat ? 2 : 1; copies > 0; copies--) {
      this.clock.setTimer(delay[0] + this.rand() * (delay[1] - delay[0]), arrive);
    }
  }
}

/** What is published when each text is its number. */
export function upTo(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i));
}
