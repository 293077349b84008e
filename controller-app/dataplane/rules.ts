/**
 * What a switch holds for Topicast, as plain data: one rule per multicast address (a flow and the group that it
 * points to), one guard, and the flows that steer clients to agents. No OpenFlow library, no JSON: `ryu-access.ts`
 * translates.
 */
import { isIPv6 } from "node:net";
import { parseIPv4 } from "@topicast/protocol";
import type { Form } from "./limits.js";

/** "topicast" in ASCII: marks our flows; nothing without it is ever touched. */
export const cookie = 0x746f706963617374n;
/** Above what learning switches use, below the LLDP flow of Ryu's topology discovery (65535). */
export const rulePriority = 30_000;
/** Rules of one publisher go before those that all share. */
export const sourcePriority = 30_100;
export const guardPriority = 29_000;
/** What comes from a quarantined source, whatever it is. */
export const quarantinePriority = 31_000;
/** Steering: what claims an address, then all else from a client's port, then on the way between switches. */
export const claimPriority = 28_500;
export const ingressPriority = 28_000;
export const transitPriority = 27_000;
/** Above the groups and below the quarantine: what keeps fabric datagrams off, and above that what lets announcements through. */
export const fabricPriority = 30_500;
export const announcePriority = 30_700;
/** Key of the guard among the rules; our group ids are all far above. */
export const guardId = 0;

/** Names a rule in its switch: a group id, `guardId`, or what another flow matches (`steerId`, `sourceId`). */
export type RuleId = number | string;

const idBase = 0x5440_0000;
const idBits = 18;

/** True for the group ids that are ours: 0x54400000 to 0x5443ffff. */
export function isOurGroup(id: number): boolean {
  return id >>> idBits === idBase >>> idBits;
}

/**
 * Group id of a multicast address: 0x54400000 + its low 18 bits, one to one within a /14 or smaller. Throws RangeError
 * for anything but an IPv4 address.
 */
export function groupId(address: string): number {
  const value = parseIPv4(address);
  if (value === undefined) throw new RangeError(`${address} is no IPv4 address`);
  return idBase + (value & ((1 << idBits) - 1));
}

/** The multicast addresses that groups may have: `size` of them from `base` on, a network of /14 or smaller. */
export interface GroupRange {
  readonly base: number;
  readonly size: number;
}

export function inRange({ base, size }: GroupRange, address: string): boolean {
  const value = parseIPv4(address);
  return value !== undefined && value >= base && value < base + size;
}

/** The range as `ipv4_dst` takes it, e.g. "239.192.0.0/14". Throws RangeError where group ids cannot tell it apart. */
export function networkOf({ base, size }: GroupRange): string {
  const length = 32 - Math.log2(size);
  if (base >>> 28 !== 0xe || !Number.isInteger(length) || size > 2 ** idBits || base % size !== 0) {
    throw new RangeError(`group range ${base}+${size}: expected a multicast network of /14 or smaller`);
  }
  return `${[24, 16, 8, 0].map((shift) => (base >>> shift) & 255).join(".")}/${length}`;
}

/** One copy of a datagram: out by `port`, as it is, or rewritten to an agent's own addresses on the last hop. */
export interface Bucket {
  readonly port: number;
  readonly rewrite?: { readonly mac: string; readonly address: string };
}

export type Rule = GroupRule | SourceRule | SteerRule;

/** One publisher's datagrams to a group, by the port that they must come in by. */
export interface SourceMatch {
  readonly destination: string;
  readonly source: string;
  readonly inPort: number;
}

/** A flow that makes the copies of one publisher's datagrams by itself. */
export interface SourceRule {
  readonly id: string;
  readonly priority: number;
  readonly match: SourceMatch;
  /** Canonical order. */
  readonly buckets: readonly Bucket[];
}

/** A flow that makes copies by itself, or with the group of type *all* that it points to; or the guard. */
export interface GroupRule {
  /** The group id; `guardId` for the guard. */
  readonly id: number;
  readonly priority: number;
  /** What `ipv4_dst` must be: an address, or address/length for the guard. */
  readonly destination: string;
  /** Canonical order; null drops. */
  readonly buckets: readonly Bucket[] | null;
  /** Each switch chooses it by its limits. */
  readonly form: Form;
}

/** The match of a group's or the guard's flow, in OpenFlow's words. */
export function matchOf(destination: string) {
  return { eth_type: 0x0800, ipv4_dst: destination };
}

/** The reserved port that leads to the controller (OpenFlow 1.3.5, 4.5). */
export const CONTROLLER = 0xffff_fffd;

/** What a rule for single frames matches. */
export type SteerMatch = ServiceMatch | FabricMatch;

/** Where every host is reached (RFC 919, section 7). */
export const BROADCAST = "255.255.255.255";

/** Fabric datagrams that come in by one port. */
export interface FabricMatch {
  readonly inPort: number;
  /** To the groups, to an address, or from one. */
  readonly fabric: "group" | "to" | "from";
  /** IPv4 address; of "group" the range as address/length. */
  readonly address: string;
  /** UDP destination port; of "group" any. */
  readonly udp?: number;
}

export function isFabric(match: SteerMatch): match is FabricMatch {
  return "fabric" in match;
}

/** Frames to an intercepted address: exactly one of `inPort` and `to` is there. */
export interface ServiceMatch {
  /** The client's port. */
  readonly inPort?: number;
  /** The MAC address that the client's switch has written: the agent's. */
  readonly to?: string;
  /** IPv4 or IPv6, in its canonical form; of a `source` also `NETWORK/LENGTH` with IPv6. */
  readonly address: string;
  /**
   * TCP port; "source": frames that come from the address, and are dropped; "neighbour": requests for the address' MAC address, by ARP or ND; "claim": those by which a machine tells
   * that it has the address (ARP announcement), or is about to (ND, duplicate address detection).
   */
  readonly service: number | "neighbour" | "claim" | "source";
}

/** Without ports the frame is dropped. */
export interface SteerActions {
  /** Written to `eth_dst` first; null leaves it. */
  readonly mac: string | null;
  /** Then out by each of these, in this order; may hold `CONTROLLER`. None: dropped. */
  readonly ports: readonly number[];
}

/** A flow that says where single frames go: those for an intercepted address, and fabric datagrams that nobody shall send. */
export interface SteerRule {
  readonly id: string;
  readonly priority: number;
  readonly match: SteerMatch;
  readonly actions: SteerActions;
}

export function isSteer(rule: Rule): rule is SteerRule {
  return "actions" in rule;
}

export function isSource(rule: Rule): rule is SourceRule {
  return "match" in rule && "source" in rule.match;
}

/** One to one with what is matched. */
export function sourceId({ destination, source, inPort }: SourceMatch): string {
  return `${destination} of ${source} by ${inPort}`;
}

export function isSourceId(id: RuleId): id is string {
  return typeof id === "string" && id.includes(" of ");
}

/** Whether it drops a source. */
export function isQuarantineId(id: RuleId): boolean {
  return typeof id === "string" && id.includes(" source ");
}

export function sourceRule(match: SourceMatch, buckets: readonly Bucket[]): SourceRule {
  return { id: sourceId(match), priority: sourcePriority, match, buckets: buckets.toSorted(inOrder) };
}

export function sourceMatchOf({ destination, source, inPort }: SourceMatch) {
  return { in_port: inPort, eth_type: 0x0800, ipv4_src: source, ipv4_dst: destination };
}

export function steerRule(match: SteerMatch, actions: SteerActions): SteerRule {
  return { id: steerId(match), priority: steerPriority(match), match, actions };
}

/** One to one with what is matched. */
export function steerId(match: SteerMatch): string {
  if (isFabric(match)) {
    const { fabric, address, udp, inPort } = match;
    return fabric === "group"
      ? `fabric ${address} by ${inPort}`
      : `fabric ${fabric} ${address} ${udp} by ${inPort}`;
  }
  const { inPort, to, address, service } = match;
  return `${address} ${service} ${inPort === undefined ? `to ${to}` : `from ${inPort}`}`;
}

export function steerPriority(match: SteerMatch): number {
  if (isFabric(match)) return match.address === BROADCAST ? announcePriority : fabricPriority;
  const { inPort, service } = match;
  if (service === "source") return quarantinePriority;
  if (service === "claim") return claimPriority;
  return inPort === undefined ? transitPriority : ingressPriority;
}

export function steerMatchOf(match: SteerMatch) {
  if (isFabric(match)) return fabricMatchOf(match);
  const { inPort, to, address, service } = match;
  return {
    ...(inPort === undefined ? {} : { in_port: inPort }),
    ...(to === undefined ? {} : { eth_dst: to }),
    ...(isIPv6(address.replace(/\/.*/, "")) ? ipv6Match(address, service) : ipv4Match(address, service)),
  };
}

function fabricMatchOf({ inPort, fabric, address, udp }: FabricMatch) {
  const datagrams = { in_port: inPort, eth_type: 0x0800 };
  if (fabric === "group") return { ...datagrams, ipv4_dst: address };
  const end = fabric === "from" ? { ipv4_src: address } : { ipv4_dst: address };
  return { ...datagrams, ip_proto: 17, ...end, ...(udp === undefined ? {} : { udp_dst: udp }) };
}

function ipv4Match(address: string, service: ServiceMatch["service"]) {
  if (typeof service === "number")
    return { eth_type: 0x0800, ip_proto: 6, ipv4_dst: address, tcp_dst: service };
  if (service === "source") return { eth_type: 0x0800, ipv4_src: address };
  // RFC 5227 section 1.1: an announcement names the address twice.
  const sender = service === "claim" ? { arp_spa: address } : {};
  return { eth_type: 0x0806, arp_op: 1, arp_tpa: address, ...sender };
}

function ipv6Match(address: string, service: ServiceMatch["service"]) {
  if (typeof service === "number")
    return { eth_type: 0x86dd, ip_proto: 6, ipv6_dst: address, tcp_dst: service };
  if (service === "source") return { eth_type: 0x86dd, ipv6_src: address };
  // A Neighbor Solicitation (RFC 4861 section 4.3); from nowhere where the asker itself will have it (RFC 4862 5.4.2).
  const source = service === "claim" ? { ipv6_src: "::" } : {};
  return { eth_type: 0x86dd, ip_proto: 58, icmpv6_type: 135, ipv6_nd_target: address, ...source };
}

export function sameSteering(a: SteerActions, b: SteerActions): boolean {
  return a.mac === b.mac && a.ports.length === b.ports.length && a.ports.every((p, i) => p === b.ports[i]);
}

/** The rule that copies datagrams to `address` into `buckets`, in canonical order. */
export function copyRule(address: string, buckets: readonly Bucket[]): GroupRule {
  return {
    id: groupId(address),
    priority: rulePriority,
    destination: address,
    buckets: buckets.toSorted(inOrder),
    form: "group",
  };
}

/**
 * Drops datagrams to addresses of the range that have no rule. Without it one that is still under way when its group
 * goes would be flooded by the learning switch.
 */
export function guardRule(range: GroupRange): GroupRule {
  return { id: guardId, priority: guardPriority, destination: networkOf(range), buckets: null, form: "flow" };
}

/** Whatever their forms. */
export function sameRule(a: Rule, b: Rule): boolean {
  if (isSteer(a)) return isSteer(b) && a.id === b.id && sameSteering(a.actions, b.actions);
  if (isSteer(b)) return false;
  if (isSource(a) || isSource(b)) return a.id === b.id && sameBuckets(a.buckets, b.buckets);
  return (
    a.id === b.id &&
    a.priority === b.priority &&
    a.destination === b.destination &&
    sameBuckets(a.buckets, b.buckets)
  );
}

export function sameBuckets(a: readonly Bucket[] | null, b: readonly Bucket[] | null): boolean {
  if (a === null || b === null || a.length !== b.length) return a === b;
  return a.every((bucket, i) => sameBucket(bucket, b[i]!));
}

function sameBucket(a: Bucket, b: Bucket): boolean {
  return a.port === b.port && a.rewrite?.mac === b.rewrite?.mac && a.rewrite?.address === b.rewrite?.address;
}

/** Canonical order of buckets: by port, then plain before rewritten, then by the address. */
export function inOrder(a: Bucket, b: Bucket): number {
  if (a.port !== b.port) return a.port - b.port;
  const x = a.rewrite?.address ?? "";
  const y = b.rewrite?.address ?? "";
  return x < y ? -1 : x > y ? 1 : 0;
}

/** The order of copies that a flow makes by itself: what leaves as it came goes first, before anything is rewritten. */
export function inFlow(buckets: readonly Bucket[]): Bucket[] {
  return [
    ...buckets.filter((b) => b.rewrite === undefined),
    ...buckets.filter((b) => b.rewrite !== undefined),
  ];
}
