import { addressOf, type SwitchPlace } from "@topicast/protocol";
import type { FirewallEvent } from "./event.js";

/** Events that wait to hear where their client is; for more the first one goes without. */
const WAITING_MAX = 1_024;

/** Tells once, at once or soon, behind which switch port an address is; undefined: nobody knows. */
export type Locate = (address: string, hear: (at: SwitchPlace | undefined) => void) => void;

/** An event as it goes into the log. */
export interface LocatedEvent {
  readonly event: FirewallEvent;
  /** Events before it that were not written. */
  readonly suppressed: number;
  /** When it happened, in milliseconds since 1970. */
  readonly time: number;
  /** The port of the client. */
  readonly at: SwitchPlace | undefined;
}

interface Waiting extends LocatedEvent {
  at: SwitchPlace | undefined;
  isLocated: boolean;
}

/** Adds to events where their clients are, and hands them on in the order in which they came. */
export class LocatedEvents {
  readonly counters = { events_unlocated: 0 };
  private readonly waiting: Waiting[] = [];

  constructor(
    private readonly locate: Locate,
    private readonly onEvent: (event: LocatedEvent) => void,
  ) {}

  add(event: FirewallEvent, suppressed: number, time: number): void {
    const one: Waiting = { event, suppressed, time, at: undefined, isLocated: false };
    if (this.waiting.length >= WAITING_MAX) this.waiting[0]!.isLocated = true;
    this.waiting.push(one);
    this.locate(addressOf(event.peer), (at) => {
      one.at = at;
      one.isLocated = true;
      this.flush();
    });
    this.flush();
  }

  /** What still waits goes on as it is. */
  close(): void {
    for (const one of this.waiting) one.isLocated = true;
    this.flush();
  }

  private flush(): void {
    while (this.waiting[0]?.isLocated) {
      const { event, suppressed, time, at } = this.waiting.shift()!;
      if (at === undefined) this.counters.events_unlocated += 1;
      this.onEvent({ event, suppressed, time, at });
    }
  }
}
