import type { Clock, Endpoint, Header } from "@topicast/protocol";
import type { Dataplane } from "../dataplane/dataplane.js";
import type { RetainedKeeper } from "../retained/keeper.js";
import type { RetainedStorage } from "../retained/storage.js";
import type { WasteBounds } from "./group-books.js";
import type { RegistryEvent } from "./registry.js";
import type { StandInLimits } from "./stand-ins.js";

export interface ForwarderOptions {
  readonly clock: Clock;
  /** Milliseconds since 1970, from which the epoch is made. */
  readonly unixTime: () => number;
  readonly dataplane: Dataplane;
  /** The groups' address range: first address (u32) and how many. */
  readonly groupRange: { readonly base: number; readonly size: number };
  /** What may be wasted where switches have no room for a group of each edge set; `defaultWaste` where absent. */
  readonly waste?: WasteBounds | undefined;
  /** The UDP port of the fabric; group datagrams go to it. */
  readonly port: number;
  readonly payloadBytes: number;
  /** Where retained messages are kept; for as long as this process lives where absent. */
  readonly retained?: RetainedKeeper;
  /** Where agents' wills are kept, and what is there; nowhere where absent. */
  readonly wills?: {
    readonly storage: RetainedStorage;
    readonly entries: Iterable<readonly [key: string, value: Buffer]>;
  };
  /** Where the quarantine is kept, likewise. */
  readonly quarantine?: RetainedStorage;
  /** Where messages for edges that are away are kept, what is there, and how much of it may be; `STAND_IN_LIMITS` where absent. */
  readonly absent?: {
    readonly storage: RetainedStorage;
    readonly entries: Iterable<readonly [key: string, value: Buffer]>;
    readonly limits?: StandInLimits | undefined;
  };
  /** Sources that are never shut out, beside agents. */
  readonly isSafe?: (source: string) => boolean;
  /** Counters of the socket, by snake_case name. */
  readonly socketStats?: () => Record<string, number>;
  /** Proxies that speak the plain form. */
  readonly legacyProxies?: readonly Endpoint[];
  /** Puts bare MQTT packets on the wire. */
  readonly transmitPlain: (packets: Buffer, to: Endpoint) => void;
  /** Puts one datagram on the wire; may lose it. */
  readonly transmit: (header: Header, payload: Buffer, to: Endpoint) => void;
  readonly onEvent: (event: ForwarderEvent) => void;
}

export type ForwarderEvent =
  | { readonly type: "settled"; readonly afterMs: number; readonly agents: number }
  | RegistryEvent;
