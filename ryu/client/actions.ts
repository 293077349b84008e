import { FormatError } from "./errors.js";
import type { JsonValue } from "./json.js";
import type { LiteralValue } from "./literal.js";
import { decodeField, normalizeField, reservedNumber } from "./match.js";
import { Group, isOxmField, Meter, type OxmField, Port, Queue, Table } from "./openflow.js";

/** What a bucket, or a flow's apply-actions, may do with a packet (section 7.2.4), in this order. */
export type Action =
  /** `maxLen` (bytes of a packet-in, default 65509) is not printed by ofctl_rest and takes no part in comparison. */
  | { readonly type: "OUTPUT"; readonly port: number; readonly maxLen?: number }
  | { readonly type: "GROUP"; readonly groupId: number }
  /** `value` is written as in a match, without mask; for `vlan_vid` the VLAN id. */
  | { readonly type: "SET_FIELD"; readonly field: OxmField; readonly value: string | number | bigint }
  | { readonly type: "SET_QUEUE"; readonly queueId: number }
  | { readonly type: "PUSH_VLAN" | "PUSH_MPLS" | "POP_MPLS" | "PUSH_PBB"; readonly ethertype: number }
  | { readonly type: "SET_MPLS_TTL" | "SET_NW_TTL"; readonly ttl: number }
  | {
      readonly type: "POP_VLAN" | "POP_PBB" | "COPY_TTL_OUT" | "COPY_TTL_IN" | "DEC_MPLS_TTL" | "DEC_NW_TTL";
    }
  | { readonly type: "EXPERIMENTER"; readonly experimenter: number; readonly data: Uint8Array }
  /** Only in what a switch answers: an action that this client does not know, as printed. */
  | { readonly type: "UNKNOWN"; readonly text: string };

/** The other instructions of a flow (section 7.2.5), which ofctl_rest lists among its actions. */
export type Instruction =
  | { readonly type: "WRITE_ACTIONS"; readonly actions: readonly Action[] }
  | { readonly type: "CLEAR_ACTIONS" }
  | { readonly type: "GOTO_TABLE"; readonly tableId: number }
  | { readonly type: "WRITE_METADATA"; readonly metadata: bigint; readonly mask?: bigint }
  | { readonly type: "METER"; readonly meterId: number };

export type FlowAction = Action | Instruction;

export type GroupType = "ALL" | "SELECT" | "INDIRECT" | "FF";

/** One bucket of a group (section 7.3.4.3). Defaults: weight 0, no port and no group watched. */
export interface Bucket {
  readonly actions: readonly Action[];
  readonly weight?: number;
  readonly watchPort?: number;
  readonly watchGroup?: number;
}

const ETHERTYPE = ["PUSH_VLAN", "PUSH_MPLS", "POP_MPLS", "PUSH_PBB"] as const;
const BARE = ["POP_VLAN", "POP_PBB", "COPY_TTL_OUT", "COPY_TTL_IN", "DEC_MPLS_TTL", "DEC_NW_TTL"] as const;
const OFPVID_PRESENT = 0x1000;
const ALL_BITS = (1n << 64n) - 1n;

/** A flow's or bucket's action in the words of ofctl_rest's request bodies. Throws FormatError. */
export function encodeAction(action: FlowAction): LiteralValue {
  switch (action.type) {
    case "OUTPUT":
      return { type: action.type, port: action.port, max_len: action.maxLen };
    case "GROUP":
      return { type: action.type, group_id: action.groupId };
    case "SET_FIELD":
      return { type: action.type, field: action.field, value: encodeSetValue(action) };
    case "SET_QUEUE":
      return { type: action.type, queue_id: action.queueId };
    case "SET_MPLS_TTL":
      return { type: action.type, mpls_ttl: action.ttl };
    case "SET_NW_TTL":
      return { type: action.type, nw_ttl: action.ttl };
    case "EXPERIMENTER":
      return {
        type: action.type,
        experimenter: action.experimenter,
        data: Buffer.from(action.data).toString("base64"),
        data_type: "base64",
      };
    case "WRITE_ACTIONS":
      return { type: action.type, actions: action.actions.map(encodeAction) };
    case "GOTO_TABLE":
      return { type: action.type, table_id: action.tableId };
    case "WRITE_METADATA":
      return { type: action.type, metadata: action.metadata, metadata_mask: action.mask };
    case "METER":
      return { type: action.type, meter_id: action.meterId };
    case "UNKNOWN":
      throw new FormatError(`action "${action.text}" can be read but not sent`);
    default:
      return "ethertype" in action
        ? { type: action.type, ethertype: action.ethertype }
        : { type: action.type };
  }
}

export function encodeBucket(bucket: Bucket): LiteralValue {
  return {
    weight: bucket.weight ?? 0,
    watch_port: bucket.watchPort ?? Port.ANY,
    watch_group: bucket.watchGroup ?? Group.ANY,
    actions: bucket.actions.map(encodeAction),
  };
}

type SetField = Extract<Action, { type: "SET_FIELD" }>;

function normalSetValue({ field, value }: SetField): string | number | bigint {
  if (!isOxmField(field)) throw new FormatError(`field ${String(field)} is not one of OpenFlow 1.3's`);
  const normal = normalizeField(field, value);
  const masked = typeof normal === "object" || (typeof normal === "string" && normal.includes("/"));
  if (normal === undefined || masked || normal === "none" || normal === "any") {
    throw new FormatError(`SET_FIELD ${field} needs a plain value, not ${value}`);
  }
  return normal;
}

function encodeSetValue(action: SetField): LiteralValue {
  const value = normalSetValue(action);
  return action.field === "vlan_vid" ? Number(value) | OFPVID_PRESENT : value;
}

/**
 * Reads an action as ofctl_rest prints it: `OUTPUT:2`, `OUTPUT:CONTROLLER`, `GROUP:7`,
 * `SET_FIELD: {eth_dst:aa:bb:cc:dd:ee:ff}`, `{"WRITE_ACTIONS": [...]}` … Never throws: what it does not know is UNKNOWN.
 */
export function decodeFlowAction(printed: JsonValue): FlowAction {
  if (typeof printed === "object" && printed !== null && !Array.isArray(printed)) {
    const written = printed.WRITE_ACTIONS;
    if (Array.isArray(written)) return { type: "WRITE_ACTIONS", actions: written.map(decodeAction) };
  }
  if (typeof printed !== "string") return unknown(printed);
  const [type, argument] = split(printed);
  try {
    switch (type) {
      case "CLEAR_ACTIONS":
        return { type };
      case "GOTO_TABLE":
        return { type, tableId: reservedNumber(argument, Table) };
      case "METER":
        return { type, meterId: reservedNumber(argument, Meter) };
      case "WRITE_METADATA":
        return decodeWriteMetadata(argument);
      default:
        return decodeAction(printed);
    }
  } catch (error) {
    return unknownIf(error, printed);
  }
}

/** Like `decodeFlowAction`, for places where only actions can stand. */
export function decodeAction(printed: JsonValue): Action {
  if (typeof printed !== "string") return unknown(printed);
  const [type, argument] = split(printed);
  try {
    switch (type) {
      case "OUTPUT":
        return { type, port: reservedNumber(argument, Port) };
      case "GROUP":
        return { type, groupId: reservedNumber(argument, Group) };
      case "SET_QUEUE":
        return { type, queueId: reservedNumber(argument, Queue) };
      case "SET_MPLS_TTL":
      case "SET_NW_TTL":
        return { type, ttl: reservedNumber(argument, {}) };
      case "SET_FIELD":
        return decodeSetField(printed);
      case "EXPERIMENTER":
        return decodeExperimenter(printed);
      default:
        break;
    }
    const ethertype = ETHERTYPE.find((known) => known === type);
    if (ethertype !== undefined) return { type: ethertype, ethertype: reservedNumber(argument, {}) };
    const bare = BARE.find((known) => known === printed);
    return bare !== undefined ? { type: bare } : unknown(printed);
  } catch (error) {
    return unknownIf(error, printed);
  }
}

function split(printed: string): [type: string, argument: string] {
  const colon = printed.indexOf(":");
  return colon < 0 ? [printed, ""] : [printed.slice(0, colon), printed.slice(colon + 1)];
}

function unknown(printed: JsonValue): { type: "UNKNOWN"; text: string } {
  return { type: "UNKNOWN", text: typeof printed === "string" ? printed : String(JSON.stringify(printed)) };
}

function unknownIf(error: unknown, printed: string): { type: "UNKNOWN"; text: string } {
  if (error instanceof FormatError) return unknown(printed);
  throw error;
}

function decodeSetField(printed: string): Action {
  const [, field, text] = /^SET_FIELD: \{([a-z0-9_]+):(.*)\}$/.exec(printed) ?? [];
  if (field === undefined || text === undefined || !isOxmField(field)) return unknown(printed);
  const plain = field === "vlan_vid" ? String(Number(text) & ~OFPVID_PRESENT) : text;
  const value = decodeField(field, plain);
  if (value === undefined || typeof value === "object" || value === "none" || value === "any") {
    return unknown(printed);
  }
  return { type: "SET_FIELD", field, value };
}

function decodeExperimenter(printed: string): Action {
  const [, id, data] =
    /^EXPERIMENTER: \{experimenter:([0-9]+), data:([A-Za-z0-9+/=]*)\}$/.exec(printed) ?? [];
  if (id === undefined || data === undefined) return unknown(printed);
  return { type: "EXPERIMENTER", experimenter: Number(id), data: Buffer.from(data, "base64") };
}

function decodeWriteMetadata(argument: string): Instruction {
  const [, metadata, mask] = /^(0x[0-9a-f]+)(?:\/(0x[0-9a-f]+))?$/.exec(argument) ?? [];
  if (metadata === undefined) throw new FormatError(`WRITE_METADATA:${argument}`);
  const base = { type: "WRITE_METADATA", metadata: BigInt(metadata) } as const;
  return mask === undefined || BigInt(mask) === ALL_BITS ? base : { ...base, mask: BigInt(mask) };
}

/**
 * The canonical text of what a flow does: equal for equal action lists, whatever the notation. The order of actions
 * counts (section 5.10); instructions have a fixed order of their own (section 5.9), so theirs does not.
 */
export function actionsKey(actions: readonly FlowAction[]): string {
  const apply: string[] = [];
  const instructions: string[] = [];
  for (const action of actions) {
    switch (action.type) {
      case "WRITE_ACTIONS":
        if (action.actions.length > 0) instructions.push(`write(${actionsKey(action.actions)})`);
        break;
      case "CLEAR_ACTIONS":
        instructions.push("clear");
        break;
      case "GOTO_TABLE":
        instructions.push(`goto:${action.tableId}`);
        break;
      case "METER":
        instructions.push(`meter:${action.meterId}`);
        break;
      case "WRITE_METADATA": {
        const mask = action.mask ?? ALL_BITS;
        instructions.push(`metadata:${action.metadata & mask}/${mask}`);
        break;
      }
      default:
        apply.push(actionText(action));
    }
  }
  return [...apply, ...instructions.sort()].join(";");
}

function actionText(action: Action): string {
  switch (action.type) {
    case "OUTPUT":
      return `output:${action.port}`;
    case "GROUP":
      return `group:${action.groupId}`;
    case "SET_FIELD":
      return `${action.field}=${normalSetValue(action)}`;
    case "SET_QUEUE":
      return `queue:${action.queueId}`;
    case "EXPERIMENTER":
      return `experimenter:${action.experimenter}:${Buffer.from(action.data).toString("hex")}`;
    case "UNKNOWN":
      return `unknown:${action.text}`;
    case "SET_MPLS_TTL":
    case "SET_NW_TTL":
      return `${action.type}:${action.ttl}`;
    default:
      return "ethertype" in action ? `${action.type}:${action.ethertype}` : action.type;
  }
}

/**
 * The canonical text of what a group does. The buckets of an *all* group are a set; the order of the others counts
 * (*fast failover*) or is kept (*select*).
 */
export function groupKey(type: GroupType, buckets: readonly Bucket[]): string {
  const texts = buckets.map((bucket) => {
    const weight = type === "SELECT" ? (bucket.weight ?? 0) : 0;
    const port = bucket.watchPort ?? Port.ANY;
    const group = bucket.watchGroup ?? Group.ANY;
    return `${weight},${port},${group}(${actionsKey(bucket.actions)})`;
  });
  if (type === "ALL") texts.sort();
  return `${type}[${texts.join("|")}]`;
}
