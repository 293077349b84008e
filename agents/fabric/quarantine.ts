import {
  batchesOf,
  type Clock,
  encodeFabricJson,
  FabricTopic,
  type GuessLimit,
  QUARANTINE_BATCH,
  type QuarantineUpdate,
  readQuarantineUpdate,
  type ShutOut,
  type Timer,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import type { Registration } from "./registration.js";

/** Who is shut out at this agent; the firewall's. */
export interface SharedQuarantine {
  /** All of them, and for how much longer. */
  shutOuts(): readonly ShutOut[];
  /** What the forwarder says. */
  onUpdate(update: QuarantineUpdate): void;
}

/** Wrong passwords wait for others so long before the forwarder is told. */
const GUESSES_MS = 200;

/** Tells the forwarder whom this agent shuts out, and the firewall whom the network does. */
export class Quarantine {
  /** Wrong passwords by source, since the forwarder was last told. */
  private readonly guesses = new Map<string, number>();
  private limit: GuessLimit | undefined;
  private telling: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly registration: Registration,
    private readonly shared: SharedQuarantine | undefined,
  ) {}

  /** Somebody has just been shut out here. */
  report(shut: ShutOut): void {
    if (this.registration.registered) this.send(false, [shut]);
  }

  /** A wrong password. The forwarder adds up those of all edges; of more sources at a time it does not hear. */
  guessed(source: string, limit: GuessLimit): void {
    if (!this.guesses.has(source) && this.guesses.size >= QUARANTINE_BATCH) return;
    this.guesses.set(source, (this.guesses.get(source) ?? 0) + 1);
    this.limit = limit;
    this.telling ??= this.clock.setTimer(GUESSES_MS, () => this.tellGuesses());
  }

  close(): void {
    this.telling?.cancel();
  }

  private tellGuesses(): void {
    this.telling = undefined;
    const failures = [...this.guesses].map(([source, count]) => ({ source, count }));
    this.guesses.clear();
    if (!this.registration.registered) return;
    void this.registration.send(encodeFabricJson(FabricTopic.GUESSES, { ...this.limit, failures }));
  }

  /** The forwarder may be another one, or may not have heard while it was away. */
  onRegistered(): void {
    for (const batch of batchesOf(this.shared?.shutOuts() ?? [])) this.send(true, batch);
  }

  /** False: it is malformed. */
  onPacket(packet: IPublishPacket): boolean {
    const update = readQuarantineUpdate(packet);
    if (update !== undefined) this.shared?.onUpdate(update);
    return update !== undefined;
  }

  private send(again: boolean, shut: readonly ShutOut[]): void {
    void this.registration.send(encodeFabricJson(FabricTopic.QUARANTINE, { again, shut }));
  }
}
