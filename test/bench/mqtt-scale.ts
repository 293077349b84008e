/**
 * The sessions' memory and lookups from a thousand to a million: subscriptions of many clients and the audience of a
 * topic, retained messages and the lookup of a filter, and QoS 1 and 2 to one subscriber.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Broker } from "@topicast/agent/mqtt/index.js";
import mqtt, { type Packet } from "mqtt-packet";
import { CountingStream } from "./streams.js";

export const name = "mqtt-scale";

const PER_CLIENT = 1_000;
const LOOKUPS = 20_000;

export async function run(): Promise<void> {
  for (const count of [1_000, 10_000, 100_000, 1_000_000]) {
    console.log(
      `  ${count.toLocaleString("en").padStart(9)}: ${await subscriptions(count)}; ${await retained(count)}`,
    );
  }
  for (const qos of [1, 2] as const) console.log(`  ${await acknowledged(qos)}`);
}

/** Clients with a thousand filters each, every second one with a wildcard; then messages that one client gets. */
async function subscriptions(count: number): Promise<string> {
  const broker = new Broker();
  const before = heap();
  const start = performance.now();
  for (let client = 0; client * PER_CLIENT < count; client++) {
    const stream = connect(broker, `c${client}`);
    const filters = Array.from({ length: PER_CLIENT }, (_, i) => {
      const n = client * PER_CLIENT + i;
      return {
        topic: i % 2 === 0 ? `site/${n % 100}/machine/${n}/temp` : `site/+/machine/${n}/#`,
        qos: 0 as const,
      };
    });
    stream.push(mqtt.generate({ cmd: "subscribe", messageId: 1, subscriptions: filters }));
    await nextTurn();
  }
  while ((broker.stats().subscriptions ?? 0) < count) await nextTurn();
  const each = (performance.now() - start) / count;
  const bytes = (heap() - before) / count;
  const payload = Buffer.from("21.5");
  const matching = nanoseconds(LOOKUPS, (i) => {
    const n = (i * 7_919) % count;
    broker.deliver({ topic: `site/${n % 100}/machine/${n}/temp`, payload, qos: 0, retain: false });
  });
  if ((broker.stats().publish_sent ?? 0) < LOOKUPS) throw new Error("messages are missing");
  return `${(each * 1_000).toFixed(1)} µs and ${Math.round(bytes)} bytes a subscription, ${matching} a message to one of them`;
}

/** One retained message a topic; then subscriptions to one of them, and to ten by a wildcard. */
async function retained(count: number): Promise<string> {
  const broker = new Broker();
  const before = heap();
  const set = nanoseconds(count, (i) => {
    const payload = Buffer.from(`{"value":${i}}`);
    broker.deliver({ topic: topicOf(i), payload, qos: 0, retain: true });
  });
  const bytes = (heap() - before) / count;
  const stream = connect(broker, "c");
  const lookups = 2_000;
  const packets = Array.from({ length: lookups }, (_, i) => {
    const topic = topicOf((i * 7_919) % count).replace(/\/\d+$/, "/+");
    return mqtt.generate({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 0 }] });
  });
  const start = performance.now();
  for (const packet of packets) stream.push(packet);
  while ((broker.stats().packets_received ?? 0) < lookups + 1) await nextTurn();
  const each = ((performance.now() - start) / lookups) * 1_000;
  return `retained: ${set} and ${Math.round(bytes)} bytes each, ${each.toFixed(1)} µs to find and send ten`;
}

function topicOf(i: number): string {
  return `site/${i % 100}/line/${Math.floor(i / 1_000)}/machine/${i}`;
}

/** Messages a second to a subscriber that acknowledges each at once. */
async function acknowledged(qos: 1 | 2): Promise<string> {
  const broker = new Broker();
  const stream = connect(broker, "c");
  stream.push(mqtt.generate({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "t", qos }] }));
  const parser = mqtt.parser({ protocolVersion: 4 });
  let done = 0;
  parser.on("packet", (packet: Packet) => {
    const { messageId } = packet;
    if (packet.cmd === "publish") stream.answer(qos === 1 ? "puback" : "pubrec", messageId!);
    if (packet.cmd === "pubrel") stream.answer("pubcomp", messageId!);
    if (packet.cmd === (qos === 1 ? "publish" : "pubrel")) done += 1;
  });
  stream.onBytes = (bytes) => void parser.parse(bytes);
  while (broker.stats().subscriptions === 0) await nextTurn();
  const payload = Buffer.alloc(20, "x");
  const total = 200_000;
  const start = performance.now();
  for (let sent = 0; done < total; ) {
    for (let i = 0; i < 50 && sent < total && sent - done < 100; i++, sent++) {
      broker.deliver({ topic: "t", payload, qos, retain: false });
    }
    await nextTurn();
  }
  const rate = total / ((performance.now() - start) / 1_000);
  return `QoS ${qos} to one subscriber: ${Math.round(rate).toLocaleString("en")} messages/s, codec of both ends included`;
}

function connect(broker: Broker, clientId: string): CountingStream {
  const stream = new CountingStream();
  broker.accept(stream);
  stream.push(mqtt.generate({ cmd: "connect", clientId, clean: true, keepalive: 0 }));
  return stream;
}

function nanoseconds(times: number, fn: (i: number) => unknown): string {
  const start = performance.now();
  for (let i = 0; i < times; i++) fn(i);
  return `${Math.round(((performance.now() - start) / times) * 1e6)} ns`;
}

/** Heap and buffers in use after a full collection. */
function heap(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
