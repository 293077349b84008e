import { normalizeAddress } from "./address.js";
import { FormatError } from "./errors.js";
import type { JsonValue } from "./json.js";
import type { LiteralValue } from "./literal.js";
import { type FieldKind, fieldKind, isOxmField, type OxmField, Port } from "./openflow.js";

/** A value of which only the bits set in `mask` count. */
export interface Masked<T> {
  readonly value: T;
  readonly mask: T;
}

/** `aa:bb:cc:dd:ee:ff`, or with a mask `01:00:5e:00:00:00/ff:ff:ff:80:00:00`. */
export type MacText = string;
/** `10.0.0.1`, `10.0.0.0/8` or `10.0.0.0/255.0.0.0`. */
export type Ipv4Text = string;
/** `2001:db8::1`, `2001:db8::/32` or with the mask written out. */
export type Ipv6Text = string;

/**
 * Which packets a flow is for. Field names are OpenFlow's (section 7.2.3.7); the prerequisites are the caller's
 * business, e.g. `ipv4_dst` needs `eth_type: 0x0800`: without it the switch refuses the flow and Ryu still says 200.
 */
export interface Match {
  readonly in_port?: number;
  readonly in_phy_port?: number;
  readonly metadata?: bigint | Masked<bigint>;
  readonly eth_dst?: MacText;
  readonly eth_src?: MacText;
  readonly eth_type?: number;
  /** A VLAN id (0–4095), `"none"` for untagged packets only, `"any"` for tagged packets only. */
  readonly vlan_vid?: number | "none" | "any";
  readonly vlan_pcp?: number;
  readonly ip_dscp?: number;
  readonly ip_ecn?: number;
  readonly ip_proto?: number;
  readonly ipv4_src?: Ipv4Text;
  readonly ipv4_dst?: Ipv4Text;
  readonly tcp_src?: number;
  readonly tcp_dst?: number;
  readonly udp_src?: number;
  readonly udp_dst?: number;
  readonly sctp_src?: number;
  readonly sctp_dst?: number;
  readonly icmpv4_type?: number;
  readonly icmpv4_code?: number;
  readonly arp_op?: number;
  readonly arp_spa?: Ipv4Text;
  readonly arp_tpa?: Ipv4Text;
  readonly arp_sha?: MacText;
  readonly arp_tha?: MacText;
  readonly ipv6_src?: Ipv6Text;
  readonly ipv6_dst?: Ipv6Text;
  readonly ipv6_flabel?: number;
  readonly icmpv6_type?: number;
  readonly icmpv6_code?: number;
  readonly ipv6_nd_target?: Ipv6Text;
  readonly ipv6_nd_sll?: MacText;
  readonly ipv6_nd_tll?: MacText;
  readonly mpls_label?: number;
  readonly mpls_tc?: number;
  readonly mpls_bos?: number;
  readonly pbb_isid?: number | Masked<number>;
  readonly tunnel_id?: bigint | Masked<bigint>;
  readonly ipv6_exthdr?: number | Masked<number>;
  /**
   * Only in what a switch answers: fields that ofctl_rest prints but does not accept (Nicira extensions, masks on
   * ports), by their printed name and value. Sending a match with this is an error.
   */
  readonly other?: Readonly<Record<string, string>>;
}

type FieldValue = NonNullable<Match[OxmField]>;

/** The names that ofctl_rest prints for historical reasons instead of OpenFlow's (ofctl_v1_3.match_to_str). */
const OLD_NAMES: Readonly<Record<string, OxmField>> = {
  dl_src: "eth_src",
  dl_dst: "eth_dst",
  dl_type: "eth_type",
  dl_vlan: "vlan_vid",
  nw_src: "ipv4_src",
  nw_dst: "ipv4_dst",
  nw_proto: "ip_proto",
};

/** tcp_src and udp_src are both printed as tp_src; the protocol tells them apart. */
const TRANSPORT: Readonly<Record<number, "tcp" | "udp">> = { 6: "tcp", 17: "udp" };

/**
 * Brings a match to its normal form: addresses as in `normalizeAddress`, masked values with only the bits that count,
 * fields that match everything left out. Two matches select the same packets field by field exactly if their normal
 * forms are equal. Throws FormatError for a value that does not fit its field.
 */
export function normalizeMatch(match: Match): Match {
  const normal: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(match)) {
    if (value === undefined) continue;
    if (name === "other") {
      if (Object.keys(value as object).length > 0) normal.other = value;
      continue;
    }
    if (!isOxmField(name)) throw new FormatError(`match field ${name} is not one of OpenFlow 1.3's`);
    const field = normalizeField(name, value as FieldValue);
    if (field !== undefined) normal[name] = field;
  }
  return normal as Match;
}

/** The canonical text of a match: equal texts for equal matches, whatever their notation. For maps and comparison. */
export function matchKey(match: Match): string {
  const normal = normalizeMatch(match);
  const entries = Object.entries(normal).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([name, value]) => `${name}=${fieldText(value)}`).join(",");
}

export function sameMatch(a: Match, b: Match): boolean {
  return matchKey(a) === matchKey(b);
}

/** A match in the words of ofctl_rest's request bodies. */
export function encodeMatch(match: Match): LiteralValue {
  const normal = normalizeMatch(match);
  if (normal.other !== undefined) {
    throw new FormatError(`match fields ${Object.keys(normal.other).join(", ")} can be read but not sent`);
  }
  const body: Record<string, LiteralValue> = {};
  for (const [name, value] of Object.entries(normal)) body[name] = encodeField(value as FieldValue);
  return body;
}

/** Reads a match as ofctl_rest prints it. Never throws: what it cannot express is in `other`. */
export function decodeMatch(printed: Readonly<Record<string, JsonValue>>): Match {
  const match: Record<string, unknown> = {};
  const other: Record<string, string> = {};
  const protocol = TRANSPORT[Number(printed.nw_proto ?? printed.ip_proto)];
  for (const [printedName, value] of Object.entries(printed)) {
    const name = fieldName(printedName, protocol);
    const field = name === undefined ? undefined : decodeField(name, value);
    if (name === undefined || field === undefined) other[printedName] = String(value);
    else match[name] = field;
  }
  if (Object.keys(other).length > 0) match.other = other;
  return match as Match;
}

function fieldName(printed: string, protocol: "tcp" | "udp" | undefined): OxmField | undefined {
  if (printed === "tp_src" || printed === "tp_dst") {
    if (protocol === undefined) return undefined;
    return printed === "tp_src" ? `${protocol}_src` : `${protocol}_dst`;
  }
  const name = OLD_NAMES[printed] ?? printed;
  return isOxmField(name) ? name : undefined;
}

/** Normal form of one field's value; undefined if it matches everything. */
export function normalizeField(name: OxmField, value: FieldValue): FieldValue | undefined {
  const kind = fieldKind(name);
  switch (kind.type) {
    case "mac":
    case "ipv4":
    case "ipv6":
      if (typeof value !== "string") throw misfit(name, value);
      return normalizeAddress(kind.type, value);
    case "vlan":
      if (value === "none" || value === "any") return value;
      return integer(name, value, 12);
    case "port":
      return integer(name, value, 32);
    case "int":
      return isMasked(value) ? masked(name, kind, value) : integer(name, value, kind.bits);
    case "int64":
      return isMasked(value) ? masked(name, kind, value) : integer64(name, value);
  }
}

function isMasked(value: FieldValue): value is Masked<number> | Masked<bigint> {
  return typeof value === "object";
}

function masked(
  name: OxmField,
  kind: FieldKind & { type: "int" | "int64" },
  { value, mask }: Masked<number> | Masked<bigint>,
): FieldValue | undefined {
  if (kind.masks === undefined) throw new FormatError(`match field ${name} takes no mask`);
  const bits = kind.type === "int64" ? 64 : kind.bits;
  const all = (1n << BigInt(bits)) - 1n;
  const read = (part: number | bigint): bigint =>
    kind.type === "int64" ? integer64(name, part) : BigInt(integer(name, part, kind.bits));
  const wideMask = read(mask);
  if (wideMask === 0n) return undefined;
  const wideValue = read(value) & wideMask;
  if (kind.type === "int64") return wideMask === all ? wideValue : { value: wideValue, mask: wideMask };
  return wideMask === all ? Number(wideValue) : { value: Number(wideValue), mask: Number(wideMask) };
}

function integer(name: OxmField, value: unknown, bits: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value >= 2 ** bits) {
    throw misfit(name, value, `an integer of ${bits} bits`);
  }
  return value;
}

function integer64(name: OxmField, value: unknown): bigint {
  const wide = typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof wide !== "bigint" || wide < 0n || wide >> 64n !== 0n)
    throw misfit(name, value, "a 64-bit bigint");
  return wide;
}

function misfit(name: OxmField, value: unknown, wanted = "an address"): FormatError {
  return new FormatError(`${name} must be ${wanted}, not ${typeof value === "object" ? "an object" : value}`);
}

function fieldText(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  if ("mask" in value) return `${(value as Masked<bigint>).value}/${(value as Masked<bigint>).mask}`;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([k, v]) => `${k}=${v}`).join(",")}}`;
}

function encodeField(value: FieldValue): LiteralValue {
  // Ryu takes a hexadecimal text as the raw field, with the bit that says "tagged" (OFPVID_PRESENT).
  if (value === "none") return "0x0000";
  if (value === "any") return "0x1000/0x1000";
  return isMasked(value) ? `${value.value}/${value.mask}` : value;
}

/** One printed value; undefined if it cannot be expressed in the field's type. */
export function decodeField(name: OxmField, printed: JsonValue): FieldValue | undefined {
  const kind = fieldKind(name);
  try {
    switch (kind.type) {
      case "mac":
      case "ipv4":
      case "ipv6":
        return typeof printed === "string" ? normalizeAddress(kind.type, printed) : undefined;
      case "vlan":
        if (printed === "0x0000") return "none";
        if (printed === "0x1000/0x1000") return "any";
        return normalizeField(name, decimal(printed));
      case "port":
        return normalizeField(name, portNumber(printed));
      default:
        break;
    }
    const [value, mask] = typeof printed === "string" ? printed.split("/") : [printed];
    if (mask === undefined) return normalizeField(name, narrow(kind, value));
    return normalizeField(name, { value: narrow(kind, value), mask: narrow(kind, mask) } as Masked<number>);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

function narrow(kind: FieldKind, printed: JsonValue | undefined): number | bigint {
  const value = wideInteger(printed);
  return kind.type === "int64" ? value : Number(value);
}

function wideInteger(printed: JsonValue | undefined): bigint {
  if (typeof printed === "bigint") return printed;
  if (typeof printed === "number" && Number.isSafeInteger(printed)) return BigInt(printed);
  if (typeof printed === "string" && /^(0x[0-9a-f]+|[0-9]+)$/i.test(printed)) return BigInt(printed);
  throw new FormatError(`${String(printed)} is no integer`);
}

/** A decimal integer; a hexadecimal text is a raw VLAN field with a meaning that this client does not name. */
function decimal(printed: JsonValue): number {
  if (typeof printed === "string" && !/^[0-9]+$/.test(printed))
    throw new FormatError(`${printed} is not decimal`);
  return Number(wideInteger(printed));
}

/** A port as ofctl_rest prints it: a number, or the name of a reserved one. Throws FormatError. */
export function portNumber(printed: JsonValue | undefined): number {
  return reservedNumber(printed, Port);
}

/** A number, as digits or as one of the `names`. Throws FormatError. */
export function reservedNumber(
  printed: JsonValue | undefined,
  names: Readonly<Record<string, number>>,
): number {
  if (typeof printed === "string" && Object.hasOwn(names, printed)) return names[printed]!;
  return Number(wideInteger(printed));
}
