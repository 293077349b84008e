import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";
import type { Child } from "topicast/testbed/child";
import type { Subscriber } from "topicast/testbed/clients";
import { eventually, type Testbed } from "topicast/testbed/testbed";
import { type Load, startPublishing } from "../load/clients.js";
import type { PublishedMessage } from "../load/settings.js";
import {
  AGENTS,
  clientHost,
  publisherAt,
  sleep,
  startSevenSwitches,
  subscribeAt,
  type TopicsAnswer,
  topics,
} from "./support.js";

/** For so long forwarder and Ryu are dead; `npm run outage` takes a minute. */
const OUTAGE_SECONDS = Number(process.env.TOPICAST_OUTAGE_SECONDS ?? 15);
/** Before it, and after it. */
const BEFORE_SECONDS = 3;
const AFTER_SECONDS = 15;
const MESSAGES_PER_SECOND = 500;
const QOS = [0, 1, 2] as const;
/** The rounding of the switches' clocks. */
const AGE_SLACK_SECONDS = 0.1;

/** One flow or group of a switch. */
interface Entry {
  readonly age: number;
  readonly packets: number;
}

describe("life without a controller", () => {
  let testbed: Testbed;
  before(async () => {
    testbed = await startSevenSwitches();
  });
  after(() => testbed?.stop());

  /** Every flow, also learned ones, and every group, by what they match and do; but for those that Ryu itself puts anew. */
  async function entries(): Promise<Map<string, Entry>> {
    await testbed.switches.settle();
    const found = new Map<string, Entry>();
    for (const name of testbed.tree.switches) {
      for (const { cookie, priority, match, actions, age, packets } of await testbed.switches.flows(name)) {
        if (actions.startsWith("CONTROLLER")) continue;
        found.set(`${name} flow ${cookie} ${priority} ${match} ${actions}`, { age, packets });
      }
      for (const { id, age, packets } of await testbed.switches.groups(name)) {
        found.set(`${name} group ${id}`, { age, packets });
      }
    }
    return found;
  }

  async function kill(child: Child): Promise<void> {
    child.signal("SIGKILL");
    await child.exited;
  }

  async function groupsInUse(): Promise<TopicsAnswer["topics"]> {
    const answer = await topics(testbed);
    return answer.topics.filter((t) => t.topic.startsWith("outage/")).map((t) => ({ ...t, packets: 0 }));
  }

  it(`${OUTAGE_SECONDS} s: known routes deliver all at every QoS, and what comes back changes nothing that is right`, async (t: TestContext) => {
    const subscribers: Subscriber[] = [];
    for (const id of ["e1", "e5", "e7"] as const) {
      subscribers.push(await subscribeAt(testbed, id, "outage/#", { qos: 2 }));
    }
    // The first of each topic asks for the way.
    for (const qos of QOS) {
      const publisher = await publisherAt(testbed, "e3", `outage/${qos}`, { qos });
      await testbed.openRoute(AGENTS.e3, publisher, subscribers);
      await publisher.stop();
    }
    const had = subscribers.map((s) => s.received.length);
    const publishing: Load<PublishedMessage[]>[] = [];
    for (const qos of QOS) {
      publishing.push(
        await startPublishing(testbed, clientHost("e3"), AGENTS.e3, {
          ...{ topics: [`outage/${qos}`], qos, perSecond: Math.ceil(MESSAGES_PER_SECOND / QOS.length) },
          seconds: BEFORE_SECONDS + OUTAGE_SECONDS + AFTER_SECONDS,
        }),
      );
    }
    await sleep(BEFORE_SECONDS * 1_000);
    const groups = await groupsInUse();
    assert.equal(groups.length, QOS.length);
    const atFirst = await entries();
    const readAt = performance.now();

    await Promise.all([kill(testbed.forwarder!), kill(testbed.ryu)]);
    await sleep(2_000);
    const dead = subscribers.map((s) => s.received.length);
    await sleep((OUTAGE_SECONDS - 2) * 1_000);
    for (const [i, { child, received }] of subscribers.entries()) {
      const perSecond = (received.length - dead[i]!) / (OUTAGE_SECONDS - 2);
      assert.ok(perSecond > MESSAGES_PER_SECOND * 0.9, `${child.name} had ${perSecond} messages a second`);
    }

    await testbed.startRyu();
    await testbed.waitForTopology(30_000);
    await testbed.startForwarder();
    await eventually("all is as it was", 20_000, async () => {
      const { status, agents } = (await testbed.get("/healthz")) as { status: string; agents: number };
      if (status !== "ok" || agents !== 4) throw new Error(`${status}, ${agents} agents`);
      assert.deepEqual(await groupsInUse(), groups);
      return true;
    });

    const published = (await Promise.all(publishing.map((p) => p.report))).flat();
    for (const [i, subscriber] of subscribers.entries()) {
      await subscriber.has(had[i]! + published.length, 10_000);
      // What is doubled may come late.
      await subscriber.has(had[i]! + published.length + 1, 500);
      const received = subscriber.received.slice(had[i]);
      for (const qos of QOS) {
        const topic = `outage/${qos}`;
        const got = received.filter((m) => m.topic === topic).map((m) => m.payload);
        const sent = published.filter((m) => m[1] === topic).map(([text]) => text);
        assert.deepEqual(got, sent, `QoS ${qos}, ${subscriber.child.name}`);
      }
    }

    const passed = (performance.now() - readAt) / 1_000;
    const inTheEnd = await entries();
    let carried = 0;
    for (const [what, { age, packets }] of atFirst) {
      const now = inTheEnd.get(what);
      assert.ok(now !== undefined, `gone: ${what}`);
      assert.ok(
        now.age >= age + passed - AGE_SLACK_SECONDS,
        `put anew: ${what} (${age} s, now ${now.age} s)`,
      );
      assert.ok(now.packets >= packets, `counts anew: ${what}`);
      if (what.includes(" group ")) carried = Math.max(carried, now.packets - packets);
    }
    assert.ok(carried >= published.length * 0.8, `a group has carried ${carried} of ${published.length}`);
    t.diagnostic(
      `${published.length} messages to ${subscribers.length} edges, ${atFirst.size} flows and groups untouched`,
    );

    // New topics find their way again.
    const publisher = await publisherAt(testbed, "e3", "outage/new");
    await testbed.openRoute(AGENTS.e3, publisher, subscribers);
    await publisher.stop();
    for (const subscriber of subscribers) await subscriber.stop();
  });
});
