import { type Bucket, encodeAction, encodeBucket, type FlowAction, type GroupType } from "./actions.js";
import { FormatError } from "./errors.js";
import type { LiteralValue } from "./literal.js";
import { encodeMatch, type Match } from "./match.js";
import type { MeterBand, MeterFlag } from "./stats.js";

/** A flow to be added or modified (ofp_flow_mod, section 7.3.4.1). Defaults: table 0, priority 0, cookie 0, no match. */
export interface FlowEntry {
  readonly tableId?: number;
  /** 0–65535. */
  readonly priority?: number;
  readonly cookie?: bigint;
  /** MODIFY only: change only flows whose cookie agrees in these bits. */
  readonly cookieMask?: bigint;
  /** Seconds without a packet after which the switch drops the flow; 0: never. */
  readonly idleTimeout?: number;
  /** Seconds after which the switch drops the flow; 0: never. */
  readonly hardTimeout?: number;
  /** Bits of FlowFlag. */
  readonly flags?: number;
  readonly bufferId?: number;
  readonly match?: Match;
  readonly actions?: readonly FlowAction[];
}

/**
 * Which flows to delete. Defaults: table 0, every match. A strict delete takes exactly the flow of this priority and
 * match; otherwise priority is ignored and every flow that is at least as specific goes.
 */
export interface FlowSelector {
  /** `Table.ALL` for all tables. */
  readonly tableId?: number;
  readonly priority?: number;
  readonly cookie?: bigint;
  /** Delete only flows whose cookie agrees with `cookie` in these bits. Default 0: whatever the cookie. */
  readonly cookieMask?: bigint;
  /** Delete only flows that output to this port. */
  readonly outPort?: number;
  /** Delete only flows that output to this group. */
  readonly outGroup?: number;
  readonly match?: Match;
}

/** Which flows to report. Defaults: all tables, everything. */
export interface FlowFilter extends FlowSelector {
  /** Applied by Ryu after the switch has sent every flow that agrees with the rest. */
  readonly priority?: number;
}

export interface GroupEntry {
  readonly groupId: number;
  readonly type: GroupType;
  readonly buckets: readonly Bucket[];
}

export interface MeterEntry {
  readonly meterId: number;
  readonly flags: readonly MeterFlag[];
  readonly bands: readonly MeterBand[];
}

/** OFPT_PORT_MOD (section 7.3.4.5): sets the `mask` bits of the port's configuration to those of `config`. */
export interface PortChange {
  readonly portNo: number;
  /** Bits of PortConfig. */
  readonly config: number;
  readonly mask: number;
  /** Default: what Ryu knows of the port. */
  readonly hwAddr?: string;
  readonly advertise?: number;
}

/** OFPT_EXPERIMENTER (section 7.5.4). */
export interface ExperimenterMessage {
  readonly experimenter: number;
  readonly expType: number;
  readonly data: Uint8Array;
}

export type Body = Record<string, LiteralValue | undefined>;

/** Ryu would answer 500 for a number that does not fit its field, or send another one. */
function uint<T extends number | bigint | undefined>(name: string, bits: 8 | 16 | 32 | 64, value: T): T {
  if (value === undefined) return value;
  const wide = bits === 64;
  const right = wide ? typeof value === "bigint" : Number.isInteger(value);
  if (!right || value < 0 || value >= 2n ** BigInt(bits)) {
    throw new FormatError(
      `${name} must be ${wide ? "a bigint" : "an integer"} of ${bits} bits, not ${value}`,
    );
  }
  return value;
}

export function encodeFlow(flow: FlowEntry): Body {
  return {
    table_id: uint("tableId", 8, flow.tableId),
    priority: uint("priority", 16, flow.priority),
    cookie: uint("cookie", 64, flow.cookie),
    cookie_mask: uint("cookieMask", 64, flow.cookieMask),
    idle_timeout: uint("idleTimeout", 16, flow.idleTimeout),
    hard_timeout: uint("hardTimeout", 16, flow.hardTimeout),
    flags: uint("flags", 16, flow.flags),
    buffer_id: uint("bufferId", 32, flow.bufferId),
    match: encodeMatch(flow.match ?? {}),
    actions: (flow.actions ?? []).map(encodeAction),
  };
}

export function encodeSelector(selector: FlowSelector): Body {
  return {
    table_id: uint("tableId", 8, selector.tableId),
    priority: uint("priority", 16, selector.priority),
    cookie: uint("cookie", 64, selector.cookie),
    cookie_mask: uint("cookieMask", 64, selector.cookieMask),
    out_port: uint("outPort", 32, selector.outPort),
    out_group: uint("outGroup", 32, selector.outGroup),
    match: encodeMatch(selector.match ?? {}),
  };
}

export function encodeGroup(group: GroupEntry): Body {
  return {
    group_id: uint("groupId", 32, group.groupId),
    type: group.type,
    buckets: group.buckets.map(encodeBucket),
  };
}

export function encodeGroupId(groupId: number): Body {
  return { group_id: uint("groupId", 32, groupId) };
}

export function encodeMeter(meter: MeterEntry): Body {
  return {
    meter_id: uint("meterId", 32, meter.meterId),
    flags: [...meter.flags],
    bands: meter.bands.map((band) => ({
      type: band.type,
      rate: uint("rate", 32, band.rate),
      burst_size: uint("burstSize", 32, band.burstSize ?? 0),
      prec_level: band.type === "DSCP_REMARK" ? uint("precLevel", 8, band.precLevel) : undefined,
      experimenter: band.type === "EXPERIMENTER" ? uint("experimenter", 32, band.experimenter) : undefined,
    })),
  };
}

export function encodeMeterId(meterId: number): Body {
  return { meter_id: uint("meterId", 32, meterId) };
}

export function encodePortChange(change: PortChange): Body {
  return {
    port_no: uint("portNo", 32, change.portNo),
    config: uint("config", 32, change.config),
    mask: uint("mask", 32, change.mask),
    hw_addr: change.hwAddr,
    advertise: uint("advertise", 32, change.advertise),
  };
}

export function encodeExperimenter(message: ExperimenterMessage): Body {
  return {
    experimenter: uint("experimenter", 32, message.experimenter),
    exp_type: uint("expType", 32, message.expType),
    data: Buffer.from(message.data).toString("base64"),
    data_type: "base64",
  };
}
