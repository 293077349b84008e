import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Subscriber } from "topicast/testbed/clients";
import { CREDENTIALS, Testbed } from "topicast/testbed/testbed";
import { AGENTS, type AgentId, clientHost, sleep, subscribeAt } from "./support.js";

const GROUPS = 4;
const TOPICS = 100;
const ROUNDS = 4;
const EDGES = Object.keys(AGENTS) as AgentId[];

/** Each level of a topic says whether one edge wants it. Most are wanted by all edges, or all but one. */
function topicOf(i: number): string {
  const mask = i % 5 < 3 ? 0b1111 : i % 5 === 3 ? 0b1111 ^ (1 << (i % 4)) : (i * 7) & 0b1111;
  return [...EDGES.keys(), -1].map((n) => (n < 0 ? i : (mask >> n) & 1)).join("/");
}

function filterOf(edge: AgentId): string {
  return [...EDGES.map((other) => (other === edge ? "1" : "+")), "+"].join("/");
}

interface Groups {
  readonly groups: { address: string; sets: number; topics: number; waste: number; carriage: string }[];
}

interface Health {
  readonly sets: number;
  readonly shared: number;
  readonly waiting: number;
  readonly waste: number;
}

interface Topology {
  readonly switches: { dpid: string; groups: { held: number; limit: number } }[];
}

describe(`switches that hold ${GROUPS} groups`, () => {
  let testbed: Testbed;
  const subscribers = new Map<AgentId, Subscriber>();
  const topics = Array.from({ length: TOPICS }, (_, i) => topicOf(i));

  before(async () => {
    testbed = await Testbed.start({ fanouts: [2, 2, 2] });
    await testbed.startForwarder("--switch-limits", `groups=${GROUPS},outputs=0`);
    await Promise.all(EDGES.map((id) => testbed.startAgent(AGENTS[id], id)));
    for (const id of EDGES) subscribers.set(id, await subscribeAt(testbed, id, filterOf(id), { qos: 1 }));
  });
  after(() => testbed?.stop());

  /** Publishes to each topic once, at QoS 1, and waits for each acknowledgement. */
  async function publishAll(round: number): Promise<void> {
    const { username, password } = CREDENTIALS;
    const access = `-h ${testbed.network.address(AGENTS.e1)} -u ${username} -P ${password} -q 1`;
    const script = topics.map((topic) => `mosquitto_pub ${access} -t ${topic} -m ${round}`).join(" && ");
    await testbed.run.output(testbed.network.inHost(clientHost("e1"), ["sh", "-c", script]), 60_000);
  }

  async function checkGroups(): Promise<number> {
    let most = 0;
    for (const name of testbed.tree.switches) {
      const ids = await testbed.switches.groupIds(name);
      assert.ok(ids.length <= GROUPS, `${name} holds ${ids.length}`);
      most = Math.max(most, ids.length);
    }
    return most;
  }

  it(`carry ${TOPICS} topics: everything arrives, and no switch ever holds more`, async () => {
    let most = 0;
    let publishing = true;
    const rounds = (async () => {
      for (let round = 1; round <= ROUNDS; round++) await publishAll(round);
      publishing = false;
    })();
    while (publishing) {
      most = Math.max(most, await checkGroups());
      await Promise.race([rounds, sleep(200)]);
    }
    await rounds;
    for (const [n, id] of EDGES.entries()) {
      const expected = topics.filter((topic) => topic.split("/")[n] === "1");
      const subscriber = subscribers.get(id)!;
      await subscriber.has(expected.length * ROUNDS, 10_000);
      for (const topic of expected) {
        const texts = subscriber.received.filter((m) => m.topic === topic).map((m) => m.payload);
        assert.deepEqual(texts, ["1", "2", "3", "4"], `${topic} at ${id}`);
      }
      assert.equal(subscriber.received.length, expected.length * ROUNDS, `nothing else at ${id}`);
    }
    most = Math.max(most, await checkGroups());
    const { sets, shared, waiting, waste } = (await testbed.get("/healthz")) as Health;
    const { groups } = (await testbed.get("/groups")) as Groups;
    console.log(
      `${TOPICS} topics, ${sets} edge sets: ${groups.length} groups, ${shared} of them shared, ${waiting} sets by unicast, ` +
        `${(100 * waste).toFixed(1)} % of copies wasted; at most ${most} groups on a switch`,
    );
    assert.ok(sets > GROUPS && most > 0 && waste <= 0.1);
    assert.ok(groups.some((g) => g.carriage === "openflow" && g.topics > 1));
    const { switches } = (await testbed.get("/topology")) as Topology;
    for (const { dpid, groups: budget } of switches) {
      assert.ok(budget.held <= GROUPS && budget.limit === GROUPS, `${dpid}: ${budget.held}`);
    }
  });
});
