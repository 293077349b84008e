import { canonicalAddress, parseIPv6 } from "@topicast/protocol";
import {
  type Action,
  type FlowAction,
  type FlowStats,
  type GroupDesc,
  type Match,
  matchKey,
  Port,
  RyuClient,
  RyuError,
} from "node-ryu-rest-client";
import { AccessError, type AccessErrorKind, type Probe, type SwitchAccess } from "./access.js";
import type { Command, SeenFlow, SeenGroup, SwitchState } from "./diff.js";
import {
  type Bucket,
  CONTROLLER,
  cookie,
  type FabricMatch,
  type GroupRule,
  inFlow,
  inOrder,
  isOurGroup,
  isSource,
  isSteer,
  matchOf,
  type Rule,
  rulePriority,
  type SourceMatch,
  type SteerActions,
  type SteerMatch,
  sourceMatchOf,
  steerMatchOf,
} from "./rules.js";
import type { TopologySnapshot } from "./topology.js";
import type { Dpid, SwitchPort } from "./tree.js";

const allBits = (1n << 64n) - 1n;
const ours = { cookie, cookieMask: allBits };
/** To the controller the frame itself and not its beginning (OFPCML_NO_BUFFER). */
const WHOLE_FRAME = 0xffff;
/** Ryu answers with what has come in when a switch is silent for a second (ofctl_utils.DEFAULT_TIMEOUT). */
const silenceMs = 990;

/** Ryu's launcher answers after 20 s where nothing has changed. */
const WAIT_MS = 30_000;

/** `set_field eth_dst`, `set_field ipv4_dst`, `output`. */
const REWRITE_ACTIONS = 3;

/** The switches through Ryu's ofctl_rest and rest_topology. */
export class RyuAccess implements SwitchAccess {
  private readonly ryu: RyuClient;
  /** For the one call that waits. */
  private readonly waiting: RyuClient;
  readonly url: string;

  /** `url`: base URL of Ryu's REST interface. Throws TypeError for anything but http or https. */
  constructor(url: string, timeoutMs = 3_000) {
    this.ryu = new RyuClient({ url, timeoutMs, maxConnections: 8, maxPending: 16_384 });
    this.waiting = new RyuClient({ url, timeoutMs: WAIT_MS, maxConnections: 1 });
    this.url = this.ryu.url;
  }

  async topology(): Promise<TopologySnapshot> {
    return this.explained(async () => {
      // Links last: by then a port on which a host was seen may have turned out to lead to another switch.
      const [switches, hosts] = await Promise.all([this.ryu.topologySwitches(), this.ryu.topologyHosts()]);
      const links = await this.ryu.topologyLinks();
      return {
        switches: switches.map((s) => ({ dpid: s.dpid, ports: s.ports.map((p) => p.portNo) })),
        links: links.map(({ src, dst }) => ({ from: portOf(src), to: portOf(dst) })),
        hosts: hosts.map(({ mac, ipv4, port }) => ({ mac: mac.toLowerCase(), ipv4, at: portOf(port) })),
      };
    });
  }

  async changed(version = "0"): Promise<string | undefined> {
    return this.explained(async () => {
      try {
        return await this.waiting.topologyChange(version);
      } catch (error) {
        if (error instanceof RyuError && error.kind === "no-such-path") return undefined;
        throw error;
      }
    });
  }

  async read(dpid: Dpid): Promise<SwitchState> {
    return this.explained(async () => {
      const start = performance.now();
      const [flows, descs] = await Promise.all([this.ryu.flows(dpid, ours), this.ryu.groupDesc(dpid)]);
      const slow = performance.now() - start >= silenceMs;
      const state = {
        flows: flows.map(seenFlow),
        groups: descs.filter((d) => isOurGroup(d.groupId)).map(seenGroup),
      };
      // A flow cannot outlive its group (OpenFlow 1.3.5, 6.7): if one seems to, the list of groups was cut short.
      const ids = new Set(state.groups.map((g) => g.id));
      const orphan = state.flows.find(
        ({ action }) => typeof action === "number" && isOurGroup(action) && !ids.has(action),
      );
      if (orphan !== undefined)
        throw new AccessError("incomplete", `group ${orphan.action} is not described`);
      if (slow && (await this.ryu.aggregateFlow(dpid, ours)).flowCount !== flows.length) {
        throw new AccessError("incomplete", "the list of flows was cut short");
      }
      return state;
    });
  }

  async probe(dpid: Dpid, groupId: number): Promise<Probe | undefined> {
    const [group] = await this.explained(() => this.ryu.groups(dpid, groupId));
    return group && { buckets: group.buckets.length, flows: group.refCount };
  }

  async flowOf(dpid: Dpid, match: Match): Promise<SeenFlow | undefined> {
    const key = matchKey(match);
    const flows = await this.explained(() => this.ryu.flows(dpid, { ...ours, tableId: 0, match }));
    const found = flows.find((f) => f.priority === rulePriority && matchKey(f.match) === key);
    return found && seenFlow(found);
  }

  async apply(dpid: Dpid, command: Command): Promise<void> {
    return this.explained(() => {
      switch (command.op) {
        case "group-add":
          return this.ryu.addGroup(dpid, groupEntry(command.id, command.buckets));
        case "group-modify":
          return this.ryu.modifyGroup(dpid, groupEntry(command.id, command.buckets));
        case "flow-put":
          return this.ryu.addFlow(dpid, flowEntry(command.rule));
        case "flow-delete": {
          const { table, priority, match } = command.flow;
          return this.ryu.deleteFlowStrict(dpid, { ...ours, tableId: table, priority, match });
        }
        case "group-delete":
          return this.ryu.deleteGroup(dpid, command.id);
      }
    });
  }

  close(): void {
    this.ryu.close();
    this.waiting.close();
  }

  private async explained<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (error instanceof AccessError) throw error;
      throw new AccessError(kindOf(error), error instanceof Error ? error.message : String(error), error);
    }
  }
}

function kindOf(error: unknown): AccessErrorKind {
  if (!(error instanceof RyuError)) return "failed";
  switch (error.kind) {
    case "unreachable":
    case "timeout":
    case "aborted":
      return "unreachable";
    case "unknown-switch":
      return "no-switch";
    case "no-answer":
      return "incomplete";
    default:
      return "failed";
  }
}

function portOf({ dpid, portNo }: { dpid: bigint; portNo: number }): SwitchPort {
  return { dpid, port: portNo };
}

function flowEntry(rule: Rule) {
  const entry = { tableId: 0, priority: rule.priority, cookie };
  if (isSteer(rule)) {
    return { ...entry, match: steerMatchOf(rule.match), actions: steerActions(rule.actions) };
  }
  if (isSource(rule)) {
    return { ...entry, match: sourceMatchOf(rule.match), actions: inFlow(rule.buckets).flatMap(actionsOf) };
  }
  return { ...entry, match: matchOf(rule.destination), actions: copyActions(rule) };
}

function copyActions({ id, buckets, form }: GroupRule): Action[] {
  if (buckets === null) return [];
  return form === "group" ? [{ type: "GROUP", groupId: id }] : inFlow(buckets).flatMap(actionsOf);
}

function steerActions({ mac, ports }: SteerActions): Action[] {
  const rewrite: Action[] = mac === null ? [] : [{ type: "SET_FIELD", field: "eth_dst", value: mac }];
  return [...rewrite, ...ports.map((port): Action => ({ type: "OUTPUT", port, maxLen: WHOLE_FRAME }))];
}

function groupEntry(groupId: number, buckets: readonly Bucket[]) {
  return { groupId, type: "ALL" as const, buckets: buckets.map((b) => ({ actions: actionsOf(b) })) };
}

function actionsOf({ port, rewrite }: Bucket): Action[] {
  const output: Action = { type: "OUTPUT", port };
  if (rewrite === undefined) return [output];
  return [
    { type: "SET_FIELD", field: "eth_dst", value: rewrite.mac },
    { type: "SET_FIELD", field: "ipv4_dst", value: rewrite.address },
    output,
  ];
}

/** Reads a flow with our cookie; whatever differs from what we write in any way shows as null or "other". */
export function seenFlow(flow: FlowStats): SeenFlow {
  const { tableId, priority, match, actions, packetCount } = flow;
  const [first] = actions;
  const lasting = flow.idleTimeout === 0 && flow.hardTimeout === 0;
  let action: SeenFlow["action"] = "other";
  if (lasting && first === undefined) action = "drop";
  else if (lasting && first?.type === "GROUP" && actions.length === 1) action = first.groupId;
  else if (lasting) action = copiesIn(actions) ?? "other";
  const steered = steerMatchIn(match);
  const steer = steered && { match: steered, actions: lasting ? steerActionsIn(actions) : null };
  const source = sourceMatchIn(match);
  return {
    ...(steer === undefined ? {} : { steer }),
    ...(source === undefined ? {} : { source }),
    table: tableId,
    priority,
    destination: destinationOf(match),
    action,
    packets: packetCount > Number.MAX_SAFE_INTEGER ? 0 : Number(packetCount),
    match,
  };
}

/** The copies that a flow makes by itself; undefined for actions that we never write. */
function copiesIn(actions: readonly FlowAction[]): Bucket[] | undefined {
  const copies: Bucket[] = [];
  for (let at = 0; at < actions.length; ) {
    const length = actions[at]!.type === "OUTPUT" ? 1 : REWRITE_ACTIONS;
    const bucket = bucketOf(actions.slice(at, at + length) as readonly Action[]);
    // What follows a rewrite would leave rewritten, too.
    if (bucket === null || (bucket.rewrite === undefined && copies.at(-1)?.rewrite !== undefined))
      return undefined;
    copies.push(bucket);
    at += length;
  }
  return copies.sort(inOrder);
}

function sourceMatchIn(match: Match): SourceMatch | undefined {
  const { in_port: inPort, ipv4_src: source, ipv4_dst: destination } = match;
  if (inPort === undefined || source === undefined || destination === undefined) return undefined;
  const read = { destination, source, inPort };
  return matchKey(match) === matchKey(sourceMatchOf(read)) ? read : undefined;
}

function steerMatchIn(match: Match): SteerMatch | undefined {
  const read = match.ip_proto === 17 || match.ip_proto === undefined ? fabricMatchIn(match) : undefined;
  return read ?? serviceMatchIn(match);
}

function fabricMatchIn(match: Match): FabricMatch | undefined {
  const { in_port: inPort, ipv4_src: from, ipv4_dst: to, udp_dst: udp } = match;
  if (inPort === undefined) return undefined;
  let read: FabricMatch | undefined;
  if (from !== undefined)
    read = { inPort, fabric: "from", address: from, ...(udp === undefined ? {} : { udp }) };
  else if (udp !== undefined && to !== undefined) read = { inPort, fabric: "to", address: to, udp };
  else if (to !== undefined) read = { inPort, fabric: "group", address: prefixed(to) ?? to };
  return read !== undefined && matchKey(match) === matchKey(steerMatchOf(read)) ? read : undefined;
}

function serviceMatchIn(match: Match): SteerMatch | undefined {
  const { in_port: inPort, eth_dst: to } = match;
  const dropped = quarantineMatchIn(match);
  if (dropped !== undefined) return dropped;
  const claims = match.arp_spa !== undefined || match.ipv6_src !== undefined;
  const service = match.tcp_dst ?? (claims ? "claim" : "neighbour");
  const address = match.ipv4_dst ?? match.ipv6_dst ?? match.arp_tpa ?? match.ipv6_nd_target;
  if (address === undefined || (inPort === undefined) === (to === undefined)) return undefined;
  const read: SteerMatch = {
    ...(inPort === undefined ? {} : { inPort }),
    ...(to === undefined ? {} : { to }),
    address,
    service,
  };
  return !address.includes("/") && matchKey(match) === matchKey(steerMatchOf(read)) ? read : undefined;
}

/** The match of a flow that drops a source: nothing but it, the frame's type and the port. */
function quarantineMatchIn(match: Match): SteerMatch | undefined {
  const { in_port: inPort, eth_type, ipv4_src, ipv6_src, ...others } = match;
  const source = ipv4_src ?? ipv6_src;
  if (inPort === undefined || source === undefined || Object.keys(others).length > 0) return undefined;
  if (eth_type !== (ipv4_src === undefined ? 0x86dd : 0x0800)) return undefined;
  const [address = "", mask] = source.split("/");
  const length =
    mask === undefined ? "" : `/${parseIPv6(mask)?.reduce((bits, byte) => bits + ones(byte), 0) ?? mask}`;
  return { inPort, address: `${canonicalAddress(address) ?? address}${length}`, service: "source" };
}

function ones(byte: number): number {
  let count = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}

function steerActionsIn(actions: readonly FlowAction[]): SteerActions | null {
  const [first] = actions;
  if (first === undefined) return { mac: null, ports: [] };
  const rewrites = first?.type === "SET_FIELD" && first.field === "eth_dst";
  const ports: number[] = [];
  if (rewrites && actions.length === 1) return null;
  for (const action of rewrites ? actions.slice(1) : actions) {
    if (action.type !== "OUTPUT" || (action.port > Port.MAX && action.port !== CONTROLLER)) return null;
    ports.push(action.port);
  }
  return { mac: rewrites ? String(first.value) : null, ports };
}

function destinationOf(match: Match): string | null {
  const text = match.ipv4_dst;
  if (text === undefined || matchKey(match) !== matchKey(matchOf(text))) return null;
  return prefixed(text);
}

/** An address, with its mask as a length; null where the mask is none of a prefix. */
function prefixed(text: string): string | null {
  const [address, mask] = text.split("/");
  if (mask === undefined) return text;
  const bits = mask
    .split(".")
    .map((octet) => Number(octet).toString(2).padStart(8, "0"))
    .join("");
  const length = bits.lastIndexOf("1") + 1;
  return bits.includes("01") ? null : `${address}/${length}`;
}

/** Reads a group in our id range; null buckets where type or actions are nothing we write. */
export function seenGroup({ groupId, type, buckets }: GroupDesc): SeenGroup {
  const read = buckets.map((b) => bucketOf(b.actions));
  const known = type === "ALL" && read.every((b) => b !== null);
  return { id: groupId, buckets: known ? (read as Bucket[]).sort(inOrder) : null };
}

function bucketOf(actions: readonly Action[]): Bucket | null {
  const [a, b, c] = actions;
  if (actions.length === 1 && a?.type === "OUTPUT" && a.port <= Port.MAX) return { port: a.port };
  const rewritten =
    actions.length === 3 &&
    a?.type === "SET_FIELD" &&
    a.field === "eth_dst" &&
    b?.type === "SET_FIELD" &&
    b.field === "ipv4_dst" &&
    c?.type === "OUTPUT";
  if (!rewritten) return null;
  return { port: c.port, rewrite: { mac: String(a.value), address: String(b.value) } };
}
