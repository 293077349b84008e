/**
 * A whole fabric in virtual time: real agents' fabric sides and a real forwarder, joined by a network that loses,
 * repeats, delays and reorders datagrams from a seed.
 */

import { AgentFabric, type SharedAccess } from "@topicast/agent/fabric/fabric.js";
import type { SharedQuarantine } from "@topicast/agent/fabric/quarantine.js";
import { Handover } from "@topicast/agent/mqtt/handover/handover.js";
import { DEFAULT_LIMITS } from "@topicast/agent/mqtt/limits.js";
import { Publication } from "@topicast/agent/mqtt/publication.js";
import { Replica } from "@topicast/agent/mqtt/replica.js";
import { Server } from "@topicast/agent/mqtt/server.js";
import { Stats } from "@topicast/agent/mqtt/stats.js";
import type { Dataplane } from "@topicast/controller/dataplane/dataplane.js";
import { UnicastDataplane } from "@topicast/controller/dataplane/unicast.js";
import { Forwarder } from "@topicast/controller/forwarder/forwarder.js";
import type { StandInLimits } from "@topicast/controller/forwarder/stand-ins.js";
import { RetainedKeeper } from "@topicast/controller/retained/keeper.js";
import type { RetainedStorage } from "@topicast/controller/retained/storage.js";
import {
  type Endpoint,
  encodeHeader,
  FilterTrie,
  formatIPv4,
  type Header,
  type Message,
  parseIPv4,
  payloadBytes,
  SimClock,
} from "@topicast/protocol";

/** Small, well-known generator (mulberry32), so that a seed names a run. */
export function random(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface Faults {
  /** Probabilities per datagram. */
  readonly loss: number;
  readonly repeat: number;
  /** Delay in milliseconds, uniform between the two; reorders where the range is wide. */
  readonly delay: readonly [number, number];
}

export const PERFECT: Faults = { loss: 0, repeat: 0, delay: [0.2, 0.2] };
export const PORT = 1883;
export const FORWARDER: Endpoint = { address: "10.0.0.100", port: PORT };
const UNIX_START = 1_700_000_000_000;

export class SimNetwork {
  readonly clock = new SimClock();
  readonly rand: () => number;
  private readonly hosts = new Map<string, (bytes: Buffer, from: Endpoint) => void>();
  /** Hosts that nothing reaches and that reach nothing. */
  readonly cut = new Set<string>();
  /** Pairs of hosts, as `pair` names them, that do not reach each other. */
  readonly parted = new Set<string>();
  /** Datagrams by kind (second byte), since `clear`. */
  readonly carried = new Map<number, number>();
  dropped = 0;
  /** Datagrams to lose besides what the faults lose. */
  lose: (header: Header, to: Endpoint) => boolean = () => false;
  /** Where the switches bring a datagram that `from` sends to a group: addresses, one for each copy. */
  copies: (from: string, group: string) => readonly string[] = () => [];

  constructor(
    seed: number,
    public faults: Faults = PERFECT,
  ) {
    this.rand = random(seed);
  }

  attach(address: string, onDatagram: (bytes: Buffer, from: Endpoint) => void): void {
    this.hosts.set(address, onDatagram);
  }

  detach(address: string): void {
    this.hosts.delete(address);
  }

  unixTime(): number {
    return UNIX_START + this.clock.now();
  }

  send(header: Header, payload: Buffer, from: Endpoint, to: Endpoint): void {
    if (parseIPv4(to.address)! >>> 28 === 0xe) {
      for (const address of this.copies(from.address, to.address)) {
        this.send(header, payload, from, { address, port: to.port });
      }
      return;
    }
    this.carried.set(header.kind, (this.carried.get(header.kind) ?? 0) + 1);
    if (this.lose(header, to)) this.dropped += 1;
    else this.carry(Buffer.concat([encodeHeader(header), payload]), from, to);
  }

  /** Brings bytes to a host, as far as the faults let it. */
  carry(bytes: Buffer, from: Endpoint, to: Endpoint): void {
    const { loss, repeat, delay } = this.faults;
    if (this.isCut(from.address, to.address) || this.rand() < loss) {
      this.dropped += 1;
      return;
    }
    for (let copies = this.rand() < repeat ? 2 : 1; copies > 0; copies--) {
      const wait = delay[0] + this.rand() * (delay[1] - delay[0]);
      this.clock.setTimer(wait, () => {
        if (!this.isCut(from.address, to.address)) this.hosts.get(to.address)?.(bytes, from);
      });
    }
  }

  private isCut(a: string, b: string): boolean {
    return this.cut.has(a) || this.cut.has(b) || (this.parted.size > 0 && this.parted.has(pair(a, b)));
  }

  /** Lets virtual time pass, with the promises of each step settled before the next. */
  async run(ms: number, step = 1): Promise<void> {
    const end = this.clock.now() + ms;
    while (this.clock.now() < end) {
      this.clock.advance(Math.min(step, end - this.clock.now()));
      await settleJobs();
    }
  }

  /** Lets time pass until `promise` is settled, `limit` milliseconds at most. */
  async until<T>(promise: Promise<T>, limit = 20_000): Promise<T> {
    let pending = true;
    void promise.finally(() => {
      pending = false;
    });
    const end = this.clock.now() + limit;
    while (pending && this.clock.now() < end) await this.run(1);
    if (pending) throw new Error(`still pending after ${limit} ms of virtual time`);
    return promise;
  }
}

export function pair(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

/** Lets every promise that can settle do so. */
export function settleJobs(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** One edge: its fabric side, with a plain set of local subscriptions in place of the sessions. */
export class SimAgent {
  readonly received: Message[] = [];
  readonly states: string[] = [];
  readonly members = new Map<string, number>();
  /** What members of shared subscriptions got: name and text. */
  readonly shared: string[] = [];
  /** Clients whose wills others have published. */
  readonly discarded: string[] = [];
  readonly local = new FilterTrie<string>();
  readonly endpoint: Endpoint;
  readonly mac: string;
  readonly fabric: AgentFabric;
  readonly replica: Replica;

  constructor(
    readonly network: SimNetwork,
    readonly id: string,
    address: string,
    port = PORT,
    intercepts: readonly Endpoint[] = [],
    access?: SharedAccess,
    quarantine?: SharedQuarantine,
  ) {
    this.endpoint = { address, port };
    const hex = parseIPv4(address)!.toString(16).padStart(8, "0");
    this.mac = `02:00:${hex.match(/../g)!.join(":")}`;
    this.fabric = new AgentFabric({
      clock: network.clock,
      unixTime: () => network.unixTime(),
      id,
      forwarder: FORWARDER,
      local: { address, port, mac: this.mac },
      intercepts,
      access,
      quarantine,
      payloadBytes: payloadBytes(1_500),
      transmit: (header, payload, to) => {
        for (const endpoint of to) network.send(header, payload, this.endpoint, endpoint);
      },
      defer: (fn) => void network.clock.setTimer(0, fn),
      random: network.rand,
      deliver: (message) => {
        if (message.retain) this.replica.set(Publication.of(message, network.clock.now()), false);
        if (this.local.match(message.topic).length > 0) this.received.push(message);
      },
      onState: (state) => this.states.push(state),
    });
    const now = () => network.clock.now();
    const isWanted = (topic: string) => this.local.match(topic).length > 0;
    this.replica = new Replica(DEFAULT_LIMITS, new Stats(), now, isWanted);
    this.fabric.attach({
      retained: this.replica,
      handover: new Handover(new Server({ clock: network.clock })),
      deliverShared: (share, message) => this.takeShared(share, message),
      deliverMissed: (message) => {
        if (this.local.match(message.topic).length > 0) this.received.push(message);
      },
      publishSys: () => {},
      discardWill: (clientId) => this.discarded.push(clientId),
    });
    network.attach(address, (bytes, from) => this.fabric.onDatagram(bytes, from));
    this.fabric.start();
  }

  subscribe(filter: string): Promise<void> {
    this.local.add(filter, "");
    return this.fabric.subscribe(filter);
  }

  unsubscribe(filter: string): void {
    this.local.remove(filter, "");
    this.fabric.unsubscribe(filter);
  }

  publish(topic: string, text: string, qos: 0 | 1 | 2 = 0): Promise<boolean> | undefined {
    return this.fabric.publish({ topic, payload: Buffer.from(text), qos, retain: false });
  }

  /** Members of a shared subscription here, as far as they are connected; undefined: none. */
  share(name: string, connected: number | undefined): Promise<void> | undefined {
    if (connected === undefined) this.members.delete(name);
    else this.members.set(name, connected);
    return this.fabric.setShare(name, connected);
  }

  private takeShared(share: string, message: Message): boolean {
    const connected = this.members.get(share);
    if (connected === undefined || (connected === 0 && message.qos === 0)) return false;
    this.shared.push(`${share} ${message.payload}`);
    return true;
  }

  /** Publishes with RETAIN; empty text deletes. */
  retain(
    topic: string,
    text: string,
    qos: 0 | 1 | 2 = 1,
    messageExpiry?: number,
  ): Promise<boolean> | undefined {
    const expiry = messageExpiry === undefined ? {} : { messageExpiry };
    const message: Message = {
      topic,
      payload: Buffer.from(text),
      qos,
      retain: true,
      ...expiry,
      tag: this.fabric.newTag(),
    };
    this.replica.set(Publication.of(message, this.network.clock.now()), true);
    return this.fabric.publish(message);
  }

  /** What a new subscriber here would get: `topic=text`, sorted. */
  retained(filter: string): string[] {
    return this.replica
      .matching(filter)
      .map(({ topic, payload }) => `${topic}=${payload}`)
      .sort();
  }

  /** Vanishes without a word, as `kill -9` does. */
  kill(): void {
    this.network.detach(this.endpoint.address);
    this.network.cut.add(this.endpoint.address);
    this.fabric.close();
    this.network.cut.delete(this.endpoint.address);
  }

  texts(topic?: string): string[] {
    return this.received
      .filter((m) => topic === undefined || m.topic === topic)
      .map((m) => m.payload.toString());
  }
}

/** A disk in memory: what was durable when a process died is there for the next one. */
export class SimDisk implements RetainedStorage {
  private readonly written = new Map<string, Buffer>();
  private pending = new Map<string, Buffer | undefined>();

  constructor(private readonly network: SimNetwork) {}

  async *entries() {
    yield* this.written;
  }

  /** For a process that starts now: whatever the former one had not written is gone. */
  restart(): Iterable<[string, Buffer]> {
    this.pending = new Map();
    return this.written;
  }

  put(key: string, value: Buffer): void {
    this.pending.set(key, value);
  }

  delete(key: string): void {
    this.pending.set(key, undefined);
  }

  /** Each write takes 2 ms. */
  durable(): Promise<void> {
    const batch = this.pending;
    return new Promise((resolve) => {
      this.network.clock.setTimer(2, () => {
        if (batch !== this.pending && batch.size > 0) return;
        for (const [key, value] of batch) {
          if (value === undefined) this.written.delete(key);
          else this.written.set(key, value);
        }
        batch.clear();
        resolve();
      });
    });
  }

  async close(): Promise<void> {}
}

/** What a forwarder has beside its network; disks for what it keeps there. */
export interface SimForwarderOptions {
  readonly dataplane?: Dataplane | undefined;
  readonly legacyProxies?: readonly Endpoint[];
  readonly retained?: SimDisk | undefined;
  readonly wills?: SimDisk;
  readonly quarantine?: { readonly disk: SimDisk; readonly isSafe: (source: string) => boolean };
  readonly absent?: { readonly disk: SimDisk; readonly limits?: StandInLimits };
}

export class SimForwarder {
  readonly forwarder: Forwarder;
  readonly dataplane: Dataplane;
  readonly events: string[] = [];

  constructor(
    readonly network: SimNetwork,
    options: SimForwarderOptions = {},
  ) {
    const {
      dataplane = new UnicastDataplane(),
      legacyProxies = [],
      retained,
      wills,
      quarantine,
      absent,
    } = options;
    this.dataplane = dataplane;
    this.forwarder = new Forwarder({
      ...(absent && {
        absent: { storage: absent.disk, entries: [...absent.disk.restart()], limits: absent.limits },
      }),
      ...(wills && { wills: { storage: wills, entries: [...wills.restart()] } }),
      ...(retained && { retained: keeperOn(network, retained) }),
      ...(quarantine && { quarantine: quarantine.disk, isSafe: quarantine.isSafe }),
      clock: network.clock,
      unixTime: () => network.unixTime(),
      dataplane,
      groupRange: { base: parseIPv4("239.192.0.0")!, size: 1 << 18 },
      port: PORT,
      payloadBytes: payloadBytes(1_500),
      transmit: (header, payload, to) => network.send(header, payload, FORWARDER, to),
      legacyProxies,
      transmitPlain: (packets, to) => network.carry(packets, FORWARDER, to),
      onEvent: (event) => this.events.push("id" in event ? `${event.type} ${event.id}` : event.type),
    });
    network.attach(FORWARDER.address, (bytes, from) => this.forwarder.onDatagram(bytes, from));
    this.forwarder.start();
  }

  kill(): void {
    this.network.detach(FORWARDER.address);
    this.forwarder.close();
    void this.dataplane.close();
  }
}

function keeperOn(network: SimNetwork, storage: SimDisk): RetainedKeeper {
  const unixTime = () => network.unixTime();
  const keeper = new RetainedKeeper({ clock: network.clock, unixTime, storage });
  for (const [key, value] of storage.restart()) keeper.restore(key, value);
  return keeper.begin();
}

export interface SimFabric {
  readonly network: SimNetwork;
  forwarder: SimForwarder;
  readonly agents: SimAgent[];
}

/** A forwarder that has settled and `count` registered agents e1, e2, ... */
export async function simFabric(
  seed: number,
  count: number,
  faults: Faults = PERFECT,
  dataplane: Dataplane = new UnicastDataplane(),
): Promise<SimFabric> {
  const network = new SimNetwork(seed, faults);
  const forwarder = new SimForwarder(network, { dataplane });
  const agents = Array.from(
    { length: count },
    (_, i) => new SimAgent(network, `e${i + 1}`, formatIPv4(parseIPv4("10.0.0.101")! + i)),
  );
  await network.run(4_000, 10);
  return { network, forwarder, agents };
}
