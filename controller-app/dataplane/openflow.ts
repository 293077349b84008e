import { compareAddresses, formatIPv4, type Timer } from "@topicast/protocol";
import { formatDpid } from "node-ryu-rest-client";
import type { AccessError } from "./access.js";
import { Admission } from "./admission.js";
import { Budgets } from "./budgets.js";
import { ChangeLog } from "./change-log.js";
import type { Hop } from "./circulation.js";
import {
  type Carriage,
  type Dataplane,
  type DataplaneStatus,
  type EdgeAgent,
  type GroupStatus,
  type GroupWish,
  type PortRef,
  type QuarantineStatus,
  type Resource,
  type RuleEntry,
  type RyuStatus,
  type SteeringGap,
  THE_FORWARDER,
  type TopologyStatus,
} from "./dataplane.js";
import { idOf } from "./diff.js";
import { agentPlaces, EntryRules } from "./entry.js";
import { changeText, type Purposes, ruleEntries, ruleName } from "./explain.js";
import { type Group, GroupTable } from "./groups.js";
import type { SwitchLedger } from "./ledger.js";
import { Locator } from "./locator.js";
import { defaultOpenFlowTiming, type OpenFlowOptions, type OpenFlowTiming } from "./options.js";
import { changedPlaces, placeText, topologyStatus } from "./overview.js";
import { inRange, isSourceId, type Rule, type RuleId, sameRule } from "./rules.js";
import type { PortRuleChange } from "./steering.js";
import { TopologyModel } from "./topology.js";
import {
  type Dpid,
  type Forest,
  Planner,
  portKey,
  type SwitchPort,
  spanningForest,
  wiresOf,
} from "./tree.js";
import { zeroCounters } from "./unicast.js";
import { RyuWatch } from "./watch.js";
import { SwitchWorker, type WorkerHost } from "./worker.js";

/** Switches that are remembered when they have gone. */
const GONE_MAX = 256;

/** Ways to wait for something that a read-back may show, with a deadline. */
interface Deferred<T> {
  readonly resolve: (value: T) => void;
  readonly timer: Timer;
}

/**
 * The data plane on OpenFlow switches behind Ryu: what is believed of the network (TopologyModel), what each group
 * needs (Planner), what each switch holds (SwitchWorker, one each), and what the forwarder has been told (GroupTable).
 */
export class OpenFlowDataplane implements Dataplane {
  readonly kind = "openflow";
  onCarriage: (address: string, carriage: Carriage) => void = () => {};
  onPublisher: (address: string, agentId: string) => void = () => {};
  onLocate: (agentId: string) => void = () => {};
  onNeeds: () => void = () => {};

  private readonly timing: OpenFlowTiming;
  private readonly counters = zeroCounters();
  private readonly model: TopologyModel;
  private readonly groupTable: GroupTable;
  private readonly locator: Locator;
  private readonly workers = new Map<Dpid, SwitchWorker>();
  private readonly workerHost: WorkerHost;
  private readonly entry: EntryRules;
  private readonly changeLog: ChangeLog;
  private readonly purposes: Purposes;
  private forest: Forest = new Map();
  private planner = new Planner(this.forest, []);
  private wiring = "";
  private homes = "";
  private agents: readonly EdgeAgent[] = [];
  private readonly watch: RyuWatch;
  private loggedState: RyuStatus["state"] = "starting";
  private mayRemove = false;
  private closed = false;
  private patrolTimer: Timer | undefined;
  private refreshing = false;
  private wiringDirty = false;
  private readonly dirty = new Set<Group>();
  /** Groups that wait for rules to go, or for switches to be read. */
  private readonly held = new Set<Group>();
  /** What was known of the switches that have gone. */
  private readonly gone = new Map<Dpid, SwitchLedger>();
  /** Where each port leads, or led when it was last seen to. */
  private readonly wires = new Map<string, SwitchPort>();
  private readonly budgets: Budgets;
  private readonly admission: Admission;
  private readonly dropping = new Map<string, Deferred<void>>();
  private adopting: Deferred<ReadonlyMap<string, readonly string[]> | null>[] = [];

  constructor(private readonly options: OpenFlowOptions) {
    const { access, clock, range, log } = options;
    this.budgets = new Budgets(options.limits);
    this.admission = new Admission(this.budgets, clock, (dpid) => this.workers.get(dpid)?.ledger);
    this.timing = { ...defaultOpenFlowTiming, ...options.timing };
    this.model = new TopologyModel(this.timing);
    const ledgerOf = (dpid: Dpid) => this.workers.get(dpid)?.ledger;
    this.entry = new EntryRules({ ...options, counters: this.counters, ledgerOf });
    this.groupTable = new GroupTable(clock, this.timing.wantMs, {
      onCarriage: (address, carriage) => {
        const { reason = null } = this.groupTable.get(address) ?? {};
        log.info({ group: address, carriage, reason }, "carriage changed");
        this.onCarriage(address, carriage);
      },
      onPublisher: (address, id) => this.onPublisher(address, id),
    });
    this.locator = new Locator(clock, (id) => {
      this.counters.locate_requests += 1;
      this.onLocate(id);
    });
    this.watch = new RyuWatch({
      access,
      clock,
      timing: this.timing,
      counters: this.counters,
      onSnapshot: (snapshot) => this.model.observe(snapshot, clock.now()),
      onSilence: () => {
        this.model.lost();
        this.groupTable.giveUp("Ryu is unreachable");
      },
      afterPoll: () => this.afterPoll(),
    });
    this.changeLog = new ChangeLog(clock, (untold) =>
      log.info({ untold }, "further changes of switches were made and are not listed; GET /rules shows all"),
    );
    this.purposes = {
      range,
      members: (id) => this.groupTable.withId(id)?.members,
      agentAt: (mac) => this.agents.find((a) => a.mac === mac)?.id,
    };
    this.workerHost = {
      access,
      clock,
      range,
      limits: (dpid) => this.budgets.of(dpid),
      timing: this.timing,
      counters: this.counters,
      mayRemove: () => this.mayRemove,
      onFlip: (dpid, id, differs) => this.groupTable.flip(id, dpid, differs),
      onRefused: (dpid, id, times) => {
        log.warn(
          { dpid: formatDpid(dpid), rule: id, times },
          "the switch does not show the rule it was sent",
        );
        this.groupTable.refused(id, times, `switch ${formatDpid(dpid)}`);
      },
      onRead: (dpid) => this.onRead(dpid),
      onPass: (dpid) => this.onPass(dpid),
      onFailure: (dpid, error) => this.onFailure(error, dpid),
      onCommand: (dpid, command, want, cause) => {
        this.changeLog.change(() => {
          const text = changeText(command, want, cause, this.purposes);
          log.info({ dpid: formatDpid(dpid), rule: ruleName(idOf(command)) }, text);
        });
      },
    };
  }

  start(): void {
    this.watch.look();
    this.patrol();
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.watch.close();
    this.patrolTimer?.cancel();
    for (const worker of this.workers.values()) worker.setActive(false);
    this.groupTable.giveUp("the data plane is closing");
    for (const address of [...this.dropping.keys()]) this.dropped(address);
    this.adopted(null);
    this.changeLog.close();
    this.options.access.close();
  }

  setAgents(agents: readonly EdgeAgent[]): void {
    this.agents = agents.map((agent) => ({ ...agent, mac: agent.mac.toLowerCase() }));
    const { clock, forwarder } = this.options;
    const itself = forwarder === undefined ? [] : [{ id: THE_FORWARDER, mac: "", ...forwarder }];
    this.model.setAgents([...this.agents, ...itself], clock.now());
    this.wiringDirty = true;
    this.refreshSoon();
    if (this.model.unlocated().length > 0) this.watch.look();
  }

  setQuarantine(sources: readonly string[]): void {
    this.entry.setQuarantine(sources);
    this.wiringDirty = true;
    this.refreshSoon();
  }

  want(wish: GroupWish): Promise<Carriage> {
    this.counters.wants += 1;
    if (this.closed || !inRange(this.options.range, wish.address)) return Promise.resolve("unicast");
    this.dropped(wish.address);
    const { group, answer } = this.groupTable.want(wish);
    this.dirty.add(group);
    this.refreshSoon();
    return answer;
  }

  needs(members: readonly string[], publishers: Iterable<string>): readonly Resource[] | undefined {
    if (!this.budgets.areThere) return [];
    const address = formatIPv4(this.options.range.base);
    const { plan } = this.planner.plan({ address, members, publishers: [...publishers] });
    return plan === undefined ? [] : this.budgets.needsOf(plan);
  }

  drop(address: string): Promise<void> {
    const group = this.groupTable.remove(address);
    if (group !== undefined) {
      this.dirty.delete(group);
      this.held.delete(group);
      this.admission.forget(group);
      this.withdraw(group);
    }
    if (this.closed || !this.mayRemove || !this.holds(address)) return Promise.resolve();
    this.dropped(address);
    return new Promise((resolve) => {
      const timer = this.options.clock.setTimer(this.timing.dropMs, () => this.dropped(address));
      this.dropping.set(address, { resolve, timer });
    });
  }

  holds(address: string): boolean {
    if (!inRange(this.options.range, address)) return false;
    for (const { ledger } of this.workers.values()) if (ledger.holdsAddress(address)) return true;
    return false;
  }

  adopt(): Promise<ReadonlyMap<string, readonly string[]> | null> {
    if (this.closed) return Promise.resolve(null);
    if (this.allRead()) return Promise.resolve(this.leftovers());
    return new Promise((resolve) => {
      const late = () => this.adopted(this.watch.state === "up" ? this.leftovers() : null);
      this.adopting.push({ resolve, timer: this.options.clock.setTimer(this.timing.adoptMs, late) });
    });
  }

  settled(): void {
    this.mayRemove = true;
    this.wiringDirty = true;
    this.refreshSoon();
    for (const worker of this.workers.values()) void worker.kick();
  }

  mayPublish(address: string, agentId: string): boolean {
    const group = this.groupTable.get(address);
    return group?.told === "openflow" && group.admitted.has(agentId);
  }

  // ---- from wishes and places to what each switch should hold ---------------------------------------------------

  private refreshSoon(): void {
    if (this.refreshing || this.closed) return;
    this.refreshing = true;
    // In a microtask, so that everything wished for in the same turn is planned and sent together.
    Promise.resolve().then(() => {
      this.refreshing = false;
      this.refresh();
    });
  }

  private refresh(): void {
    if (this.closed) return;
    const touched = new Set<SwitchWorker>();
    if (this.wiringDirty) {
      this.rewire();
      const { model, forest, agents, locator, mayRemove } = this;
      const network = { model, forest, agents, locator, isSettled: mayRemove };
      this.entry.update(network, this.portRuleChange(touched));
    }
    for (const group of this.dirty) this.replan(group, touched);
    this.dirty.clear();
    for (const worker of touched) void worker.kick();
  }

  /** Takes over what is believed of the network; when that is new, every group is planned anew. */
  private rewire(): void {
    this.wiringDirty = false;
    const switches = [...this.model.switches()];
    const places = agentPlaces(this.model);
    const links = this.model.links();
    for (const { dpid, connected } of switches)
      this.workerOf(dpid).setActive(connected && this.watch.state === "up");
    for (const [dpid, worker] of this.workers) {
      if (switches.some((s) => s.dpid === dpid)) continue;
      worker.setActive(false);
      this.workers.delete(dpid);
      // It may only have lost Ryu, and go on forwarding.
      this.gone.set(dpid, worker.ledger);
      if (this.gone.size > GONE_MAX) this.gone.delete(this.gone.keys().next().value!);
    }
    const wiring = [
      switches.map((s) => s.dpid).sort(),
      links.map(({ a, b }) => `${portKey(a)}-${portKey(b)}`).sort(),
    ].join("\n");
    const homes = places.map(placeText).sort().join("\n");
    const isRewired = wiring !== this.wiring;
    if (!isRewired && homes === this.homes) return;
    this.wiring = wiring;
    this.homes = homes;
    this.options.log.info(
      { switches: switches.length, links: links.length, located: places.length, agents: this.agents.length },
      "the network has changed",
    );
    if (isRewired) this.forest = spanningForest({ switches: switches.map((s) => s.dpid), links });
    const before = this.planner.places;
    for (const [port, peer] of wiresOf(links)) this.wires.set(port, peer);
    this.planner = new Planner(this.forest, places, links, this.wires);
    const moved = isRewired ? undefined : changedPlaces(before, this.planner.places);
    for (const group of this.groupTable.values()) {
      group.onNetwork(moved);
      this.dirty.add(group);
    }
    if (this.budgets.areThere) this.onNeeds();
  }

  private portRuleChange(touched: Set<SwitchWorker>): PortRuleChange {
    return (dpid, id, rule) => {
      const worker = this.workers.get(dpid);
      if (worker === undefined) return;
      const wanted = worker.ledger.wants(id);
      if (rule !== undefined && wanted !== undefined && sameRule(wanted, rule)) return;
      if (worker.want(id, rule)) touched.add(worker);
    };
  }

  private workerOf(dpid: Dpid): SwitchWorker {
    let worker = this.workers.get(dpid);
    if (worker === undefined) {
      worker = new SwitchWorker(dpid, this.workerHost);
      this.workers.set(dpid, worker);
    }
    return worker;
  }

  private replan(group: Group, touched: Set<SwitchWorker>): void {
    const up = this.watch.state !== "unreachable";
    this.held.delete(group);
    const unread = this.planner.hasLoops ? this.unread() : undefined;
    if (unread !== undefined) {
      this.held.add(group);
      this.groupTable.setObstacle(
        group,
        `switch ${formatDpid(unread)} has not been read back yet`,
        false,
        up,
      );
      return;
    }
    const standing = () => this.standing(group.address);
    const result = this.admission.plan(group, (need) => this.planner.plan(need, standing));
    if (result.plan === undefined) {
      const { reason, missing } = result;
      const lasting = missing.length === 0 || missing.some((id) => this.locator.gaveUp(id));
      this.groupTable.setObstacle(group, reason, lasting, up);
      return;
    }
    const pending: [Dpid, RuleId][] = [];
    for (const [dpid, rules] of result.plan) {
      const worker = this.workerOf(dpid);
      for (const rule of rules) {
        const wanted = worker.ledger.wants(rule.id);
        if (wanted === undefined || !sameRule(wanted, rule)) worker.want(rule.id, rule);
        if (!worker.ledger.lacks(rule.id)) continue;
        pending.push([dpid, rule.id]);
        touched.add(worker);
      }
    }
    for (const [dpid, rules] of group.plan) {
      const worker = this.workers.get(dpid);
      for (const { id } of rules) {
        if (worker === undefined || result.plan.get(dpid)?.some((rule) => rule.id === id)) continue;
        worker.want(id, undefined);
        touched.add(worker);
      }
    }
    const { counter } = result;
    if (counter !== undefined)
      group.setCounter(counter, this.counts(counter, result.plan.get(counter) ?? []));
    if (result.isHeld) this.held.add(group);
    this.groupTable.setPlan(group, result, pending, up);
  }

  /** What the flows of these rules have counted. */
  private counts(dpid: Dpid, rules: readonly Rule[]): Map<RuleId, number> {
    const ledger = this.workers.get(dpid)?.ledger;
    return new Map(rules.map(({ id }) => [id, ledger?.packets(id) ?? 0]));
  }

  /** What the switches do with datagrams to the address, or may still do, those among them that Ryu has lost. */
  private standing(address: string): Map<Dpid, Hop[]> {
    const standing = new Map<Dpid, Hop[]>();
    for (const [dpid, ledger] of this.gone) standing.set(dpid, ledger.standing(address));
    for (const [dpid, { ledger }] of this.workers)
      standing.set(dpid, [...(standing.get(dpid) ?? []), ...ledger.standing(address)]);
    return standing;
  }

  // ---- from Ryu -------------------------------------------------------------------------------------------------

  private afterPoll(): boolean {
    const { state } = this.watch;
    if (state !== this.loggedState) {
      this.loggedState = state;
      const { url: ryu, lastError: error } = this.watch.status();
      if (state === "up") this.options.log.info({ ryu }, "Ryu answers");
      else this.options.log.warn({ ryu, error }, "Ryu is unreachable");
    }
    this.wiringDirty = true;
    this.refresh();
    this.releaseBlocked();
    if (this.allRead()) this.adopted(this.leftovers());
    return state === "up" && this.locator.search(this.model.unlocated());
  }

  private onRead(dpid: Dpid): void {
    this.gone.delete(dpid);
    for (const [id, packets] of this.workers.get(dpid)?.ledger.counters() ?? []) {
      if (typeof id === "string" && !isSourceId(id)) this.entry.count(dpid, id, packets);
      else this.groupTable.withId(id)?.count(dpid, id, packets);
    }
    if (this.adopting.length > 0 && this.allRead()) this.adopted(this.leftovers());
    this.onPass(dpid);
  }

  private onPass(dpid: Dpid): void {
    if (this.held.size > 0) {
      for (const group of this.held) this.dirty.add(group);
      this.refreshSoon();
    }
    for (const address of [...this.dropping.keys()]) if (!this.holds(address)) this.dropped(address);
    if (!this.admission.isNeeded || this.workers.get(dpid)?.ledger.hasShrunk() !== true) return;
    for (const group of this.admission.longestBlocked()) this.dirty.add(group);
    this.refreshSoon();
  }

  private withdraw(group: Group): void {
    for (const [dpid, rules] of group.plan) {
      const worker = this.workers.get(dpid);
      for (const { id } of rules) worker?.want(id, undefined);
      void worker?.kick();
    }
  }

  /** What has no room, and is known to go by unicast, keeps none of the room that it had. */
  private releaseBlocked(): void {
    for (const group of this.admission.stale()) {
      this.withdraw(group);
      group.plan = new Map();
    }
  }

  /**
   * Reads the switches back one after the other, the longest unread first, so that what somebody changed is found and
   * datagrams are counted. One at a time: a wish never waits behind more than one of them in Ryu.
   */
  private patrol(): void {
    if (this.closed) return;
    let next: SwitchWorker | undefined;
    let connected = 0;
    for (const [dpid, worker] of this.workers) {
      if (!this.model.isConnected(dpid)) continue;
      connected += 1;
      if (next === undefined || (worker.readAt ?? 0) < (next.readAt ?? 0)) next = worker;
    }
    const { clock } = this.options;
    const gap = this.timing.readMs / (connected || 10);
    void (next?.audit() ?? Promise.resolve()).then(() => {
      this.patrolTimer = clock.setTimer(Math.max(gap, 9 * (next?.readMs ?? 0)), () => this.patrol());
    });
  }

  private onFailure(error: AccessError, dpid: Dpid): void {
    if (this.closed) return;
    this.watch.failed(error);
    this.options.log.debug({ dpid: formatDpid(dpid), kind: error.kind, error: error.message }, "call failed");
  }

  /** A connected switch of which nothing is known yet. */
  private unread(): Dpid | undefined {
    for (const [dpid, { ledger }] of this.workers) {
      if (!ledger.known && this.model.isConnected(dpid)) return dpid;
    }
    return undefined;
  }

  private allRead(): boolean {
    const connected = [...this.model.switches()].filter((s) => s.connected);
    return connected.length > 0 && connected.every(({ dpid }) => this.workers.get(dpid)?.ledger.known);
  }

  private leftovers(): Map<string, string[]> {
    const found = new Map<string, Set<string>>();
    for (const { ledger } of this.workers.values()) {
      for (const [address, members] of ledger.members()) {
        const all = found.get(address) ?? new Set();
        for (const member of members) all.add(member);
        found.set(address, all);
      }
    }
    return new Map([...found].map(([address, all]) => [address, [...all].sort(compareAddresses)]));
  }

  private adopted(found: ReadonlyMap<string, readonly string[]> | null): void {
    for (const { resolve, timer } of this.adopting.splice(0)) {
      timer.cancel();
      resolve(found);
    }
  }

  private dropped(address: string): void {
    const waiting = this.dropping.get(address);
    if (waiting === undefined) return;
    this.dropping.delete(address);
    waiting.timer.cancel();
    waiting.resolve();
  }

  // ---- what can be seen from outside ------------------------------------------------------------------------------

  status(): DataplaneStatus {
    return {
      kind: this.kind,
      ryu: this.watch.status(),
      switches: this.workers.size,
      links: this.model.links().length,
      agents: this.agents.length,
      located: this.planner.places.size,
      groups: this.groupTable.size,
      whole: this.groupTable.whole,
      ...this.budgets.summary([...this.workers].map(([dpid, { ledger }]) => [dpid, ledger.held] as const)),
      counters: {
        ...this.counters,
        wants_unicast: this.groupTable.unicastAnswers,
        carriage_changes: this.groupTable.changes,
      },
    };
  }

  unsteered(): SteeringGap[] {
    return this.entry.unsteered();
  }

  quarantine(): Iterable<QuarantineStatus> {
    return this.entry.quarantine();
  }

  seenAt(address: string): PortRef | null {
    const at = this.model.seenAt(address);
    return at === undefined ? null : { dpid: formatDpid(at.dpid), port: at.port };
  }

  topology(): TopologyStatus {
    const { workers, model, planner, agents, budgets } = this;
    const { steering } = this.entry;
    const isUp = this.watch.state === "up";
    const now = this.options.clock.now();
    return topologyStatus({ workers, model, planner, agents, steering, budgets, isUp, now });
  }

  groups(): GroupStatus[] {
    return [...this.groupTable.values()].sort((a, b) => a.id - b.id).map((group) => group.status());
  }

  group(address: string): GroupStatus | undefined {
    return this.groupTable.get(address)?.status();
  }

  *rules(ofSwitch?: string): Generator<RuleEntry> {
    for (const [dpid, { ledger }] of this.workers) {
      const name = formatDpid(dpid);
      if (ofSwitch === undefined || ofSwitch === name) yield* ruleEntries(name, ledger, this.purposes);
    }
  }
}
