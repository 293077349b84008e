/**
 * The sessions in memory: one publisher at QoS 0 to 1, 10 and 100 subscribers, against what the codec alone takes to
 * decode and encode each message once; and one to a thousand topics while subscriptions to others change. Streams that only
 * count stand in for sockets.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { Broker } from "@topicast/agent/mqtt/index.js";
import mqtt, { type Packet } from "mqtt-packet";
import { CountingStream } from "./streams.js";

export const name = "mqtt";

const CHUNK_BYTES = 65_536;
const SECONDS = 1.5;

export async function run(): Promise<void> {
  for (const payload of [20, 1_000]) {
    const message: Packet = {
      cmd: "publish",
      topic: "plant/7/temp",
      payload: Buffer.alloc(payload, "x"),
      qos: 0,
      dup: false,
      retain: false,
    };
    const codec = codecRate(message);
    console.log(
      `  payload of ${payload} bytes: codec alone ${perSecond(codec)} messages decoded and encoded`,
    );
    for (const subscribers of [1, 10, 100]) {
      const rate = await brokerRate(message, subscribers);
      const of = `${(rate / codec).toFixed(2)} of the codec`;
      console.log(
        `    ${subscribers} subscribers: ${perSecond(rate)} messages, ${of}, ${perSecond(rate * subscribers)} deliveries`,
      );
    }
  }
  for (const changesPerTurn of [0, 10, 100]) {
    const { messages, changes } = await churnRate(changesPerTurn);
    console.log(
      `  a thousand topics, ${perSecond(changes)} changes of subscriptions: ${perSecond(messages)} messages`,
    );
  }
}

/** A thousand topics to 100 subscribers of ten each, while another client takes up and gives up filters of its own. */
async function churnRate(changesPerTurn: number): Promise<{ messages: number; changes: number }> {
  const broker = new Broker();
  const publisher = connect(broker, "publisher");
  const other = connect(broker, "other");
  for (let i = 0; i < 100; i++) {
    const subscriptions = [{ topic: `plant/${i}/#`, qos: 0 as const }];
    connect(broker, `s${i}`).push(mqtt.generate({ cmd: "subscribe", messageId: 1, subscriptions }));
  }
  await settle();
  const frames = Array.from({ length: 1_000 }, (_, i) =>
    mqtt.generate({
      ...{ cmd: "publish", topic: `plant/${i % 100}/${i}`, payload: Buffer.alloc(20, "x") },
      ...{ qos: 0, dup: false, retain: false },
    }),
  );
  const chunk = Buffer.concat(frames);
  let [turns, changes] = [0, 0];
  const start = performance.now();
  while (performance.now() < start + SECONDS * 1_000) {
    for (let i = 0; i < changesPerTurn; i++, changes++) {
      const topic = `other/${changes >> 1}/#`;
      const change: Packet =
        changes % 2 === 0
          ? { cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 0 }] }
          : { cmd: "unsubscribe", messageId: 1, unsubscriptions: [topic] };
      other.push(mqtt.generate(change));
    }
    publisher.push(chunk);
    turns += 1;
    await nextTurn();
  }
  const seconds = (performance.now() - start) / 1_000;
  await broker.close();
  return { messages: (turns * frames.length) / seconds, changes: changes / seconds };
}

/** Messages a second that mqtt-packet decodes from full chunks and encodes once each. */
function codecRate(message: Packet): number {
  const chunk = fullChunk(mqtt.generate(message));
  const parser = mqtt.parser({ protocolVersion: 4 });
  let messages = 0;
  parser.on("packet", (packet) => {
    mqtt.generate(packet);
    messages += 1;
  });
  const end = performance.now() + SECONDS * 1_000;
  const start = performance.now();
  while (performance.now() < end) parser.parse(chunk);
  return messages / ((performance.now() - start) / 1_000);
}

/** Messages a second from one publisher through the broker to all subscribers, one full chunk a turn. */
async function brokerRate(message: Packet, subscribers: number): Promise<number> {
  const broker = new Broker();
  const publisher = connect(broker, "publisher");
  const streams = Array.from({ length: subscribers }, (_, i) => connect(broker, `s${i}`));
  for (const stream of streams) {
    stream.push(
      mqtt.generate({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "plant/+/temp", qos: 0 }] }),
    );
  }
  await settle();
  const frame = mqtt.generate(message);
  const chunk = fullChunk(frame);
  const before = streams.map((stream) => stream.bytes);
  let chunks = 0;
  const start = performance.now();
  const end = start + SECONDS * 1_000;
  while (performance.now() < end) {
    publisher.push(chunk);
    chunks += 1;
    await nextTurn();
  }
  await settle();
  const seconds = (performance.now() - start) / 1_000;
  const messages = (chunks * chunk.length) / frame.length;
  for (const [i, stream] of streams.entries()) {
    if (stream.bytes - before[i]! !== chunks * chunk.length)
      throw new Error(`subscriber ${i} missed messages`);
  }
  await broker.close();
  return messages / seconds;
}

function connect(broker: Broker, clientId: string): CountingStream {
  const stream = new CountingStream();
  stream.on("end", () => stream.destroy());
  broker.accept(stream);
  stream.push(mqtt.generate({ cmd: "connect", clientId, clean: true, keepalive: 0 }));
  // The broker ends its side when it closes; the client then ends its own.
  stream.on("finish", () => stream.push(null));
  return stream;
}

/** Lets what is on its way arrive. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await nextTurn();
}

function fullChunk(frame: Buffer): Buffer {
  return Buffer.concat(Array.from({ length: Math.floor(CHUNK_BYTES / frame.length) }, () => frame));
}

function perSecond(rate: number): string {
  return `${Math.round(rate).toLocaleString("en")}/s`;
}
