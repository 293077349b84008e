/**
 * How long a client waits for its SUBACK on the seven-switch tree: alone, and beside 1,000 other filters that change. Needs
 * root, Open vSwitch and Ryu, so it runs only when it is named.
 */
import { AGENTS, type AgentId, clientHost, startSevenSwitches } from "../e2e/support.js";
import { startPublishing, startSubscribing } from "../load/clients.js";
import type { Period } from "../load/settings.js";

export const name = "suback";

const edges = Object.keys(AGENTS) as AgentId[];
const SECONDS = 20;
/** A second: what is measured, and what changes beside it over all edges. */
const PROBES = 20;
const CHANGES = 200;
const numbered = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}/${i}`);
const probes = numbered("probe", 100);
const others = numbered("other", 1_000);

export async function run(): Promise<void> {
  if (!process.argv.includes(name))
    return console.log("  left out: name it (it needs root, Open vSwitch and Ryu)");
  const testbed = await startSevenSwitches();
  try {
    const subscribing = (id: AgentId, settings: { filters: string[]; held: number; perSecond: number }) =>
      startSubscribing(testbed, clientHost(id), AGENTS[id], { ...settings, qos: 0, seconds: SECONDS });
    const measure = async (what: string) => {
      const probe = await subscribing("e5", { filters: probes, held: 50, perSecond: 2 * PROBES });
      const { periods } = await probe.report;
      console.log(`  ${what}: ${summary(periods)}`);
    };
    await measure("nobody publishes, nothing changes");
    // Every edge publishes every topic once: all of them have routes from then on.
    const publishing = await Promise.all(
      edges.map((id) =>
        startPublishing(testbed, clientHost(id), AGENTS[id], {
          ...{ topics: [...probes, ...others], qos: 1, perSecond: 220, seconds: 5 },
        }),
      ),
    );
    await Promise.all(publishing.map((p) => p.report));
    await measure("1,100 topics that each edge publishes, nothing else changes");
    const churn = await Promise.all(
      edges.map((id) => subscribing(id, { filters: others, held: 500, perSecond: CHANGES / edges.length })),
    );
    await measure(`the same, 1,000 other filters change, ${CHANGES} times a second`);
    const changes = (await Promise.all(churn.map((c) => c.report))).flatMap((r) => r.periods);
    console.log(`  those others: ${summary(changes)}`);
  } finally {
    await testbed.stop();
  }
}

function summary(periods: readonly Period[]): string {
  const waited = periods.map((p) => p.from - p.asked).sort((a, b) => a - b);
  const at = (share: number) => waited[Math.floor(share * (waited.length - 1))]!.toFixed(1);
  return `SUBACK p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms (${waited.length})`;
}
