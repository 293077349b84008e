import {
  connectLoad,
  machineTime,
  type Period,
  paced,
  report,
  type SubscribeSettings,
  sleep,
} from "./settings.js";

/** What is on its way when all has been published gets so long to arrive. */
const TAIL_MS = 2_000;

const { settings, client } = await connectLoad<SubscribeSettings>();
const { filters, held, qos } = settings;
const received: string[] = [];
client.on("message", (_, payload) => received.push(payload.toString()));
const periods: Period[] = [];
const open = new Map<string, Period>();
const free = [...filters];
/** Answers that are awaited. */
const asked = new Set<Promise<unknown>>();

function subscribe(filter: string): void {
  const begun = machineTime();
  follow(
    client.subscribeAsync(filter, { qos }).then(() => {
      open.set(filter, { filter, asked: begun, from: machineTime(), to: Number.POSITIVE_INFINITY });
    }),
  );
}

function unsubscribe(filter: string): void {
  periods.push({ ...open.get(filter)!, to: machineTime() });
  open.delete(filter);
  follow(client.unsubscribeAsync(filter).then(() => free.push(filter)));
}

function follow(answer: Promise<unknown>): void {
  asked.add(answer);
  void answer.finally(() => asked.delete(answer));
}

await paced(settings, () => {
  // Whoever is held for longest goes first.
  const [oldest] = open.keys();
  const filter = free.shift();
  if (filter !== undefined && (open.size < held || oldest === undefined)) return subscribe(filter);
  if (filter !== undefined) free.unshift(filter);
  if (oldest !== undefined) unsubscribe(oldest);
});
await Promise.all(asked);
const end = machineTime();
await sleep(TAIL_MS);
for (const period of open.values()) periods.push({ ...period, to: end });
report({ periods, received });
