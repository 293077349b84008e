// One MQTT.js client, as its argument (JSON) says: see clients.test.ts. Prints one line for each thing that happens.
import { connect } from "mqtt";

const wish = JSON.parse(process.argv[2]);
const isFive = wish.version === 5;
const say = (...words) => process.stdout.write(`${words.join(" ")}\n`);
const { will } = wish;

const client = connect(`mqtt://${wish.host}:1883`, {
  ...{ clientId: wish.id, username: wish.username, password: wish.password, reconnectPeriod: 0 },
  ...(isFive ? { protocolVersion: 5 } : { protocolVersion: wish.version }),
  ...(wish.version === 3 ? { protocolId: "MQIsdp" } : {}),
  clean: !wish.persistent,
  ...(isFive && wish.persistent ? { properties: { sessionExpiryInterval: 1000 } } : {}),
  ...(will ? { will: { topic: will.topic, payload: will.payload, qos: 1, retain: false } } : {}),
});

client.on("error", (error) => say("ERROR", error.message));
client.on("disconnect", ({ reasonCode }) => say("DISCONNECTED", reasonCode));
client.on("close", () => {
  say("CLOSED");
  process.exit();
});
client.on("message", (topic, payload, { qos, retain }) => say("GOT", topic, qos, Number(retain), payload));
client.on("connect", async ({ sessionPresent }) => {
  say("CONNECTED", Number(sessionPresent));
  if (wish.filter !== undefined) {
    await client.subscribeAsync(wish.filter, { qos: 2 });
    say("SUBSCRIBED");
  }
  if (wish.messages === undefined) return;
  for (const { topic, payload, qos, retain } of wish.messages) {
    await client.publishAsync(topic, payload, { qos, retain: retain ?? false });
  }
  await client.endAsync();
});
process.on("SIGTERM", () => client.end());
