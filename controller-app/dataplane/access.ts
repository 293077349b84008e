import type { Match } from "node-ryu-rest-client";
import type { Command, SeenFlow, SwitchState } from "./diff.js";
import type { TopologySnapshot } from "./topology.js";
import type { Dpid } from "./tree.js";

/**
 * The narrow way to the switches. Behind it is Ryu; in tests also a model with Ryu's habits and virtual time. Every
 * method rejects with an AccessError.
 */
export interface SwitchAccess {
  readonly url: string;
  topology(): Promise<TopologySnapshot>;
  /**
   * Waits, for some time, until the topology is another than at `version` (undefined: none is known); the version of then.
   * Undefined where this Ryu cannot tell.
   */
  changed(version: string | undefined): Promise<string | undefined>;
  /** Everything in this switch that is ours, complete; it reflects every command that has resolved before. */
  read(dpid: Dpid): Promise<SwitchState>;
  /**
   * What the switch says of one group, undefined where it has none of this id; reflects every command that has resolved
   * before. Costs the same whatever else the switch holds.
   */
  probe(dpid: Dpid, groupId: number): Promise<Probe | undefined>;
  /** Our flow of a group with exactly this match, undefined where there is none; likewise. */
  flowOf(dpid: Dpid, match: Match): Promise<SeenFlow | undefined>;
  /** Resolves when the command is on its way to the switch, *before* the switch has judged it. */
  apply(dpid: Dpid, command: Command): Promise<void>;
  close(): void;
}

export interface Probe {
  /** Number of its buckets. */
  readonly buckets: number;
  /** Number of flows that point to it (`ref_count`); a switch may not keep this and say 0 or 2^32 - 1. */
  readonly flows: number;
}

/**
 * | kind          | meaning                                                                       |
 * | ------------- | ----------------------------------------------------------------------------- |
 * | `unreachable` | Ryu does not answer                                                           |
 * | `no-switch`   | Ryu answers, the switch is not connected to it                                |
 * | `incomplete`  | the switch did not tell Ryu everything in time: what it holds is not known    |
 * | `failed`      | anything else                                                                 |
 */
export type AccessErrorKind = "unreachable" | "no-switch" | "incomplete" | "failed";

export class AccessError extends Error {
  override readonly name = "AccessError";
  constructor(
    readonly kind: AccessErrorKind,
    message: string,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }
}
