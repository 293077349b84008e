import { type Clock, systemClock, UserError } from "@topicast/protocol";
import { Burst } from "./burst.js";
import { type CapDevice, type CapModule, loadCap } from "./cap.js";

export interface CaptureOptions {
  readonly interface: string;
  /** In pcap's filter language. */
  readonly filter: string;
  /** Gets each frame as `frame[0, length)`; the buffer is used again for the next one. */
  onFrame(frame: Buffer, length: number): void;
  /** Something a person should know, once. */
  onWarning(message: string): void;
  /** Kinds of frames that are understood, as cap names them; without it Ethernet alone. */
  readonly linkTypes?: readonly string[];
  /** Size of the kernel's ring in bytes. */
  readonly ringBytes?: number;
  /** Longest time in ms to go on with frames before everything else in the process gets its turn. */
  readonly maxBurst?: number;
}

/** pcap's slots are 64 KB each on an interface with receive offloads: this is room for 500 frames. */
const RING_BYTES = 32 * 1024 * 1024;
const MAX_BURST = 50;
const ETHERNET = ["ETHERNET"];
/** How long to wait in ms before opening the interface is tried again. */
const REOPEN_RETRY = 500;
/** Largest frame that pcap hands over (its snapshot length). */
const FRAME_BYTES = 65_535;

/** Where a capture meets the world. */
export interface CaptureRim {
  readonly cap: CapModule;
  readonly clock: Clock;
  /** Calls `fn` once, after all frames at hand, and after that timers have their turn (`setImmediate`). */
  defer(fn: () => void): void;
}

/** `cap` keeps raw pointers to its devices' memory in the event loop, also after close: these must never be collected. */
const immortal: unknown[] = [];

/**
 * Frames in and out of one interface, through the npm package `cap` (libpcap).
 *
 * cap's receive loop goes on as long as frames come, so a flood would keep timers and sockets waiting for ever, and there
 * is no way to pause it. After `maxBurst` further frames are dropped unseen, which nearly always catches up with the ring; where
 * even that does not, the device is closed, which ends the loop, and opened again. (Not at once: opening takes locks of the
 * kernel's that can be held for seconds.) What is lost is TCP's to repair.
 */
export class Capture {
  readonly counters = {
    capture_truncated: 0,
    capture_shed: 0,
    capture_bursts_cut: 0,
    capture_reopened: 0,
    capture_send_errors: 0,
  };
  /** What kind of frames the interface gives, as cap names it. */
  linkType = "";
  private readonly buffer = Buffer.alloc(FRAME_BYTES);
  private device: CapDevice | undefined;
  private closed = false;
  private readonly burst: Burst;

  private constructor(
    private readonly rim: CaptureRim,
    private readonly options: CaptureOptions,
    private filter: string,
  ) {
    const { maxBurst = MAX_BURST } = options;
    const end = () => this.burst.end();
    this.burst = new Burst(
      maxBurst,
      () => rim.clock.now(),
      () => rim.defer(end),
    );
  }

  /**
   * @param rim the machine's unless a test has another
   * @throws UserError when cap or libpcap is missing, or the interface cannot be opened
   */
  static open(options: CaptureOptions, rim: CaptureRim = systemRim(options)): Capture {
    const capture = new Capture(rim, options, options.filter);
    immortal.push(capture.buffer);
    capture.openDevice();
    return capture;
  }

  /** Sends `frame[0, length)`. A frame that the interface cannot take now is lost and counted. */
  send(frame: Buffer, length: number): void {
    try {
      this.device?.send(frame, length);
      if (this.device !== undefined) return;
    } catch {
      // The interface is down, or its queue is full.
    }
    this.counters.capture_send_errors += 1;
  }

  /** Opens the interface anew: it was down, or the filter has changed. Returns whether that went well. */
  reopen(filter: string): boolean {
    this.filter = filter;
    this.closeDevice();
    try {
      this.openDevice();
    } catch {
      return false;
    }
    this.counters.capture_reopened += 1;
    return true;
  }

  close(): void {
    this.closed = true;
    this.closeDevice();
  }

  private openDevice(): void {
    const { interface: name, ringBytes = RING_BYTES, linkTypes = ETHERNET } = this.options;
    const device = new this.rim.cap.Cap();
    immortal.push(device);
    let linkType: string;
    try {
      linkType = device.open(name, this.filter, ringBytes, this.buffer);
    } catch (error) {
      throw new UserError(`interface ${name} cannot be captured: ${(error as Error).message}`);
    }
    if (!linkTypes.includes(linkType)) {
      device.close();
      const remedy =
        linkTypes === ETHERNET ? ", not Ethernet: use --transport socket" : ", which are not understood";
      throw new UserError(`interface ${name} gives ${linkType} frames${remedy}`);
    }
    this.linkType = linkType;
    device.on("packet", (length, truncated) => {
      if (this.device === device) this.onPacket(length, truncated);
    });
    this.device = device;
  }

  private closeDevice(): void {
    this.device?.close();
    this.device = undefined;
  }

  private onPacket(length: number, truncated: boolean): void {
    const step = this.burst.frame();
    if (step === "take" && !truncated) this.options.onFrame(this.buffer, length);
    else if (step === "take") this.counters.capture_truncated += 1;
    else this.counters.capture_shed += 1;
    if (step === "cut") this.cutBurst();
  }

  private cutBurst(): void {
    this.counters.capture_bursts_cut += 1;
    this.closeDevice();
    // Timers come first, then the next poll.
    this.reopenAfter(1);
  }

  private reopenAfter(ms: number): void {
    this.rim.clock.setTimer(ms, () => {
      if (this.closed || this.device !== undefined || this.reopen(this.filter)) return;
      this.reopenAfter(REOPEN_RETRY);
    });
  }
}

function systemRim({ onWarning }: CaptureOptions): CaptureRim {
  return { cap: loadCap(onWarning), clock: systemClock, defer: setImmediate };
}
