import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StandInLimits } from "@topicast/controller/forwarder/stand-ins.js";
import { AwayChaos, type AwayTrouble } from "./away-chaos.js";
import { seedsToRun } from "./chaos.js";
import { EntriesDisk } from "./disk.js";
import { type EdgeClient, pass, SimEdge } from "./edges.js";
import { SimDisk, SimForwarder, SimNetwork } from "./sim.js";

const KILLED: AwayTrouble = { loss: 0.05, away: [50, 9_000], forwarder: "stays", edge: "killed" };
/** Until an edge that is silent has been declared gone, and its publishers know. */
const GONE_MS = 7_000;
const BACK_MS = 3_000;

describe("an edge that is away", () => {
  const seeds = seedsToRun(8);

  async function check(trouble: AwayTrouble, isOrdered = false): Promise<void> {
    let kept = 0;
    for (const seed of seeds) {
      const result = await AwayChaos.run(seed, trouble);
      const again = `TOPICAST_SEED=${seed} node test/dist/run.js unit fabric/away`;
      assert.deepEqual(result.missing, [], `seed ${seed} loses: ${again}`);
      assert.deepEqual(result.doubled, [], `seed ${seed} doubles QoS 2: ${again}`);
      if (isOrdered) assert.deepEqual(result.late, [], `seed ${seed} changes the order: ${again}`);
      kept += result.kept;
    }
    // Of a few seeds it may be none.
    assert.ok(kept > seeds.length || seeds.length < 8, `only ${kept} messages were acknowledged meanwhile`);
  }

  it("gets what publishers were acknowledged meanwhile when it is back, of QoS 2 once", () => check(KILLED));
  it("in order, where it was away for long enough to be declared gone", () =>
    check({ ...KILLED, away: [7_000, 12_000] }, true));
  it("also where the forwarder is killed meanwhile", () =>
    check({ ...KILLED, away: [1_000, 9_000], forwarder: "dies after" }));
  it("also where there is none when it dies", () =>
    check({ ...KILLED, away: [1_000, 15_000], forwarder: "dies before" }));
  it("also where it was only cut off", () => check({ ...KILLED, edge: "cut off" }));
  it("also where it and the publishers' edges reach the forwarder, and not each other", () =>
    check({ ...KILLED, away: [8_000, 16_000], edge: "parted" }));
});

/** Two edges with stores, a persistent client `c` at the first with `t/#`, a publisher `p` at the second. */
class Play {
  readonly network = new SimNetwork(1);
  readonly disk = new SimDisk(this.network);
  private readonly disks = [new EntriesDisk(this.network), new EntriesDisk(this.network)];
  forwarder!: SimForwarder;
  readonly edges: SimEdge[] = [];
  c!: EdgeClient;
  p!: EdgeClient;

  static async begin(limits?: StandInLimits, expiry = 100_000, filter = "t/#"): Promise<Play> {
    const play = new Play();
    play.startForwarder(limits);
    await play.start(0);
    await play.start(1);
    await play.pass(6_000);
    const properties = { sessionExpiryInterval: expiry };
    play.c = play.edges[0]!.client("c", { properties, clean: expiry === 0 });
    play.p = play.edges[1]!.client("p");
    await play.pass(200);
    play.c.subscribe(filter, 2);
    await play.pass(300);
    return play;
  }

  startForwarder(limits?: StandInLimits): void {
    const absent = { disk: this.disk, ...(limits && { limits }) };
    this.forwarder = new SimForwarder(this.network, { absent });
  }

  async start(i: number): Promise<void> {
    const store = { entries: this.disks[i]!.open(), unixTime: () => this.network.unixTime() };
    const edge = new SimEdge(this.network, `e${i + 1}`, `10.0.0.10${i + 1}`, store);
    await edge.restore();
    this.edges[i] = edge.start();
  }

  /** The first edge dies. */
  kill(): void {
    this.disks[0]!.close();
    this.edges[0]!.kill();
  }

  /** The first edge is back, and its client connects there; answers it when it has had time to get what waits. */
  async back(): Promise<EdgeClient> {
    await this.start(0);
    await this.pass(BACK_MS);
    const c = this.edges[0]!.client("c");
    await this.pass(500);
    return c;
  }

  pass(ms: number): Promise<void> {
    return pass(this.network, ms, 5);
  }

  async publish(...texts: string[]): Promise<void> {
    const before = this.p.acknowledged.length;
    for (const text of texts) this.p.publish("t/1", text, 1);
    await this.pass(300);
    assert.equal(this.p.acknowledged.length, before + texts.length);
  }

  metric(name: string): number {
    return [...this.forwarder.forwarder.metrics()].find((m) => m.name === `forwarder_${name}`)!.value;
  }
}

describe("what is kept for an edge that is away", () => {
  it("is for the sessions that were there, and for none that was begun since", async () => {
    const play = await Play.begin();
    play.kill();
    await play.pass(GONE_MS);
    await play.publish("1", "2");
    assert.equal(play.metric("kept_messages"), 2);
    assert.equal(play.metric("absent_edges"), 1);
    await play.start(0);
    const fresh = play.edges[0]!.client("fresh");
    await play.pass(50);
    fresh.subscribe("t/#", 1);
    await play.pass(BACK_MS);
    const c = play.edges[0]!.client("c");
    await play.publish("3");
    await play.pass(500);
    assert.deepEqual(c.got, ["1", "2", "3"]);
    assert.deepEqual(fresh.got, ["3"]);
    assert.equal(play.metric("kept_messages"), 0);
    assert.equal(play.metric("absent_edges"), 0);
  });

  it("goes along with a session whose client has connected elsewhere, but for what it had there", async () => {
    const play = await Play.begin();
    play.kill();
    await play.pass(GONE_MS);
    await play.publish("1");
    const c = play.edges[1]!.client("c");
    await play.pass(4_000);
    assert.equal(c.isPresent, false);
    c.subscribe("t/#", 1);
    await play.pass(6_300);
    await play.publish("2");
    assert.deepEqual(c.got, ["2"]);
    await play.start(0);
    await play.pass(8_000);
    assert.deepEqual(c.got, ["2", "1"]);
    assert.equal(play.edges[0]!.broker.stat("sessions"), 0);
  });

  it("is taken over by the next forwarder, with who is away", async () => {
    const play = await Play.begin();
    play.kill();
    await play.pass(GONE_MS);
    await play.publish("1");
    play.forwarder.kill();
    play.startForwarder();
    await play.pass(8_000);
    assert.equal(play.metric("absent_edges"), 1);
    await play.publish("2");
    const c = await play.back();
    assert.deepEqual(c.got, ["1", "2"]);
  });

  it("is kept when the edge and the forwarder die together", async () => {
    const play = await Play.begin();
    play.kill();
    play.forwarder.kill();
    play.startForwarder();
    await play.pass(8_000);
    await play.publish("1");
    const c = await play.back();
    assert.deepEqual(c.got, ["1"]);
  });

  it("is nothing where no session outlives its connection, or none is left", async () => {
    const transient = await Play.begin(undefined, 0);
    transient.kill();
    await transient.pass(GONE_MS);
    await transient.publish("1");
    assert.equal(transient.metric("kept_for_absent_total"), 0);
    const play = await Play.begin();
    play.c.unsubscribe("t/#");
    await play.pass(300);
    play.kill();
    await play.pass(GONE_MS);
    await play.publish("1");
    assert.equal(play.metric("kept_for_absent_total"), 0);
  });

  it("is for a shared subscription what no member elsewhere can take, also what was on its way", async () => {
    const share = "$share/g/t/#";
    const play = await Play.begin(undefined, undefined, share);
    play.kill();
    play.p.publish("t/1", "at once", 1);
    await play.pass(GONE_MS);
    await play.publish("1", "2");
    assert.equal(play.metric("kept_messages"), 3);
    const other = play.edges[1]!.client("other");
    await play.pass(50);
    other.subscribe(share, 1);
    await play.pass(300);
    await play.publish("3", "4");
    assert.deepEqual(other.got, ["3", "4"]);
    other.unsubscribe(share);
    await play.pass(300);
    await play.publish("5");
    const c = await play.back();
    assert.deepEqual(c.got, ["at once", "1", "2", "5"]);
    await play.publish("6");
    assert.deepEqual(c.got.at(-1), "6");
    assert.deepEqual(other.got, ["3", "4"]);
    assert.equal(play.metric("kept_messages"), 0);
  });

  it("is for shared subscriptions taken over by the next forwarder, too", async () => {
    const play = await Play.begin(undefined, undefined, "$share/g/t/#");
    play.kill();
    await play.pass(GONE_MS);
    play.forwarder.kill();
    play.startForwarder();
    await play.pass(8_000);
    await play.publish("1");
    const c = await play.back();
    assert.deepEqual(c.got, ["1"]);
  });

  it("has expired when its publisher says so", async () => {
    const play = await Play.begin();
    play.kill();
    await play.pass(GONE_MS);
    const [soon, later] = [2, 60].map((messageExpiry) =>
      play.edges[1]!.fabric.publish({
        ...{ topic: "t/1", payload: Buffer.from(`${messageExpiry}`), qos: 1, retain: false, messageExpiry },
      }),
    );
    await play.pass(4_000);
    await Promise.all([soon, later]);
    const c = await play.back();
    assert.deepEqual(c.got, ["60"]);
    assert.equal(play.metric("absent_expired_total"), 1);
  });

  it("ends with the time that edges may be away, and with that of their sessions", async () => {
    for (const [timeMs, expiry] of [
      [20_000, 100_000],
      [1_000_000, 20],
    ] as const) {
      const play = await Play.begin({ timeMs, bytes: 1_000_000 }, expiry);
      play.kill();
      await play.pass(GONE_MS);
      await play.publish("1");
      assert.equal(play.metric("kept_messages"), 1);
      await pass(play.network, 22_000, 100);
      assert.equal(play.metric("kept_messages"), 0);
      assert.equal(play.metric("absent_edges"), 0);
      assert.equal(play.metric("absent_forgotten_total"), 1);
      await play.publish("2");
      assert.equal(play.metric("kept_for_absent_total"), 1);
    }
  });

  it("is bounded: the oldest goes, is counted, and holds up nobody", async () => {
    const play = await Play.begin({ timeMs: 1_000_000, bytes: 10_000 });
    play.kill();
    await play.pass(GONE_MS);
    const texts = Array.from({ length: 16 }, (_, i) => `${i}${"-".repeat(1_000)}`);
    for (const text of texts) await play.publish(text);
    const dropped = play.metric("kept_messages_dropped_total");
    assert.ok(dropped > 0 && play.metric("kept_bytes") <= 10_000);
    const c = await play.back();
    assert.deepEqual(c.got, texts.slice(dropped));
  });
});
