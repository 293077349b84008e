import {
  batchesOf,
  encodeFabricJson,
  FabricTopic,
  type QuarantineUpdate,
  readQuarantineUpdate,
  type ShutOut,
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

/** Tells the forwarder whom this agent shuts out, and the firewall whom the network does. */
export class Quarantine {
  constructor(
    private readonly registration: Registration,
    private readonly shared: SharedQuarantine | undefined,
  ) {}

  /** Somebody has just been shut out here. */
  report(shut: ShutOut): void {
    if (this.registration.registered) this.send(false, [shut]);
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
