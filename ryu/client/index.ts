export {
  type Action,
  actionsKey,
  type Bucket,
  decodeAction,
  decodeFlowAction,
  encodeAction,
  type FlowAction,
  type GroupType,
  groupKey,
  type Instruction,
} from "./actions.js";
export { RyuClient, type RyuClientOptions } from "./client.js";
export type {
  ExperimenterMessage,
  FlowEntry,
  FlowFilter,
  FlowSelector,
  GroupEntry,
  MeterEntry,
  PortChange,
} from "./commands.js";
export {
  FormatError,
  formatDpid,
  parseDpid,
  RyuError,
  type RyuErrorDetails,
  type RyuErrorKind,
} from "./errors.js";
export type { CallOptions } from "./http.js";
export { type JsonObject, type JsonValue, parseJson } from "./json.js";
export { type LiteralValue, pythonLiteral } from "./literal.js";
export {
  decodeMatch,
  encodeMatch,
  type Ipv4Text,
  type Ipv6Text,
  type MacText,
  type Masked,
  type Match,
  matchKey,
  normalizeMatch,
  sameMatch,
} from "./match.js";
export {
  FlowFlag,
  Group,
  MaxLen,
  Meter,
  type OxmField,
  Port,
  PortConfig,
  PortState,
  Queue,
  Table,
} from "./openflow.js";
export type * from "./stats.js";
export type { TopologyHost, TopologyLink, TopologyPort, TopologySwitch } from "./topology.js";
