/**
 * Rules in words: what a switch should hold, what it holds, how these differ, and whom it serves. Pure; used by
 * `GET /rules` and by the log of changes.
 */
import { formatEndpoint, formatIPv4 } from "@topicast/protocol";
import type { RuleDifference, RuleEntry, RuleParts, RuleStatus } from "./dataplane.js";
import {
  type Cause,
  type Command,
  hasGroup,
  idOf,
  matches,
  type SeenFlow,
  type SeenRule,
  strayId,
} from "./diff.js";
import type { SwitchLedger } from "./ledger.js";
import {
  BROADCAST,
  type Bucket,
  CONTROLLER,
  type FabricMatch,
  type GroupRange,
  groupId,
  guardId,
  inFlow,
  isFabric,
  isQuarantineId,
  isSource,
  isSourceId,
  isSteer,
  matchOf,
  type Rule,
  type RuleId,
  type ServiceMatch,
  type SteerActions,
  sourceMatchOf,
  steerMatchOf,
} from "./rules.js";

const causes: Readonly<Record<Cause, string>> = {
  unread: "the switch has not been read back yet",
  wanted: "it is newly wanted",
  dropped: "it is not wanted any more",
  lost: "it was there and somebody changed it",
  leftover: "it was found there and nobody wants it",
};

/** A rule's name in its switch, sortable: `group 0x54400001`, `group 239.192.0.1 of …`, `guard`, `steering …`, `quarantine …`. */
export function ruleName(id: RuleId): string {
  if (id === guardId) return "guard";
  if (typeof id === "number") return `group 0x${id.toString(16)}`;
  if (id.startsWith("fabric ")) return id;
  if (isQuarantineId(id)) return `quarantine ${id}`;
  return isSourceId(id) ? `group ${id}` : `steering ${id}`;
}

/** What one switch should hold and holds, for `Dataplane.rules`. */
export function* ruleEntries(dpid: string, ledger: SwitchLedger, purposes: Purposes): Generator<RuleEntry> {
  for (const { id, want, seen } of ledger.rows()) {
    const stray = id === strayId ? seen.flow : undefined;
    const name = stray === undefined ? ruleName(id) : strayName(stray);
    const status = (): RuleStatus => {
      const cause = ledger.cause(id);
      const purpose = purposeOf(id, want, purposes);
      return {
        ...{ dpid, name },
        wanted: want === undefined ? null : wantedText(want),
        seen: seen.flow === undefined && seen.group === undefined ? null : seenText(seen),
        difference: differenceOf(want, seen, ledger.known),
        why: cause === undefined ? purpose : `${purpose}; ${causes[cause]}`,
      };
    };
    yield { dpid, name, differs: ledger.differs(id), status };
  }
}

/** The name of a flow that has our cookie and belongs to no rule. */
function strayName(flow: SeenFlow): string {
  return `stray table=${flow.table} priority=${flow.priority} ${matchText(flow.match)}`;
}

function wantedText(rule: Rule): RuleParts {
  if (isSteer(rule)) {
    const { priority, match, actions } = rule;
    return { flow: flowText(priority, steerMatchOf(match), steerText(actions)), group: null };
  }
  if (isSource(rule)) {
    const { priority, match, buckets } = rule;
    return { flow: flowText(priority, sourceMatchOf(match), copiesText(buckets)), group: null };
  }
  const { priority, destination, buckets, id } = rule;
  const action = buckets === null ? "drop" : hasGroup(rule) ? `group:${id}` : copiesText(buckets);
  return {
    flow: flowText(priority, matchOf(destination), action),
    group: hasGroup(rule) ? bucketsText(rule.buckets) : null,
  };
}

function seenText({ flow, group }: SeenRule): RuleParts {
  return {
    flow: flow === undefined ? null : flowText(flow.priority, canonicalMatch(flow), actionText(flow)),
    group:
      group === undefined ? null : group.buckets === null ? "of another kind" : bucketsText(group.buckets),
  };
}

/** The match as we would write it, so that what is wanted and what is seen can be compared by eye. */
function canonicalMatch({ destination, steer, source, match }: SeenFlow): object {
  if (source !== undefined) return sourceMatchOf(source);
  if (steer !== undefined) return steerMatchOf(steer.match);
  return destination === null ? match : matchOf(destination);
}

function actionText({ action, steer }: SeenFlow): string {
  if (steer !== undefined) return steer.actions === null ? "of another kind" : steerText(steer.actions);
  if (typeof action === "number") return `group:${action}`;
  if (typeof action === "object") return copiesText(action);
  return action === "drop" ? "drop" : "of another kind";
}

function flowText(priority: number, match: object, actions: string): string {
  return `priority=${priority},${matchText(match)} actions=${actions}`;
}

function matchText(match: object): string {
  return Object.entries(match)
    .map(([field, value]) => `${field}=${field === "eth_type" ? `0x${value.toString(16)}` : value}`)
    .join(",");
}

function bucketsText(buckets: readonly Bucket[]): string {
  return ["type=all", ...buckets.map((b) => `bucket=${bucketText(b)}`)].join(",");
}

/** The copies that a flow makes by itself. */
function copiesText(buckets: readonly Bucket[]): string {
  return inFlow(buckets).map(bucketText).join(",");
}

function bucketText({ port, rewrite }: Bucket): string {
  const fields = rewrite && `set_field:${rewrite.mac}->eth_dst,set_field:${rewrite.address}->ipv4_dst,`;
  return `${fields ?? ""}output:${port}`;
}

function steerText({ mac, ports }: SteerActions): string {
  if (ports.length === 0) return "drop";
  const out = ports.map((port) => `output:${port === CONTROLLER ? "controller" : port}`).join(",");
  return mac === null ? out : `set_field:${mac}->eth_dst,${out}`;
}

/** What differs; `known`: the switch has been read back. */
function differenceOf(want: Rule | undefined, seen: SeenRule, known: boolean): RuleDifference {
  if (!known) return "unread";
  if (matches(want, seen)) return "none";
  if (want === undefined) return "surplus";
  return seen.flow === undefined && seen.group === undefined ? "missing" : "different";
}

/** Ids of agents that are named in one line. */
const NAMED_MAX = 8;

function names(ids: readonly string[]): string {
  const shown = ids.slice(0, NAMED_MAX).join(", ");
  return ids.length > NAMED_MAX ? `${shown} and ${ids.length - NAMED_MAX} more` : shown;
}

/** What rules are there for: asked of whoever made them. */
export interface Purposes {
  readonly range: GroupRange;
  /** The members of the group that a rule id belongs to; undefined: it belongs to none. */
  members(id: RuleId): readonly string[] | undefined;
  /** The agent with this MAC address. */
  agentAt(mac: string): string | undefined;
}

/** Whom a rule serves, in one line; `want` is undefined where nobody wants it. */
function purposeOf(id: RuleId, want: Rule | undefined, purposes: Purposes): string {
  if (id === strayId) return "a flow with our cookie that is none of ours";
  if (id === guardId) return "keeps datagrams of groups that are not there from being flooded";
  if (typeof id === "string" && !isSourceId(id)) return steeringPurpose(id, want, purposes);
  const group = `group ${isSourceId(id) ? id : addressOf(purposes.range, id)}`;
  const members = purposes.members(id);
  if (members === undefined || want === undefined) return `${group}, which is not wanted here`;
  return `${group}: copies for ${names(members)}`;
}

function steeringPurpose(id: string, want: Rule | undefined, purposes: Purposes): string {
  if (want === undefined || !isSteer(want)) return `${ruleName(id)}, which is not wanted here`;
  const { match, actions } = want;
  if (isFabric(match)) return fabricPurpose(match);
  const { service, address } = match;
  if (service === "source")
    return `drops what comes from ${address} by port ${match.inPort}: it is quarantined`;
  const by = match.inPort === undefined ? "on their way" : `by port ${match.inPort}`;
  if (service === "claim") return `lets all agents hear, ${by}, of a machine that takes ${address}`;
  const mac = match.to ?? actions.mac ?? "";
  return `leads ${frames(match)} ${by} to ${purposes.agentAt(mac) ?? mac}`;
}

function fabricPurpose({ fabric, address, inPort }: FabricMatch): string {
  if (address === BROADCAST) return `lets agents announce themselves by port ${inPort}`;
  if (fabric === "group")
    return `keeps datagrams to groups off that come by port ${inPort}, where no agent lives`;
  if (fabric === "from")
    return `keeps datagrams off that come from ${address} by port ${inPort}, where it does not live`;
  return `keeps datagrams to ${address}'s fabric socket off that come by port ${inPort}, where no agent lives`;
}

function frames({ address, service }: ServiceMatch): string {
  if (typeof service !== "number") return `requests for ${address}'s MAC address`;
  return `clients of ${formatEndpoint({ address, port: service })}`;
}

/** The multicast address of a group id that is ours. */
function addressOf({ base, size }: GroupRange, id: number): string {
  const offset = (id - groupId(formatIPv4(base)) + 2 ** 18) % 2 ** 18;
  return offset < size ? formatIPv4(base + offset) : `with id 0x${id.toString(16)}`;
}

/** One change of a switch, in one line. */
export function changeText(
  command: Command,
  want: Rule | undefined,
  cause: Cause,
  purposes: Purposes,
): string {
  const what = {
    "group-add": "adds a group",
    "group-modify": "changes a group",
    "flow-put": "writes a flow",
    "flow-delete": "deletes a flow",
    "group-delete": "deletes a group",
  }[command.op];
  return `${what}, as ${causes[cause]}: ${purposeOf(idOf(command), want, purposes)}`;
}
