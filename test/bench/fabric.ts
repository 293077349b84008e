/** What a datagram of the fabric costs: its seal, and a stream's work for it at the sender and at one receiver. */
import {
  encodeHeader,
  encodePublish,
  Kind,
  parseFabricKeys,
  Seal,
  StreamReceiver,
  StreamSenders,
  systemClock,
  WHOLE,
} from "@topicast/protocol";

export const name = "fabric";

const COUNT = 200_000;
const GROUP = 0xefc00001;
const TO = [{ address: "239.192.0.1", port: 1883 }];

export async function run(): Promise<void> {
  for (const bytes of [64, 200, 1_400]) seals(bytes);
  await streams(0);
  await streams(1);
}

function seals(bytes: number): void {
  const keys = parseFabricKeys("5a".repeat(32), "bench");
  const [sender, receiver] = [new Seal(keys, 1), new Seal(keys, 2)];
  const header = encodeHeader({
    kind: Kind.DATA,
    flags: WHOLE,
    source: 7,
    epoch: 2,
    stream: GROUP,
    number: 4,
  });
  const payload = Buffer.alloc(bytes, 0x2a);
  const sealed: Buffer[] = [];
  const seal = microseconds(() => sealed.push(Buffer.concat([sender.seal(header, payload), payload])));
  let next = 0;
  const check = microseconds(() => {
    if (receiver.check(sealed[next++]!) !== undefined) throw new Error("not let in");
  });
  console.log(`  seal of ${bytes} bytes: ${seal} µs to make, ${check} µs to check`);
}

/** Messages of 200 bytes through one stream and back, without a socket. */
async function streams(qos: 0 | 1): Promise<void> {
  const clock = systemClock;
  let arrived = 0;
  let datagrams = 0;
  const from = { address: "10.0.0.1", port: 1883 };
  const edge = { number: 2, endpoint: { address: "10.0.0.2", port: 1883 }, epoch: 9 };
  const receiver = new StreamReceiver({
    ...{ clock, source: 2, epoch: 9, random: Math.random, defer: setImmediate },
    transmit: (header, payload) => senders.onStatus({ ...header, payload }, edge.endpoint),
    onPacket: () => {
      arrived += 1;
    },
  });
  const senders = new StreamSenders({
    ...{ clock, source: 1, epoch: 9, payloadBytes: 1_452, defer: setImmediate },
    transmit: (header, payload) => {
      if (header.kind === Kind.DATA) datagrams += 1;
      receiver.onDatagram({ ...header, payload }, from);
    },
  });
  const stream = senders.getOrAdd(GROUP);
  stream.setEdges([edge]);
  const packet = encodePublish({ topic: "plant/7/temp", payload: Buffer.alloc(180), qos, retain: false });
  const start = performance.now();
  const options = { to: TO, done: qos === 0 ? undefined : () => {} };
  for (let sent = 0; sent < COUNT; ) {
    for (let i = 0; i < 100 && sent < COUNT && stream.send(packet, options); i++) sent += 1;
    await new Promise((resolve) => setImmediate(resolve));
  }
  while (arrived < COUNT) await new Promise((resolve) => setTimeout(resolve, 1));
  const each = ((performance.now() - start) * 1_000) / COUNT;
  console.log(
    `  QoS ${qos}: ${each.toFixed(2)} µs a message, sent and received, ${datagrams} datagrams for ${COUNT}`,
  );
  senders.close();
  receiver.close();
}

function microseconds(fn: () => void): string {
  const start = performance.now();
  for (let i = 0; i < COUNT; i++) fn();
  return (((performance.now() - start) * 1_000) / COUNT).toFixed(2);
}
