import type {
  AgentPlace,
  Carriage,
  Dataplane,
  DataplaneCounter,
  DataplaneStatus,
  EdgeAgent,
  GroupStatus,
  GroupWish,
  PortRef,
  QuarantineStatus,
  Resource,
  RuleEntry,
  SteeringGap,
  TopologyStatus,
} from "./dataplane.js";
import { servicesOf } from "./steering.js";

/** Every counter at zero. */
export function zeroCounters(): Record<DataplaneCounter, number> {
  return {
    polls: 0,
    poll_failures: 0,
    reads: 0,
    probes: 0,
    read_failures: 0,
    reads_incomplete: 0,
    commands: 0,
    command_failures: 0,
    refused: 0,
    repairs: 0,
    removals: 0,
    wants: 0,
    wants_unicast: 0,
    carriage_changes: 0,
    locate_requests: 0,
    intercepts_refused: 0,
    fabric_drops: 0,
    fabric_rules_refused: 0,
  };
}

/** The data plane of any IP network: no switch is programmed, publishing agents send the copies themselves. */
export class UnicastDataplane implements Dataplane {
  readonly kind = "unicast";
  onCarriage: (address: string, carriage: Carriage) => void = () => {};
  onPublisher: (address: string, agentId: string) => void = () => {};
  onLocate: (agentId: string) => void = () => {};
  onNeeds: () => void = () => {};
  private agents: readonly EdgeAgent[] = [];
  private readonly counters = zeroCounters();

  start(): void {}

  async close(): Promise<void> {}

  setAgents(agents: readonly EdgeAgent[]): void {
    this.agents = agents;
  }

  needs(): readonly Resource[] {
    return [];
  }

  setQuarantine(): void {}

  quarantine(): Iterable<QuarantineStatus> {
    return [];
  }

  seenAt(_address: string): PortRef | null {
    return null;
  }

  async want(_wish: GroupWish): Promise<Carriage> {
    this.counters.wants += 1;
    this.counters.wants_unicast += 1;
    return "unicast";
  }

  async drop(_address: string): Promise<void> {}

  holds(_address: string): boolean {
    return false;
  }

  async adopt(): Promise<ReadonlyMap<string, readonly string[]>> {
    return new Map();
  }

  settled(): void {}

  mayPublish(_address: string, _agentId: string): boolean {
    return false;
  }

  status(): DataplaneStatus {
    return {
      kind: this.kind,
      ryu: null,
      switches: 0,
      links: 0,
      agents: this.agents.length,
      located: 0,
      groups: 0,
      whole: 0,
      most_groups: 0,
      most_flows: 0,
      full: 0,
      counters: { ...this.counters },
    };
  }

  unsteered(): SteeringGap[] {
    return [];
  }

  topology(): TopologyStatus {
    const agents = this.agents.map(({ id, address }): AgentPlace => ({ id, address, at: null }));
    const { services } = servicesOf(this.agents);
    const intercepts = services.map((s) => ({ ...s, wanted: 0, seen: 0 }));
    return { switches: [], links: [], agents, intercepts };
  }

  groups(): GroupStatus[] {
    return [];
  }

  group(_address: string): GroupStatus | undefined {
    return undefined;
  }

  rules(): RuleEntry[] {
    return [];
  }
}
