import {
  batchesOf,
  type Clock,
  encodeFabricJson,
  FabricTopic,
  type Guessed,
  type GuessLimit,
  QUARANTINE_BATCH,
  type QuarantineUpdate,
  readQuarantineUpdate,
  readUserLock,
  type ShutOut,
  type Timer,
  type UserLock,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import type { Registration } from "./registration.js";

/** Who is shut out at this agent; the firewall's. */
export interface SharedQuarantine {
  /** All of them, and for how much longer. */
  shutOuts(): readonly ShutOut[];
  /** What the forwarder says. */
  onUpdate(update: QuarantineUpdate): void;
  /** Nobody may log in as this user for a time, where he has not before. */
  onUserLock(lock: UserLock): void;
}

/** Wrong passwords wait for others so long before the forwarder is told. */
const GUESSES_MS = 200;

/** Tells the forwarder whom this agent shuts out, and the firewall whom the network does. */
export class Quarantine {
  /** Wrong passwords of each source and for each user, since the forwarder was last told. */
  private readonly guesses = {
    source: { limit: undefined as GuessLimit | undefined, counts: new Map<string, number>() },
    user: { limit: undefined as GuessLimit | undefined, counts: new Map<string, number>() },
  };
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

  /** A wrong password. The forwarder adds up those of all edges; of more sources or users at a time it does not hear. */
  guessed(whose: Guessed, limit: GuessLimit): void {
    const [account, name] =
      "source" in whose ? [this.guesses.source, whose.source] : [this.guesses.user, whose.user];
    const { counts } = account;
    if (!counts.has(name) && counts.size >= QUARANTINE_BATCH) return;
    counts.set(name, (counts.get(name) ?? 0) + 1);
    account.limit = limit;
    this.telling ??= this.clock.setTimer(GUESSES_MS, () => this.tellGuesses());
  }

  close(): void {
    this.telling?.cancel();
  }

  private tellGuesses(): void {
    this.telling = undefined;
    for (const [kind, { limit, counts }] of Object.entries(this.guesses)) {
      const failures = [...counts].map(([name, count]) => ({ [kind]: name, count }));
      counts.clear();
      if (failures.length === 0 || !this.registration.registered) continue;
      void this.registration.send(encodeFabricJson(FabricTopic.GUESSES, { ...limit, failures }));
    }
  }

  /** The forwarder may be another one, or may not have heard while it was away. */
  onRegistered(): void {
    for (const batch of batchesOf(this.shared?.shutOuts() ?? [])) this.send(true, batch);
  }

  /** False: it is malformed. */
  onPacket(packet: IPublishPacket): boolean {
    if (packet.topic === FabricTopic.LOCK) {
      const lock = readUserLock(packet);
      if (lock !== undefined) this.shared?.onUserLock(lock);
      return lock !== undefined;
    }
    const update = readQuarantineUpdate(packet);
    if (update !== undefined) this.shared?.onUpdate(update);
    return update !== undefined;
  }

  private send(again: boolean, shut: readonly ShutOut[]): void {
    void this.registration.send(encodeFabricJson(FabricTopic.QUARANTINE, { again, shut }));
  }
}
