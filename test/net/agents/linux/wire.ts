import { Capture } from "@topicast/agent/capture/capture.js";
import { parseMac } from "@topicast/agent/tcp/wire/ethernet.js";
import { Frame } from "@topicast/agent/tcp/wire/frame.js";
import { Path } from "@topicast/agent/tcp/wire/path.js";
import type { Segment } from "@topicast/agent/tcp/wire/tcp.js";
import { setUrgent } from "../../../unit/agents/tcp/script.js";
import { LINUX_ADDRESS, SCRIPT_ADDRESS, SCRIPT_INTERFACE } from "./lab.js";

/** The scripts' port; Linux' differs from script to script. */
export const REMOTE_PORT = 50_000;

export interface Arrived {
  readonly at: number;
  readonly segment: Segment;
}

/** Raw frames at the scripts' end of the cable, in whose namespace this runs, sorted by Linux' port. */
export class Wire {
  private readonly capture: Capture;
  private readonly frame = new Frame();
  private readonly out = Buffer.alloc(10_000);
  private readonly takers = new Map<number, (arrived: Arrived) => void>();

  constructor(
    private readonly ownMac: string,
    private readonly linuxMac: string,
  ) {
    this.capture = Capture.open({
      interface: SCRIPT_INTERFACE,
      filter: `tcp and src host ${LINUX_ADDRESS} and dst port ${REMOTE_PORT}`,
      onFrame: (bytes, length) => this.onFrame(bytes, length),
      onWarning: () => {},
    });
  }

  /** Gives every segment from Linux' `port` to `take`. Returns how to send there. */
  open(port: number, take: (arrived: Arrived) => void): (segment: Segment, urgent: number) => void {
    this.takers.set(port, take);
    const path = Path.between({
      localMac: parseMac(this.ownMac),
      remoteMac: parseMac(this.linuxMac),
      local: SCRIPT_ADDRESS,
      localPort: REMOTE_PORT,
      remote: LINUX_ADDRESS,
      remotePort: port,
    });
    return (segment, urgent) => {
      const length = path.write(segment, this.out);
      if (urgent > 0) setUrgent(this.out, 34, urgent);
      this.capture.send(this.out, length);
    };
  }

  close(): void {
    this.capture.close();
  }

  private onFrame(bytes: Buffer, length: number): void {
    const at = performance.now();
    const fault = this.frame.parse(bytes, length);
    if (fault !== undefined) throw new Error(`a frame of Linux' is faulty: ${fault}`);
    const { segment } = this.frame;
    this.takers.get(this.frame.sourcePort)?.({
      at,
      segment: { ...segment, payload: Buffer.from(segment.payload) },
    });
  }
}
