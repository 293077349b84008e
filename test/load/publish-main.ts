import {
  connectLoad,
  machineTime,
  type PublishedMessage,
  type PublishSettings,
  paced,
  report,
} from "./settings.js";

const { settings, client } = await connectLoad<PublishSettings>();
const { topics, qos } = settings;
const published: PublishedMessage[] = [];
const acknowledged: Promise<unknown>[] = [];
await paced(settings, () => {
  const topic = topics[published.length % topics.length]!;
  const text = `${process.pid}.${published.length}`;
  published.push([text, topic, machineTime()]);
  acknowledged.push(client.publishAsync(topic, text, { qos }));
});
await Promise.all(acknowledged);
report(published);
