/** Two stacks on a link that loses, repeats, reorders and damages frames, in virtual time, replayable from a seed. */
import type { TcpConfig } from "@topicast/agent/tcp/config.js";
import { StackRunner } from "@topicast/agent/tcp/runner.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { emptySegment, type Segment } from "@topicast/agent/tcp/wire/tcp.js";
import { SimClock } from "@topicast/protocol";

/** Numbers in [0, 1) from a seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Probabilities per frame; times in milliseconds. */
export interface Faults {
  loss: number;
  duplicate: number;
  /** The frame is held back for up to `jitter` more. */
  reorder: number;
  corrupt: number;
  delay: number;
  jitter: number;
  /** The bottleneck each way: bytes per millisecond, and the bytes that may wait for it (drop tail). None when absent. */
  rate?: number;
  queue?: number;
}

export const PERFECT: Faults = { loss: 0, duplicate: 0, reorder: 0, corrupt: 0, delay: 5, jitter: 0 };

export const SERVER_PORT = 1883;
const ETHERNET_HEADER = 14;
export const IPV4_HEADER = 20;
export const IPV6_HEADER = 40;
const TCP = 6;
const SERVER = { mac: parseMac("02:00:00:00:00:01"), address: "10.0.0.1", ipv6: "fd00::1" };
const CLIENT = { mac: parseMac("02:00:00:00:00:02"), address: "10.0.0.2", ipv6: "fd00::2" };

export class SimLink {
  readonly clock = new SimClock();
  readonly server: StackRunner;
  readonly client: StackRunner;
  /** Frames that went in, and those that were dropped or damaged. */
  frames = 0;
  harmed = 0;
  /** Frames that found the bottleneck's queue full. */
  overflows = 0;
  /** While true nothing gets through. */
  cut = false;
  /** Larger IP packets do not get through; whoever sent one hears of it by `onTooBig` (if anything is there). */
  mtu = Number.POSITIVE_INFINITY;
  /** The quoted segment: whether the server sent it, its sequence number. */
  onTooBig: ((fromServer: boolean, seq: number) => void) | undefined;
  private readonly next: () => number;
  private readonly forged = Buffer.alloc(2_000);
  /** Until when what has been sent keeps the bottleneck busy, from the client and from the server. */
  private readonly busyUntil: [number, number] = [0, 0];

  constructor(
    seed: number,
    private readonly faults: Faults,
    config: { server?: Partial<TcpConfig>; client?: Partial<TcpConfig> } = {},
  ) {
    this.next = random(seed);
    const isn = () => Math.floor(this.next() * 2 ** 32) | 0;
    const rim = (way: 0 | 1, to: () => StackRunner) => ({
      clock: this.clock,
      defer: (fn: () => void) => void this.clock.setTimer(0, fn),
      send: (bytes: Buffer, length: number) => this.carry(Buffer.from(bytes.subarray(0, length)), way, to),
    });
    this.server = new StackRunner(
      { mac: SERVER.mac, ipv4: [SERVER.address], ipv6: [SERVER.ipv6] },
      rim(1, () => this.client),
      config.server,
      isn,
    );
    this.client = new StackRunner(
      { mac: CLIENT.mac, ipv4: [CLIENT.address], ipv6: [CLIENT.ipv6] },
      rim(0, () => this.server),
      config.client,
      isn,
    );
  }

  /** The way from the client's `port` to the server. */
  path(port: number, ipv6 = false): Path {
    return Path.between({
      localMac: CLIENT.mac,
      remoteMac: SERVER.mac,
      local: ipv6 ? CLIENT.ipv6 : CLIENT.address,
      localPort: port,
      remote: ipv6 ? SERVER.ipv6 : SERVER.address,
      remotePort: SERVER_PORT,
    });
  }

  /** A segment that claims to come from `peer` (ADDRESS:PORT) reaches the server now. */
  forge(peer: string, fields: Partial<Segment>): void {
    const [local, localPort] = peer.split(":") as [string, string];
    const ends = {
      localMac: CLIENT.mac,
      remoteMac: SERVER.mac,
      remote: SERVER.address,
      remotePort: SERVER_PORT,
    };
    const path = Path.between({ ...ends, local, localPort: Number(localPort) });
    const length = path.write({ ...emptySegment(), ...fields }, this.forged);
    this.server.receive(this.forged, length);
  }

  private carry(frame: Buffer, way: 0 | 1, to: () => StackRunner): void {
    const { faults, next } = this;
    this.frames += 1;
    if (this.cut || next() < faults.loss) {
      this.harmed += 1;
      return;
    }
    if (frame.length - ETHERNET_HEADER > this.mtu) {
      this.refuse(frame);
      return;
    }
    const wait = this.enqueue(frame.length, way);
    if (wait < 0) {
      this.overflows += 1;
      return;
    }
    if (next() < faults.corrupt && !looksUnfinished(frame)) {
      this.damage(frame);
    }
    const copies = next() < faults.duplicate ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const extra = next() < faults.reorder ? next() * faults.jitter : 0;
      this.clock.setTimer(wait + faults.delay + extra, () => to().receive(frame, frame.length));
    }
  }

  /** How long until the last byte has passed the bottleneck, or -1 when the queue before it is full. */
  private enqueue(length: number, way: 0 | 1): number {
    const { rate, queue = Number.POSITIVE_INFINITY } = this.faults;
    if (rate === undefined) return 0;
    const now = this.clock.now();
    const start = Math.max(this.busyUntil[way], now);
    if ((start - now) * rate + length > queue) return -1;
    this.busyUntil[way] = start + length / rate;
    return this.busyUntil[way] - now;
  }

  /** Flips one to fifteen neighbouring bits: no more than the checksum is sure to find. */
  private damage(frame: Buffer): void {
    const { next } = this;
    this.harmed += 1;
    const bits = (frame.length - ETHERNET_HEADER) * 8;
    const length = next() < 0.5 ? 1 : 1 + Math.floor(next() * 15);
    const first = Math.floor(next() * bits);
    for (let i = 0; i < length && first + i < bits; i++)
      if (i === 0 || next() < 0.5) frame[ETHERNET_HEADER + ((first + i) >> 3)]! ^= 0x80 >> ((first + i) & 7);
  }

  private refuse(bytes: Buffer): void {
    this.harmed += 1;
    const frame = new Frame();
    if (frame.parse(bytes, bytes.length) !== undefined) return;
    const { seq } = frame.segment;
    const fromServer = frame.sourcePort === SERVER_PORT;
    this.clock.setTimer(this.faults.delay, () => this.onTooBig?.(fromServer, seq));
  }
}

/**
 * One checksum in 65,536 happens to be the sum of the pseudo-header alone, as a sender on the same host leaves it; such a
 * frame is taken as it is, and damage to it goes unnoticed.
 */
function looksUnfinished(frame: Buffer): boolean {
  const ipAt = ETHERNET_HEADER;
  const ipv6 = frame[ipAt]! >> 4 === 6;
  const tcpAt = ipAt + (ipv6 ? IPV6_HEADER : IPV4_HEADER);
  let sum = TCP + frame.length - tcpAt;
  for (let at = ipAt + (ipv6 ? 8 : 12); at < tcpAt; at += 2) sum += frame.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return frame.readUInt16BE(tcpAt + 16) === sum;
}
