/** One stack in virtual time, and peers that are nothing but segments. */
import assert from "node:assert/strict";
import type { TcpConfig } from "@topicast/agent/tcp/config.js";
import { StackRunner } from "@topicast/agent/tcp/runner.js";
import type { StackConnection } from "@topicast/agent/tcp/stack.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { type Endpoints, Path } from "@topicast/agent/tcp/wire/path.js";
import { seqAdd } from "@topicast/agent/tcp/wire/sequence.js";
import { ACK, emptySegment, type Segment, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import { SimClock } from "@topicast/protocol";

export const STATION = { mac: parseMac("02:00:00:00:00:01"), ipv4: ["10.0.0.1"] };
const PEER_MAC = parseMac("02:00:00:00:00:02");
export const PORT = 1883;

export interface Reply extends Segment {
  /** The peer it goes to. */
  to: string;
}

export class Station {
  readonly clock = new SimClock();
  readonly runner: StackRunner;
  readonly accepted: StackConnection[] = [];
  /** What the stack has sent since the last `arrive` or `take`. */
  private replies: Reply[] = [];
  private readonly deferred: Array<() => void> = [];
  private readonly frame = new Frame();
  private readonly bytes = Buffer.alloc(70_000);

  constructor(config: Partial<TcpConfig> = {}) {
    this.runner = new StackRunner(
      STATION,
      {
        clock: this.clock,
        defer: (fn) => this.deferred.push(fn),
        send: (bytes, length) => this.onSent(bytes, length),
      },
      config,
    );
    this.runner.stack.listen(PORT, (connection) => this.accepted.push(connection));
  }

  get stack() {
    return this.runner.stack;
  }

  get counters() {
    return this.stack.counters;
  }

  /** A segment from `peer` (ADDRESS:PORT) comes in; returns what is answered in the same turn. */
  arrive(peer: string, fields: Partial<Segment>): Reply[] {
    const length = Path.between(endsOf(peer)).write({ ...emptySegment(), ...fields }, this.bytes);
    this.take();
    this.runner.receive(this.bytes, length);
    this.turn();
    return this.take();
  }

  /** A SYN with all options from `peer`; returns the SYN-ACK, if any. */
  syn(peer: string, fields: Partial<Segment> = {}): Reply | undefined {
    const options = { mss: 1460, windowScale: 7, sackPermitted: true, timestamps: true, tsVal: 77 };
    return this.arrive(peer, { flags: SYN, seq: 1_000, window: 65_535, ...options, ...fields })[0];
  }

  /** The ACK that completes the handshake `synAck` belongs to. */
  ack(synAck: Reply, fields: Partial<Segment> = {}): Reply[] {
    const { timestamps, tsVal } = synAck;
    return this.arrive(synAck.to, {
      ...{ flags: ACK, seq: synAck.ack, ack: seqAdd(synAck.seq, 1), window: 512 },
      ...{ timestamps, tsVal: 78, tsEcr: tsVal, ...fields },
    });
  }

  /** A whole handshake. */
  open(peer: string): void {
    const synAck = this.syn(peer);
    assert(synAck !== undefined, `${peer} got no answer`);
    this.ack(synAck);
  }

  /** Ends the turn: what is deferred runs. */
  turn(): void {
    for (let fn = this.deferred.shift(); fn !== undefined; fn = this.deferred.shift()) fn();
  }

  take(): Reply[] {
    const { replies } = this;
    this.replies = [];
    return replies;
  }

  private onSent(bytes: Buffer, length: number): void {
    const { frame } = this;
    assert.equal(frame.parse(bytes, length), undefined, "the stack sent a faulty frame");
    const { segment } = frame;
    const to = Path.replyTo(frame).local;
    this.replies.push({ ...segment, payload: Buffer.from(segment.payload), to });
  }
}

export function endsOf(peer: string): Endpoints {
  const [local, localPort] = peer.split(":") as [string, string];
  return {
    localMac: PEER_MAC,
    remoteMac: STATION.mac,
    local,
    localPort: Number(localPort),
    remote: STATION.ipv4[0]!,
    remotePort: PORT,
  };
}

/** The `i`th of many peers, each with an address of its own. */
export function peerOf(i: number): string {
  return `10.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}:50000`;
}
