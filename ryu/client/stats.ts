import type { Bucket, FlowAction, GroupType } from "./actions.js";
import type { Match } from "./match.js";

/*
 * What switches answer, in types. Fields that are 64 bits wide in OpenFlow (datapath ids, cookies, packet and byte
 * counters) are bigint, always; narrower ones are number. A counter that the switch does not keep is 2^64 - 1.
 */

/** OFPMP_DESC (section 7.3.5.1). */
export interface SwitchDesc {
  readonly manufacturer: string;
  readonly hardware: string;
  readonly software: string;
  readonly serialNumber: string;
  readonly datapath: string;
}

export interface Duration {
  /** Time since installation: whole seconds, and nanoseconds beyond them. */
  readonly durationSec: number;
  readonly durationNsec: number;
}

/** OFPMP_FLOW (section 7.3.5.2). */
export interface FlowStats extends Duration {
  readonly tableId: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly idleTimeout: number;
  readonly hardTimeout: number;
  readonly flags: number;
  readonly match: Match;
  readonly actions: readonly FlowAction[];
  readonly packetCount: bigint;
  readonly byteCount: bigint;
}

/** OFPMP_AGGREGATE (section 7.3.5.3). */
export interface AggregateStats {
  readonly packetCount: bigint;
  readonly byteCount: bigint;
  readonly flowCount: number;
}

/** OFPMP_TABLE (section 7.3.5.4). */
export interface TableStats {
  readonly tableId: number;
  readonly activeCount: number;
  readonly lookupCount: bigint;
  readonly matchedCount: bigint;
}

/** One property of OFPMP_TABLE_FEATURES (section 7.3.5.5.2), with the lists that ofctl_rest gives for its type. */
export interface TableFeatureProperty {
  readonly type: string;
  readonly instructionIds?: readonly { readonly type: number; readonly len: number }[];
  readonly tableIds?: readonly number[];
  readonly actionIds?: readonly { readonly type: number; readonly len: number }[];
  /** `type` is the field's OXM name, or its number where Ryu knows no name. */
  readonly oxmIds?: readonly { readonly type: string; readonly hasMask: boolean; readonly length: number }[];
}

/** OFPMP_TABLE_FEATURES (section 7.3.5.5). */
export interface TableFeatures {
  readonly tableId: number;
  readonly name: string;
  readonly metadataMatch: bigint;
  readonly metadataWrite: bigint;
  readonly config: number;
  readonly maxEntries: number;
  readonly properties: readonly TableFeatureProperty[];
}

/** OFPMP_PORT_STATS (section 7.3.5.6). */
export interface PortStats extends Duration {
  readonly portNo: number;
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxDropped: bigint;
  readonly txDropped: bigint;
  readonly rxErrors: bigint;
  readonly txErrors: bigint;
  readonly rxFrameErrors: bigint;
  readonly rxOverErrors: bigint;
  readonly rxCrcErrors: bigint;
  readonly collisions: bigint;
}

/** OFPMP_PORT_DESC (section 7.3.5.7); bits of `config` and `state` are in PortConfig and PortState. */
export interface PortDesc {
  readonly portNo: number;
  readonly hwAddr: string;
  readonly name: string;
  readonly config: number;
  readonly state: number;
  readonly curr: number;
  readonly advertised: number;
  readonly supported: number;
  readonly peer: number;
  /** Bit rates in kbit/s. */
  readonly currSpeed: number;
  readonly maxSpeed: number;
}

/** OFPMP_QUEUE (section 7.3.5.8). */
export interface QueueStats extends Duration {
  readonly portNo: number;
  readonly queueId: number;
  readonly txBytes: bigint;
  readonly txPackets: bigint;
  readonly txErrors: bigint;
}

/** OFPT_QUEUE_GET_CONFIG_REPLY (section 7.3.6); rates in tenths of a percent. */
export interface QueueConfig {
  /** The port that was asked for; ANY if all were. */
  readonly portNo: number;
  readonly queues: readonly {
    readonly portNo: number;
    readonly queueId: number;
    readonly properties: readonly { readonly property: string; readonly rate?: number }[];
  }[];
}

/** OFPMP_GROUP (section 7.3.5.9). */
export interface GroupStats extends Duration {
  readonly groupId: number;
  /** Flows and groups that point to this group. Open vSwitch always says 0 or the number of flows. */
  readonly refCount: number;
  readonly packetCount: bigint;
  readonly byteCount: bigint;
  readonly buckets: readonly { readonly packetCount: bigint; readonly byteCount: bigint }[];
}

/** OFPMP_GROUP_DESC (section 7.3.5.10). */
export interface GroupDesc {
  readonly groupId: number;
  readonly type: GroupType;
  readonly buckets: readonly Bucket[];
}

/** OFPMP_GROUP_FEATURES (section 7.3.5.11). */
export interface GroupFeatures {
  readonly types: readonly string[];
  readonly capabilities: readonly string[];
  readonly maxGroups: Readonly<Record<string, number>>;
  readonly actions: Readonly<Record<string, readonly string[]>>;
}

/** OFPMP_METER (section 7.3.5.12). */
export interface MeterStats extends Duration {
  readonly meterId: number;
  readonly flowCount: number;
  readonly packetInCount: bigint;
  readonly byteInCount: bigint;
  readonly bands: readonly { readonly packetCount: bigint; readonly byteCount: bigint }[];
}

export type MeterFlag = "KBPS" | "PKTPS" | "BURST" | "STATS";

/** One band of a meter (section 7.3.4.4): rate in kbit/s or packets/s, burst in kbit or packets. */
export type MeterBand =
  | { readonly type: "DROP"; readonly rate: number; readonly burstSize?: number }
  | {
      readonly type: "DSCP_REMARK";
      readonly rate: number;
      readonly burstSize?: number;
      readonly precLevel: number;
    }
  | {
      readonly type: "EXPERIMENTER";
      readonly rate: number;
      readonly burstSize?: number;
      readonly experimenter: number;
    };

/** OFPMP_METER_CONFIG (section 7.3.5.13). */
export interface MeterConfig {
  readonly meterId: number;
  readonly flags: readonly MeterFlag[];
  readonly bands: readonly MeterBand[];
}

/** OFPMP_METER_FEATURES (section 7.3.5.14). */
export interface MeterFeatures {
  readonly maxMeter: number;
  readonly bandTypes: readonly string[];
  readonly capabilities: readonly string[];
  readonly maxBands: number;
  readonly maxColor: number;
}

export type RoleName = "NOCHANGE" | "EQUAL" | "MASTER" | "SLAVE";

/** OFPT_ROLE_REPLY (section 7.3.9). */
export interface Role {
  readonly role: RoleName;
  readonly generationId: bigint;
}
