import type { StackConnection } from "@topicast/agent/tcp/stack.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import { seqAdd } from "@topicast/agent/tcp/wire/sequence.js";
import { ACK, emptySegment, FIN, type Segment, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import type { Chance } from "./mutate.js";

export const SERVER = { mac: parseMac("02:00:00:00:00:01"), ipv4: ["10.0.0.1"], ipv6: ["fd00::1"] };
const MAC = parseMac("02:00:00:00:00:03");

/** States of the server's side that a victim can be brought to, and what may be on its way then. */
export const VICTIM_STATES = [
  "SYN-SENT",
  "SYN-RECEIVED",
  "ESTABLISHED",
  "unread and out of order",
  "data in flight",
  "window shut",
  "FIN-WAIT-1",
  "FIN-WAIT-2",
  "CLOSE-WAIT",
  "LAST-ACK",
  "CLOSING",
  "TIME-WAIT",
] as const;

/** What a victim needs of the world. */
interface Surroundings {
  /** The segment comes to the stack, and its answer has come when this returns. */
  send(segment: Segment): void;
  connect(path: Path): void;
  /** The stack's side of this connection, once its handshake is complete. */
  connection(): StackConnection | undefined;
}

/** A peer made of segments, whose connection will be fuzzed. */
export class Victim {
  readonly path: Path;
  connection: StackConnection | undefined;
  private readonly back: Path;
  private readonly timestamps: boolean;
  /** What it sends next, and what it expects. */
  private seq: number;
  private ack = 0;
  /** Where the last segment from the stack began. */
  private heard = 0;
  private echo = 0;
  private stamp = 1_000;

  constructor(
    private readonly chance: Chance,
    n: number,
  ) {
    const v6 = chance.is(0.4);
    const host = 1 + chance.below(4);
    const local = v6 ? `fd00:${host}::3` : `10.0.${host}.3`;
    const remote = v6 ? SERVER.ipv6[0]! : SERVER.ipv4[0]!;
    const localPort = 1_024 + ((n * 7 + chance.below(7)) % 60_000);
    const ends = { local, localPort, remote, remotePort: 1883 };
    this.path = Path.between({ ...ends, localMac: MAC, remoteMac: SERVER.mac });
    this.back = Path.between({
      ...{ localMac: SERVER.mac, remoteMac: MAC },
      ...{ local: remote, localPort: 1883, remote: local, remotePort: localPort },
    });
    this.timestamps = chance.is(0.5);
    this.seq = chance.of(-1, 2 ** 31 - 100, chance.below(2 ** 32)) | 0;
  }

  /** What comes from the stack. */
  hear(segment: Segment, length: number): void {
    this.ack = seqAdd(segment.seq, length);
    this.heard = segment.seq;
    if (segment.timestamps) this.echo = segment.tsVal;
  }

  /** A segment that the connection would take. */
  plausible(): Segment {
    const segment = this.segment(ACK);
    const { connection } = this;
    if (connection !== undefined && connection.state !== "CLOSED") {
      segment.seq = connection.receiveNext;
      segment.ack = this.chance.is(0.8) ? connection.sendNext : this.heard;
    }
    return segment;
  }

  bring(state: (typeof VICTIM_STATES)[number], { send, connect, connection }: Surroundings): void {
    if (state === "SYN-SENT") return connect(this.back);
    const say = (flags: number, fields: Partial<Segment> = {}) => {
      const segment = { ...this.segment(flags), ...fields };
      send(segment);
      this.seq = seqAdd(this.seq, segment.payload.length + ((flags & (SYN | FIN)) !== 0 ? 1 : 0));
    };
    say(SYN, { mss: 1_000, windowScale: 2, sackPermitted: true });
    if (state === "SYN-RECEIVED") return;
    say(ACK, state === "window shut" ? { window: 0 } : {});
    const server = connection();
    const before = this.ack;
    switch (state) {
      case "unread and out of order":
        say(ACK, { payload: Buffer.alloc(300) });
        send({ ...this.segment(ACK), seq: seqAdd(this.seq, 500), payload: Buffer.alloc(700) });
        break;
      case "data in flight":
      case "window shut":
        server?.write(Buffer.alloc(6_000));
        break;
      case "FIN-WAIT-1":
      case "FIN-WAIT-2":
        server?.shutdown();
        say(ACK, { ack: before });
        if (state === "FIN-WAIT-2") say(ACK);
        break;
      case "CLOSE-WAIT":
      case "LAST-ACK":
        say(FIN | ACK);
        if (state === "LAST-ACK") server?.shutdown();
        break;
      case "CLOSING":
      case "TIME-WAIT":
        server?.shutdown();
        say(ACK, { ack: before });
        say(FIN | ACK, state === "CLOSING" ? { ack: before } : {});
        break;
    }
  }

  private segment(flags: number): Segment {
    this.stamp += 1;
    return {
      ...emptySegment(),
      ...{ flags, seq: this.seq, ack: (flags & ACK) === 0 ? 0 : this.ack, window: 4_000 },
      ...{ timestamps: this.timestamps, tsVal: this.stamp, tsEcr: this.echo },
    };
  }
}
