/**
 * An edge with a persistent session that is killed, and comes back, while clients at other edges go on publishing at QoS 1
 * and 2: what they were acknowledged is to arrive, of QoS 2 once.
 */
import { EntriesDisk } from "./disk.js";
import { type EdgeClient, pass, SimEdge } from "./edges.js";
import { pair, random, SimDisk, SimForwarder, SimNetwork } from "./sim.js";

export interface AwayTrouble {
  readonly loss: number;
  /** How long the edge is away, at least and at most (ms). */
  readonly away: readonly [number, number];
  /** The forwarder is killed, too, after the edge or before it, and comes back with what it has written. */
  readonly forwarder: "stays" | "dies after" | "dies before";
  /** What happens to the edge: its process lives on where it is cut off, or does not reach the publishers' edges. */
  readonly edge: "killed" | "cut off" | "parted";
}

/** Messages that a client has on their way at most: fewer than the server's Receive Maximum. */
const OPEN_MAX = 12;

interface Sent {
  readonly text: string;
  readonly qos: 1 | 2;
  readonly topic: string;
  readonly id: number;
  readonly at: number;
  readonly by: EdgeClient;
}

export interface AwayResult {
  readonly sent: number;
  /** Of these many the publisher was acknowledged while the edge was away. */
  readonly kept: number;
  /** Texts of what a publisher was acknowledged and the session has not got. */
  readonly missing: readonly string[];
  /** Of QoS 2. */
  readonly doubled: readonly string[];
  /** Those that came after later ones of their publisher, topic and QoS, when they came first. */
  readonly late: readonly string[];
}

export class AwayChaos {
  private readonly rand: () => number;
  private readonly network: SimNetwork;
  private readonly absentDisk: SimDisk;
  private forwarder: SimForwarder;
  private readonly disks: EntriesDisk[];
  private readonly edges: SimEdge[] = [];
  private readonly unreleased = new Set<number>();
  private readonly clients: EdgeClient[] = [];
  private readonly publishers: EdgeClient[] = [];
  private readonly sent: Sent[] = [];
  /** Acknowledged by their publishers, and when. */
  private readonly acknowledged = new Map<string, number>();
  private readonly outages: { from: number; to: number }[] = [];

  private constructor(
    seed: number,
    private readonly trouble: AwayTrouble,
  ) {
    this.rand = random(seed * 13 + 5);
    this.network = new SimNetwork(seed);
    this.absentDisk = new SimDisk(this.network);
    this.forwarder = this.newForwarder();
    this.disks = [1, 2, 3].map(() => new EntriesDisk(this.network));
  }

  static async run(seed: number, trouble: AwayTrouble): Promise<AwayResult> {
    const chaos = new AwayChaos(seed, trouble);
    for (const i of [0, 1, 2]) await chaos.startEdge(i);
    await pass(chaos.network, 6_000, 10);
    await chaos.live();
    return chaos.result();
  }

  private get now(): number {
    return this.network.clock.now();
  }

  private newForwarder(): SimForwarder {
    const absent = { disk: this.absentDisk };
    return new SimForwarder(this.network, { absent });
  }

  private async startEdge(i: number): Promise<void> {
    const store = { entries: this.disks[i]!.open(), unixTime: () => this.network.unixTime() };
    const edge = new SimEdge(this.network, `e${i + 1}`, `10.0.0.10${i + 1}`, store);
    await edge.restore();
    this.edges[i] = edge.start();
  }

  private async live(): Promise<void> {
    const { network, trouble } = this;
    this.connect();
    await pass(network, 200);
    this.clients[0]!.subscribe("t/#", 2);
    this.publishers.push(this.edges[1]!.client("p"), this.edges[2]!.client("q"));
    const other = this.edges[1]!.client("d");
    await pass(network, 500);
    other.subscribe("t/1", 2);
    await pass(network, 500);
    network.faults = { loss: trouble.loss, repeat: trouble.loss, delay: [0.1, 0.1 + this.rand() * 4] };
    for (let round = 0; round < 2; round++) {
      await this.publishFor(100 + this.rand() * 300);
      await this.outage();
      await this.publishFor(1_500);
    }
    network.faults = { loss: 0, repeat: 0, delay: [0.1, 1] };
    await this.publishFor(300);
    await pass(network, 9_000, 10);
    this.connect();
    await pass(network, 6_000, 10);
  }

  /** The session's client comes, or comes again. */
  private connect(): void {
    this.clients.push(this.edges[0]!.client("c", { unreleased: this.unreleased }));
  }

  private async outage(): Promise<void> {
    const [least, most] = this.trouble.away;
    const outage = { from: this.now, to: Number.POSITIVE_INFINITY };
    this.outages.push(outage);
    const wait = least + this.rand() ** 2 * (most - least);
    const [e1, e2, e3] = this.edges as [SimEdge, SimEdge, SimEdge];
    const { cut, parted } = this.network;
    if (this.trouble.edge === "cut off") {
      cut.add(e1.address);
      await this.publishFor(wait);
      cut.delete(e1.address);
    } else if (this.trouble.edge === "parted") {
      for (const other of [e2, e3]) parted.add(pair(e1.address, other.address));
      await this.publishFor(wait);
      parted.clear();
    } else {
      const { forwarder } = this.trouble;
      if (forwarder === "dies before") this.forwarder.kill();
      this.disks[0]!.close();
      e1.kill();
      const before = this.rand() * wait;
      await this.publishFor(before);
      if (forwarder !== "stays") await this.restartForwarder();
      await this.publishFor(wait - before);
      await this.startEdge(0);
    }
    outage.to = this.now;
    // Its client comes before what was kept, in the midst of it, or behind it.
    await this.publishFor(this.rand() ** 2 * 3_000);
    if (this.trouble.edge === "killed") this.connect();
  }

  private async restartForwarder(): Promise<void> {
    if (this.trouble.forwarder === "dies after") this.forwarder.kill();
    await this.publishFor(this.rand() ** 2 * 15_000);
    this.forwarder = this.newForwarder();
    await this.publishFor(6_000);
  }

  private async publishFor(ms: number): Promise<void> {
    const end = this.now + ms;
    while (this.now < end) {
      const by = this.publishers[this.rand() < 0.5 ? 0 : 1]!;
      this.note();
      const open = this.sent.filter((s) => s.by === by && !this.acknowledged.has(s.text)).length;
      if (open < OPEN_MAX) this.publish(by);
      await pass(this.network, Math.min(1 + this.rand() * 40, end - this.now), 2);
    }
    this.note();
  }

  private publish(by: EdgeClient): void {
    const qos = this.rand() < 0.5 ? 1 : 2;
    const topic = `t/${Math.floor(this.rand() * 3)}`;
    const long = this.rand() < 0.03 ? " ".repeat(4_000) : "";
    const text = `${this.sent.length} of QoS ${qos}${long}`;
    const id = this.sent.filter((s) => s.by === by).length + 1;
    this.sent.push({ text, qos, topic, id, at: this.now, by });
    by.publish(topic, text, qos);
  }

  private note(): void {
    for (const { text, id, by } of this.sent) {
      if (!this.acknowledged.has(text) && by.acknowledged.includes(id)) this.acknowledged.set(text, this.now);
    }
  }

  private result(): AwayResult {
    this.note();
    const got = this.clients.flatMap((client) => client.got);
    const counts = new Map<string, number>();
    for (const text of got) counts.set(text, (counts.get(text) ?? 0) + 1);
    const wasAway = (at: number) => this.outages.some(({ from, to }) => at > from && at < to);
    const texts = (which: (sent: Sent) => boolean) => this.sent.filter(which).map(({ text }) => text.trim());
    return {
      sent: this.sent.length,
      kept: this.sent.filter(({ text }) => wasAway(this.acknowledged.get(text) ?? 0)).length,
      missing: texts((sent) => this.acknowledged.has(sent.text) && !counts.has(sent.text)),
      doubled: texts(({ qos, text }) => qos === 2 && (counts.get(text) ?? 0) > 1),
      late: this.late(got),
    };
  }

  private late(got: readonly string[]): string[] {
    const sent = new Map(this.sent.map((s, i) => [s.text, { ...s, i }]));
    const last = new Map<string, number>();
    const seen = new Set<string>();
    const late: string[] = [];
    for (const text of got) {
      if (seen.has(text)) continue;
      seen.add(text);
      const { by, topic, qos, i } = sent.get(text)!;
      const key = `${this.publishers.indexOf(by)} ${topic} ${qos}`;
      if (i < (last.get(key) ?? -1)) late.push(text.trim());
      last.set(key, Math.max(i, last.get(key) ?? -1));
    }
    return late;
  }
}
