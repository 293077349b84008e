import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CapDevice } from "@topicast/agent/capture/cap.js";
import { Capture } from "@topicast/agent/capture/capture.js";
import { SimClock } from "@topicast/protocol";

/** What a frame costs when it is looked at and when it is shed, and how often one comes, in ms. */
interface Flood {
  taken: number;
  shed: number;
  every: number;
  ring: number;
}

/**
 * An event loop in virtual time with a capture on it that behaves as cap does: once it has a frame it goes on until the ring is
 * empty or it is closed; what is deferred and timers run between.
 */
class FloodedLoop {
  readonly clock = new SimClock();
  readonly capture: Capture;
  frames = 0;
  /** The longest that the loop was kept from timers. */
  longest = 0;
  private time = 0;
  private arrived = 0;
  private handled = 0;
  private lost = 0;
  private device: FloodedDevice | undefined;
  private deferred: Array<() => void> = [];

  constructor(
    private readonly flood: Flood,
    maxBurst: number,
  ) {
    const loop = this;
    class Device extends FloodedDevice {
      override open(): string {
        loop.device = this;
        // Opening begins with an empty ring.
        loop.handled = loop.arrived - loop.lost;
        return super.open();
      }
    }
    this.capture = Capture.open(
      {
        ...{ interface: "flood0", filter: "", maxBurst },
        onWarning: () => {},
        onFrame: () => {
          this.frames += 1;
          this.time += flood.taken;
        },
      },
      {
        cap: { Cap: Device },
        // The loop's own time stands still for timers while frames are handled.
        clock: { now: () => this.time, setTimer: (ms, fn) => this.clock.setTimer(ms, fn) },
        defer: (fn) => this.deferred.push(fn),
      },
    );
  }

  run(until: number): void {
    while (this.time < until) {
      const start = this.time;
      this.poll();
      const now = this.deferred;
      this.deferred = [];
      for (const fn of now) fn();
      this.longest = Math.max(this.longest, this.time - start);
      if (this.time === start) this.time += this.flood.every;
      this.clock.advanceTo(this.time);
    }
  }

  private poll(): void {
    const { device } = this;
    const end = this.time + 5_000;
    while (device?.isOpen && this.waiting > 0) {
      assert(this.time < end, "nothing else has its turn");
      this.handled += 1;
      this.time += this.flood.shed;
      device.emit();
    }
  }

  /** Frames in the ring; those that found it full are lost. */
  private get waiting(): number {
    this.arrived = Math.floor(this.time / this.flood.every);
    const waiting = this.arrived - this.lost - this.handled;
    if (waiting > this.flood.ring) this.lost += waiting - this.flood.ring;
    return Math.min(waiting, this.flood.ring);
  }
}

class FloodedDevice implements CapDevice {
  isOpen = false;
  private listener: (length: number, truncated: boolean) => void = () => {};

  open(): string {
    this.isOpen = true;
    return "ETHERNET";
  }

  send(): void {}

  close(): boolean {
    this.isOpen = false;
    return true;
  }

  on(_event: "packet", listener: (length: number, truncated: boolean) => void): void {
    this.listener = listener;
  }

  emit(): void {
    this.listener(60, false);
  }
}

describe("a capture under a flood", () => {
  it("lets timers run at least every 50 ms and a ring's worth when shedding is fast enough", () => {
    // 25,000 frames a second come, 10,000 can be handled, and a million be shed.
    const loop = new FloodedLoop({ taken: 0.1, shed: 0.001, every: 0.04, ring: 500 }, 50);
    loop.run(10_000);
    const { capture_shed, capture_bursts_cut } = loop.capture.counters;
    assert(loop.longest <= 50 + 16 * 0.101 + 500 * 0.001 * 2, `${loop.longest} ms`);
    assert(loop.frames > 50_000, `${loop.frames} were handled`);
    assert(capture_shed > 50_000 / 500);
    assert.equal(capture_bursts_cut, 0);
  });

  it("lets timers run at least every 500 ms and 16 frames, whatever comes, and goes on afterwards", () => {
    // Frames come faster than they can even be shed.
    const loop = new FloodedLoop({ taken: 0.1, shed: 0.01, every: 0.005, ring: 500 }, 50);
    loop.run(10_000);
    const { capture_bursts_cut, capture_reopened } = loop.capture.counters;
    assert(loop.longest <= 500 + 16 * 0.11 + 0.11, `${loop.longest} ms`);
    assert(loop.longest > 500);
    assert(capture_bursts_cut >= 19 && capture_bursts_cut <= 20, `${capture_bursts_cut}`);
    assert(capture_reopened >= 19);
    assert(loop.frames >= 19 * 450);
  });

  it("sheds nothing that comes in bursts which leave time for others", () => {
    const loop = new FloodedLoop({ taken: 0.1, shed: 0.001, every: 0.15, ring: 500 }, 50);
    loop.run(5_000);
    assert.equal(loop.capture.counters.capture_shed, 0);
    assert(loop.frames > 30_000);
  });
});
