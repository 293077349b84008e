/** A program: `ws-client URL CAFILE` publishes and receives over WebSocket with MQTT.js, and says what came back. */
import { readFileSync } from "node:fs";
import { connectAsync } from "mqtt";

const [url, ca] = process.argv.slice(2);
const client = await connectAsync(url!, {
  ...{ protocolVersion: 4, username: "u", password: "p", reconnectPeriod: 0 },
  ca: readFileSync(ca!),
});
const BIG = 300_000;
const COUNT = 1_000;
let big = 0;
const numbers: number[] = [];
const all = new Promise<void>((resolve) => {
  client.on("message", (topic, payload) => {
    if (topic === "web/big") big = payload.length;
    else numbers.push(Number(payload.toString()));
    if (numbers.length === COUNT) resolve();
  });
});
await client.subscribeAsync(["web/big", "web/count"]);
await client.publishAsync("web/big", Buffer.alloc(BIG), { qos: 1 });
for (let i = 0; i < COUNT; i++) client.publish("web/count", String(i));
await all;
await client.publishAsync("web/up", "from the web", { qos: 1 });
await client.endAsync();
const inOrder = numbers.every((number, i) => number === i);
process.stdout.write(
  `1 message of ${big} bytes, ${COUNT} messages ${inOrder ? "in order" : "out of order"}\n`,
);
