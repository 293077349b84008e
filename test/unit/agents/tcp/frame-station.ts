/** One stack at a station, on the frame level: what comes in, what leaves. Time passes as the test says. */
import type { TcpConfig } from "@topicast/agent/tcp/config.js";
import { type StackConnection, type StationAddresses, TcpStack } from "@topicast/agent/tcp/stack.js";
import type { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { type Endpoints, Path } from "@topicast/agent/tcp/wire/path.js";
import { ACK, emptySegment, type Segment, SYN } from "@topicast/agent/tcp/wire/tcp.js";
import { parsed } from "./wire/linux-frames.js";

export class Station {
  now = 0;
  readonly stack: TcpStack;
  readonly accepted: StackConnection[] = [];
  /** Frames that left. */
  sent: Buffer[] = [];

  constructor(addresses: StationAddresses, iss: number, port: number, config: Partial<TcpConfig> = {}) {
    const send = (bytes: Buffer, length: number) =>
      void this.sent.push(Buffer.from(bytes.subarray(0, length)));
    this.stack = new TcpStack(addresses, { send, wake: () => {} }, config, () => iss);
    this.stack.listen(port, (connection) => this.accepted.push(connection));
  }

  /** A frame comes, and all leaves that it causes. */
  arrive(frame: Buffer): void {
    this.stack.receive(frame, frame.length, this.now);
    this.flush();
  }

  flush(): void {
    this.stack.flush(this.now);
  }

  /** The handshake from the other side, whose first sequence number is 0. */
  open(ends: Endpoints, mss = 1460): StackConnection {
    this.arrive(frameOf(ends, { flags: SYN, seq: 0, window: 60_000, mss }));
    const { seq } = this.last.segment;
    this.arrive(frameOf(ends, { flags: ACK, seq: 1, ack: (seq + 1) | 0, window: 60_000 }));
    return this.accepted.at(-1)!;
  }

  /** The last frame that left, taken apart. */
  get last(): Frame {
    return parsed(this.sent.at(-1)!);
  }
}

/** A frame from the local end of `ends`. */
export function frameOf(ends: Endpoints, fields: Partial<Segment>): Buffer {
  const out = Buffer.alloc(70_000);
  return out.subarray(0, Path.between(ends).write({ ...emptySegment(), ...fields }, out));
}
