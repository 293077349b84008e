import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Testbed } from "topicast/testbed/testbed";
import { startPublishing, startSubscribing } from "../load/clients.js";
import type { Period } from "../load/settings.js";
import { AGENTS, type AgentId, clientHost, startSevenSwitches } from "./support.js";

const SECONDS = 15;
/** Over all clients. */
const CHANGES_PER_SECOND = 50;
const MESSAGES_PER_SECOND = 500;
/** What was published right before an UNSUBSCRIBE may still be on its way then. */
const ON_ITS_WAY_MS = 250;

const topics = Array.from({ length: 10 }, (_, i) => `churn/${i % 2 === 0 ? "even" : "odd"}/${i}`);
const filters = [...topics, "churn/even/+", "churn/odd/#", "churn/+/3", "churn/#"];

describe("subscriptions that come and go under load", () => {
  let testbed: Testbed;
  before(async () => {
    testbed = await startSevenSwitches();
  });
  after(() => testbed?.stop());

  it(`miss nothing between SUBACK and UNSUBSCRIBE: ${CHANGES_PER_SECOND} changes and ${MESSAGES_PER_SECOND} messages a second`, async (t) => {
    const edges = Object.keys(AGENTS) as AgentId[];
    const subscribers = await Promise.all(
      edges.map((id) =>
        startSubscribing(testbed, clientHost(id), AGENTS[id], {
          ...{ filters, held: 4, qos: 0, perSecond: CHANGES_PER_SECOND / edges.length, seconds: SECONDS },
        }),
      ),
    );
    const publishers = await Promise.all(
      (["e3", "e7"] as const).map((id, i) =>
        startPublishing(testbed, clientHost(id), AGENTS[id], {
          ...{ topics, qos: i === 0 ? 0 : 1, perSecond: MESSAGES_PER_SECOND / 2, seconds: SECONDS },
        }),
      ),
    );
    const published = (await Promise.all(publishers.map((p) => p.report))).flat();
    const reports = await Promise.all(subscribers.map((s) => s.report));
    let due = 0;
    let changes = 0;
    for (const [i, { periods, received }] of reports.entries()) {
      const got = new Set(received);
      changes += 2 * periods.length;
      const missing = published.filter(([text, topic, at]) => {
        const wanted = periods.some((p) => at > p.from && at + ON_ITS_WAY_MS < p.to && matches(p, topic));
        if (wanted) due += 1;
        return wanted && !got.has(text);
      });
      assert.deepEqual(missing, [], `${edges[i]} misses ${missing.length}`);
      const doubled = received.length - got.size;
      assert.equal(doubled, 0, `${edges[i]} had ${doubled} twice`);
    }
    assert.equal(published.length, MESSAGES_PER_SECOND * SECONDS);
    assert.ok(changes >= CHANGES_PER_SECOND * SECONDS * 0.9, `only ${changes} changes`);
    assert.ok(due > published.length, `only ${due} messages were due`);
    t.diagnostic(`${published.length} messages, ${changes} changes, ${due} messages were due and came once`);
  });
});

function matches({ filter }: Period, topic: string): boolean {
  const pattern = filter.replace("/#", "/.*").replace("+", "[^/]+");
  return new RegExp(`^${pattern}$`).test(topic);
}
