import {
  encodeFabricJson,
  FabricTopic,
  isSysCounter,
  SYS_VALUES,
  type SysAnswer,
  type SysEdge,
  type SysReport,
} from "@topicast/protocol";
import type { Agent } from "./agents.js";

/** Edges whose numbers are known, living and gone. */
const EDGES_MAX = 8_192;
/** Edges in one answer. */
const BATCH = 64;

interface Known {
  readonly id: string;
  /** Of which life the numbers are. */
  readonly epoch: number;
  up: boolean;
  /** Of this life: where it has gone, only counters. */
  readonly values: readonly number[];
  /** Counters of its former lives. */
  readonly former: readonly number[];
  /** `NetworkStats.version` at its last change. */
  version: number;
}

/** The numbers of all edges, and their sums: protocol/README.md, "Numbers of the network". */
export class NetworkStats {
  /** By agent number; the one that has changed last is last. */
  private readonly known = new Map<number, Known>();
  private sums: readonly number[] = nothing();
  private up = 0;
  private version = 0;
  private mostConnected = 0;

  readonly stats = { sys_reports: 0, sys_bad: 0, sys_edges_forgotten: 0 };

  constructor(
    /** What no edge knows by itself, by topic. */
    private readonly network: () => Readonly<Record<string, number>>,
  ) {}

  /** `$fabric/sys`: keeps the agent's numbers and answers with the network's; undefined: it is malformed. */
  onReport(agent: Agent, report: SysReport | undefined): void {
    if (report === undefined) {
      this.stats.sys_bad += 1;
      return;
    }
    this.stats.sys_reports += 1;
    const { number, id, claim } = agent;
    const before = this.known.get(number);
    const isSameLife = before?.epoch === claim.dataEpoch;
    const former = before === undefined ? nothing() : isSameLife ? before.former : shown(gone(before));
    this.set(number, { id, epoch: claim.dataEpoch, up: true, values: report.values, former, version: 0 });
    this.answer(agent, report.edges);
  }

  /** The agent is there no more: what it has counted stays. */
  onGone({ number }: Agent): void {
    const known = this.known.get(number);
    if (known?.up === true) this.set(number, gone(known));
  }

  private set(number: number, known: Known): void {
    const before = this.known.get(number);
    if (before !== undefined) this.count(before, -1);
    this.count(known, 1);
    this.version += 1;
    known.version = this.version;
    this.known.delete(number);
    this.known.set(number, known);
    this.mostConnected = Math.max(this.mostConnected, this.sums[CONNECTED]!);
    if (this.known.size > EDGES_MAX) this.forgetOne();
  }

  private count(known: Known, sign: 1 | -1): void {
    this.up += known.up ? sign : 0;
    const values = shown(known);
    this.sums = this.sums.map((sum, place) => sum + sign * values[place]!);
  }

  /** Of the one that has gone first only its part in the sums is left. */
  private forgetOne(): void {
    for (const [number, { up }] of this.known) {
      if (up) continue;
      this.known.delete(number);
      this.stats.sys_edges_forgotten += 1;
      return;
    }
  }

  private answer(agent: Agent, wantsEdges: boolean): void {
    const { up: edges } = this;
    // Sums of means with two decimals come out with more.
    const values = this.sums.map((sum) => Math.max(0, Math.round(sum * 100) / 100));
    const network = { ...this.network(), "clients/maximum": this.mostConnected };
    const changed = wantsEdges ? this.changedSince(agent.sysVersion) : [];
    agent.sysVersion = wantsEdges ? this.version : 0;
    for (let at = 0; at === 0 || at < changed.length; at += BATCH) {
      const body: SysAnswer = { edges, values, network, each: changed.slice(at, at + BATCH) };
      void agent.channel.send(encodeFabricJson(FabricTopic.SYS, body));
    }
  }

  private changedSince(version: number): SysEdge[] {
    const all = [...this.known.values()].filter((known) => known.version > version);
    return all.map((known) => ({ id: known.id, up: known.up, values: shown(known) }));
  }
}

const CONNECTED = SYS_VALUES.indexOf("clients/connected");

function nothing(): number[] {
  return SYS_VALUES.map(() => 0);
}

/** What is left of it when it has gone. */
function gone(known: Known): Known {
  return {
    ...known,
    up: false,
    values: known.values.map((value, place) => (isSysCounter(place) ? value : 0)),
  };
}

/** What it counts for, all its lives together. */
function shown({ values, former }: Known): number[] {
  return values.map((value, place) => value + former[place]!);
}
