import { AccessError, type Probe, type SwitchAccess } from "@topicast/controller/dataplane/access.js";
import type { Command, SeenFlow, SwitchState } from "@topicast/controller/dataplane/diff.js";
import { noLimits, type SwitchLimits } from "@topicast/controller/dataplane/limits.js";
import { OpenFlowDataplane } from "@topicast/controller/dataplane/openflow.js";
import type { OpenFlowTiming } from "@topicast/controller/dataplane/options.js";
import { rulePriority } from "@topicast/controller/dataplane/rules.js";
import type { TopologySnapshot } from "@topicast/controller/dataplane/topology.js";
import type { Dpid } from "@topicast/controller/dataplane/tree.js";
import { type Endpoint, SimClock } from "@topicast/protocol";
import { type Match, matchKey } from "node-ryu-rest-client";
import { type ModelFlow, ModelSwitch } from "./model-network.js";
import type { Network } from "./networks.js";

export const range = { base: 0xefc00000, size: 2 ** 18 };

/**
 * Ryu and its switches in virtual time, with Ryu's habits: a command is answered before the switch has judged it and a
 * refusal is never told; switch, link and host lists know only what is connected.
 */
export class ModelRyu implements SwitchAccess {
  readonly url = "http://ryu.test:8080";
  readonly switches = new Map<Dpid, ModelSwitch>();
  /** Datapaths that are connected to Ryu. */
  readonly connected = new Set<Dpid>();
  /** Ryu's own lists; change them to make Ryu forget or err. */
  links: TopologySnapshot["links"];
  hosts: TopologySnapshot["hosts"];
  /** Of each switch. */
  ports: readonly number[] = Array.from({ length: 64 }, (_, i) => i + 1);
  up = true;
  /** Ms that each call takes. */
  latency = 1;
  /** Reads of these switches end incomplete. */
  readonly mute = new Set<Dpid>();
  readonly log: string[] = [];
  closed = false;

  constructor(
    readonly clock: SimClock,
    readonly network: Network,
  ) {
    for (const dpid of network.switches) {
      this.switches.set(dpid, new ModelSwitch());
      this.connected.add(dpid);
    }
    this.links = network.links.flatMap(({ a, b }) => [
      { from: a, to: b },
      { from: b, to: a },
    ]);
    this.hosts = network.places.map(({ mac, address, dpid, port }) => ({
      mac,
      ipv4: [address],
      at: { dpid, port },
    }));
  }

  async topology(): Promise<TopologySnapshot> {
    await this.call();
    const there = ({ dpid }: { dpid: Dpid }) => this.connected.has(dpid);
    return {
      switches: [...this.connected].map((dpid) => ({
        dpid,
        ports: this.ports,
      })),
      links: this.links.filter(({ from, to }) => there(from) && there(to)),
      hosts: this.hosts.filter(({ at }) => there(at)),
    };
  }

  private version = 0;
  private listeners: (() => void)[] = [];
  /** Tells of changes of the topology by itself; Ryu alone does not. */
  tells = false;

  async changed(version: string | undefined): Promise<string | undefined> {
    if (!this.tells) return undefined;
    if (version === String(this.version)) await new Promise<void>((resolve) => this.listeners.push(resolve));
    return String(this.version);
  }

  /** To be called after a change, where `tells`. */
  tell(): void {
    this.version += 1;
    for (const resolve of this.listeners.splice(0)) resolve();
  }

  async read(dpid: Dpid): Promise<SwitchState> {
    // The switch answers in the order of what it was sent: as of now.
    const state = this.switches.get(dpid)!.state();
    await this.call(dpid);
    if (this.mute.has(dpid)) throw new AccessError("incomplete", "the switch did not answer in time");
    return state;
  }

  async probe(dpid: Dpid, id: number): Promise<Probe | undefined> {
    const { groups, flows } = this.switches.get(dpid)!;
    const there = groups.has(id) && {
      buckets: groups.get(id)?.length ?? 0,
      flows: this.countFlows(flows, id),
    };
    await this.call(dpid);
    return there || undefined;
  }

  async flowOf(dpid: Dpid, match: Match): Promise<SeenFlow | undefined> {
    const { flows } = this.switches.get(dpid)!.state();
    const found = flows.find((f) => f.priority === rulePriority && matchKey(f.match) === matchKey(match));
    await this.call(dpid);
    return found;
  }

  /** As switches do that keep no count of references when `countsReferences` is false. */
  countsReferences = true;

  private countFlows(flows: readonly ModelFlow[], id: number): number {
    return this.countsReferences ? flows.filter((f) => f.action === id).length : 0;
  }

  async apply(dpid: Dpid, command: Command): Promise<void> {
    if (this.up && this.connected.has(dpid)) {
      this.log.push(`s${dpid} ${command.op}`);
      this.switches.get(dpid)!.apply(command);
    }
    await this.call(dpid);
  }

  close(): void {
    this.closed = true;
  }

  /** Ryu is restarted: hosts are forgotten, switches and links come back when the test says so. */
  restart(): void {
    this.up = true;
    this.connected.clear();
    this.hosts = [];
  }

  private async call(dpid?: Dpid): Promise<void> {
    const { up } = this;
    await new Promise<void>((resolve) => this.clock.setTimer(this.latency, resolve));
    if (!up) throw new AccessError("unreachable", `Ryu at ${this.url}: connection refused`);
    if (dpid !== undefined && !this.connected.has(dpid))
      throw new AccessError("no-switch", `${dpid} is not connected`);
  }
}

/** A data plane on a model network, with a record of what it called back. */
export class Bench {
  readonly clock = new SimClock();
  readonly ryu: ModelRyu;
  readonly plane: OpenFlowDataplane;
  readonly events: string[] = [];
  /** What was logged at "info". */
  readonly said: string[] = [];

  constructor(
    readonly network: Network,
    timing: Partial<OpenFlowTiming> = {},
    private readonly limits: (dpid: Dpid) => SwitchLimits = () => noLimits,
    readonly forwarder?: Endpoint,
  ) {
    this.ryu = new ModelRyu(this.clock, network);
    this.plane = this.newPlane(timing);
  }

  /** Another forwarder on the same network. */
  newPlane(timing: Partial<OpenFlowTiming> = {}): OpenFlowDataplane {
    const info = (_fields: object, line: string) => this.said.push(line);
    const log = { debug: () => {}, info, warn: () => {} };
    const { ryu: access, clock, limits, forwarder } = this;
    const plane = new OpenFlowDataplane({ access, clock, range, log, timing, limits, forwarder });
    plane.onCarriage = (address, carriage) => this.events.push(`${address} ${carriage}`);
    plane.onPublisher = (address, id) =>
      this.events.push(`${address} ${id} ${plane.mayPublish(address, id) ? "may" : "may not"}`);
    plane.onLocate = (id) => this.events.push(`locate ${id}`);
    return plane;
  }

  /** Wishes for a group that everybody publishes to, or only those named. */
  want(address: string, members: readonly string[], publishers = this.network.places.map((p) => p.agent)) {
    return this.plane.want({ address, members, publishers });
  }

  agents(...ids: string[]) {
    return this.network.places
      .filter((p) => ids.length === 0 || ids.includes(p.agent))
      .map(({ agent, mac, address }) => ({ id: agent, mac, address, port: 1883 }));
  }

  /** Lets `ms` pass, a millisecond at a time, with every promise settled in between. */
  async pass(ms: number): Promise<void> {
    for (let i = 0; i < ms; i++) {
      await settle();
      this.clock.advance(1);
    }
    await settle();
  }

  /** Waits until the promise is settled; returns its value and the virtual ms that took. */
  async timed<T>(promise: Promise<T>, limit = 60_000): Promise<{ value: T; ms: number }> {
    const start = this.clock.now();
    let done: { value: T } | undefined;
    promise.then((value) => {
      done = { value };
    });
    await settle();
    while (done === undefined) {
      if (this.clock.now() - start > limit) throw new Error(`not settled within ${limit} ms`);
      await this.pass(1);
    }
    return { value: done.value, ms: this.clock.now() - start };
  }
}

/** Long enough for any chain of promises between two timers. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
