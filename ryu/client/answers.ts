import { decodeAction, decodeFlowAction } from "./actions.js";
import { FormatError } from "./errors.js";
import type { JsonValue } from "./json.js";
import { decodeMatch, portNumber, reservedNumber } from "./match.js";
import { Group, Meter, Queue, Table } from "./openflow.js";
import { Fields } from "./read.js";
import type {
  AggregateStats,
  Duration,
  FlowStats,
  GroupDesc,
  GroupFeatures,
  GroupStats,
  MeterBand,
  MeterConfig,
  MeterFeatures,
  MeterFlag,
  MeterStats,
  PortDesc,
  PortStats,
  QueueConfig,
  QueueStats,
  Role,
  SwitchDesc,
  TableFeatureProperty,
  TableFeatures,
  TableStats,
} from "./stats.js";

/* From ofctl_rest's words for what switches answer (ofctl_v1_3.get_*) to the types of stats.ts. */

function duration(f: Fields): Duration {
  return { durationSec: f.u32("duration_sec"), durationNsec: f.u32("duration_nsec") };
}

function port(f: Fields, name = "port_no"): number {
  return f.with(name, portNumber);
}

function reserved(f: Fields, name: string, names: Readonly<Record<string, number>>): number {
  return f.with(name, (value) => reservedNumber(value, names));
}

function oneOf<T extends string>(f: Fields, name: string, values: readonly T[]): T {
  const text = f.text(name);
  const value = values.find((known) => known === text);
  if (value === undefined) throw new FormatError(`${name} is "${text}", not one of ${values.join(", ")}`);
  return value;
}

export function readDesc(f: Fields): SwitchDesc {
  return {
    manufacturer: f.text("mfr_desc"),
    hardware: f.text("hw_desc"),
    software: f.text("sw_desc"),
    serialNumber: f.text("serial_num"),
    datapath: f.text("dp_desc"),
  };
}

export function readFlow(f: Fields): FlowStats {
  return {
    tableId: reserved(f, "table_id", Table),
    priority: f.u32("priority"),
    cookie: f.u64("cookie"),
    idleTimeout: f.u32("idle_timeout"),
    hardTimeout: f.u32("hard_timeout"),
    flags: f.u32("flags"),
    match: decodeMatch(f.nested("match").members()),
    actions: f.array("actions").map(decodeFlowAction),
    packetCount: f.u64("packet_count"),
    byteCount: f.u64("byte_count"),
    ...duration(f),
  };
}

export function readAggregate(f: Fields): AggregateStats {
  return {
    packetCount: f.u64("packet_count"),
    byteCount: f.u64("byte_count"),
    flowCount: f.u32("flow_count"),
  };
}

export function readTable(f: Fields): TableStats {
  return {
    tableId: reserved(f, "table_id", Table),
    activeCount: f.u32("active_count"),
    lookupCount: f.u64("lookup_count"),
    matchedCount: f.u64("matched_count"),
  };
}

export function readTableFeatures(f: Fields): TableFeatures {
  return {
    tableId: reserved(f, "table_id", Table),
    name: f.text("name"),
    metadataMatch: f.u64("metadata_match"),
    metadataWrite: f.u64("metadata_write"),
    config: f.u32("config"),
    maxEntries: f.u32("max_entries"),
    properties: f.list("properties", readTableFeature),
  };
}

function readTableFeature(f: Fields): TableFeatureProperty {
  const id = (g: Fields) => ({ type: g.u32("type"), len: g.u32("len") });
  const oxm = (g: Fields) => ({
    type: String(g.raw("type")),
    hasMask: g.u32("hasmask") !== 0,
    length: g.u32("length"),
  });
  const type = f.text("type");
  if (f.raw("instruction_ids") !== undefined) return { type, instructionIds: f.list("instruction_ids", id) };
  if (f.raw("table_ids") !== undefined) return { type, tableIds: f.array("table_ids").map(Number) };
  if (f.raw("action_ids") !== undefined) return { type, actionIds: f.list("action_ids", id) };
  if (f.raw("oxm_ids") !== undefined) return { type, oxmIds: f.list("oxm_ids", oxm) };
  return { type };
}

export function readPort(f: Fields): PortStats {
  return {
    portNo: port(f),
    rxPackets: f.u64("rx_packets"),
    txPackets: f.u64("tx_packets"),
    rxBytes: f.u64("rx_bytes"),
    txBytes: f.u64("tx_bytes"),
    rxDropped: f.u64("rx_dropped"),
    txDropped: f.u64("tx_dropped"),
    rxErrors: f.u64("rx_errors"),
    txErrors: f.u64("tx_errors"),
    rxFrameErrors: f.u64("rx_frame_err"),
    rxOverErrors: f.u64("rx_over_err"),
    rxCrcErrors: f.u64("rx_crc_err"),
    collisions: f.u64("collisions"),
    ...duration(f),
  };
}

export function readPortDesc(f: Fields): PortDesc {
  return {
    portNo: port(f),
    hwAddr: f.text("hw_addr"),
    name: f.text("name"),
    config: f.u32("config"),
    state: f.u32("state"),
    curr: f.u32("curr"),
    advertised: f.u32("advertised"),
    supported: f.u32("supported"),
    peer: f.u32("peer"),
    currSpeed: f.u32("curr_speed"),
    maxSpeed: f.u32("max_speed"),
  };
}

export function readQueue(f: Fields): QueueStats {
  return {
    portNo: port(f),
    queueId: reserved(f, "queue_id", Queue),
    txBytes: f.u64("tx_bytes"),
    txPackets: f.u64("tx_packets"),
    txErrors: f.u64("tx_errors"),
    ...duration(f),
  };
}

export function readQueueConfig(f: Fields): QueueConfig {
  return {
    portNo: port(f, "port"),
    queues: f.list("queues", (queue) => ({
      portNo: port(queue, "port"),
      queueId: reserved(queue, "queue_id", Queue),
      properties: queue.list("properties", (p) => ({
        property: p.text("property"),
        ...(p.raw("rate") === undefined ? {} : { rate: p.u32("rate") }),
      })),
    })),
  };
}

export function readGroup(f: Fields): GroupStats {
  return {
    groupId: reserved(f, "group_id", Group),
    refCount: f.u32("ref_count"),
    packetCount: f.u64("packet_count"),
    byteCount: f.u64("byte_count"),
    buckets: f.list("bucket_stats", (b) => ({
      packetCount: b.u64("packet_count"),
      byteCount: b.u64("byte_count"),
    })),
    ...duration(f),
  };
}

export function readGroupDesc(f: Fields): GroupDesc {
  return {
    groupId: reserved(f, "group_id", Group),
    type: oneOf(f, "type", ["ALL", "SELECT", "INDIRECT", "FF"]),
    buckets: f.list("buckets", (b) => ({
      weight: b.u32("weight"),
      watchPort: b.u32("watch_port"),
      watchGroup: b.u32("watch_group"),
      actions: b.array("actions").map(decodeAction),
    })),
  };
}

/** `[{"ALL": x}, {"SELECT": y}]`, as ofctl_rest writes maps. */
function readPairs<T>(
  f: Fields,
  name: string,
  read: (value: JsonValue, key: string) => T,
): Record<string, T> {
  const pairs: Record<string, T> = {};
  f.list(name, (entry) => {
    for (const [key, value] of Object.entries(entry.members())) pairs[key] = read(value, key);
  });
  return pairs;
}

export function readGroupFeatures(f: Fields): GroupFeatures {
  return {
    types: f.texts("types"),
    capabilities: f.texts("capabilities"),
    maxGroups: readPairs(f, "max_groups", (value) => Number(value)),
    actions: readPairs(f, "actions", (value, key) => Fields.of({ [key]: value }, "actions").texts(key)),
  };
}

export function readMeter(f: Fields): MeterStats {
  return {
    meterId: reserved(f, "meter_id", Meter),
    flowCount: f.u32("flow_count"),
    packetInCount: f.u64("packet_in_count"),
    byteInCount: f.u64("byte_in_count"),
    bands: f.list("band_stats", (b) => ({
      packetCount: b.u64("packet_band_count"),
      byteCount: b.u64("byte_band_count"),
    })),
    ...duration(f),
  };
}

export function readMeterConfig(f: Fields): MeterConfig {
  return {
    meterId: reserved(f, "meter_id", Meter),
    flags: f.texts("flags") as MeterFlag[],
    bands: f.list("bands", readBand),
  };
}

function readBand(f: Fields): MeterBand {
  const type = oneOf(f, "type", ["DROP", "DSCP_REMARK", "EXPERIMENTER"]);
  const base = { rate: f.u32("rate"), burstSize: f.u32("burst_size") };
  if (type === "DSCP_REMARK") return { type, ...base, precLevel: f.u32("prec_level") };
  if (type === "EXPERIMENTER") return { type, ...base, experimenter: f.u32("experimenter") };
  return { type, ...base };
}

export function readMeterFeatures(f: Fields): MeterFeatures {
  return {
    maxMeter: f.u32("max_meter"),
    bandTypes: f.texts("band_types"),
    capabilities: f.texts("capabilities"),
    maxBands: f.u32("max_bands"),
    maxColor: f.u32("max_color"),
  };
}

export function readRole(f: Fields): Role {
  return {
    role: oneOf(f, "role", ["NOCHANGE", "EQUAL", "MASTER", "SLAVE"]),
    generationId: f.u64("generation_id"),
  };
}
