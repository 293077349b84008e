import {
  connectLoad,
  machineTime,
  type PublishedMessage,
  type PublishSettings,
  paced,
  report,
} from "./settings.js";

const { settings, client, receiveMaximum } = await connectLoad<PublishSettings>();
const { topics, qos } = settings;
const published: PublishedMessage[] = [];
const awaited = new Set<Promise<unknown>>();

function publish(): void {
  const topic = topics[published.length % topics.length]!;
  const text = `${process.pid}.${published.length}`;
  published.push([text, topic, machineTime()]);
  const acknowledged = client.publishAsync(topic, text, { qos });
  awaited.add(acknowledged);
  void acknowledged.finally(() => awaited.delete(acknowledged));
}

await paced(settings, publish, () => qos === 0 || awaited.size < receiveMaximum);
await Promise.all(awaited);
report(published);
