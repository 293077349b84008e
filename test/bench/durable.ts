/**
 * What it costs that sessions outlive the agent, and a power failure: 50 publishers with 20 messages each on their way at
 * QoS 1, to a subscriber whose session persists and acknowledges all, with the sessions in memory, in the store, and in one
 * that flushes each batch (--store-sync). Streams that hand bytes on within the process stand in for sockets.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { Broker } from "@topicast/agent/mqtt/index.js";
import type { ByteStream } from "@topicast/agent/transport/transport.js";
import { systemClock } from "@topicast/protocol";
import { Store } from "@topicast/protocol/store";
import mqtt, { type Packet } from "mqtt-packet";

export const name = "durable";

const PUBLISHERS = 50;
const WINDOW = 20;
const SECONDS = 2;

/** A client's end: what the broker writes is parsed here, what the client sends is pushed. */
class ClientStream extends Duplex implements ByteStream {
  readonly peer = "192.0.2.1:1";

  constructor(onPacket: (packet: Packet) => void) {
    super({
      read: () => {},
      write: (chunk: Buffer, _encoding, done) => {
        parser.parse(chunk);
        done();
      },
    });
    const parser = mqtt.parser({ protocolVersion: 4 });
    parser.on("packet", onPacket);
    this.on("finish", () => this.push(null));
    this.on("end", () => this.destroy());
  }

  send(...packets: Packet[]): void {
    this.push(Buffer.concat(packets.map((packet) => mqtt.generate(packet))));
  }
}

export async function run(): Promise<void> {
  for (const payload of [20, 1_000]) {
    const memory = await rate(payload, undefined);
    console.log(`  payload of ${payload} bytes: in memory ${perSecond(memory)}`);
    for (const sync of [false, true]) {
      const directory = mkdtempSync(join(tmpdir(), "topicast-bench-"));
      const log = { error: (message: string) => console.log(message) };
      const store = await Store.open({ directory, sync, clock: systemClock, log });
      const stored = await rate(payload, store);
      const { batches, changes } = store.counters;
      await store.close();
      rmSync(directory, { recursive: true });
      console.log(
        `    in the store${sync ? ", flushed" : ""}: ${perSecond(stored)}, ${(stored / memory).toFixed(2)} of it; ` +
          `${Math.round(changes / batches)} changes a batch, ${Math.round(batches / SECONDS)} batches/s`,
      );
    }
  }
}

/** A publisher with `WINDOW` messages that are not both acknowledged and received. */
class Source {
  readonly stream: ClientStream;
  received = 0;
  private acknowledged = 0;
  private sent = 0;

  constructor(
    broker: Broker,
    private readonly number: number,
    private readonly payload: Buffer,
  ) {
    this.stream = connect(broker, `p${number}`, true, (packet) => {
      if (packet.cmd === "puback") this.acknowledged += 1;
      this.fill();
    });
  }

  get done(): number {
    return Math.min(this.acknowledged, this.received);
  }

  fill(): void {
    while (this.sent - this.done < WINDOW) {
      const messageId = (this.sent % 0xffff) + 1;
      const topic = `t/${this.number}`;
      this.sent += 1;
      this.stream.send({
        cmd: "publish",
        topic,
        payload: this.payload,
        qos: 1,
        dup: false,
        retain: false,
        messageId,
      });
    }
  }
}

/** Messages a second, each acknowledged to its publisher and by the subscriber. */
async function rate(payloadBytes: number, store: Store | undefined): Promise<number> {
  const running = setInterval(() => {}, 1_000);
  const broker = new Broker(store && { store: { entries: store, unixTime: Date.now } });
  const payload = Buffer.alloc(payloadBytes, "x");
  const sources: Source[] = [];
  const subscriber = connect(broker, "s", false, (packet) => {
    if (packet.cmd !== "publish") return;
    subscriber.send({ cmd: "puback", messageId: packet.messageId! });
    const source = sources[Number(packet.topic.slice(2))]!;
    source.received += 1;
    source.fill();
  });
  subscriber.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "t/#", qos: 1 }] });
  for (let i = 0; i < PUBLISHERS; i++) sources.push(new Source(broker, i, payload));
  const total = () => sources.reduce((sum, { done }) => sum + done, 0);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = total();
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1_000));
  const messages = total() - before;
  const seconds = (performance.now() - start) / 1_000;
  for (const { stream } of sources) stream.destroy();
  subscriber.destroy();
  const { queue_dropped: dropped } = broker.stats();
  await broker.close();
  clearInterval(running);
  if (dropped !== 0) throw new Error(`${dropped} messages were dropped: the subscriber was too slow`);
  return messages / seconds;
}

function connect(
  broker: Broker,
  clientId: string,
  clean: boolean,
  onPacket: (packet: Packet) => void,
): ClientStream {
  const stream = new ClientStream(onPacket);
  broker.accept(stream);
  stream.send({ cmd: "connect", clientId, clean, keepalive: 0 });
  return stream;
}

function perSecond(rate: number): string {
  return `${Math.round(rate).toLocaleString("en")}/s`;
}
