/** What an `OpenFlowDataplane` is given, and its times. */
import type { Clock, Endpoint } from "@topicast/protocol";
import type { SwitchAccess } from "./access.js";
import type { SwitchLimits } from "./limits.js";
import type { GroupRange } from "./rules.js";
import { defaultTiming, type TopologyTiming } from "./topology.js";
import type { Dpid } from "./tree.js";
import { defaultWatchTiming, type WatchTiming } from "./watch.js";
import { defaultWorkerTiming, type WorkerTiming } from "./worker.js";

export interface OpenFlowTiming extends TopologyTiming, WorkerTiming, WatchTiming {
  /** Ms within which `want` is answered. */
  readonly wantMs: number;
  /** Ms within which `drop` and `adopt` are answered. */
  readonly dropMs: number;
  readonly adoptMs: number;
  /** Ms between complete read-backs of a switch; more where they would cost over a tenth of the time. */
  readonly readMs: number;
}

export const defaultOpenFlowTiming: OpenFlowTiming = {
  ...defaultTiming,
  ...defaultWorkerTiming,
  ...defaultWatchTiming,
  wantMs: 1_000,
  dropMs: 1_000,
  adoptMs: 3_000,
  readMs: 1_000,
};

/** Where changes are explained; pino's Logger is one. */
export interface DataplaneLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface OpenFlowOptions {
  readonly access: SwitchAccess;
  readonly clock: Clock;
  readonly range: GroupRange;
  readonly log: DataplaneLog;
  /** What each switch may hold; everything where absent. */
  readonly limits?: (dpid: Dpid) => SwitchLimits;
  /** The forwarder's fabric socket. Where it is told, fabric datagrams are kept off that come from where no agent lives. */
  readonly forwarder?: Endpoint | undefined;
  readonly timing?: Partial<OpenFlowTiming>;
}
