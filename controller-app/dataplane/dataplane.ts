/**
 * The seam between "which edges want this topic" and "what the switches hold". The forwarder wishes groups into
 * being; a Dataplane makes them true in the network, or says that copies have to go by unicast instead.
 */

/** How a group's datagrams travel: copied by the switches, or as unicast copies made by the publishing agent. */
export type Carriage = "openflow" | "unicast";

export interface EdgeAgent {
  readonly id: string;
  /** IPv4 of its fabric socket: what the last hop rewrites `ipv4_dst` to. */
  readonly address: string;
  /** Its interface's MAC, lower case with colons; empty where the agent cannot tell. */
  readonly mac: string;
  /** UDP port of its fabric socket. */
  readonly port: number;
  /** Brokers' addresses that it answers for (transparent mode); none where absent. */
  readonly intercepts?: readonly Intercept[] | undefined;
  /** Those of them that no machine has, as far as it can see; none where absent. */
  readonly vacant?: readonly string[] | undefined;
}

/** A broker's address and TCP port whose clients agents answer instead. */
export interface Intercept {
  readonly address: string;
  readonly port: number;
}

/** In an agent's place with `onLocate`: the forwarder itself. No agent has this id. */
export const THE_FORWARDER = "";

export interface GroupWish {
  /** IPv4 multicast address inside the configured range, e.g. 239.192.0.1. */
  readonly address: string;
  /** Ids of the agents that must receive; sorted, without repetition. */
  readonly members: readonly string[];
  /** Ids of the agents that send to the address, without repetition; members may be among them. */
  readonly publishers: readonly string[];
}

/** Something that switches hold only so many of, e.g. the groups of one switch. */
export interface Resource {
  readonly name: string;
  readonly limit: number;
}

export interface Dataplane {
  /** "unicast" when no Ryu is configured: then every `want` resolves with "unicast" at once. */
  readonly kind: Carriage;

  start(): void;
  /** Stops polling; what the switches hold stays there, so that known routes go on delivering. */
  close(): Promise<void>;

  /** The registered agents, all of them. Clients of what they intercept are steered to the nearest of those that do. */
  setAgents(agents: readonly EdgeAgent[]): void;

  /**
   * From now on switches drop what comes from these sources (an IPv4 address, an IPv6 address or `NETWORK/64`) by the ports
   * of clients, and no others'. The latest last: where there are too many the earliest are left out.
   */
  setQuarantine(sources: readonly string[]): void;

  /**
   * Wishes a group into being, or changes its members or publishers (same address). Resolves with "openflow" once every
   * switch on the way from a located publisher to a member is *read back* to hold the rules, and with "unicast" when that
   * cannot be had within the deadline (or certainly not at all: Ryu known to be unreachable). Where the group has been
   * "openflow" and only publishers have come, those it was for go on: it stays "openflow", and `mayPublish` tells who may.
   * Never rejects. A second wish for the same address replaces the first; both promises then speak of the second.
   */
  want(wish: GroupWish): Promise<Carriage>;

  /**
   * What a group with these members and publishers would take one of each of the switches that have a limit, repeated
   * where it would take more. Empty where none has, or as long as its members are not located; undefined where a switch
   * would never take it. The same resource is the same object as long as this data plane lives.
   */
  needs(members: readonly string[], publishers: Iterable<string>): readonly Resource[] | undefined;

  /**
   * Removes the group's rules; the caller has moved every publisher off the address before. Resolves when the
   * switches are read back to be free of it, or after the deadline: the removal then goes on by itself, but the
   * address must not be used for another set before `holds(address)` is false. Never rejects.
   */
  drop(address: string): Promise<void>;

  /** True while some switch may still hold rules for this address, wanted or not. */
  holds(address: string): boolean;

  /**
   * What earlier runs left in the switches: for each group its multicast address and the members' IPv4 addresses,
   * sorted, read from the last-hop rewrites. Resolves after the first complete read-back, with null when Ryu cannot
   * be reached within the deadline.
   */
  adopt(): Promise<ReadonlyMap<string, readonly string[]> | null>;

  /** Recovery is over: from now on whatever is not wished for is removed. Until then nothing is ever removed. */
  settled(): void;

  /**
   * True when datagrams that this agent sends to the group's address reach every member but itself: the group is
   * "openflow", the agent is one of its wished-for publishers, has been located, and all switches on the ways from there
   * are read back to hold the rules. While it is false give it the member edges instead of the group's address.
   */
  mayPublish(address: string, agentId: string): boolean;

  /**
   * Set by the caller: later changes of a group's carriage, after its first `want` has been answered: a refused group that
   * succeeded at last, or one that was lost (switch down, link down) and is not whole after a repair.
   */
  onCarriage: (address: string, carriage: Carriage) => void;

  /** Set by the caller: `mayPublish(address, agentId)` has changed since a `want` was last answered. */
  onPublisher: (address: string, agentId: string) => void;

  /** Set by the caller: what groups need is not what it was, because the network is not. */
  onNeeds: () => void;

  /**
   * Set by the caller: asks an agent, or `THE_FORWARDER`, to make itself seen by the switches (it broadcasts one frame).
   * Called, rate limited for each, while the network does not know the port it lives on.
   */
  onLocate: (agentId: string) => void;

  /** Cheap: state and counts, for /healthz and /metrics. */
  status(): DataplaneStatus;
  /**
   * The intercepted endpoints whose clients are not, or not all, led to agents though they should be; empty for
   * "unicast", which leads none. Cheap while there are few.
   */
  unsteered(): SteeringGap[];
  /** For /quarantine: what has become of each source. Empty for "unicast". */
  quarantine(): Iterable<QuarantineStatus>;
  /** The client port at which the switches have seen an address; null: none, or several; always for "unicast". */
  seenAt(address: string): PortRef | null;
  /** For /topology. */
  topology(): TopologyStatus;
  /** For /groups, ordered by address. Empty for "unicast". */
  groups(): GroupStatus[];
  /** One group, for /topics; undefined when it is not wished for. */
  group(address: string): GroupStatus | undefined;
  /**
   * For /rules: everything that switches should hold or were read back to hold, in no order; `ofSwitch`: of this one alone
   * (16 hexadecimal digits). What an entry says is put into words only when it is asked.
   */
  rules(ofSwitch?: string): Iterable<RuleEntry>;
}

export interface DataplaneStatus {
  readonly kind: Carriage;
  /** null when no Ryu is configured. */
  readonly ryu: RyuStatus | null;
  readonly switches: number;
  readonly links: number;
  /** Registered agents, and those of them whose switch port is known. */
  readonly agents: number;
  readonly located: number;
  readonly groups: number;
  /** Groups whose carriage is "openflow". */
  readonly whole: number;
  /** Groups, and flows of groups, on the switch that holds most; switches that have no room for one more. */
  readonly most_groups: number;
  readonly most_flows: number;
  readonly full: number;
  readonly counters: Readonly<Record<DataplaneCounter, number>>;
}

export interface RyuStatus {
  readonly url: string;
  /** "starting" until the first answer or failure. */
  readonly state: "starting" | "up" | "unreachable";
  /** Milliseconds that this state has lasted. */
  readonly forMs: number;
  /** The last failure in one line, also after Ryu has come back. */
  readonly lastError: string | null;
}

/** What has been counted since start; names are what /metrics shows after `topicast_dataplane_`. */
export type DataplaneCounter =
  | "polls" // reads of Ryu's topology
  | "poll_failures"
  | "reads" // complete read-backs of one switch
  | "probes" // questions about one group of one switch
  | "read_failures"
  | "reads_incomplete" // answers that Ryu cut short at its own time-out, not believed
  | "commands" // flow and group commands sent
  | "command_failures" // answered with an error or not at all
  | "refused" // answered 200, yet missing from the read-back
  | "repairs" // rules found missing or changed that had been whole before
  | "removals" // flows and groups deleted: dropped groups, leftovers, foreign content under our cookie or ids
  | "wants"
  | "wants_unicast" // resolved with "unicast"
  | "carriage_changes"
  | "locate_requests"
  | "intercepts_refused" // intercepted addresses left out, because there are too many, counted at each change
  | "fabric_drops" // datagrams that switches have kept off, because no agent lives where they came from
  | "fabric_rules_refused"; // rules for that which found no room in their switches, counted at each change

export interface TopologyStatus {
  readonly switches: readonly SwitchStatus[];
  readonly links: readonly LinkStatus[];
  readonly agents: readonly AgentPlace[];
  /** Ordered by address and port. */
  readonly intercepts: readonly InterceptStatus[];
}

export interface InterceptStatus extends Intercept {
  /** Ids of the agents that answer there, sorted. */
  readonly agents: readonly string[];
  /** No machine has the address: agents answer requests for its MAC address, too. */
  readonly vacant: boolean;
  /** Steering flows that the switches should hold, and that they were read back to hold. */
  readonly wanted: number;
  readonly seen: number;
}

export interface QuarantineStatus {
  readonly source: string;
  /** Its port, where switches have seen it at one; otherwise it is dropped at all ports of clients. */
  readonly at: PortRef | null;
  /** Flows that the switches should hold, and that they were read back to hold. */
  readonly wanted: number;
  readonly seen: number;
  /** Packets that these have dropped, as of the last read-back. */
  readonly packets: number;
}

/** An intercepted endpoint of which some clients are not led to an agent. */
export interface SteeringGap extends Intercept {
  /** Ids of the agents that answer there, sorted. */
  readonly agents: readonly string[];
  /** In one line, for people. */
  readonly reason: string;
}

export interface SwitchStatus {
  /** 16 hexadecimal digits. */
  readonly dpid: string;
  /** False while Ryu does not list it and its rules are presumed to live on. */
  readonly connected: boolean;
  /** Rules that should be there and that were there at the last read-back (flows and groups, the guard included). */
  readonly wanted: number;
  readonly seen: number;
  /** Differences that the last read-back left. */
  readonly differing: number;
  /** Groups, and flows of groups, that it holds or is to hold, and how many it may. */
  readonly groups: BudgetStatus;
  readonly flows: BudgetStatus;
  /** Milliseconds since the last complete read-back; null before the first. */
  readonly readAgoMs: number | null;
}

export interface BudgetStatus {
  readonly held: number;
  /** null: no limit. */
  readonly limit: number | null;
}

export interface PortRef {
  readonly dpid: string;
  readonly port: number;
}

/** One link between switches, both directions seen; `tree` when datagrams of groups may travel on it. */
export interface LinkStatus {
  readonly from: PortRef;
  readonly to: PortRef;
  readonly tree: boolean;
}

export interface AgentPlace {
  readonly id: string;
  readonly address: string;
  /** Where the switches see it; null while that is unknown. */
  readonly at: PortRef | null;
}

export interface GroupStatus {
  readonly address: string;
  readonly members: readonly string[];
  /** Ids of the agents that the group's rules are for, and those of them that may publish to it now. */
  readonly publishers: readonly string[];
  readonly admitted: readonly string[];
  readonly carriage: Carriage;
  /** Switches that should hold this group's rules, and those that were read back to hold exactly them. */
  readonly wanted: number;
  readonly seen: number;
  /** Datagrams that the switches have carried for this group, as of the last read-back. */
  readonly packets: number;
  /** Why the carriage is "unicast", in one line; null when it is "openflow". */
  readonly reason: string | null;
}

/** One rule of one switch: a flow and the group it points to. */
export interface RuleEntry {
  /** 16 hexadecimal digits. */
  readonly dpid: string;
  /** Names it in its switch: `group 0x54400001`, `guard`, `steering …`, `quarantine …`, `stray …`. */
  readonly name: string;
  readonly differs: boolean;
  status(): RuleStatus;
}

/**
 * none: the switch was read back to hold exactly what is wanted. missing: nothing of it. different: something else.
 * surplus: something that nobody wants. unread: the switch has not been read back yet.
 */
export type RuleDifference = "none" | "missing" | "different" | "surplus" | "unread";

export interface RuleStatus {
  readonly dpid: string;
  readonly name: string;
  /** In the words of `ovs-ofctl`; null where there is nothing. */
  readonly wanted: RuleParts | null;
  readonly seen: RuleParts | null;
  readonly difference: RuleDifference;
  /** Whom it serves and, where there is a difference, where that comes from; in one line. */
  readonly why: string;
}

export interface RuleParts {
  readonly flow: string | null;
  readonly group: string | null;
}
