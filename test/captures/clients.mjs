// MQTT.js clients for the captures: MQTT 5 with properties, topic aliases and subscription identifiers over TCP and
// WebSocket. With a number: so many messages at each QoS over one connection.
import mqtt from "mqtt";

const [count] = process.argv.slice(2).map(Number);
const connect = (url, clientId, more = {}) =>
  mqtt.connectAsync(url, { clientId, protocolVersion: 5, keepalive: 20, ...more });

if (count > 0) {
  const taker = await connect("mqtt://10.9.0.1:1883", "lossy-taker");
  await taker.subscribeAsync("load/#", { qos: 2 });
  const giver = await connect("mqtt://10.9.0.1:1883", "lossy-giver", { protocolVersion: 4 });
  const all = [];
  for (let i = 0; i < count; i++) {
    for (const qos of [0, 1, 2]) {
      all.push(
        giver.publishAsync(`load/${i % 5}`, `message ${i} at ${qos} ${"x".repeat((i * 97) % 2000)}`, { qos }),
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.all(all);
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await giver.endAsync();
  await taker.endAsync();
} else {
  const web = await connect("ws://10.9.0.1:9001", "web");
  await web.subscribeAsync("web/#", { qos: 1, properties: { subscriptionIdentifier: 7 } });
  const five = await connect("mqtt://[fd09::1]:1883", "", {
    clean: true,
    properties: { topicAliasMaximum: 10 },
  });
  const properties = { topicAlias: 1, userProperties: { unit: "°C" }, contentType: "text/plain" };
  await five.publishAsync("web/temp", "21", { qos: 1, properties });
  await five.publishAsync("", "22", { qos: 1, properties: { topicAlias: 1 } });
  await web.publishAsync("plant/9/temp", "x".repeat(9_000), { qos: 2 });
  await web.unsubscribeAsync("web/#");
  await five.endAsync();
  await web.endAsync();
}
