import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";
import type { Child } from "topicast/testbed/child";
import type { Publisher, Subscriber } from "topicast/testbed/clients";
import { eventually, type Testbed } from "topicast/testbed/testbed";
import { AGENTS, publisherAt, sleep, startSevenSwitches, subscribeAt, topics } from "./support.js";

interface Health {
  readonly status: string;
  readonly agents: number;
  readonly ryu: { state: string };
}

/** Publishes at a steady pace until stopped; each payload is the next number. */
class Stream {
  sent = 0;
  private timer: NodeJS.Timeout;

  /** Is stopped at the end of the test at the latest. */
  constructor(
    private readonly publisher: Publisher,
    perSecond: number,
    test: TestContext,
  ) {
    test.after(() => this.stop());
    this.timer = setInterval(() => this.publisher.publish(`${++this.sent}`), 1000 / perSecond);
  }

  /** Stops publishing; answers the last number. */
  async stop(): Promise<number> {
    clearInterval(this.timer);
    await this.publisher.stop();
    return this.sent;
  }
}

/** Fails unless the subscriber has every number of the stream from `first` to `last`, each once and in order. */
async function assertComplete(subscriber: Subscriber, first: number, last: number): Promise<void> {
  const numbers = () => subscriber.received.map((m) => Number(m.payload)).filter((n) => n >= first);
  await eventually(`${subscriber.child.name} has ${last}`, 5000, () => numbers().includes(last));
  const wanted = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  assert.deepEqual(
    numbers().filter((n) => n <= last),
    wanted,
    subscriber.child.name,
  );
}

describe("killed and started again, each alone", () => {
  let testbed: Testbed;
  before(async () => {
    testbed = await startSevenSwitches();
  });
  after(() => testbed?.stop());

  /** Every other process of the testbed goes on: none is touched to make the system whole. */
  function others(but: Child): Child[] {
    const all = [testbed.ryu, testbed.network.child, testbed.forwarder!, ...testbed.agents.values()];
    return all.filter((child) => child !== but);
  }

  async function kill(child: Child): Promise<void> {
    child.signal("SIGKILL");
    await child.exited;
  }

  async function health(): Promise<Health> {
    return (await testbed.get("/healthz")) as Health;
  }

  /** A new topic from e3 reaches new subscribers at e1, e5 and e7 by datagrams: the whole way works. */
  async function assertWhole(name: string): Promise<void> {
    const subscribers = [];
    for (const id of ["e1", "e5", "e7"] as const) {
      subscribers.push(await subscribeAt(testbed, id, `${name}/#`));
    }
    const publisher = await publisherAt(testbed, "e3", `${name}/after`);
    await testbed.openRoute(AGENTS.e3, publisher, subscribers);
    await publisher.stop();
    for (const subscriber of subscribers) await subscriber.stop();
    await eventually("/healthz says ok", 5000, async () => {
      const { status, agents, ...rest } = await health();
      if (status !== "ok" || agents !== 4) throw new Error(JSON.stringify({ status, agents, ...rest }));
      return true;
    });
  }

  it("an agent", async (t) => {
    const steady = await subscribeAt(testbed, "e1", "agent/+");
    // mosquitto_sub comes back by itself; that its agent was killed it learns when it next says something.
    const returning = await subscribeAt(testbed, "e5", "agent/+", { keepAlive: 5 });
    const publisher = await publisherAt(testbed, "e3", "agent/x");
    await testbed.openRoute(AGENTS.e3, publisher, [steady, returning]);
    const first = steady.received.length;
    const stream = new Stream(publisher, 50, t);
    await sleep(500);

    const killed = testbed.agents.get("e5")!;
    const untouched = others(killed);
    await kill(killed);
    await eventually("the forwarder drops the silent agent", 10_000, async () => {
      const { filters } = await topics(testbed);
      return !filters.some((f) => f.edges.includes("e5"));
    });
    await testbed.startAgent(AGENTS.e5, "e5");
    const before = returning.received.length;
    await eventually("its client is served again", 20_000, () => returning.received.length >= before + 20);

    const last = await stream.stop();
    await assertComplete(steady, 1, last);
    assert.ok(first > 0);
    await Promise.all([steady.stop(), returning.stop()]);
    await assertWhole("agent-again");
    for (const child of untouched) assert.equal(child.exit, undefined, child.name);
  });

  it("the forwarder", async (t) => {
    const subscribers = [
      await subscribeAt(testbed, "e1", "forwarder/+"),
      await subscribeAt(testbed, "e7", "forwarder/+"),
    ];
    const publisher = await publisherAt(testbed, "e3", "forwarder/x");
    await testbed.openRoute(AGENTS.e3, publisher, subscribers);
    const group = (await topics(testbed)).topics.find((t) => t.topic === "forwarder/x")!.group;
    const stream = new Stream(publisher, 50, t);
    await sleep(500);

    const killed = testbed.forwarder!;
    const untouched = others(killed);
    await kill(killed);
    // A known route goes on without a forwarder.
    const reached = stream.sent;
    await sleep(2000);
    for (const subscriber of subscribers) await assertComplete(subscriber, 1, reached + 50);

    await testbed.startForwarder();
    await eventually("every agent is back", 15_000, async () => (await health()).agents === 4);
    await eventually("the topic map is whole again", 15_000, async () => {
      const told = await topics(testbed);
      const filter = told.filters.find((f) => f.filter === "forwarder/+");
      const topic = told.topics.find((t) => t.topic === "forwarder/x");
      return filter?.edges.join() === "e1,e7" && topic?.edges.join() === "e1,e7" && topic.group === group;
    });
    await sleep(1000);
    const last = await stream.stop();
    for (const subscriber of subscribers) await assertComplete(subscriber, 1, last);
    for (const subscriber of subscribers) await subscriber.stop();
    await assertWhole("forwarder-again");
    for (const child of untouched) assert.equal(child.exit, undefined, child.name);
  });

  it("Ryu", async (t) => {
    const subscribers = [
      await subscribeAt(testbed, "e1", "ryu/+"),
      await subscribeAt(testbed, "e5", "ryu/+"),
    ];
    const publisher = await publisherAt(testbed, "e3", "ryu/x");
    await testbed.openRoute(AGENTS.e3, publisher, subscribers);
    const group = (await topics(testbed)).topics.find((t) => t.topic === "ryu/x")!.group!;
    const stream = new Stream(publisher, 50, t);
    await sleep(500);

    const killed = testbed.ryu;
    const untouched = others(killed);
    await kill(killed);
    await eventually("the forwarder says so", 10_000, async () => {
      const { status, ryu } = await health();
      return status === "degraded" && ryu.state === "unreachable";
    });
    const reached = stream.sent;
    await sleep(1000);
    for (const subscriber of subscribers) await assertComplete(subscriber, 1, reached + 20);

    await testbed.startRyu();
    await testbed.waitForTopology(30_000);
    await eventually("the forwarder is whole again", 15_000, async () => (await health()).status === "ok");
    await sleep(1000);
    const last = await stream.stop();
    for (const subscriber of subscribers) await assertComplete(subscriber, 1, last);
    // The flow that was right has not been touched: its counter has gone on.
    await testbed.switches.settle();
    const flow = (await testbed.switches.groupFlows("s1")).find((f) => f.match.includes(group));
    assert.ok(flow !== undefined && flow.packets >= last, `${flow?.packets} packets, ${last} published`);
    for (const subscriber of subscribers) await subscriber.stop();
    await assertWhole("ryu-again");
    for (const child of untouched) assert.equal(child.exit, undefined, child.name);
  });
});
