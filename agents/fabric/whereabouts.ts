import {
  type Clock,
  canonicalAddress,
  encodeFabricJson,
  FabricTopic,
  readWhereabouts,
  type SwitchPlace,
  type Timer,
  WHEREABOUTS_BATCH,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import type { Registration } from "./registration.js";

/** Questions wait for others so long, in milliseconds. */
const GATHER_MS = 10;
/** So long an answer is waited for: the forwarder may be another one, or gone. */
const PATIENCE_MS = 500;
/** So long an answer holds. Clients move seldom, and one that has just come is soon seen. */
const KNOWN_MS = 30_000;
const UNKNOWN_MS = 2_000;
const KNOWN_MAX = 4_096;
/** Addresses that are asked for at a time; of more nobody is told where they are. */
const ASKED_MAX = 1_024;

type Hearer = (at: SwitchPlace | undefined) => void;

/** Which switch port an address is behind, as the forwarder knows it. Asked for when somebody wants to know, and remembered. */
export class Whereabouts {
  /** The oldest answer first. */
  private readonly known = new Map<string, { readonly at: SwitchPlace | null; readonly until: number }>();
  private readonly asked = new Map<string, Hearer[]>();
  private gathered: string[] = [];
  private gathering: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly registration: Pick<Registration, "registered" | "send">,
  ) {}

  /**
   * Calls `hear` once, at once or within about half a second; undefined: nobody knows.
   * @param text an address in any form; what is none is nowhere, and must not spoil the question of the others
   */
  locate(text: string, hear: Hearer): void {
    const address = canonicalAddress(text);
    if (address === undefined) return hear(undefined);
    const known = this.known.get(address);
    if (known !== undefined && known.until > this.clock.now()) return hear(known.at ?? undefined);
    const asked = this.asked.get(address);
    if (asked !== undefined) {
      asked.push(hear);
      return;
    }
    if (!this.registration.registered || this.asked.size >= ASKED_MAX) return hear(undefined);
    this.asked.set(address, [hear]);
    this.gathered.push(address);
    this.gathering ??= this.clock.setTimer(GATHER_MS, () => this.ask());
  }

  /** False: it is malformed. */
  onPacket(packet: IPublishPacket): boolean {
    const found = readWhereabouts(packet);
    const now = this.clock.now();
    for (const { address, at } of found ?? []) {
      this.known.delete(address);
      if (this.known.size >= KNOWN_MAX) this.forgetOldest();
      this.known.set(address, { at, until: now + (at === null ? UNKNOWN_MS : KNOWN_MS) });
      this.tell(address, at ?? undefined);
    }
    return found !== undefined;
  }

  /** Whoever waits is told that nobody knows. */
  close(): void {
    this.gathering?.cancel();
    for (const address of [...this.asked.keys()]) this.tell(address, undefined);
  }

  private ask(): void {
    this.gathering = undefined;
    const all = this.gathered;
    this.gathered = [];
    for (let at = 0; at < all.length; at += WHEREABOUTS_BATCH) {
      const addresses = all.slice(at, at + WHEREABOUTS_BATCH);
      void this.registration.send(encodeFabricJson(FabricTopic.WHERE, { addresses }));
    }
    const hearers = all.map((address) => this.asked.get(address));
    this.clock.setTimer(PATIENCE_MS, () => {
      for (const [i, address] of all.entries())
        if (this.asked.get(address) === hearers[i]) this.tell(address, undefined);
    });
  }

  private tell(address: string, at: SwitchPlace | undefined): void {
    const hearers = this.asked.get(address) ?? [];
    this.asked.delete(address);
    for (const hear of hearers) hear(at);
  }

  private forgetOldest(): void {
    for (const oldest of this.known.keys()) {
      this.known.delete(oldest);
      break;
    }
  }
}
