import { type Bucket, encodeAction, encodeBucket, type FlowAction, type GroupType } from "./actions.js";
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

export function encodeFlow(flow: FlowEntry): Body {
  return {
    table_id: flow.tableId,
    priority: flow.priority,
    cookie: flow.cookie,
    cookie_mask: flow.cookieMask,
    idle_timeout: flow.idleTimeout,
    hard_timeout: flow.hardTimeout,
    flags: flow.flags,
    buffer_id: flow.bufferId,
    match: encodeMatch(flow.match ?? {}),
    actions: (flow.actions ?? []).map(encodeAction),
  };
}

export function encodeSelector(selector: FlowSelector): Body {
  return {
    table_id: selector.tableId,
    priority: selector.priority,
    cookie: selector.cookie,
    cookie_mask: selector.cookieMask,
    out_port: selector.outPort,
    out_group: selector.outGroup,
    match: encodeMatch(selector.match ?? {}),
  };
}

export function encodeGroup(group: GroupEntry): Body {
  return { group_id: group.groupId, type: group.type, buckets: group.buckets.map(encodeBucket) };
}

export function encodeMeter(meter: MeterEntry): Body {
  return {
    meter_id: meter.meterId,
    flags: [...meter.flags],
    bands: meter.bands.map((band) => ({
      type: band.type,
      rate: band.rate,
      burst_size: band.burstSize ?? 0,
      prec_level: band.type === "DSCP_REMARK" ? band.precLevel : undefined,
      experimenter: band.type === "EXPERIMENTER" ? band.experimenter : undefined,
    })),
  };
}

export function encodePortChange(change: PortChange): Body {
  return {
    port_no: change.portNo,
    config: change.config,
    mask: change.mask,
    hw_addr: change.hwAddr,
    advertise: change.advertise,
  };
}

export function encodeExperimenter(message: ExperimenterMessage): Body {
  return {
    experimenter: message.experimenter,
    exp_type: message.expType,
    data: Buffer.from(message.data).toString("base64"),
    data_type: "base64",
  };
}
