/**
 * A client of QoS 1 and 2 that wanders between two edges with stores while a process is killed in the middle of it: the
 * edge that it leaves, the one that it comes to, or the forwarder. What must hold is checked over all that happened.
 */
import assert from "node:assert/strict";
import { EntriesDisk } from "./disk.js";
import { type EdgeClient, pass, SimEdge } from "./edges.js";
import { random, SimForwarder, SimNetwork } from "./sim.js";

export type Victim = "old" | "new" | "forwarder" | "nobody";

/** A QoS 2 message takes so long, at most, until its client and its edge are through with it. */
const OPEN_MS = 200;
interface Sent {
  readonly text: string;
  readonly qos: 1 | 2;
  readonly at: number;
}

export interface HandoverResult {
  readonly sent: number;
  readonly got: number;
  /** Texts. */
  readonly missing: readonly string[];
  readonly doubled: readonly string[];
}

const EDGES = ["e1", "e2", "e3"] as const;

export class HandoverChaos {
  private readonly rand: () => number;
  private readonly network: SimNetwork;
  private forwarder: SimForwarder;
  private readonly disks: EntriesDisk[];
  private readonly edges: (SimEdge | undefined)[] = [];
  private readonly unreleased = new Set<number>();
  private readonly clients: EdgeClient[] = [];
  private readonly sent: Sent[] = [];
  /** Times in which an edge was down, or not yet known again. */
  private readonly outages: { from: number; to: number }[] = [];
  private publisher!: EdgeClient;
  private place = 0;

  private constructor(
    seed: number,
    private readonly victim: Victim,
  ) {
    this.rand = random(seed * 7 + 1);
    this.network = new SimNetwork(seed);
    this.forwarder = new SimForwarder(this.network);
    this.disks = EDGES.map(() => new EntriesDisk(this.network));
  }

  static async run(seed: number, victim: Victim): Promise<HandoverResult> {
    const chaos = new HandoverChaos(seed, victim);
    for (const i of EDGES.keys()) await chaos.startEdge(i);
    await pass(chaos.network, 6_000, 10);
    await chaos.live();
    return chaos.result();
  }

  private get now(): number {
    return this.network.clock.now();
  }

  private async startEdge(i: number): Promise<void> {
    const store = { entries: this.disks[i]!.open(), unixTime: () => this.network.unixTime() };
    const edge = new SimEdge(this.network, EDGES[i]!, `10.0.0.10${i + 1}`, store);
    await edge.restore();
    this.edges[i] = edge.start();
  }

  // --- what happens ---

  private async live(): Promise<void> {
    const { network } = this;
    this.publisher = this.edges[2]!.client("p");
    await this.connect(0);
    // Who has not come back when a new forwarder has settled is not known to it: with losses that happens.
    network.faults = { loss: this.victim === "forwarder" ? 0 : 0.05, repeat: 0.05, delay: [0.1, 5] };
    for (let round = 0; round < 3; round++) {
      await this.publishFor(100 + this.rand() * 200);
      if (this.rand() < 0.5) this.clients.at(-1)!.drop();
      const from = this.place;
      const to = 1 - from;
      this.open(to);
      await this.publishFor(this.rand() ** 2 * 150);
      await this.strike(from, to);
      await this.publishFor(2_000);
    }
    network.faults = { loss: 0, repeat: 0, delay: [0.1, 1] };
    await pass(network, 8_000, 10);
    await this.connect(this.place);
    await pass(network, 15_000, 10);
  }

  /** The client connects there; a session that is not there it begins by subscribing. */
  private open(at: number): void {
    this.place = at;
    const client = this.edges[at]!.client("c", { unreleased: this.unreleased });
    client.onConnack = ({ sessionPresent }) => {
      if (!sessionPresent) client.subscribe("t/#", 2);
    };
    this.clients.push(client);
  }

  private async connect(at: number): Promise<void> {
    this.open(at);
    await pass(this.network, 4_000, 2);
    assert.equal(this.clients.at(-1)!.isConnected, true);
  }

  private async publishFor(ms: number): Promise<void> {
    const end = this.now + ms;
    while (this.now < end) {
      const qos = this.rand() < 0.5 ? 1 : 2;
      const text = `${this.sent.length} of QoS ${qos}`;
      this.sent.push({ text, qos, at: this.now });
      this.publisher.publish(`t/${Math.floor(this.rand() * 2)}`, text, qos);
      await pass(this.network, Math.min(1 + this.rand() * 30, end - this.now));
    }
  }

  /** Kills the victim and starts it again; the client goes back where it was if the edge that it came to has died. */
  private async strike(from: number, to: number): Promise<void> {
    const { network, victim } = this;
    const wait = 50 + this.rand() ** 2 * 8_000;
    if (victim === "forwarder") {
      this.forwarder.kill();
      await this.publishFor(wait);
      this.forwarder = new SimForwarder(network);
      await pass(network, 3_000, 5);
      return;
    }
    if (victim === "nobody") return;
    const dead = victim === "old" ? from : to;
    const outage = { from: this.now, to: Number.POSITIVE_INFINITY };
    this.outages.push(outage);
    this.disks[dead]!.close();
    this.edges[dead]!.kill();
    await pass(network, wait, 5);
    await this.startEdge(dead);
    await pass(network, 4_000, 5);
    if (victim === "new") await this.connect(dead);
    outage.to = this.now;
  }

  // --- what came of it ---

  private result(): HandoverResult {
    const got = new Map<string, number>();
    for (const client of this.clients) for (const text of client.got) got.set(text, (got.get(text) ?? 0) + 1);
    // What its client had and had not answered for good when its edge died it may get again from a session begun anew.
    const wasOpen = (text: string) => {
      const at = Math.min(...this.clients.map(({ gotAt }) => gotAt.get(text) ?? Number.POSITIVE_INFINITY));
      return this.outages.some(({ from }) => at >= from - OPEN_MS && at <= from);
    };
    const isDoubled = ({ text, qos }: Sent) => qos === 2 && (got.get(text) ?? 0) > 1 && !wasOpen(text);
    const texts = (which: (sent: Sent) => boolean) => this.sent.filter(which).map(({ text }) => text);
    return {
      sent: this.sent.length,
      got: got.size,
      missing: texts((sent) => !got.has(sent.text)),
      doubled: texts(isDoubled),
    };
  }
}
