import type { Clock, Timer } from "@topicast/protocol";
import type { AccessError, SwitchAccess } from "./access.js";
import type { DataplaneCounter, RyuStatus } from "./dataplane.js";
import type { TopologySnapshot } from "./topology.js";

export interface WatchTiming {
  /** Ms between looks at Ryu's topology; while an agent is looked for; while Ryu does not answer. */
  readonly pollMs: number;
  readonly searchMs: number;
  readonly downMs: number;
  /** Ms between looks for which Ryu has told a reason, at least. */
  readonly toldMs: number;
}

export const defaultWatchTiming: WatchTiming = { pollMs: 1_000, searchMs: 150, downMs: 500, toldMs: 50 };

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

/** Looks at Ryu's topology again and again, at once when Ryu tells of a change, and knows whether Ryu is there. */
export class RyuWatch {
  state: RyuStatus["state"] = "starting";
  private since: number;
  private lastError: string | null = null;
  private polling = false;
  private lookedAt = Number.NEGATIVE_INFINITY;
  private timer: Timer | undefined;
  private closed = false;
  /** The version of the topology that Ryu told last, and whether it is being asked for the next. */
  private version: string | undefined;
  private listening = false;
  /** Ryu has changed its topology while a look was under way. */
  private again = false;

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
    this.lookedAt = this.host.clock.now();
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
    if (this.state === "up") void this.listen();
    if (this.again) {
      this.again = false;
      this.within(timing.toldMs);
      return;
    }
    this.within(this.state !== "up" ? timing.downMs : eager ? timing.searchMs : timing.pollMs);
  }

  /** Waits for Ryu to tell of changes, until it does not answer; where it cannot tell, looking again has to do. */
  private async listen(): Promise<void> {
    if (this.listening) return;
    this.listening = true;
    try {
      while (!this.closed) {
        const version = await this.host.access.changed(this.version);
        if (version === undefined) return;
        if (version !== this.version) {
          this.again = this.polling;
          // One change seldom comes alone.
          this.within(Math.max(this.lookedAt + this.host.timing.toldMs - this.host.clock.now(), 0));
        }
        this.version = version;
      }
    } catch (error) {
      this.lastError = (error as AccessError).message;
    }
    // The next look finds out whether Ryu is there, and begins to listen again.
    this.listening = false;
  }

  private enter(state: RyuStatus["state"]): void {
    if (state === this.state) return;
    this.state = state;
    this.since = this.host.clock.now();
  }
}
