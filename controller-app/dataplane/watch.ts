import type { Clock, Timer } from "@topicast/protocol";
import type { AccessError, SwitchAccess } from "./access.js";
import type { DataplaneCounter, RyuStatus } from "./dataplane.js";
import type { TopologySnapshot } from "./topology.js";

export interface WatchTiming {
  /** Ms between looks at Ryu's topology; while an agent is looked for; while Ryu does not answer. */
  readonly pollMs: number;
  readonly searchMs: number;
  readonly downMs: number;
}

export const defaultWatchTiming: WatchTiming = { pollMs: 1_000, searchMs: 150, downMs: 500 };

export interface WatchHost {
  readonly access: SwitchAccess;
  readonly clock: Clock;
  readonly timing: WatchTiming;
  readonly counters: Record<DataplaneCounter, number>;
  /** Ryu answered. */
  onSnapshot(snapshot: TopologySnapshot): void;
  /** Ryu did not answer. */
  onSilence(): void;
  /** After either; returns true while it is worth looking often. */
  afterPoll(): boolean;
}

/** Looks at Ryu's topology again and again, and knows whether Ryu is there. */
export class RyuWatch {
  state: RyuStatus["state"] = "starting";
  private since: number;
  private lastError: string | null = null;
  private polling = false;
  private timer: Timer | undefined;
  private closed = false;

  constructor(private readonly host: WatchHost) {
    this.since = host.clock.now();
  }

  close(): void {
    this.closed = true;
    this.timer?.cancel();
  }

  /** Looks as soon as it can be; while a look is under way, its answer must do. */
  look(): void {
    this.within(0);
  }

  /** A call about a switch went wrong. */
  failed(error: AccessError): void {
    this.lastError = error.message;
    if (error.kind === "unreachable" || error.kind === "no-switch") this.look();
  }

  status(): RyuStatus {
    const { access, clock } = this.host;
    const forMs = Math.round(clock.now() - this.since);
    return { url: access.url, state: this.state, forMs, lastError: this.lastError };
  }

  private within(ms: number): void {
    if (this.closed || this.polling) return;
    this.timer?.cancel();
    this.timer = this.host.clock.setTimer(ms, () => void this.poll());
  }

  private async poll(): Promise<void> {
    const { access, counters, timing } = this.host;
    this.polling = true;
    counters.polls += 1;
    let snapshot: TopologySnapshot | undefined;
    try {
      snapshot = await access.topology();
    } catch (error) {
      counters.poll_failures += 1;
      this.lastError = (error as AccessError).message;
    }
    this.polling = false;
    if (this.closed) return;
    this.enter(snapshot === undefined ? "unreachable" : "up");
    if (snapshot === undefined) this.host.onSilence();
    else this.host.onSnapshot(snapshot);
    const eager = this.host.afterPoll();
    this.within(this.state !== "up" ? timing.downMs : eager ? timing.searchMs : timing.pollMs);
  }

  private enter(state: RyuStatus["state"]): void {
    if (state === this.state) return;
    this.state = state;
    this.since = this.host.clock.now();
  }
}
