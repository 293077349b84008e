/**
 * What the firewall costs a broker in memory: off, rates and topic lists alone, content watched (detect) and content waited
 * for (block). Messages a second from eight publishers, each with sixteen in flight; what a single message waits more than
 * without a firewall. Readings differ in a number each time, so their verdicts are remembered; notes differ in a word, so the
 * engine is asked about each.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { startContentEngine } from "@topicast/agent/firewall/content/engine.js";
import type { ContentEngine } from "@topicast/agent/firewall/content.js";
import { DEFAULT_RULES } from "@topicast/agent/firewall/default-rules.js";
import { Firewall } from "@topicast/agent/firewall/firewall.js";
import type { Mode, Rules } from "@topicast/agent/firewall/rules.js";
import { Broker } from "@topicast/agent/mqtt/index.js";
import { systemClock } from "@topicast/protocol";
import mqtt from "mqtt-packet";
import { CountingStream } from "./streams.js";

export const name = "firewall";

const PUBLISHERS = 8;
const IN_FLIGHT = 16;
const SECONDS = 1.5;
const SINGLES = 400;

type Make = (n: number) => string;

const payloads: Readonly<Record<string, Make>> = {
  readings: (n) => `{"temp":${1_000 + (n % 9_000)},"hum":40,"id":"boiler-7"}`,
  notes: (n) => `{"temp":2150,"hum":40,"id":"note ${String(n).padStart(8, "0")}"}`,
};

interface Case {
  readonly title: string;
  readonly mode: Mode;
  readonly rules?: Rules;
  readonly engine?: ContentEngine;
}

export async function run(): Promise<void> {
  const engine = await startContentEngine();
  try {
    const cases: Case[] = [
      { title: "off", mode: "off" },
      { title: "rates and lists", mode: "block", rules },
      { title: "content, detect", mode: "detect", rules, engine },
      { title: "content, block", mode: "block", rules, engine },
    ];
    // Not counted: what runs first would pay for compiling it all, and the others look quick beside it.
    for (const one of cases) await measure(one, payloads.readings!);
    for (const [what, make] of Object.entries(payloads)) {
      let quiet: Latency | undefined;
      for (const one of cases) {
        while (engine.stats.waiting > 0) await sleep(1);
        const before = engine.stats;
        const { rate, latency } = await measure(one, make);
        quiet ??= latency;
        const { requests, remembered, busy, timeout, crashed } = engine.stats;
        const failed = busy + timeout + crashed - before.busy - before.timeout - before.crashed;
        const asked =
          one.engine === undefined
            ? ""
            : `; of ${requests - before.requests} judged ${remembered - before.remembered} remembered, ${failed} without a verdict`;
        console.log(
          `  ${what}, ${one.title}: ${Math.round(rate).toLocaleString("en-US")} messages/s; a single one ` +
            `p50 ${added(latency.p50, quiet.p50)}, p99 ${added(latency.p99, quiet.p99)}${asked}`,
        );
      }
    }
  } finally {
    await engine.close();
  }
}

/** Everything is counted and looked up, nothing is over the limit. */
const rules: Rules = {
  ...DEFAULT_RULES,
  rates: DEFAULT_RULES.rates.map((rule) => ({ ...rule, perSecond: 1e9, burst: 1e9 })),
  topics: [
    {
      id: "lists",
      answer: "drop",
      publish: true,
      subscribe: true,
      allow: ["plant/#", "device/%c/#"],
      deny: ["plant/secret/#"],
    },
  ],
};

/** Of all messages: none comes twice. */
let serial = 0;

interface Latency {
  readonly p50: number;
  readonly p99: number;
}

async function measure(one: Case, make: Make): Promise<{ rate: number; latency: Latency }> {
  const screen =
    one.rules === undefined
      ? undefined
      : new Firewall({
          clock: systemClock,
          rules: one.rules,
          modes: new Map([["tcp", one.mode]]),
          engine: one.engine,
          onEvent: ({ kind, detail }) => {
            // Who only watches is not waited for, so that more comes than workers can judge.
            if (kind !== "content") throw new Error(`the firewall found something: ${detail}`);
          },
        });
  const broker = new Broker({ ...(screen !== undefined && { screen }) });
  const subscriber = connect(broker, "subscriber");
  subscriber.push(
    mqtt.generate({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "plant/7/temp", qos: 0 }] }),
  );
  await subscriber.until(9);
  const publishers = Array.from({ length: PUBLISHERS }, (_, i) => connect(broker, `p${i}`));
  const message = () =>
    mqtt.generate({
      cmd: "publish",
      topic: "plant/7/temp",
      payload: make(serial++),
      qos: 0,
      dup: false,
      retain: false,
    });
  const frame = message().length;

  const latencies: number[] = [];
  for (let i = -SINGLES; i < SINGLES; i++) {
    const start = performance.now();
    const arrived = subscriber.until(frame);
    publishers[0]!.push(message());
    await arrived;
    if (i >= 0) latencies.push((performance.now() - start) * 1_000);
  }

  let messages = 0;
  const start = performance.now();
  while (performance.now() < start + SECONDS * 1_000) {
    const arrived = subscriber.until(frame * PUBLISHERS * IN_FLIGHT);
    for (const publisher of publishers)
      publisher.push(Buffer.concat(Array.from({ length: IN_FLIGHT }, message)));
    await arrived;
    messages += PUBLISHERS * IN_FLIGHT;
  }
  const rate = (messages * 1_000) / (performance.now() - start);
  await broker.close();
  latencies.sort((a, b) => a - b);
  return { rate, latency: { p50: latencies[SINGLES >> 1]!, p99: latencies[Math.floor(SINGLES * 0.99)]! } };
}

/** A client that can be waited on. */
class Client extends CountingStream {
  readonly listener = "tcp";
  private awaited = Number.POSITIVE_INFINITY;
  private resolve: () => void = () => {};

  constructor() {
    super();
    this.onBytes = (bytes) => {
      this.awaited -= bytes.length;
      if (this.awaited <= 0) this.resolve();
    };
  }

  /** So many bytes more have come. */
  until(bytes: number): Promise<void> {
    this.awaited = bytes;
    return new Promise((resolve) => {
      this.resolve = resolve;
    });
  }
}

function connect(broker: Broker, clientId: string): Client {
  const client = new Client();
  client.on("end", () => client.destroy());
  broker.accept(client);
  client.push(mqtt.generate({ cmd: "connect", clientId, clean: true, keepalive: 0 }));
  client.on("finish", () => client.push(null));
  return client;
}

function added(value: number, quiet: number): string {
  return value === quiet
    ? `${value.toFixed(0)} µs`
    : `${value >= quiet ? "+" : "-"}${Math.abs(value - quiet).toFixed(0)} µs`;
}
