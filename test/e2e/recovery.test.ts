import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import type { Publisher, Subscriber } from "topicast/testbed/clients";
import { eventually, Testbed } from "topicast/testbed/testbed";
import { numbered, sleep } from "./support.js";

const PER_SECOND = { 0: 500, 1: 50, 2: 50 } as const;
const QOS = [0, 1, 2] as const;

/** Streams of all three QoS from the client beside one agent to the client beside another. */
class Streams {
  private readonly arrivals: number[] = [];
  private readonly sent = [0, 0, 0];
  private stopped = false;
  private running: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly subscribers: readonly Subscriber[],
    private readonly publishers: readonly Publisher[],
  ) {
    subscribers[0]!.child.onLine((line) => {
      if (line.startsWith("MSG ")) this.arrivals.push(performance.now());
    });
  }

  static async start(testbed: Testbed, name: string): Promise<Streams> {
    const subscribers: Subscriber[] = [];
    const publishers: Publisher[] = [];
    for (const qos of QOS) {
      subscribers.push(await testbed.subscribe("h5", { agent: "h4", filter: `${name}/${qos}`, qos }));
      // Another edge wants them, too: one receiver alone would need no rules.
      subscribers.push(await testbed.subscribe("h2", { agent: "h3", filter: `${name}/${qos}`, qos }));
      publishers.push(await testbed.publisher("h2", { agent: "h1", topic: `${name}/${qos}`, qos }));
    }
    const streams = new Streams(
      subscribers.filter((_, i) => i % 2 === 0),
      publishers,
    );
    streams.running = Promise.all(QOS.map((qos) => streams.publish(qos)));
    try {
      await streams.begin(testbed);
    } catch (error) {
      // Otherwise its timers would keep this process for ever.
      streams.stopped = true;
      throw error;
    }
    return streams;
  }

  private async begin(testbed: Testbed): Promise<void> {
    await eventually("the streams run", 10_000, () => this.arrivals.length > 1_000);
    const isAdmitted = async () => {
      const { groups } = (await testbed.get("/groups")) as {
        groups: { admitted: string[]; carriage: string }[];
      };
      return groups.some((g) => g.carriage === "openflow" && g.admitted.includes("e1"));
    };
    await eventually("the switches copy", 10_000, isAdmitted);
    await sleep(500);
  }

  private async publish(qos: 0 | 1 | 2): Promise<void> {
    const every = 1_000 / PER_SECOND[qos];
    for (let next = performance.now(); !this.stopped; next += every) {
      const wait = next - performance.now();
      if (wait > 0) await sleep(wait);
      this.sent[qos]! += 1;
      this.publishers[qos]!.publish(String(this.sent[qos]));
    }
  }

  /** The longest time without a message of QoS 0 between the two times, in milliseconds. */
  pause(from: number, to: number): number {
    let [last, longest] = [from, 0];
    for (const at of [...this.arrivals.filter((t) => t >= from && t <= to), to]) {
      longest = Math.max(longest, at - last);
      last = at;
    }
    return longest;
  }

  /** Ends the streams; what came at QoS 1 and 2 is complete, and each once. Answers what QoS 0 has lost. */
  async finish(): Promise<{ lost: number; of: number }> {
    this.stopped = true;
    await this.running;
    for (const qos of [1, 2] as const) {
      const of = this.subscribers[qos]!;
      await of.has(this.sent[qos]!, 20_000);
      assert.deepEqual(
        of.received.map((r) => r.payload),
        numbered(this.sent[qos]!, "").map((s) => s.trim()),
        `QoS ${qos}`,
      );
    }
    await sleep(500);
    const got = this.subscribers[0]!.received.map((r) => r.payload);
    assert.equal(new Set(got).size, got.length, "QoS 0: none twice");
    return { lost: this.sent[0]! - got.length, of: this.sent[0]! };
  }
}

/** What happens to the network, and how long the streams are watched afterwards. */
interface Event {
  readonly name: string;
  readonly act: (testbed: Testbed) => Promise<unknown>;
  readonly watched: number;
  /** The longest time without messages, in ms. */
  readonly within: number;
}

const mininet =
  (...lines: string[]) =>
  async (testbed: Testbed) => {
    for (const line of lines) await testbed.network.command(line);
  };

function recovers(name: string, start: () => Promise<Testbed>, events: readonly Event[]): void {
  describe(`recovery on a ${name}`, () => {
    let testbed: Testbed | undefined;
    after(() => testbed?.stop());

    for (const event of events) {
      it(event.name, async () => {
        if (testbed === undefined) {
          testbed = await start();
          await testbed.startForwarder();
          for (const [id, host] of [
            ["e1", "h1"],
            ["e4", "h4"],
            ["e3", "h3"],
          ] as const)
            await testbed.startAgent(host, id);
        }
        const streams = await Streams.start(testbed, event.name.replace(/\W+/g, "-"));
        const at = performance.now();
        await event.act(testbed);
        await sleep(event.watched);
        const usual = streams.pause(at - 500, at);
        const pause = streams.pause(at, performance.now());
        const { lost, of } = await streams.finish();
        console.log(
          `${name}, ${event.name}: no message for ${pause.toFixed(0)} ms (${usual.toFixed(0)} ms before it); QoS 0 lost ${lost} of ${of}, QoS 1 and 2 none`,
        );
        assert.ok(pause <= event.within, `no message for ${pause.toFixed(0)} ms`);
      });
    }
  });
}

recovers("ring of five", () => Testbed.start({ fanouts: [2, 1, 3], joins: [["s4", "s5"]] }), [
  { name: "the link on the way goes down", act: mininet("link s4 s5 down"), watched: 4_000, within: 2_000 },
  { name: "it comes up", act: mininet("link s4 s5 up"), watched: 4_000, within: 2_000 },
  { name: "a link beside it goes down", act: mininet("link s2 s4 down"), watched: 4_000, within: 2_000 },
  { name: "that comes up", act: mininet("link s2 s4 up"), watched: 4_000, within: 2_000 },
  { name: "a switch goes down", act: mininet("switch s2 stop"), watched: 5_000, within: 2_000 },
  { name: "it is there again", act: mininet("switch s2 start"), watched: 5_000, within: 4_000 },
  {
    name: "the publisher's host moves to another switch",
    act: mininet("sh ovs-vsctl del-port s4 s4-eth2 -- add-port s2 s4-eth2"),
    watched: 6_000,
    within: 3_000,
  },
]);

recovers("tree of five", () => Testbed.start({ fanouts: [2, 1, 3] }), [
  {
    name: "the only link goes down for a second",
    act: async (testbed) => {
      await testbed.network.command("link s1 s3 down");
      await sleep(1_000);
      await testbed.network.command("link s1 s3 up");
    },
    watched: 6_000,
    within: 6_000,
  },
]);
