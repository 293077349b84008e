/**
 * What content inspection costs: the engine alone, the way to a worker and back, what is remembered; and what the agent's own
 * process pays for it, which is what its other clients feel.
 */
import { startContentEngine } from "@topicast/agent/firewall/content/engine.js";
import type { ContentRequest, ContentVerdict } from "@topicast/agent/firewall/content.js";

export const name = "firewall-content";

const COUNT = 2_000;

const payloads: Readonly<Record<string, (n: number) => string>> = {
  "a number": (n) => String(n / 10),
  "sensor JSON, only numbers differ": (n) =>
    `{"temp":${n / 10},"hum":${n % 100},"ts":"2026-11-21T13:${10 + (n % 50)}:00Z","id":"boiler-7"}`,
  "sensor JSON, a text differs": (n) => `{"temp":21.5,"hum":40,"ts":1770000000,"id":"boiler-${n}"}`,
  "text of 1,000 bytes": (n) => `line ${n} `.repeat(100).slice(0, 1_000),
  "binary, no text in it": (n) => Buffer.from([0xff, n & 0x1f, 0x80, n >> 8, 0x90]).toString("latin1"),
  "an injection": (n) => `{"note":"x${n}' or 1=1--"}`,
};

export async function run(): Promise<void> {
  const engine = await startContentEngine();
  try {
    for (const [kind, make] of Object.entries(payloads)) {
      const requests = Array.from({ length: COUNT }, (_, n) => request(make(n)));
      await all(engine.inspect.bind(engine), requests.slice(0, 50));
      const before = engine.stats;
      const cpu = process.cpuUsage();
      const start = performance.now();
      await all(engine.inspect.bind(engine), requests);
      const wall = performance.now() - start;
      const { user, system } = process.cpuUsage(cpu);
      const remembered = engine.stats.remembered - before.remembered;
      const latency = await quietLatency(engine.inspect.bind(engine), make);
      console.log(
        `  ${kind}: ${perSecond(COUNT, wall)} messages, ${((user + system) / COUNT).toFixed(1)} µs each in the agent, ` +
          `${Math.round((100 * remembered) / COUNT)} % remembered; alone ${latency}`,
      );
    }
    console.log(`  failed: ${engine.stats.busy + engine.stats.timeout + engine.stats.crashed}`);
  } finally {
    await engine.close();
  }
}

type Inspect = (request: ContentRequest) => ContentVerdict | Promise<ContentVerdict>;

/** Sixty-four at a time, as busy connections would ask. */
async function all(inspect: Inspect, requests: readonly ContentRequest[]): Promise<void> {
  for (let at = 0; at < requests.length; at += 64) {
    await Promise.all(requests.slice(at, at + 64).map(inspect));
  }
}

/** One message at a time: what a quiet client waits for. */
async function quietLatency(inspect: Inspect, make: (n: number) => string): Promise<string> {
  const times: number[] = [];
  for (let n = 0; n < 300; n++) {
    const asked = request(make(1_000_000 + n));
    const start = performance.now();
    await inspect(asked);
    times.push((performance.now() - start) * 1_000);
  }
  times.sort((a, b) => a - b);
  return `p50 ${times[150]!.toFixed(0)} µs, p99 ${times[297]!.toFixed(0)} µs`;
}

function request(payload: string): ContentRequest {
  return {
    kind: "publish",
    topics: ["plant/7/boiler"],
    clientId: "boiler-7",
    username: undefined,
    peer: "192.0.2.7",
    payload: Buffer.from(payload, "latin1"),
    contentType: undefined,
    properties: [],
  };
}

function perSecond(count: number, ms: number): string {
  return `${Math.round((count / ms) * 1_000).toLocaleString("en-US")}/s`;
}
