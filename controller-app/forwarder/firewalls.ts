import {
  encodeFabricJson,
  FabricTopic,
  readGuesses,
  readQuarantineReport,
  readWhere,
} from "@topicast/protocol";
import type { IPublishPacket } from "mqtt-packet";
import type { PortRef } from "../dataplane/dataplane.js";
import type { Agent } from "./agents.js";
import { Guesses } from "./guesses.js";
import { QuarantineList, type QuarantineOptions } from "./quarantine.js";

export interface FirewallsOptions extends QuarantineOptions {
  /** See `Dataplane.seenAt`. */
  readonly seenAt: (address: string) => PortRef | null;
}

/** What the firewalls of all agents tell and ask: whom they shut out, who guesses passwords, where an address is. */
export class Firewalls {
  readonly quarantine: QuarantineList;
  readonly guesses: Guesses;

  constructor(private readonly options: FirewallsOptions) {
    const { clock, agents } = options;
    this.quarantine = new QuarantineList(options);
    this.guesses = new Guesses({
      ...{ clock, agents },
      shutOut: (source, ...why) => this.quarantine.add(source, ...why),
    });
  }

  /** Of `$fabric/guesses`, `$fabric/quarantine` or `$fabric/where`. False: it is malformed. */
  onPacket(agent: Agent, packet: IPublishPacket): boolean {
    if (packet.topic === FabricTopic.WHERE) return this.tellWhere(agent, readWhere(packet));
    if (packet.topic === FabricTopic.GUESSES) {
      const report = readGuesses(packet);
      if (report !== undefined) this.guesses.onReport(agent, report);
      return report !== undefined;
    }
    const report = readQuarantineReport(packet);
    if (report !== undefined) this.quarantine.onReport(agent, report);
    return report !== undefined;
  }

  private tellWhere(agent: Agent, addresses: readonly string[] | undefined): boolean {
    if (addresses === undefined) return false;
    const found = addresses.map((address) => ({ address, at: this.options.seenAt(address) }));
    void agent.channel.send(encodeFabricJson(FabricTopic.WHERE, { found }));
    return true;
  }
}
